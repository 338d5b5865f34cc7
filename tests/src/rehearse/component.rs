//! The server or an agent, as `provisioner outputs` describes it to whoever writes its pod.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use link::id::ConsumerName;
use link::topic::Scheme;
use serde_json::Value;

use super::SERVER;
use crate::csi::{MountError, Pod, ProviderClass, mount};
use crate::process::ProcessSpec;
use crate::testbed::Testbed;

/// One party with its pod and its volume.
pub(super) struct Component {
    /// `server`, or the management cluster's id.
    pub(super) name: String,
    /// Its pod.
    pub(super) pod: Pod,
    /// What its pod mounts.
    pub(super) class: ProviderClass,
    /// Where that lies.
    pub(super) directory: PathBuf,
    /// Its MQTT client id, of several the first.
    pub(super) client_id: String,
    /// What its chart would be given.
    pub(super) values: Value,
}

// === impl Component ===

impl Component {
    /// `class` and `values` are the outputs of these formats.
    pub(super) fn new(testbed: &Testbed, name: &str, class: &str, values: &str) -> Result<Self> {
        let account = if name == SERVER { "region" } else { name };
        let values: Value = serde_saphyr::from_str(values)?;
        let text = |pointer: &str| {
            let found = values.pointer(pointer).and_then(Value::as_str);
            found
                .map(str::to_owned)
                .with_context(|| format!("no `{pointer}` in {values}"))
        };
        let client_id = match name {
            // The first slot's.
            SERVER => format!("{}-0", text("/clientId")?),
            cluster => {
                let consumer = ConsumerName::new(cluster)?;
                let party = link::party::Party::agent(&Scheme::default(), &consumer)?;
                let ids = party.client_ids();
                ids.first().context("an agent has a client id")?.to_string()
            }
        };
        Ok(Self {
            name: name.to_owned(),
            pod: Pod {
                account: account.to_owned(),
                cluster: testbed.aws.account(account).prerequisites.cluster.clone(),
                service_account: text("/serviceAccount/name")?,
            },
            class: ProviderClass::parse(class)?,
            directory: testbed.path().join("mounts").join(name),
            client_id,
            values,
        })
    }

    /// Mounts its volume, or looks again.
    pub(super) async fn mount(&self, testbed: &Testbed) -> Result<Vec<String>, MountError> {
        mount(&testbed.aws, &self.pod, &self.class, &self.directory).await
    }

    /// With the flags that say where the volume is: in a pod it is where the mounted configuration says.
    pub(super) fn flags(&self, spec: ProcessSpec) -> ProcessSpec {
        [
            ("--client-cert-file", "certificate"),
            ("--client-key-file", "privateKey"),
            ("--ca-file", "ca.crt"),
        ]
        .into_iter()
        .fold(
            spec.arg("--mount").arg(&self.directory),
            |spec, (flag, file)| spec.arg(flag).arg(self.directory.join(file)),
        )
    }
}

/// The arguments that make `provisioner outputs` speak of a party.
pub(super) fn outputs<'a>(name: &'a str, format: &'a str) -> Vec<&'a str> {
    let mut args = vec!["outputs", "--format", format];
    if name != SERVER {
        args.extend(["--cluster", name]);
    }
    args
}
