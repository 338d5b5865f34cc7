//! From the command line of a running agent to its settings, and the run itself.

use std::path::PathBuf;

use link::admin::{Admin, Checks, write_listening_file};
use link::clock::Clock;
use link::config::ProcessEnv;
use link::endpoint::{Endpoint, Sources};
use link::error::{ExitKind, Failure};
use link::id::ConsumerName;
use link::mqtt::Reconnect;
use link::shutdown::{Shutdown, run_until_shutdown};
use link::supervise::TaskGroup;
use link::telemetry;
use prometheus::Registry;

use super::{RunArgs, TargetSpec};
use crate::applier::kubernetes::AgentId;
use crate::service::{Backend, ClusterBackend, ElectionOptions, Settings};

// === impl RunArgs ===

impl RunArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        telemetry::init(&self.log).map_err(Failure::misuse)?;
        let shutdown = Shutdown::listen().map_err(|error| Failure::new(ExitKind::Failed, error))?;
        let registry = Registry::new();
        telemetry::register_build_info(&registry, "agent")
            .map_err(|error| Failure::new(ExitKind::Failed, error))?;
        let checks = Checks::new();
        let admin = Admin::bind(self.admin_listen).await?;
        let grace = self.shutdown_grace;
        let listening_file = self.listening_file.clone();
        let admin_address = admin.local_addr();
        let service = self.settings()?.build(&registry, &checks).await?;
        let drain = shutdown.drain();
        let alone = drain.token().child_token();
        let mut serving = TaskGroup::new(alone.clone());
        serving.spawn("admin", admin.serve(checks, registry, drain.clone()));
        if let Some(file) = listening_file {
            write_listening_file(&file, &[("admin", admin_address)])?;
        }
        let service = Box::pin(service.run(drain.clone()));
        let mut running = Box::pin(run_until_shutdown(&drain, grace, service));
        tokio::select! {
            ended = &mut running => return ended?,
            () = alone.cancelled() => {}
        }
        let died = !drain.is_requested();
        // Without its readiness nobody knows what the agent does: it ends in order, and says why.
        drain.token().cancel();
        let ended = running.await;
        if died {
            serving.join().await.map_err(Failure::failed)?;
        }
        ended?
    }

    fn settings(self) -> Result<Settings, Failure> {
        let sources = Sources {
            mount: self.mount.as_deref(),
            file: self.workload_source_config.as_deref(),
            flags: Some(&self.broker),
        };
        let endpoint = Endpoint::resolve(sources, &ProcessEnv)?;
        let consumer = consumer(self.consumer_name.clone(), endpoint.consumer.clone())?;
        let backend = self.backend(&consumer, &endpoint)?;
        let event_source = self
            .cloudevents_client_id
            .unwrap_or_else(|| format!("{consumer}-work-agent"));
        let allowed = self.allowed_sources;
        Ok(Settings {
            endpoint,
            consumer,
            event_source,
            sources: (!allowed.is_empty()).then(|| allowed.into_iter().collect()),
            backend,
            paused: self.paused.then(|| "paused by `--paused`".into()),
            max_raw_bytes: self.max_json_raw_length,
            reconnect: Reconnect::default(),
            clock: Clock::system(),
        })
    }

    fn backend(&self, consumer: &ConsumerName, endpoint: &Endpoint) -> Result<Backend, Failure> {
        match &self.target {
            TargetSpec::Directory(root) => Ok(Backend::Directory {
                root: root.clone(),
                state_dir: self.state_directory()?,
                sweep: self.status_sync_interval,
            }),
            TargetSpec::Kubernetes => Ok(Backend::Cluster(ClusterBackend {
                options: self.cluster.options(consumer),
                agent_id: AgentId::from(self.agent_id.as_deref().unwrap_or(consumer.as_str())),
                adopted: self
                    .adopt_agent_ids
                    .iter()
                    .map(|id| AgentId::from(id.as_str()))
                    // A Go agent is known by the broker's address.
                    .chain([AgentId::from(
                        format!("{}:{}", endpoint.broker.host, endpoint.broker.port).as_str(),
                    )])
                    .collect(),
                poll: self.status_sync_interval,
                election: (!self.disable_leader_election).then(|| ElectionOptions {
                    name_of_process: self.leader_identity.clone(),
                }),
            })),
        }
    }

    fn state_directory(&self) -> Result<PathBuf, Failure> {
        self.state_dir.clone().ok_or_else(|| {
            Failure::usage(NoStateDirectory).with_hint(
                "give `--state-dir DIR`, one for each agent, on a volume that survives a restart"
                    .to_string(),
            )
        })
    }
}

/// With a directory as target, state that must survive a restart needs another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the target is a directory and no state directory is given")]
struct NoStateDirectory;

/// Which consumer this is: nobody says so, or two say differently.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum ConsumerError {
    #[error("no consumer name is given")]
    Missing,
    #[error(
        "the consumer is `{flag}` by flag or environment and `{mount}` in the mounted directory"
    )]
    Differ {
        flag: ConsumerName,
        mount: ConsumerName,
    },
}

pub(super) fn consumer(
    flag: Option<ConsumerName>,
    mount: Option<ConsumerName>,
) -> Result<ConsumerName, Failure> {
    match (flag, mount) {
        (Some(flag), Some(mount)) if flag != mount => {
            Err(
                Failure::usage(ConsumerError::Differ { flag, mount }).with_hint(
                    "leave `--consumer-name` away, or mount this cluster's directory".to_string(),
                ),
            )
        }
        (Some(name), _) | (None, Some(name)) => Ok(name),
        (None, None) => Err(Failure::usage(ConsumerError::Missing).with_hint(
            "give `--consumer-name NAME`, or mount a directory with the file `consumerName`"
                .to_string(),
        )),
    }
}
