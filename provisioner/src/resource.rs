//! Resources in AWS: desired state, observed state, and the difference.
//!
//! A [`Resource`] is the desired state, made from the region's file without any call. `Manage` is what every kind of
//! resource implements: observe, create, update, delete, adopt. Reading and writing are apart: `Manage::observe` changes
//! nothing, and [`compare`] is pure. `create` makes the first call only; whatever is then still different is an
//! update. So a process that dies between two calls leaves a resource that the next run completes.
//!
//! **Invariant:** no attribute holds a secret, for attributes are printed.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use region_file::tags::Owner;
use serde::Serialize;
use serde_json::Value;

use crate::aws::{AwsError, Cloud};
use crate::identity::IdentitySpec;
use crate::scope::Scope;

pub use self::addon::Addon;
pub use self::database::Database;
pub use self::iot_policy::{IotPolicy, Undecided};
pub use self::pod_identity::PodIdentity;
pub use self::role::Role;
pub use self::secret::{Content, Secret};
pub use self::security_group::SecurityGroup;
pub use self::subnet_group::SubnetGroup;
pub use self::thing::Thing;

mod addon;
mod certificate;
mod database;
mod eks;
mod iot_policy;
mod kms;
mod pod_identity;
mod role;
mod secret;
mod security_group;
mod subnet_group;
mod thing;

/// The desired state of one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Who may reach the database.
    SecurityGroup(SecurityGroup),
    /// Where the database may be.
    SubnetGroup(SubnetGroup),
    /// PostgreSQL.
    Database(Database),
    /// A value in Secrets Manager, other than a certificate.
    Secret(Secret),
    /// An IoT thing.
    Thing(Thing),
    /// An IoT policy.
    IotPolicy(IotPolicy),
    /// A certificate in IoT Core, its key in Secrets Manager, and what it is attached to.
    Certificate(IdentitySpec),
    /// An IAM role for a pod.
    Role(Role),
    /// An EKS add-on.
    Addon(Addon),
    /// Which service account gets which role.
    PodIdentity(PodIdentity),
}

/// Names a resource in plans, logs and errors: `region iot-policy/base-maestro-server-policy`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// Whose account.
    pub scope: Scope,
    /// Such as `iot-policy`.
    pub kind: &'static str,
    /// Its name in AWS.
    pub name: String,
}

/// The observed state of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// Whose it is.
    pub owner: Owner,
    /// What it is like, in the words of `Manage::wanted`.
    pub attributes: BTreeMap<String, Value>,
    /// Whether it can be used.
    pub state: State,
    /// ARN or id.
    pub id: Option<String>,
    /// What is not as it should be and is only reported, not changed.
    pub notes: Vec<Note>,
    /// What others need to know of it.
    pub facts: Facts,
}

/// Whether a resource can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It can.
    Ready,
    /// Not yet: AWS's word for it, such as `creating`.
    Settling(String),
    /// It will not come right by waiting.
    Broken {
        /// AWS's words.
        why: String,
        /// The next step.
        hint: String,
    },
}

/// Something a person should know or decide.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// What is the matter, as a sentence without a period.
    pub text: String,
    /// The next step.
    pub hint: String,
}

/// The desired value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DesiredValue {
    /// This value.
    Known(Value),
    /// A value that is known once another resource is there, named here.
    After(&'static str),
}

/// One attribute that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Which.
    pub attribute: String,
    /// What it is; null for nothing.
    pub have: Value,
    /// What it should be.
    pub want: Value,
}

/// What it means to put one attribute right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Not noticed by anybody.
    Quiet,
    /// Somebody notices: what and how long, as a phrase (`restarts the database for a minute or two`).
    Disrupts(String),
    /// AWS cannot change it, or it would destroy something.
    Impossible {
        /// Why.
        why: String,
        /// What a person can do.
        hint: String,
    },
}

/// Values that AWS assigns and that more than one resource needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The Data-ATS endpoint, without port.
    pub endpoint: Option<String>,
    /// Id of the database's security group.
    pub security_group: Option<String>,
    /// Host and port of the database.
    pub database: Option<(String, u16)>,
    /// RDS's own id of the database, by which policies name it.
    pub database_resource: Option<String>,
}

/// What every kind of resource implements.
pub(crate) trait Manage {
    /// What is there; `None` for nothing. Changes nothing. Several calls at most.
    async fn observe(&self, cloud: &Cloud) -> Result<Option<Observed>, AwsError>;

    /// What should be there.
    fn wanted(&self, cloud: &Cloud, facts: &Facts) -> BTreeMap<String, DesiredValue>;

    /// What `create` sets besides [`Manage::wanted`], which is not compared afterwards: shown in plans.
    fn set_at_creation(&self) -> BTreeMap<String, Value> {
        BTreeMap::new()
    }

    /// What changing one attribute means.
    fn change(&self, difference: &Difference) -> Change {
        let _ = difference;
        Change::Quiet
    }

    /// Makes it, with the ownership tag from the first call on. Safe to repeat after a crash at any point.
    async fn create(&self, cloud: &Cloud, facts: &Facts) -> Result<(), AwsError>;

    /// Puts attributes right. Never called with one whose [`Change`] is impossible.
    async fn update(
        &self,
        cloud: &Cloud,
        facts: &Facts,
        differences: &[Difference],
    ) -> Result<(), AwsError>;

    /// Removes it and what hangs on it, as far as it is there. Safe to repeat after a crash at any point.
    async fn delete(&self, cloud: &Cloud) -> Result<(), AwsError>;

