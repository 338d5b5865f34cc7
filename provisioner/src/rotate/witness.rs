//! The witness of a rotation: a temporary MQTT client that may subscribe to presence events of the party's clients (who
//! connects and disconnects, with which certificate) and do nothing else.
//!
//! Its key is in memory only. Its policy and certificate are removed when it leaves; what a crash leaves behind the
//! next one finds through the policy, whose name follows from the party.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use link::id::ClientId;
use link::identity::Identity;
use link::iot::{ArnPrefix, Document, PolicyAction, Statement};
use link::mqtt::{self, Inbound, Session, State};
use link::tls;
use region_file::tags::Owner;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::aws::{Account, Cloud};
use crate::identity::registry::Registry;
use crate::identity::settle::settled;
use crate::identity::state::{ACTIVE, INACTIVE};
use crate::identity::{IdentityError, IdentitySpec, key};
use crate::resource::{Facts, IotPolicy, Manage as _};
use crate::scope::Scope;

use super::proof::Presence;

/// A witness that is subscribed.
pub(super) struct Witness {
    policy: IotPolicy,
    inbound: Inbound,
    stop: CancellationToken,
    driver: AbortOnDropHandle<()>,
    // The session watches it for new certificates; it must outlive the driver.
    _identity: watch::Sender<Arc<Identity>>,
}

// === impl Witness ===

impl Witness {
    /// Makes policy and certificate, connects and subscribes.
    pub(super) async fn start(
        cloud: &Cloud,
        registry: Registry<'_>,
        party: &IdentitySpec,
        port: u16,
        now: Timestamp,
    ) -> Result<Self, IdentityError> {
        let name = format!("{}-{}-{SUFFIX}", party.tags.region(), party.key_scope);
        let failed = |reason: String| IdentityError::Witness {
            party: party.key_scope.clone(),
            client_id: name.clone(),
            reason,
        };
        let client_id = ClientId::new(&name).map_err(|error| failed(error.to_string()))?;
        let account = cloud.of(&Scope::Region)?;
        let arn = prefix(account);
        let (filters, document) = hearing(&arn, &name, &party.client_ids);
        let policy = IotPolicy {
            scope: Scope::Region,
            name: name.clone(),
            tags: party.tags.clone(),
            document,
            undecided: None,
        };
        remove(registry, cloud, &policy).await?;
        let host = account.broker().await?;
        policy.create(cloud, &Facts::default()).await?;
        let started = async {
            let identity = certify(registry, party, &policy, now).await?;
            let mut config = mqtt::Config::new(host, port, client_id);
            config.subscriptions = filters;
            config.tls = tls::TlsOptions::for_port(port);
            let (session, witness) = connect(config, identity, policy.clone()).map_err(&failed)?;
            witness.wait_ready(&session).await.map_err(&failed)?;
            Ok(witness)
        };
        match started.await {
            Ok(witness) => Ok(witness),
            Err(error) => {
                // The reason is worth more than what a failed removal says; the next run removes it.
                let _ = remove(registry, cloud, &policy).await;
                Err(error)
            }
        }
    }

    /// The next client that came or went; `None` once the session is shut down. Whatever else arrives is passed over.
    pub(super) async fn next(&mut self) -> Option<Presence> {
        loop {
            let delivery = self.inbound.recv().await?;
            let event = Presence::parse(&delivery.message.payload);
            delivery.ack();
            if event.is_some() {
                return event;
            }
        }
    }

    /// Disconnects and removes policy and certificate.
    pub(super) async fn stop(
        self,
        registry: Registry<'_>,
        cloud: &Cloud,
    ) -> Result<(), IdentityError> {
        self.stop.cancel();
        // Without an answer to DISCONNECT nothing else has to be done.
        let _ = timeout(DISCONNECT_WITHIN, self.driver).await;
        remove(registry, cloud, &self.policy).await
    }

    async fn wait_ready(&self, session: &Session) -> Result<(), String> {
        let mut state = session.state();
        // A new certificate and policy take a while to be known everywhere, so a refusal is asked again.
        let ready = timeout(READY, state.wait_for(State::is_ready)).await;
        if matches!(ready, Ok(Ok(_))) {
            return Ok(());
        }
        let last = session.state().borrow().clone();
        Err(match last {
            State::Waiting { error, .. } => link::error::chain(error.as_ref()),
            State::Unsubscribed(error) => link::error::chain(error.as_ref()),
            _ => "no answer from the broker".to_owned(),
        })
    }
}

fn connect(
    config: mqtt::Config,
    identity: Identity,
    policy: IotPolicy,
) -> Result<(Session, Witness), String> {
    let (keep, identity) = watch::channel(Arc::new(identity));
    let metrics = mqtt::SessionMetrics::unregistered().map_err(|error| error.to_string())?;
    let (session, inbound, driver) = config
        .build(identity, metrics)
        .map_err(|error| link::error::chain(&error))?;
    let stop = CancellationToken::new();
    let driver = AbortOnDropHandle::new(tokio::spawn(driver.run(stop.clone())));
    let witness = Witness {
        policy,
        inbound,
        stop,
        driver,
        _identity: keep,
    };
    Ok((session, witness))
}

