//! What a node takes from the machine: a number that nobody else has, and by it a network name space, addresses, a
//! control group and a short directory. A locked file says who has the number; what a killed run left under a number is
//! cleared by whoever takes it next.

use std::fs::{File, TryLockError};
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::NodeError;

/// A number, held until dropped, with all that belongs to it.
#[derive(Debug)]
pub(super) struct HostResources {
    number: u8,
    _lock: File,
}

// === impl HostResources ===

impl HostResources {
    /// Takes the first number that is free, and lays its network.
    ///
    /// # Errors
    /// What the machine lacks, in words.
    pub(super) fn take() -> Result<Self, NodeError> {
        able()?;
        for number in NUMBERS {
            let Some(lock) = lock(number)? else { continue };
            let resources = Self {
                number,
                _lock: lock,
            };
            resources.clear()?;
            // Somebody's network may use these addresses.
            if !resources.taken()? {
                resources.lay()?;
                return Ok(resources);
            }
        }
        Err(NodeError::Lacking(format!(
            "no free network among 10.{}.0.0/16 to 10.{}.0.0/16",
            NUMBERS.start(),
            NUMBERS.end()
        )))
    }

    /// The node's name, also that of its network name space and of its control group.
    pub(super) fn name(&self) -> String {
        format!("maestro-node-{}", self.number)
    }

    /// A directory with a path short enough for the sockets below it, which end at 107 characters.
    pub(super) fn directory(&self) -> PathBuf {
        Path::new("/tmp").join(self.name())
    }

    /// The file that leads to the network name space.
    pub(super) fn network(&self) -> PathBuf {
        Path::new("/run/netns").join(self.name())
    }

    /// This machine as the node and its pods see it.
    pub(super) fn host(&self) -> Ipv4Addr {
        self.address(0, 1)
    }

    /// The node.
    pub(super) fn node(&self) -> Ipv4Addr {
        self.address(0, 2)
    }

    /// Addresses of pods.
    pub(super) fn pods(&self) -> String {
        format!("{}/24", self.address(1, 0))
    }

    /// Addresses of Services. The first one is this machine's too.
    pub(super) fn services(&self) -> String {
        format!("{}/24", self.address(2, 0))
    }

    /// The first address of Services.
    pub(super) fn api(&self) -> Ipv4Addr {
        self.address(2, 1)
    }

    /// A shell script that ends what runs under the number and gives back everything, whatever is there of it.
    fn clearing(&self) -> String {
        let name = self.name();
        let directory = self.directory().display().to_string();
        format!(
            "PATH=$PATH:/usr/sbin:/sbin\n\
             for server in $(cat {directory}/{SERVERS} 2>/dev/null); do\n\
                 case $(readlink /proc/$server/exe) in */etcd | */kube-*) kill -9 $server ;; esac\n\
             done\n\
             if [ -e /run/netns/{name} ]; then\n\
                 while left=$(ip netns pids {name}) && [ -n \"$left\" ]; do kill -9 $left 2>/dev/null; sleep 0.05; done\n\
                 ip netns del {name}\n\
             fi\n\
             # It goes with its other end, but not at once.\n\
             ip link del {link} 2>/dev/null\n\
             find /sys/fs/cgroup -depth -type d \\( -path '*/{name}' -o -path '*/{name}/*' \\) -exec rmdir {{}} + 2>/dev/null\n\
             rm -rf {directory}\n",
            link = self.link(),
        )
    }

    /// The same for after the end of this process, when the number is free: whoever took it first has cleared it, and is
    /// waited for, so that nothing of theirs goes.
    pub(super) fn clearing_afterwards(&self) -> String {
        let (clearing, lock) = (self.clearing(), lock_path(self.number));
        format!("{{ flock 9\n{clearing}}} 9>>{lock}\n")
    }

    /// Notes the servers of the control plane, which listen on an address of the node: they must not outlive it.
    ///
    /// # Errors
    /// When the directory cannot be written to.
    pub(super) fn remember(&self, servers: &[(&str, u32)]) -> io::Result<()> {
        let ids = servers.iter().map(|(_, id)| format!("{id}\n"));
        std::fs::write(self.directory().join(SERVERS), ids.collect::<String>())
    }

