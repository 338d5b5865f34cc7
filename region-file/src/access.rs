//! How to get at an account, as the file says it.

/// How to get at an account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// A profile of the AWS configuration files; none for the usual chain.
    pub profile: Option<String>,
    /// A role to take on with these credentials.
    pub role_arn: Option<String>,
}