    /// Writes the ownership tag to what somebody else made, and changes nothing else of it.
    async fn adopt(&self, cloud: &Cloud) -> Result<(), AwsError>;

    /// How long it may take to be usable after a change.
    fn patience(&self) -> Duration {
        Duration::from_secs(120)
    }
}

/// Stands for a value that must not be printed, in attributes.
pub(crate) const SENSITIVE: &str = "(sensitive value)";

/// Attributes by name.
pub(crate) fn attributes<T, const N: usize>(pairs: [(&str, T); N]) -> BTreeMap<String, T> {
    pairs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// The attributes that are not as they should be, and those that are not known yet (attribute, what it waits for).
pub fn compare(
    wanted: &BTreeMap<String, DesiredValue>,
    have: &BTreeMap<String, Value>,
) -> (Vec<Difference>, Vec<(String, &'static str)>) {
    let mut differences = Vec::new();
    let mut later = Vec::new();
    for (attribute, want) in wanted {
        let have = have.get(attribute).cloned().unwrap_or_default();
        match want {
            DesiredValue::Known(want) if *want != have => differences.push(Difference {
                attribute: attribute.clone(),
                have,
                want: want.clone(),
            }),
            DesiredValue::Known(_) => {}
            DesiredValue::After(what) => later.push((attribute.clone(), *what)),
        }
    }
    (differences, later)
}

// === impl Address ===

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.scope, self.kind, self.name)
    }
}

// === impl Facts ===

impl Facts {
    /// Takes over what `more` knows.
    pub fn learn(&mut self, more: &Self) {
        let Self {
            endpoint,
            security_group,
            database,
            database_resource,
        } = more.clone();
        self.endpoint = endpoint.or(self.endpoint.take());
        self.security_group = security_group.or(self.security_group.take());
        self.database = database.or(self.database.take());
        self.database_resource = database_resource.or(self.database_resource.take());
    }
}

// === impl Observed ===

impl Observed {
    /// A ready thing of ours or others without facts or notes.
    pub fn ready(owner: Owner, attributes: BTreeMap<String, Value>, id: Option<String>) -> Self {
        Self {
            owner,
            attributes,
            state: State::Ready,
            id,
            notes: Vec::new(),
            facts: Facts::default(),
        }
    }
}

// === impl Resource ===

/// Runs an expression on whichever kind it is.
macro_rules! each {
    ($resource:expr, $one:ident => $do:expr) => {
        match $resource {
            Resource::SecurityGroup($one) => $do,
            Resource::SubnetGroup($one) => $do,
            Resource::Database($one) => $do,
            Resource::Secret($one) => $do,
            Resource::Thing($one) => $do,
            Resource::IotPolicy($one) => $do,
            Resource::Certificate($one) => $do,
            Resource::Role($one) => $do,
            Resource::Addon($one) => $do,
            Resource::PodIdentity($one) => $do,
        }
    };
}

impl Resource {
    /// Its name in plans, logs and errors.
    pub fn address(&self) -> Address {
        let (kind, scope, name) = match self {
            Self::SecurityGroup(it) => ("security-group", &it.scope, it.name.clone()),
            Self::SubnetGroup(it) => ("subnet-group", &it.scope, it.name.clone()),
            Self::Database(it) => ("database", &it.scope, it.name.clone()),
            Self::Secret(it) => ("secret", &it.scope, it.name.clone()),
            Self::Thing(it) => ("thing", &it.scope, it.name.clone()),
            Self::IotPolicy(it) => ("iot-policy", &it.scope, it.name.clone()),
            Self::Certificate(it) => ("certificate", &it.key_scope, it.secret.clone()),
            Self::Role(it) => ("role", &it.scope, it.name.clone()),
            Self::Addon(it) => ("addon", &it.scope, format!("{}/{}", it.cluster, it.name)),
            Self::PodIdentity(it) => {
                let name = format!("{}/{}/{}", it.cluster, it.namespace, it.service_account);
                ("pod-identity", &it.scope, name)
            }
        };
        let scope = scope.clone();
        Address { scope, kind, name }
    }
}

impl Manage for Resource {
    async fn observe(&self, cloud: &Cloud) -> Result<Option<Observed>, AwsError> {
        each!(self, it => it.observe(cloud).await)
    }

    fn wanted(&self, cloud: &Cloud, facts: &Facts) -> BTreeMap<String, DesiredValue> {
        each!(self, it => it.wanted(cloud, facts))
    }

    fn set_at_creation(&self) -> BTreeMap<String, Value> {
        each!(self, it => it.set_at_creation())
    }

    fn change(&self, difference: &Difference) -> Change {
        each!(self, it => it.change(difference))
    }

    async fn create(&self, cloud: &Cloud, facts: &Facts) -> Result<(), AwsError> {
        each!(self, it => it.create(cloud, facts).await)
    }

    async fn update(
        &self,
        cloud: &Cloud,
        facts: &Facts,
        differences: &[Difference],
    ) -> Result<(), AwsError> {
        each!(self, it => it.update(cloud, facts, differences).await)
    }

    async fn delete(&self, cloud: &Cloud) -> Result<(), AwsError> {
        each!(self, it => it.delete(cloud).await)
    }

    async fn adopt(&self, cloud: &Cloud) -> Result<(), AwsError> {
        each!(self, it => it.adopt(cloud).await)
    }

    fn patience(&self) -> Duration {
        each!(self, it => it.patience())
    }
}
