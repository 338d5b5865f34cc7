//! The identity of a candidate, from which a later one can determine that it is dead.
//!
//! A Lease outlives the process that holds it. It may be taken before it has run out when its holder is certainly gone,
//! and two things prove that:
//!
//! - The holder was a process of this machine since its last start, in the process namespace of this process, and there
//!   is no such process any more. The start time tells it from a later process with its number.
//! - The holder had this process's name, and that was given as a name that two processes never have at the same time. The
//!   chart gives the pod's name and uid: a pod is on one node for as long as it exists under that uid, and the kubelet
//!   starts a container after the one before has ended. A pod's name alone would not do: a StatefulSet makes it again
//!   elsewhere when somebody removes the pod of a node that cannot be reached and still runs it.
//!
//! Whatever else the holder is, also one with the same host name, says nothing: its Lease is waited for. A holder of
//! another name is nobody's predecessor, whatever it says of its machine: sandboxes may not say what is unique.

use std::fmt;
use std::fs;
use std::io;
use std::str::FromStr;
use std::sync::Arc;

/// A candidate of this process.
#[derive(Clone, Debug)]
pub(super) struct ProcessIdentity {
    /// Unique among processes, now and later; as the Lease shows it.
    text: Arc<str>,
    /// What stands first in it: the name that was given, or the host's.
    label: String,
    /// Whether no other running process has that label.
    unique: bool,
    /// `None` where the machine does not say what is needed.
    process: Option<Process>,
}

/// A process, told from every other one of its machine.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Process {
    /// Of the machine since its last start.
    boot: String,
    /// Namespace of process numbers.
    namespace: u64,
    number: u32,
    /// When it was started, in clock ticks of the machine.
    started: u64,
}

// === impl ProcessIdentity ===

impl ProcessIdentity {
    /// This process. `name` is one that no other running process has, if there is such a name.
    pub(super) fn of_this_process(name: Option<&str>) -> Self {
        Self::new(name, Process::this())
    }

    fn new(name: Option<&str>, process: Option<Process>) -> Self {
        let label = match name {
            Some(name) => name.to_owned(),
            None => format!("{OF_HOST}{}", host()),
        };
        let number = process.as_ref().map_or_else(
            || uuid::Uuid::new_v4().to_string(),
            |process| process.to_string(),
        );
        Self {
            text: format!("{label}/{number}").into(),
            unique: !label.is_empty() && !label.starts_with(OF_HOST),
            label,
            process,
        }
    }

    /// As the Lease shows it.
    pub(super) fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// Whether the holder of a Lease is this process, or is certainly dead.
    pub(super) fn may_follow(&self, holder: &str) -> bool {
        self.follows(holder, Process::lives)
    }

    fn follows(&self, holder: &str, lives: impl FnOnce(&Process) -> bool) -> bool {
        if *holder == *self.text {
            return true;
        }
        let (label, process) = holder.rsplit_once('/').unwrap_or((holder, ""));
        if label != self.label {
            return false;
        }
        match (process.parse::<Process>(), &self.process) {
            (Ok(other), Some(this)) if this.can_see(&other) => !lives(&other),
            // A container that is started again has another namespace.
            _ => self.unique,
        }
    }
}

// === impl Process ===

impl Process {
    /// This one; `None` where `/proc` is not the one of this process's namespace, or hides processes.
    fn this() -> Option<Self> {
        let number = std::process::id();
        let shown = fs::read_link("/proc/self").ok()?;
        if shown.to_str() != Some(number.to_string().as_str()) || started(1).ok()?.is_none() {
            return None;
        }
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
        let namespace = namespace.to_str()?.strip_prefix("pid:[")?;
        Some(Self {
            boot: boot.trim().to_owned(),
            namespace: namespace.strip_suffix(']')?.parse().ok()?,
            number,
            started: started(number).ok()??,
        })
    }

    fn can_see(&self, other: &Self) -> bool {
        self.boot == other.boot && self.namespace == other.namespace
    }

    /// Whether it still runs; also when that cannot be determined.
    fn lives(&self) -> bool {
        started(self.number).map_or(true, |at| at == Some(self.started))
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            boot,
            namespace,
            number,
            started,
        } = self;
        write!(f, "{boot}.{namespace}.{number}.{started}")
    }
}

impl FromStr for Process {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('.');
        let mut next = || parts.next().ok_or(());
        let process = Self {
            boot: next()?.to_owned(),
            namespace: next()?.parse().map_err(drop)?,
            number: next()?.parse().map_err(drop)?,
            started: next()?.parse().map_err(drop)?,
        };
        match parts.next() {
            None => Ok(process),
            Some(_) => Err(()),
        }
    }
}

