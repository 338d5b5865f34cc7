//! Topics, server and clusters: parties whose client ids, topics and policies fit each other.

use link::id::{ClientId, ConsumerName, SourceId};
use link::iot::ArnPrefix;
use link::party::Party;
use link::topic::{Scheme, Topics};

use super::{Check, STAND_IN};
use crate::file::{self, SchemeName};
use crate::{Addons, ClusterNames, EksSettings, ManagementCluster, ServerSettings, Store, grammar};

impl Check<'_> {
    pub(super) fn scheme(
        &mut self,
        file: Option<file::TopicsSection>,
        server: Option<&SourceId>,
    ) -> Option<Scheme> {
        let Some(file) = file else {
            return Some(Scheme::default());
        };
        let explicit = [
            ("sourceEvents", &file.source_events),
            ("agentEvents", &file.agent_events),
            ("sourceBroadcast", &file.source_broadcast),
            ("agentBroadcast", &file.agent_broadcast),
        ];
        let given: Vec<&str> = explicit
            .iter()
            .filter(|(_, t)| t.is_some())
            .map(|(key, _)| *key)
            .collect();
        let named = match (file.scheme, file.source.as_deref()) {
            (Some(_), _) | (None, Some(_)) if !given.is_empty() => {
                let what = format!("stands beside `{}`", given.join("`, `"));
                let key = if file.scheme.is_some() {
                    "scheme"
                } else {
                    "source"
                };
                self.report(
                    &format!("topics.{key}"),
                    what,
                    "write a scheme by name or each topic, not both",
                );
                return None;
            }
            (Some(SchemeName::Sources), None) => return server.map(Scheme::upstream),
            (Some(SchemeName::Sources), Some(source)) => {
                let source = self.parsed("topics.source", source, SourceId::new)?;
                return Some(Scheme::upstream(&source));
            }
            (_, Some(_)) => {
                let what = "is given, but only scheme `sources` has the source in its topics";
                self.report(
                    "topics.source",
                    what,
                    "write `scheme: sources`, or remove it",
                );
                return None;
            }
            (Some(SchemeName::Maestro), None) => true,
            (None, None) => given.is_empty(),
        };
        if named {
            return Some(Scheme::default());
        }
        for (key, topic) in &explicit[..2] {
            if topic.is_none() {
                let what = format!("is missing beside `{}`", given.join("`, `"));
                self.report(
                    &format!("topics.{key}"),
                    what,
                    "add it, or write a scheme by name",
                );
            }
        }
        let topics = Topics {
            source_events: file.source_events?,
            agent_events: file.agent_events?,
            source_broadcast: file.source_broadcast,
            agent_broadcast: file.agent_broadcast,
        };
        match Scheme::parse(&topics) {
            Ok(scheme) if scheme.consumer().is_some() => {
                let what = "are those of one cluster";
                self.report("topics", what, "write `+` where the cluster's name stands");
                None
            }
            Ok(scheme) => Some(scheme),
            Err(error) => self.failed("topics", &error),
        }
    }

    pub(super) fn server(
        &mut self,
        file: file::ServerSection,
        name: &str,
        source: Option<SourceId>,
        scheme: Option<&Scheme>,
        arn: &ArnPrefix,
    ) -> Option<ServerSettings> {
        let store = file.store.unwrap_or_default();
        let (replicas, slots) = self.replicas(store, file.replicas, file.slots);
        let workload = file::AgentSection {
            namespace: file.namespace,
            service_account: file.service_account,
        };
        let workload = self.workload("server", workload, "maestro-server");
        let client_id = file
            .client_id
            .unwrap_or_else(|| format!("{name}-maestro-server"));
        let client_id = self.parsed("server.clientId", &client_id, ClientId::new)?;
        let (source, scheme) = (source?, scheme?);
        let connections = file.connections.unwrap_or(1);
        let bridge = || Party::bridge(scheme, &source, &client_id, connections);
        let lifecycle_events = file.lifecycle_events.unwrap_or_default();
        let hearing = |party: Party| match lifecycle_events {
            true => party.hearing_lifecycle_events(),
            false => party,
        };
        let alone = file.store.is_none().then(bridge).and_then(Result::ok);
        let party = match store {
            Store::Postgres => Party::replicas(scheme, &source, &client_id, slots, connections),
            Store::Sqlite => bridge(),
        };
        let party = match party {
            Ok(party) => hearing(party),
            Err(error) => return self.failed("server", &error),
        };
        let fix = "shorten `server.clientId` or the topics, or use fewer `server.connections`";
        self.policy("server", &party, arn, fix);
        Some(ServerSettings {
            source,
            client_id,
            connections,
            store,
            replicas,
            slots,
            workload,
            party,
            alone: alone.map(hearing),
            lifecycle_events,
        })
    }

    // How many run, and how many places there are for them.
    fn replicas(&mut self, store: Store, replicas: Option<u16>, slots: Option<u16>) -> (u16, u16) {
        if store == Store::Sqlite {
            if let Some(replicas @ 2..) = replicas {
                let what = format!(
                    "is {replicas}, but with `store: sqlite` the state is in a file, which has one writer"
                );
                let fix = "write 1, or remove `store: sqlite`";
                self.report("server.replicas", what, fix);
            }
            if slots.is_some() {
                let what =
                    "is given, but with `store: sqlite` there is one replica without a number";
                self.report("server.slots", what, "remove it, or remove `store: sqlite`");
            }
            return (replicas.unwrap_or(1), 1);
        }
        let replicas = replicas.unwrap_or(REPLICAS);
        let slots = slots.unwrap_or_else(|| (2 * replicas).max(SLOTS));
        if slots <= replicas {
            let what = format!(
                "is {slots}, which leaves no slot for the pod that a rollout starts beside {replicas} replicas"
            );
            let fix = format!("write {} or more, or leave it out", 2 * replicas);
            self.report("server.slots", what, fix);
        }
        (replicas, slots)
    }

    // Names come later: they need every cluster's place.
    pub(super) fn clusters(
        &mut self,
        files: Vec<file::ClusterSection>,
        eks: &EksSettings,
        region: &str,
        scheme: Option<&Scheme>,
        arn: &ArnPrefix,
    ) -> Vec<ManagementCluster> {
        let mut clusters: Vec<ManagementCluster> = Vec::new();
        for (index, file) in files.into_iter().enumerate() {
            let at = format!("managementClusters[{index}]");
            let Some(cluster) = self.cluster(&at, file, eks, region, scheme, arn) else {
                continue;
            };
            if clusters.iter().any(|other| other.id == cluster.id) {
                let what = format!("is `{}`, as another cluster's", cluster.id);
                self.report(
                    &format!("{at}.id"),
                    what,
                    "give each cluster an id of its own",
                );
                continue;
            }
            let place = |cluster: &ManagementCluster| {
                [&cluster.account, &cluster.region, &cluster.eks_cluster].map(String::clone)
            };
            if let Some(other) = clusters
                .iter()
                .find(|other| place(other) == place(&cluster))
            {
                let what = format!(
                    "is `{}`, where the agent of `{}` runs",
                    cluster.eks_cluster, other.id
                );
                self.report(
                    &format!("{at}.eksCluster"),
                    what,
                    "give each cluster an EKS cluster of its own",
                );
            }
            let ids = cluster.party.client_ids();
            if let Some(other) = clusters
                .iter()
                .find(|other| other.party.client_ids() == ids)
            {
                let what = format!(
                    "is `{}`, as the agent's of `{}`",
                    cluster.agent_client_id, other.id
                );
                let fix = "give each agent an id of its own: equal ids evict each other";
                self.report(&format!("{at}.agentClientId"), what, fix);
            }
            clusters.push(cluster);
        }
        clusters
    }

    fn cluster(
        &mut self,
        at: &str,
        file: file::ClusterSection,
        eks: &EksSettings,
        region: &str,
        scheme: Option<&Scheme>,
        arn: &ArnPrefix,
    ) -> Option<ManagementCluster> {
        let field = |key: &str| format!("{at}.{key}");
        let account = self.text(&field("account"), file.account, STAND_IN, grammar::account);
        let region = file.region.unwrap_or_else(|| region.to_owned());
        self.form(&field("region"), grammar::region(&region));
        let access = self.access(&field("access"), file.access, &account);
        if let Some(name) = &file.eks_cluster {
            self.form(&field("eksCluster"), grammar::eks_cluster(name));
        }
        let id = self.parsed(&field("id"), &file.id?, ConsumerName::new)?;
        if matches!(id.as_str(), "server" | "region") {
            let what = format!("is `{id}`, which means something else on the command line");
            self.report(&field("id"), what, "give the cluster another id");
        }
        let source = file
            .agent_client_id
            .unwrap_or_else(|| format!("{id}-work-agent"));
        let party = match Party::agent_as(scheme?, &id, &source) {
            Ok(party) => party,
            Err(error) => return self.failed(&field("agentClientId"), &error),
        };
        self.policy(
            at,
            &party,
            arn,
            "shorten `agentClientId`, the id or the topics",
        );
        Some(ManagementCluster {
            account,
            region,
            eks_cluster: file.eks_cluster.unwrap_or_else(|| id.to_string()),
            access,
            addons: Addons {
                pod_identity_agent: file
                    .pod_identity_agent
                    .unwrap_or(eks.addons.pod_identity_agent),
                secrets_store_driver: file
                    .secrets_store_driver
                    .unwrap_or(eks.addons.secrets_store_driver),
            },
            names: ClusterNames::default(),
            agent_client_id: source,
            party,
            id,
        })
    }

    fn policy(&mut self, field: &str, party: &Party, arn: &ArnPrefix, fix: &str) {
        if let Err(error) = party.policy(arn).check_size() {
            self.report(
                field,
                format!("needs an IoT policy that is too long: {error}"),
                fix,
            );
        }
    }
}

// One goes while the other is restarted, and a zone may be lost.
const REPLICAS: u16 = 2;

// The bridge's own default.
const SLOTS: u16 = 8;
