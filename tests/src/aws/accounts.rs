//! Accounts with what an operator has before the product comes, and the harness's own way to read and change them.
//!
//! What goes through [`FakeAws::call`] goes past the endpoint: it is not counted, refused or held.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use axum::http::StatusCode;
use serde_json::{Map, Value};

use super::backends::Backends;
use super::{Answer, Eks, Endpoint, Moto, MotoError, REGION, account_id};

pub use self::prerequisites::Prerequisites;
pub use self::secrets::SecretVersion;

mod call;
mod inventory;
mod prerequisites;
mod secrets;

/// Several accounts of AWS. Dropping it stops the endpoint; moto stays while another test uses it.
#[derive(Debug)]
pub struct FakeAws {
    endpoint: Endpoint,
    backends: Backends,
    accounts: Vec<Account>,
    moto: Arc<Moto>,
}

/// One account.
#[derive(Clone, Debug)]
pub struct Account {
    /// What the test calls it; also the name of its cluster and of its profile.
    pub name: String,
    /// Twelve digits.
    pub id: String,
    /// Its user's access key.
    pub access_key: String,
    /// What there is already.
    pub prerequisites: Prerequisites,
}

/// AWS IoT, which somebody else runs.
#[derive(Clone, Debug)]
pub struct Iot {
    /// The sandbox's control plane (plain HTTP).
    pub address: SocketAddr,
    /// The id of the account it belongs to, as in the ARNs it gives.
    pub account: String,
}

/// Which accounts there are.
#[derive(Debug, Default)]
pub struct FakeAwsBuilder {
    accounts: Vec<(String, String)>,
    iot: Option<Iot>,
    database: Option<SocketAddr>,
}

/// The AWS of a test could not be made or asked.
#[derive(Debug, thiserror::Error)]
pub enum FakeAwsError {
    /// No moto.
    #[error("start the AWS of the tests")]
    Start(#[from] MotoError),
    /// No client for the backends.
    #[error("make the HTTP client of the endpoint")]
    Client(#[from] reqwest::Error),
    /// No port for the endpoint, or no file.
    #[error("start the endpoint")]
    Endpoint(#[from] io::Error),
    /// A call of the harness was refused.
    #[error("{action}: {status}: {body}")]
    Refused {
        /// Such as `secretsmanager:GetSecretValue`.
        action: String,
        /// Of HTTP.
        status: StatusCode,
        /// The error in the service's own words.
        body: String,
    },
    /// The test asks for an account that is not there.
    #[error("find the account `{0}` among those of this AWS")]
    Account(String),
    /// An answer is not what the service answers.
    #[error("read the answer to {0}")]
    Answer(String),
}

// === impl FakeAwsBuilder ===

impl FakeAwsBuilder {
    /// With an account of a random id.
    #[must_use]
    pub fn account(self, name: &str) -> Self {
        self.account_with_id(name, &account_id())
    }

    /// With an account of this id (from [`account_id`], shared with the sandbox).
    #[must_use]
    pub fn account_with_id(mut self, name: &str, id: &str) -> Self {
        self.accounts.push((name.into(), id.into()));
        self
    }

    /// With AWS IoT in one of the accounts. Without it there is none.
    #[must_use]
    pub fn iot(mut self, iot: Iot) -> Self {
        self.iot = Some(iot);
        self
    }

    /// With a PostgreSQL server that every database of RDS leads to. Without it they lead nowhere.
    #[must_use]
    pub fn database(mut self, server: Option<SocketAddr>) -> Self {
        self.database = server;
        self
    }

    /// Starts it, with a VPC, a cluster and a bastion in each account.
    ///
    /// # Errors
    /// See [`FakeAwsError`].
    pub async fn start(self) -> Result<FakeAws, FakeAwsError> {
        let moto = Moto::shared().await?;
        let backends = Backends::new(
            moto.address(),
            self.iot.as_ref().map(|iot| iot.address),
            self.database,
        )?;
        let endpoint = Endpoint::start(backends.clone(), self.iot.map(|iot| iot.account)).await?;
        let mut aws = FakeAws {
            endpoint,
            backends,
            accounts: Vec::new(),
            moto,
        };
        for (name, id) in self.accounts {
            let access_key = format!("AKIATEST{id}");
            aws.endpoint.register(&access_key, &id);
            let prerequisites = prerequisites::prepare(&aws, &name, &id).await?;
            let account = Account {
                name,
                id,
                access_key,
                prerequisites,
            };
            aws.accounts.push(account);
        }
        Ok(aws)
    }
}

// === impl FakeAws ===

impl FakeAws {
    /// No accounts yet.
    pub fn builder() -> FakeAwsBuilder {
        FakeAwsBuilder::default()
    }

    /// The usual two: `region`, with AWS IoT if there is one (and its account's id then), and `management-01`.
    ///
    /// # Errors
    /// See [`FakeAwsError`].
    pub async fn start(iot: Option<Iot>) -> Result<Self, FakeAwsError> {
        let builder = match iot {
            Some(iot) => Self::builder()
                .account_with_id("region", &iot.account.clone())
                .iot(iot),
            None => Self::builder().account("region"),
        };
        builder.account("management-01").start().await
    }

    /// The one endpoint, and the controls of a test.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The fake EKS, for [`Eks::settle_after`].
    pub fn eks(&self) -> &Eks {
        &self.backends.eks
    }

    /// moto, for its log.
    pub fn moto(&self) -> &Moto {
        &self.moto
    }

    /// All accounts, in the order of the builder.
    pub fn accounts(&self) -> &[Account] {
        &self.accounts
    }

    /// An account by name.
    ///
    /// # Panics
    /// When the test never made it.
    pub fn account(&self, name: &str) -> &Account {
        let found = self.find(name);
        #[expect(
            clippy::panic,
            reason = "a mistake in the test, no state that is tested"
        )]
        found.unwrap_or_else(|| panic!("the test has no account `{name}`"))
    }

    /// The environment of a process that acts as the user of an account.
    pub fn env(&self, account: &str) -> Vec<(String, String)> {
        let key = &self.account(account).access_key;
        let mut env = self.place();
        env.push(("AWS_ACCESS_KEY_ID".into(), key.clone()));
        env.push(("AWS_SECRET_ACCESS_KEY".into(), SECRET_KEY.into()));
        // Those of whoever runs the tests are none of its business.
        env.push(("AWS_CONFIG_FILE".into(), "/dev/null".into()));
        env.push(("AWS_SHARED_CREDENTIALS_FILE".into(), "/dev/null".into()));
        env
    }

    /// Writes AWS config files into a directory, and gives the environment that makes a process use them. Each account
    /// has a profile of its name with keys, and `NAME-role`: the role `operator` of the account, assumed with the keys
    /// of the first account.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn config_file(&self, directory: &Path) -> io::Result<Vec<(String, String)>> {
        let (config, credentials) = (directory.join("config"), directory.join("credentials"));
        let (mut profiles, mut keys) = (String::new(), String::new());
        let first = self.accounts.first().map_or("", |account| &account.name);
        for Account {
            name,
            access_key,
            prerequisites,
            ..
        } in &self.accounts
        {
            let role = &prerequisites.operator_role;
            profiles += &format!(
                "[profile {name}]\nregion = {REGION}\n\n\
                 [profile {name}-role]\nregion = {REGION}\nrole_arn = {role}\nsource_profile = {first}\n\n"
            );
            keys += &format!(
                "[{name}]\naws_access_key_id = {access_key}\naws_secret_access_key = {SECRET_KEY}\n\n"
            );
        }
        std::fs::write(&config, profiles)?;
        std::fs::write(&credentials, keys)?;
        let mut env = self.place();
        env.push(("AWS_CONFIG_FILE".into(), config.display().to_string()));
        env.push((
            "AWS_SHARED_CREDENTIALS_FILE".into(),
            credentials.display().to_string(),
        ));
        Ok(env)
    }