/// When a process was started; `None` when there is none, or it has ended and nobody has asked how.
fn started(number: u32) -> io::Result<Option<u64>> {
    let stat = match fs::read_to_string(format!("/proc/{number}/stat")) {
        Ok(stat) => stat,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    parse(&stat).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

// `proc(5)`: number, name in brackets, state, …, and the start time as the 22nd field. The name may hold anything.
fn parse(stat: &str) -> Option<Option<u64>> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split_whitespace();
    if ENDED.contains(&fields.next()?) {
        return Some(None);
    }
    Some(Some(fields.nth(18)?.parse().ok()?))
}

fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

// Before the host's name, so that it is never taken for a name that was given.
const OF_HOST: char = '@';
const ENDED: [&str; 2] = ["Z", "X"];

#[cfg(test)]
mod tests {
    use super::*;

    fn process(boot: &str, namespace: u64, number: u32, started: u64) -> Process {
        Process {
            boot: boot.into(),
            namespace,
            number,
            started,
        }
    }

    fn named(name: Option<&str>, process: &Process) -> ProcessIdentity {
        ProcessIdentity::new(name, Some(process.clone()))
    }

    #[test]
    fn dead_process_of_this_machine_is_followed_and_a_living_one_is_not() {
        let ours = process("b", 1, 20, 200);
        let holder = named(None, &process("b", 1, 10, 100));
        let us = named(None, &ours);
        assert!(us.follows(holder.text(), |other| {
            assert_eq!(other, holder.process.as_ref().unwrap());
            false
        }));
        assert!(!us.follows(holder.text(), |_| true));
        // Also under one name, as when somebody starts a second agent in a pod by hand.
        let (holder, us) = (
            named(Some("pod_uid"), &process("b", 1, 10, 100)),
            named(Some("pod_uid"), &ours),
        );
        assert!(!us.follows(holder.text(), |_| true));
        assert!(us.follows(us.text(), |_| true));
    }

    #[test]
    fn nothing_is_known_of_a_process_of_another_machine_start_or_namespace() {
        let us = named(None, &process("b", 1, 10, 100));
        for other in [process("c", 1, 10, 100), process("b", 2, 10, 100)] {
            // The same host name says nothing.
            let holder = named(None, &other);
            assert!(!us.follows(holder.text(), |_| false), "{}", holder.text());
        }
        let host = us.label.clone();
        let odd = ["", "@", "somebody", "/", "a/b.1.9.100"].map(str::to_owned);
        let odd = odd.into_iter().chain(
            ["", "b", "b.1.x.100", "b.1.9.100.1"].map(|process| format!("{host}/{process}")),
        );
        for holder in odd {
            assert!(!us.follows(&holder, |_| false), "{holder}");
        }
    }

    #[test]
    fn container_started_again_in_its_pod_follows_itself() {
        let holder = named(Some("pod_uid"), &process("b", 1, 1, 100));
        for new in [process("b", 2, 1, 300), process("c", 1, 1, 300)] {
            assert!(named(Some("pod_uid"), &new).follows(holder.text(), |_| true));
            assert!(!named(Some("pod_other"), &new).follows(holder.text(), |_| false));
            assert!(!named(None, &new).follows(holder.text(), |_| false));
        }
        // Nor a name that looks like a host's.
        let host = named(Some("@host"), &process("b", 2, 1, 300));
        assert!(!host.follows("@host/b.1.1.100", |_| false));
    }

    #[test]
    fn this_process_lives_and_is_the_same_each_time() {
        let this = Process::this().expect("Linux says who a process is");
        assert!(this.lives());
        assert_eq!(Process::this().as_ref(), Some(&this));
        assert_eq!(this.to_string().parse().as_ref(), Ok(&this));
        let later = process(&this.boot, this.namespace, this.number, this.started + 1);
        assert!(!later.lives());
        let mut child = std::process::Command::new("sleep")
            .arg("100")
            .spawn()
            .unwrap();
        let of_child = process(
            &this.boot,
            this.namespace,
            child.id(),
            started(child.id()).unwrap().unwrap(),
        );
        let us = ProcessIdentity::of_this_process(None);
        let holder = named(None, &of_child);
        assert!(!us.may_follow(holder.text()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(us.may_follow(holder.text()));
    }

    #[test]
    fn process_that_ended_and_was_not_asked_for_its_end_is_dead() {
        let stat = |state: &str| {
            format!("7 (a) b (c) {state} 1 7 7 0 -1 4 1 0 0 0 0 0 0 0 20 0 1 0 4711 9 9")
        };
        assert_eq!(parse(&stat("S")), Some(Some(4711)));
        assert_eq!(parse(&stat("Z")), Some(None));
        assert_eq!(parse("7 (a)"), None);
    }
}
