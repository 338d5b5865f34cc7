//! What a person reads when a region is ready: where things are, and lines to paste into another terminal.

use std::fmt;
use std::path::Path;

use serde_json::json;

use super::summary::{Consumer, ReplicaSummary};
use super::{Home, Summary};

/// The text; `Display` prints it.
#[derive(Clone, Debug)]
pub struct Guide {
    summary: Summary,
    home: String,
    kept: bool,
    probe: String,
}

// === impl Guide ===

impl Guide {
    /// The guide to a region. `probe` is how to call the tool of that name.
    pub fn new(summary: &Summary, home: &Home, probe: String) -> Self {
        Self {
            summary: summary.clone(),
            home: home.path().display().to_string(),
            kept: home.is_kept(),
            probe,
        }
    }

    fn places(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary {
            api,
            grpc,
            broker,
            consumers,
            bridge,
            replicas,
            ..
        } = &self.summary;
        let agents = match consumers.len() {
            1 => "1 agent".to_owned(),
            count => format!("{count} agents"),
        };
        let here = |replica: &ReplicaSummary| replica.pid == std::process::id();
        match replicas.len() {
            _ if replicas.iter().all(here) => writeln!(
                f,
                "ready: broker, server-bridge and {agents}, in this process"
            )?,
            count => writeln!(
                f,
                "ready: broker and {agents} in this process, {count} server-bridges in processes of their own"
            )?,
        }
        for note in &self.summary.notes {
            writeln!(f, "note: {note}")?;
        }
        writeln!(f)?;
        let width = WIDTH;
        writeln!(f, "  {:width$} {api}{ROOT}", "API")?;
        writeln!(f, "  {:width$} {api}/ui (open it in a browser)", "page")?;
        writeln!(
            f,
            "  {:width$} {grpc} (CloudEvents, plaintext; the Go client of Maestro takes it with the API's URL)",
            "gRPC"
        )?;
        writeln!(
            f,
            "  {:width$} {}:{} (MQTT 5 and 3.1.1, mutual TLS)",
            "broker", broker.host, broker.port
        )?;
        if let Some(alpn) = &broker.alpn {
            writeln!(
                f,
                "  {:width$} {alpn} (the same with ALPN `x-amzn-mqtt-ca`, as port 443)",
                "ALPN"
            )?;
        }
        if let Some(https) = &broker.https {
            writeln!(f, "  {:width$} {https} (403 and the time)", "HTTPS")?;
        }
        for ReplicaSummary { pid, api, grpc, .. } in replicas.iter().filter(|_| replicas.len() > 1)
        {
            writeln!(
                f,
                "  {:width$} {api}{ROOT}, gRPC {grpc} (process {pid})",
                "replica"
            )?;
        }
        if let Some(url) = &self.summary.control {
            writeln!(
                f,
                "  {:width$} {url} (API of AWS IoT and its data plane: set AWS_ENDPOINT_URL_IOT and \
                 AWS_ENDPOINT_URL_IOT_DATA_PLANE; faults: `sandbox fault list --control {url}`)",
                "control"
            )?;
        }
        writeln!(f, "  {:width$} {}/readyz", "readiness", bridge.admin)?;
        for Consumer { name, target, .. } in consumers.iter().take(SHOWN) {
            writeln!(f, "  {name:width$} applies to {}", target.display())?;
        }
        if consumers.len() > SHOWN {
            let more = consumers.len() - SHOWN;
            writeln!(f, "  … and {more} more in {}/consumers", self.home)?;
        }
        Ok(())
    }

    fn lines(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary {
            api,
            bridge,
            consumers,
            operator,
            ..
        } = &self.summary;
        let Some(consumer) = consumers.first() else {
            return Ok(());
        };
        let (name, probe) = (&consumer.name, &self.probe);
        let identity = quoted(&operator.identity);
        let bundle = json!({
            "name": "hello",
            "consumer_name": name,
            "manifests": [{
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": { "name": "hello", "namespace": "default" },
                "data": { "greeting": "hello" },
            }],
        });
        let target = quoted(&consumer.target);
        let look = if consumer.target.is_file() {
            format!("kubectl --kubeconfig {target} get configmap hello -n default -o yaml")
        } else {
            format!(
                "cat {}",
                quoted(&consumer.target.join("default/configmap/hello.yaml"))
            )
        };
        writeln!(f, "\nTry in another terminal:")?;
        writeln!(f, "  # send a ConfigMap to {name}")?;
        writeln!(
            f,
            "  curl -sS {api}{ROOT}/resource-bundles -H 'Content-Type: application/json' -d '{bundle}'"
        )?;
        writeln!(f, "  # see it applied, and its status back")?;
        writeln!(f, "  {look}")?;
        writeln!(
            f,
            "  curl -sS -G {api}{ROOT}/resource-bundles --data-urlencode \"search=name = 'hello'\""
        )?;
        writeln!(f, "  # check every step of a connection, as the operator")?;
        writeln!(f, "  {probe} check --identity {identity}")?;
        writeln!(f, "  # if one fails: which hop, why, and what to do")?;
        writeln!(f, "  {probe} doctor --identity {identity} --api {api}")?;
        writeln!(
            f,
            "  # listen on a test topic, and publish to it from a third terminal"
        )?;
        writeln!(f, "  {probe} subscribe --identity {identity} -t test/hello")?;
        writeln!(
            f,
            "  {probe} publish --identity {identity} -t test/hello -m hello"
        )?;
        writeln!(f, "  # readiness and metrics of the bridge and of {name}")?;
        writeln!(f, "  curl -sS {0}/readyz {0}/metrics", bridge.admin)?;
        writeln!(f, "  curl -sS {0}/readyz {0}/metrics", consumer.admin)
    }
}

impl fmt::Display for Guide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.places(f)?;
        self.lines(f)?;
        if self.kept {
            write!(f, "\nCtrl-C stops everything and keeps {}", self.home)
        } else {
            write!(f, "\nCtrl-C stops everything and removes {}", self.home)
        }
    }
}

/// A path as one word of a shell.
pub(crate) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%=,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text;
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

const ROOT: &str = "/api/maestro/v1";

// Enough to see the pattern.
const SHOWN: usize = 3;

// `readiness` and `cluster1`, with a space.
const WIDTH: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_of_a_shell() {
        assert_eq!(quoted(Path::new("/tmp/a-b.c")), "/tmp/a-b.c");
        assert_eq!(quoted(Path::new("/tmp/a b")), "'/tmp/a b'");
        assert_eq!(quoted(Path::new("/tmp/it's")), r"'/tmp/it'\''s'");
    }
}