// Inactive until the policy is on it: a crash in between leaves nothing that connects.
async fn certify(
    registry: Registry<'_>,
    party: &IdentitySpec,
    policy: &IotPolicy,
    now: Timestamp,
) -> Result<Identity, IdentityError> {
    let name = &policy.name;
    let (key, csr) = key::make(name).map_err(|source| IdentityError::Key {
        subject: name.clone(),
        source,
    })?;
    let issued = registry.issue(&csr, false, name).await?;
    registry.attach_policy(name, &issued.arn).await?;
    registry.set_status(&issued.id, ACTIVE).await?;
    Identity::from_pem(name, &issued.pem, key.expose(), &party.ca, now).map_err(|error| {
        IdentityError::Witness {
            party: party.key_scope.clone(),
            client_id: name.clone(),
            reason: link::error::chain(&error),
        }
    })
}

// Only a policy that carries the region's mark: the name alone proves nothing.
async fn remove(
    registry: Registry<'_>,
    cloud: &Cloud,
    policy: &IotPolicy,
) -> Result<(), IdentityError> {
    let Some(found) = policy.observe(cloud).await? else {
        return Ok(());
    };
    if found.owner != Owner::Ours {
        return Ok(());
    }
    let attached = registry.targets(&policy.name).await?;
    let lost = registry.lost(&policy.name, &policy.name).await?;
    for id in &attached {
        // Out of service first: a run that ends before it is gone is found by that (`Registry::lost`).
        registry.set_status(id, INACTIVE).await?;
        registry.retire(id).await?;
    }
    for id in &lost {
        registry.retire(id).await?;
    }
    settled(async || policy.delete(cloud).await).await?;
    Ok(())
}

// Filters to subscribe to and the policy that allows them and nothing else: one filter per client, or all clients of
// the account where that makes too many.
fn hearing(arn: &ArnPrefix, name: &str, clients: &[String]) -> (Vec<String>, Document) {
    let exact: Vec<String> = clients
        .iter()
        .map(|id| format!("{PRESENCE}/+/{id}"))
        .collect();
    let topics: Vec<String> = clients
        .iter()
        .map(|id| format!("{PRESENCE}/*/{id}"))
        .collect();
    let document = allowing(arn, name, &exact, &topics);
    if exact.len() <= MAX_FILTERS && document.check_size().is_ok() {
        return (exact, document);
    }
    let wide = vec![format!("{PRESENCE}/+/+")];
    let heard = [format!("{PRESENCE}/*")];
    let document = allowing(arn, name, &wide, &heard);
    (wide, document)
}

fn allowing(arn: &ArnPrefix, name: &str, filters: &[String], topics: &[String]) -> Document {
    let named = |action: PolicyAction, names: &[String]| {
        let kind = action.resource_kind();
        let names = names.iter().map(|name| format!("{arn}:{kind}/{name}"));
        Statement::allow([action], names)
    };
    Document::new(vec![
        named(PolicyAction::Connect, &[name.to_owned()]),
        named(PolicyAction::Subscribe, filters),
        named(PolicyAction::Receive, topics),
    ])
}

fn prefix(account: &Account) -> ArnPrefix {
    ArnPrefix {
        partition: account.partition.clone(),
        region: account.region.clone(),
        account: account.id.clone(),
    }
}

const SUFFIX: &str = "provisioner-witness";
// Below it `connected/<client>`, `disconnected/<client>` and `connect_failed/<client>`.
const PRESENCE: &str = "$aws/events/presence";

// IoT Core admits fifty subscriptions per connection (docs/IOT-CORE.md §1.2).
const MAX_FILTERS: usize = link::iot::limits::SUBSCRIPTIONS;

// Longer than edits of certificates and policies usually take to be known everywhere.
const READY: Duration = Duration::from_secs(5 * 60);

const DISCONNECT_WITHIN: Duration = Duration::from_millis(600);

#[cfg(test)]
mod tests {
    use link::iot::Context;
    use link::iot::evaluate::{Request, evaluate};

    use super::*;

    fn clients(count: usize) -> Vec<String> {
        let id = |number| format!("base-maestro-server-{number}");
        (0..count).map(id).collect()
    }

    #[test]
    fn a_witness_hears_its_clients_and_may_do_nothing_else() {
        for count in [1, 3, 200] {
            let arn = ArnPrefix::new("eu-west-1", "111111111111");
            let (filters, document) = hearing(&arn, "w", &clients(count));
            assert!(document.check_size().is_ok());
            let policies = [document];
            let context = Context::new(arn, "w");
            for filter in &filters {
                let request = Request::subscribe(filter, &context);
                assert!(evaluate(&policies, &request).is_allowed());
            }
            let topic = format!("{PRESENCE}/connected/base-maestro-server-0");
            assert!(evaluate(&policies, &Request::receive(&topic, &context)).is_allowed());
            assert!(!evaluate(&policies, &Request::publish(&topic, &context)).is_allowed());
            let other = Request::receive("sources/maestro/consumers/a/sourceevents", &context);
            assert!(!evaluate(&policies, &other).is_allowed());
            let other = Context::new(context.arn.clone(), "base-maestro-server-0");
            assert!(!evaluate(&policies, &Request::connect(&other)).is_allowed());
        }
    }

    #[test]
    fn few_clients_are_heard_by_name() {
        let arn = ArnPrefix::new("eu-west-1", "111111111111");
        let (filters, _) = hearing(&arn, "w", &clients(1));
        assert_eq!(filters, [format!("{PRESENCE}/+/base-maestro-server-0")]);
    }
}