    /// Makes a call in an account, past the endpoint, and gives its answer as JSON.
    ///
    /// Parameters are spelled as on the wire. For EC2, IAM, RDS and STS they are the fields of the form
    /// (`"Filter.1.Name"`, `"Tags.member.1.Key"`), for EKS and AWS IoT those of the path go by the names that AWS gives
    /// them and the others into the body, or into the query of a GET or DELETE.
    ///
    /// # Errors
    /// See [`FakeAwsError`].
    pub async fn call(
        &self,
        account: &str,
        service: &str,
        operation: &str,
        params: Value,
    ) -> Result<Value, FakeAwsError> {
        let account = self
            .find(account)
            .ok_or_else(|| FakeAwsError::Account(account.into()))?;
        self.call_as(&account.id, service, operation, params).await
    }

    async fn call_as(
        &self,
        account: &str,
        service: &str,
        operation: &str,
        params: Value,
    ) -> Result<Value, FakeAwsError> {
        let action = format!("{service}:{operation}");
        let params = match params {
            Value::Object(params) => params,
            _ => Map::new(),
        };
        let request = call::request(account, service, operation, params)
            .ok_or_else(|| FakeAwsError::Answer(action.clone()))?;
        let Answer { status, body, .. } = self.backends.carry_out(&request).await;
        let body = String::from_utf8_lossy(&body).into_owned();
        if !status.is_success() {
            return Err(FakeAwsError::Refused {
                action,
                status,
                body,
            });
        }
        call::read(service, operation, &body).ok_or(FakeAwsError::Answer(action))
    }

    fn find(&self, name: &str) -> Option<&Account> {
        self.accounts.iter().find(|account| account.name == name)
    }

    fn place(&self) -> Vec<(String, String)> {
        let pairs = [
            ("AWS_ENDPOINT_URL", self.endpoint.url()),
            ("AWS_REGION", REGION.to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            // Loopback never goes through a proxy of the machine.
            ("NO_PROXY", "127.0.0.1,localhost".to_owned()),
        ];
        pairs.map(|(name, value)| (name.to_owned(), value)).into()
    }
}

const SECRET_KEY: &str = "not-checked-by-anybody";
