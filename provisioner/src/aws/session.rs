//! Opening an account: credentials, clients, and the account guard.
//!
//! Credentials come from the SDK's usual chain (environment, profile, web identity, container, instance), from a
//! named profile, and through a role in another account. A profile that is named wins over the environment, as in
//! the AWS command line: whoever names one means it.

use std::time::Duration;

use aws_config::environment::region::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::{self, ProfileFileCredentialsProvider, ProfileFileRegionProvider};
use aws_config::retry::RetryConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_runtime::env_config::file::EnvConfigFiles;
use aws_types::os_shim_internal::{Env, Fs};
use link::error::Hint;
use region_file::Access;

use super::{Account, AwsError, AwsErrorKind, Outcome, ec2, rds};
use crate::scope::Scope;

/// The account a scope must be in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Whose account.
    pub scope: Scope,
    /// Twelve digits.
    pub account: String,
    /// Such as `eu-west-1`.
    pub region: String,
}

/// An account could not be opened. Nothing was touched.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The credentials are another account's.
    #[error(
        "the credentials for `{scope}` are `{caller}` in account {actual}, but the file says account {expected}"
    )]
    WrongAccount {
        /// Whose account.
        scope: Scope,
        /// What the file says.
        expected: String,
        /// What AWS says.
        actual: String,
        /// Who the caller is.
        caller: String,
    },
    /// There is no such profile in the AWS configuration files.
    #[error(
        "there is no AWS profile `{profile}`, which the credentials for `{scope}` are to come from"
    )]
    UnknownProfile {
        /// Whose account.
        scope: Scope,
        /// The profile that was named.
        profile: String,
        /// Those that the files have.
        known: Vec<String>,
    },
    /// AWS did not say who the caller is.
    #[error("find out whose credentials those for `{scope}` are")]
    Caller {
        /// Whose account.
        scope: Scope,
        /// Why.
        #[source]
        source: AwsError,
    },
}

// === impl Expected ===

impl Expected {
    /// Opens the account and makes sure that it is the expected one.
    ///
    /// # Errors
    /// [`OpenError`]; no call but `sts:GetCallerIdentity` (and `sts:AssumeRole` for a role) was made.
    pub async fn open(&self, access: &Access) -> Result<Account, OpenError> {
        check_profile(&self.scope, access.profile.as_deref()).await?;
        let config = self.configure(access).await;
        let caller = aws_sdk_sts::Client::new(&config)
            .get_caller_identity()
            .send()
            .await
            .during("sts:GetCallerIdentity", &self.scope.to_string())
            .map_err(|source| OpenError::Caller {
                scope: self.scope.clone(),
                source,
            })?;
        let actual = caller.account().unwrap_or_default();
        if actual != self.account {
            return Err(OpenError::WrongAccount {
                scope: self.scope.clone(),
                expected: self.account.clone(),
                actual: actual.to_owned(),
                caller: caller.arn().unwrap_or("unknown").to_owned(),
            });
        }
        let caller = caller.arn().unwrap_or_default();
        // `arn:<partition>:sts::…`
        let partition = caller.split(':').nth(1).filter(|text| !text.is_empty());
        Ok(Account {
            id: self.account.clone(),
            region: self.region.clone(),
            partition: partition.unwrap_or("aws").to_owned(),
            caller: caller.to_owned(),
            iot: aws_sdk_iot::Client::new(&config),
            iot_data: aws_sdk_iotdataplane::Client::new(&config),
            secrets: aws_sdk_secretsmanager::Client::new(&config),
            iam: aws_sdk_iam::Client::new(&config),
            eks: aws_sdk_eks::Client::new(&config),
            rds: rds::client(&config),
            ec2: ec2::client(&config),
        })
    }

    async fn configure(&self, access: &Access) -> SdkConfig {
        let region = Region::new(self.region.clone());
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_WITHIN)
            .operation_attempt_timeout(ANSWER_WITHIN)
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .region(region.clone())
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
            .timeout_config(timeouts);
        if let Some(profile) = &access.profile {
            let credentials = ProfileFileCredentialsProvider::builder()
                .profile_name(profile)
                .build();
            loader = loader
                .profile_name(profile)
                .credentials_provider(credentials);
        }
        let config = loader.load().await;
        let Some(role) = &access.role_arn else {
            return config;
        };
        let provider = AssumeRoleProvider::builder(role)
            .session_name(SESSION)
            .region(region)
            .configure(&config)
            .build()
            .await;
        config
            .into_builder()
            .credentials_provider(aws_sdk_sts::config::SharedCredentialsProvider::new(
                provider,
            ))
            .build()
    }
}

// === impl OpenError ===

impl Hint for OpenError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::WrongAccount {
                scope, expected, ..
            } => Some(format!(
                "name a profile of account {expected} with `--profile {scope}=NAME`, or a role with `access.roleArn`"
            )),
            Self::UnknownProfile { profile, known, .. } => Some(match known.as_slice() {
                [] => format!(
                    "make it with `aws configure sso --profile {profile}`; there are no profiles yet"
                ),
                known => format!(
                    "name one of `{}`, or make it with `aws configure sso --profile {profile}`",
                    known.join("`, `")
                ),
            }),
            Self::Caller { scope, source } => match source.kind() {
                AwsErrorKind::Unreachable => source.hint(),
                _ => Some(format!(
                    "sign in (`aws sso login`), or name a profile with `--profile {scope}=NAME`"
                )),
            },
        }
    }
}

/// The region of the environment or the profile, for `init`. The metadata service of EC2 is not asked.
///
/// # Errors
/// [`OpenError::UnknownProfile`].
pub async fn default_region(profile: Option<&str>) -> Result<Option<String>, OpenError> {
    check_profile(&Scope::Region, profile).await?;
    let mut of_profile = ProfileFileRegionProvider::builder();
    if let Some(profile) = profile {
        of_profile = of_profile.profile_name(profile);
    }
    // The environment first, as the AWS command line has it for regions, also with a profile.
    let chain = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
        .or_else(of_profile.build());
    Ok(chain.region().await.map(|region| region.to_string()))
}

/// Without this the SDK would say that no credentials could be loaded, and name every source it tried.
async fn check_profile(scope: &Scope, named: Option<&str>) -> Result<(), OpenError> {
    let env = Env::real();
    let from_env = || {
        // Keys in the environment come first, and then nobody looks the profile up.
        let keys = env.get("AWS_ACCESS_KEY_ID").is_ok();
        env.get("AWS_PROFILE")
            .ok()
            .filter(|name| !keys && !name.is_empty())
    };
    let Some(profile) = named.map(str::to_owned).or_else(from_env) else {
        return Ok(());
    };
    let files = EnvConfigFiles::default();
    let Ok(set) = profile::load(&Fs::real(), &env, &files, None).await else {
        // The SDK says what is wrong with the files.
        return Ok(());
    };
    if set.get_profile(&profile).is_some() {
        return Ok(());
    }
    let mut known: Vec<String> = set.profiles().map(str::to_owned).collect();
    known.sort_unstable();
    Err(OpenError::UnknownProfile {
        scope: scope.clone(),
        profile,
        known,
    })
}

const SESSION: &str = "provisioner";
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
// The first call and four more, with exponential waits between: about half a minute of throttling.
const ATTEMPTS: u32 = 5;
