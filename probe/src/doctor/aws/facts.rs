//! What AWS says of the certificate, its policies and the connection, and what follows from it; pure.

use jiff::Timestamp;
use link::iot::limits::POLICY_SPREADS;
use link::iot::{
    ArnPrefix, Certificate, ConnectAttributes, Context as Connection, Decision, Document,
    PolicyAction, Request, Resource, evaluate,
};

/// What was asked for, or why it is not known.
pub(crate) type Known<T> = Result<T, Unknown>;

/// Why something is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// It was not asked for; the words say why.
    NotAsked(String),
    /// The credentials may not ask; the words are AWS's.
    Refused(String),
    /// No answer, or one that means nothing here.
    Failed(String),
    /// Another account or region answered than the broker's.
    Elsewhere(String),
}

/// A certificate in the account and region that was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CertificateState {
    /// There is none with this id.
    Absent,
    /// It is registered.
    Registered {
        /// `ACTIVE`, `INACTIVE`, `REVOKED` and others.
        status: String,
        /// Its resource name.
        arn: String,
        /// When its state changed last.
        modified: Option<Timestamp>,
    },
}

/// A policy that is attached to the certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AttachedPolicy {
    pub(crate) document: Document,
    /// When its version in force changed last.
    pub(crate) modified: Option<Timestamp>,
}

/// A client id at the broker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ConnectionState {
    pub(crate) connected: bool,
    /// Since when it is, or is not.
    pub(crate) since: Option<Timestamp>,
    /// Why it went.
    pub(crate) reason: Option<String>,
}

/// All of it.
#[derive(Clone, Debug)]
pub(crate) struct AwsFacts {
    /// Who asked; `None` where nobody did.
    pub(crate) caller: Known<String>,
    /// The id of the certificate, by its bytes.
    pub(crate) certificate_id: String,
    pub(crate) certificate: Known<CertificateState>,
    pub(crate) policies: Known<Vec<AttachedPolicy>>,
    /// The endpoint of the account and region.
    pub(crate) endpoint: Known<String>,
    /// The party's own client id.
    pub(crate) connection: Known<ConnectionState>,
    /// What that client is subscribed to.
    pub(crate) subscriptions: Known<Vec<String>>,
    /// The mounted secret; `false` where it does not exist.
    pub(crate) secret: Known<bool>,
    /// What the agent of Pod Identity refuses keys with.
    pub(crate) pod: Option<String>,
    /// The party's client id.
    pub(crate) client_id: String,
    /// The time of the first answer: AWS's and the one here.
    pub(crate) date: Option<(Timestamp, Timestamp)>,
    pub(crate) now: Timestamp,
}

// === impl AwsFacts ===

impl AwsFacts {
    /// Nothing was asked.
    pub(crate) fn none(why: impl Into<String>) -> Self {
        let unknown = Unknown::NotAsked(why.into());
        Self {
            caller: Err(unknown.clone()),
            certificate_id: String::new(),
            certificate: Err(unknown.clone()),
            policies: Err(unknown.clone()),
            endpoint: Err(unknown.clone()),
            connection: Err(unknown.clone()),
            subscriptions: Err(unknown.clone()),
            secret: Err(unknown),
            pod: None,
            client_id: String::new(),
            date: None,
            now: Timestamp::UNIX_EPOCH,
        }
    }

    /// Who asked, to follow "asked"; nothing where it is not known.
    pub(crate) fn asked_as(&self) -> String {
        match &self.caller {
            Ok(caller) => format!(" as `{caller}`"),
            Err(_) => String::new(),
        }
    }

    /// Whether AWS was asked at all, whatever it said.
    pub(crate) fn was_asked(&self) -> bool {
        !matches!(self.connection, Err(Unknown::NotAsked(_)))
    }

    /// Whether the account and region that were asked do not have the certificate.
    pub(crate) fn lacks_certificate(&self) -> bool {
        matches!(self.certificate, Ok(CertificateState::Absent))
    }

    /// The same after it turned out that another account or region was asked than the broker's: what it says of certificate,
    /// policies and connections is of others.
    pub(crate) fn disown(&mut self, because: &str) {
        let caller = self.asked_as();
        let unknown = Unknown::Elsewhere(format!(
            "AWS was asked{caller}, in another account or region than the broker's: certificate `{}` is not registered there, and {because}",
            self.certificate_id
        ));
        self.certificate = Err(unknown.clone());
        self.policies = Err(unknown.clone());
        self.endpoint = Err(unknown.clone());
        self.connection = Err(unknown.clone());
        self.subscriptions = Err(unknown);
    }

