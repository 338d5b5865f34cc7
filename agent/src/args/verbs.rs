//! From the command lines of the verbs to what they do. Data goes to standard output.

use link::cli::stdout_line;
use link::error::Failure;

use super::{AdoptArgs, PermissionsArgs};
use crate::adopt::AdoptOptions;
use crate::applier::kubernetes::AgentId;
use crate::permissions::PermissionsOptions;

// === impl PermissionsArgs ===

impl PermissionsArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let options = PermissionsOptions {
            cluster: self.cluster.options(&self.consumer_name),
            consumer: self.consumer_name,
            service_account: self.service_account,
        };
        let mut out = Vec::new();
        let outcome = Box::pin(options.run(&mut out)).await;
        print(&out)?;
        outcome
    }
}

// === impl AdoptArgs ===

impl AdoptArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let agent_id = self.agent_id.as_deref();
        let from = self.from.iter().chain(&self.from_broker);
        let from: Vec<AgentId> = from.map(|id| AgentId::from(id.as_str())).collect();
        if from.is_empty() {
            return Err(Failure::usage(NobodyNamed).with_hint(
                "give `--from-broker HOST:PORT` as the other agent's config has it in `brokerHost`, or `--from ID`; \
                 `kubectl get appliedmanifestworks -o wide` shows the ids"
                    .to_string(),
            ));
        }
        let options = AdoptOptions {
            cluster: self.cluster.options(&self.consumer_name),
            agent_id: AgentId::from(agent_id.unwrap_or(self.consumer_name.as_str())),
            consumer: self.consumer_name,
            from,
            managers: self.from_managers,
            dry_run: self.dry_run,
        };
        let mut out = Vec::new();
        let outcome = Box::pin(options.run(&mut out)).await;
        print(&out)?;
        outcome
    }
}

/// Nobody is named whose works could be taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no agent to take over from is named")]
struct NobodyNamed;

/// What was done before a failure is worth reading too.
fn print(out: &[u8]) -> Result<(), Failure> {
    let text = String::from_utf8_lossy(out);
    if !text.is_empty() {
        // Nobody reads on: all the same a success.
        let _ = stdout_line(text.trim_end())?;
    }
    Ok(())
}