    /// The processes on the node, as the kernel counts them.
    ///
    /// # Errors
    /// When its network is gone.
    pub(super) fn processes(&self) -> Result<String, NodeError> {
        shell(&format!("ip netns pids {}", self.name()))
    }

    fn clear(&self) -> Result<(), NodeError> {
        let _ = Command::new("sh")
            .args(["-c", &self.clearing()])
            .output()
            .map_err(|source| NodeError::Host("clear what a killed run left", source))?;
        Ok(())
    }

    fn taken(&self) -> Result<bool, NodeError> {
        let routes = shell(&format!("ip -4 route show root 10.{}.0.0/16", self.number))?;
        Ok(!routes.is_empty())
    }

    /// One pair of interfaces, and nothing in this machine's filters.
    fn lay(&self) -> Result<(), NodeError> {
        let (name, link) = (self.name(), self.link());
        let (host, node, api, pods) = (self.host(), self.node(), self.api(), self.pods());
        shell(&format!(
            "ip netns add {name}\n\
             ip link add {link} type veth peer name up0 netns {name}\n\
             ip addr add {host}/24 dev {link}\n\
             ip addr add {api}/32 dev {link}\n\
             ip link set {link} up\n\
             ip -n {name} link set lo up\n\
             ip -n {name} addr add {node}/24 dev up0\n\
             ip -n {name} link set up0 up\n\
             ip -n {name} route add default via {host}\n\
             ip route add {pods} via {node}\n"
        ))?;
        std::fs::create_dir_all(self.directory())
            .map_err(|source| NodeError::Host("make the directory of a node", source))
    }

    fn link(&self) -> String {
        format!("mnode{}", self.number)
    }

    fn address(&self, third: u8, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, self.number, third, last)
    }
}

impl Drop for HostResources {
    fn drop(&mut self) {
        // What fails to go is cleared by whoever takes the number next.
        let _ = self.clear();
    }
}

/// What no attempt can do without, each with its own words.
fn able() -> Result<(), NodeError> {
    if shell("id -u")?.trim() != "0" {
        return Err(NodeError::Lacking(
            "not root: a node makes name spaces, mounts and control groups".into(),
        ));
    }
    for program in ["ip", "nsenter", "unshare", "mount", "flock"] {
        if shell(&format!("command -v {program}")).is_err() {
            return Err(NodeError::Lacking(format!(
                "no `{program}`: run `apt-get install iproute2 util-linux`"
            )));
        }
    }
    for (what, attempt) in [
        ("name spaces", "unshare --mount --net --pid --fork true"),
        ("control groups that can be written to", CGROUP),
    ] {
        shell(attempt).map_err(|error| {
            NodeError::Lacking(format!(
                "no {what}: {error}; in a container it takes `--privileged`"
            ))
        })?;
    }
    Ok(())
}

/// Runs a script that stops at its first failure, and gives its output.
fn shell(script: &str) -> Result<String, NodeError> {
    let failed = |source| NodeError::Host("run a shell", source);
    let output = Command::new("sh")
        .args(["-ec", &format!("PATH=$PATH:/usr/sbin:/sbin\n{script}")])
        .output()
        .map_err(failed)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(NodeError::Host(
        "set up the network of a node",
        io::Error::other(said),
    ))
}

/// The lock of a number, unless somebody has it.
fn lock(number: u8) -> Result<Option<File>, NodeError> {
    let failed = |source| NodeError::Host("lock the number of a node", source);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(lock_path(number))
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

fn lock_path(number: u8) -> String {
    format!("/tmp/maestro-node-{number}.lock")
}

// The file with the process ids of the control plane.
const SERVERS: &str = "servers";

// The second byte of the addresses. Clouds and clusters start at low ones.
const NUMBERS: std::ops::RangeInclusive<u8> = 180..=219;

// Version 2, or version 1 by controller.
const CGROUP: &str = "\
    for root in /sys/fs/cgroup/memory /sys/fs/cgroup; do\n\
        if [ -e $root/cgroup.procs ]; then mkdir -p $root/maestro-probe; rmdir $root/maestro-probe; exit 0; fi\n\
    done\n\
    echo 'nothing is mounted at /sys/fs/cgroup' >&2; exit 1";