    /// The same of connections alone: the certificate is registered there too, and the broker is another endpoint.
    pub(crate) fn disown_connection(&mut self, endpoint: &str) {
        let unknown = Unknown::Elsewhere(format!(
            "AWS was asked{}, whose endpoint is `{endpoint}` and not the broker's: who is connected to it is not known there",
            self.asked_as()
        ));
        self.connection = Err(unknown.clone());
        self.subscriptions = Err(unknown);
    }

    /// How resource names begin, by the certificate's own.
    pub(crate) fn arn(&self) -> Option<ArnPrefix> {
        let Ok(CertificateState::Registered { arn, .. }) = &self.certificate else {
            return None;
        };
        // `arn:PARTITION:iot:REGION:ACCOUNT:cert/ID`
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        let [_, partition, _, region, account, _] = parts.as_slice() else {
            return None;
        };
        Some(ArnPrefix {
            partition: (*partition).into(),
            region: (*region).into(),
            account: (*account).into(),
        })
    }

    /// What the attached policies say; `None` where they, or what they depend on, are not known.
    pub(crate) fn decide(&self, action: PolicyAction, on: &str) -> Option<Decision> {
        let policies = self.policies.as_ref().ok()?;
        let documents: Vec<Document> = policies.iter().map(|it| it.document.clone()).collect();
        // What a thing's name stands for depends on the registry of things.
        if documents
            .iter()
            .any(|document| document.to_json().contains("iot:Connection.Thing"))
        {
            return None;
        }
        let client_id = match action {
            PolicyAction::Connect => on.to_owned(),
            _ => self.client_id.clone(),
        };
        let connection = Connection {
            arn: self.arn()?,
            client_id,
            certificate: Certificate {
                id: Some(self.certificate_id.clone()),
                ..Certificate::default()
            },
            connect: ConnectAttributes {
                persistent: true,
                last_will: false,
            },
            ..Connection::default()
        };
        let request = Request {
            action,
            resource: Resource::of(action, on),
            context: &connection,
        };
        Some(evaluate(&documents, &request))
    }

    /// Whether certificate and policies allow the party's client id.
    pub(crate) fn connect_allowed(&self) -> Option<bool> {
        match self.certificate.as_ref().ok()? {
            CertificateState::Absent => Some(false),
            CertificateState::Registered { status, .. } if status != "ACTIVE" => Some(false),
            CertificateState::Registered { .. } => {
                match self.decide(PolicyAction::Connect, &self.client_id)? {
                    Decision::Allow { .. } => Some(true),
                    Decision::Deny { .. } => Some(false),
                    Decision::Unknown { .. } => None,
                }
            }
        }
    }

    /// What was changed in the last minutes, in words.
    pub(crate) fn recent(&self) -> Option<String> {
        let minutes = |at: &Timestamp| {
            let age = u64::try_from(self.now.duration_since(*at).as_secs()).ok()?;
            (age < POLICY_SPREADS.as_secs()).then_some(age / 60)
        };
        let policies = self.policies.iter().flatten();
        let mut changed = policies.filter_map(|policy| {
            let age = minutes(policy.modified.as_ref()?)?;
            let name = policy.document.name.clone().unwrap_or_default();
            Some(format!("policy `{name}` was changed {age} minutes ago"))
        });
        changed.next()
    }
}

// === impl Unknown ===

impl Unknown {
    /// In words.
    pub(crate) fn words(&self) -> &str {
        match self {
            Self::NotAsked(words)
            | Self::Refused(words)
            | Self::Failed(words)
            | Self::Elsewhere(words) => words,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_account_says_of_the_connection_is_not_believed() {
        let mut facts = AwsFacts::none("not asked");
        facts.certificate = Ok(CertificateState::Absent);
        facts.connection = Ok(ConnectionState::default());
        facts.caller = Ok("arn:aws:iam::222222222222:user/a".into());
        assert!(facts.lacks_certificate());
        facts.disown("the broker takes it");
        assert!(!facts.lacks_certificate());
        let words = facts.connection.unwrap_err().words().to_owned();
        assert!(
            words.contains("222222222222") && words.ends_with("the broker takes it"),
            "{words}"
        );
    }
}
