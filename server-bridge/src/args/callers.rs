//! Flags that say how callers are known and what they may do. Those that upstream's server has keep their names where the
//! meaning is the same (docs/MAESTRO.md §5.7).

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use link::error::Failure;

use crate::callers::{
    Authorization, CallersConfig, CertificateFiles, Cluster, IssuerConfig, KeySource,
};

/// Who is let in.
#[derive(Debug, Args)]
pub struct CallerFlags {
    /// Let whoever can connect do everything, on other addresses than loopback too. Only where something else keeps
    /// unknown callers away, such as a mesh or a network policy
    #[arg(long)]
    pub insecure_callers: bool,
    /// Certificate of the REST API and of gRPC, PEM with its chain; read again when it changes. With it they speak TLS 1.2
    /// and 1.3 only
    #[arg(long, requires = "https_key_file", value_name = "FILE")]
    pub https_cert_file: Option<PathBuf>,
    /// Its private key
    #[arg(long, requires = "https_cert_file", value_name = "FILE")]
    pub https_key_file: Option<PathBuf>,
    /// Certificate of gRPC, where it is another one than the REST API's
    #[arg(long, requires = "grpc_tls_key_file", value_name = "FILE")]
    pub grpc_tls_cert_file: Option<PathBuf>,
    /// Its private key
    #[arg(long, requires = "grpc_tls_cert_file", value_name = "FILE")]
    pub grpc_tls_key_file: Option<PathBuf>,
    /// CA of client certificates, and no other: the user is the certificate's common name (CN), its groups are the
    /// organisations (O). Read again when it changes. A certificate is demanded unless tokens are taken too
    #[arg(long, alias = "grpc-client-ca-file", value_name = "FILE")]
    pub client_ca_file: Option<PathBuf>,
    /// Issuer of bearer tokens that are checked here: OpenID Connect's, or a Kubernetes cluster's for its service accounts
    #[arg(long, requires = "token_audience", value_name = "URL")]
    pub token_issuer: Option<String>,
    /// What tokens must be for; may be repeated, then one suffices. Needed with `--token-issuer`; with `--token-review`
    /// alone the cluster's own unless given
    #[arg(long, value_name = "AUDIENCE")]
    pub token_audience: Vec<String>,
    /// Where the issuer's keys are, if its discovery document (ISSUER/.well-known/openid-configuration) is not to be asked
    #[arg(
        long,
        requires = "token_issuer",
        conflicts_with = "token_jwks_file",
        value_name = "URL"
    )]
    pub token_jwks_url: Option<reqwest::Url>,
    /// A file with the issuer's keys instead; read again when it changes
    #[arg(long, requires = "token_issuer", value_name = "FILE")]
    pub token_jwks_file: Option<PathBuf>,
    /// CA of the server of those keys, instead of the system's
    #[arg(long, requires = "token_issuer", value_name = "FILE")]
    pub token_ca_file: Option<PathBuf>,
    /// The claim that is the user; `sub` unless given
    #[arg(long, requires = "token_issuer", value_name = "CLAIM")]
    pub token_user_claim: Option<String>,
    /// The claim that is the groups, a text or a list; `groups` unless given
    #[arg(long, requires = "token_issuer", value_name = "CLAIM")]
    pub token_groups_claim: Option<String>,
    /// What users and groups of these tokens begin with, so that they are not taken for those of certificates
    #[arg(long, requires = "token_issuer", value_name = "TEXT")]
    pub token_prefix: Option<String>,
    /// Have bearer tokens that `--token-issuer` did not issue reviewed by a Kubernetes API (TokenReview)
    #[arg(long)]
    pub token_review: bool,
    /// How callers are known, in the words of the Go server: `mtls` demands `--client-ca-file`, `token` is `--token-review`
    #[arg(long, value_enum, value_name = "TYPE")]
    pub grpc_authn_type: Option<AuthnType>,
    /// The Kubernetes API that reviews tokens; that of the cluster around this process unless given
    #[arg(long, value_name = "KUBECONFIG")]
    pub authn_kubeconfig: Option<PathBuf>,
    /// What callers may do: YAML rules; read again when it changes. Without it and `--authorizer` whoever is known may do
    /// everything
    #[arg(long, conflicts_with = "authorizer", value_name = "FILE")]
    pub authorization_file: Option<PathBuf>,
    /// `sar`: a Kubernetes API says what callers may do (SubjectAccessReview)
    #[arg(long, value_enum, value_name = "AUTHORIZER")]
    pub authorizer: Option<Authorizer>,
    /// The Kubernetes API that says it; that of the cluster around this process unless given
    #[arg(
        long,
        alias = "grpc-authorizer-config",
        requires = "authorizer",
        value_name = "KUBECONFIG"
    )]
    pub authz_kubeconfig: Option<PathBuf>,
}

/// The Go server's word for a way to know callers. Its `mock`, which asks nobody, is `--insecure-callers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AuthnType {
    /// Client certificates.
    Mtls,
    /// Tokens that a Kubernetes API reviews.
    Token,
}

/// Who says what callers may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Authorizer {
    /// A Kubernetes API.
    Sar,
}

// === impl CallerFlags ===

impl CallerFlags {
    /// What they say.
    ///
    /// # Errors
    /// Exit code 2 for flags that do not fit together.
    pub fn config(&self) -> Result<CallersConfig, Failure> {
        let reviews = self.token_review || self.grpc_authn_type == Some(AuthnType::Token);
        if self.grpc_authn_type == Some(AuthnType::Mtls) && self.client_ca_file.is_none() {
            return Err(
                Failure::usage("`--grpc-authn-type mtls` is given without a CA")
                    .with_hint("give `--client-ca-file`".to_owned()),
            );
        }
        if self.authn_kubeconfig.is_some() && !reviews {
            return Err(Failure::usage(
                "`--authn-kubeconfig` is for `--token-review`",
            ));
        }
        if !self.token_audience.is_empty() && self.token_issuer.is_none() && !reviews {
            return Err(Failure::usage(
                "`--token-audience` is for `--token-issuer` or `--token-review`",
            ));
        }
        let authorization = match (&self.authorization_file, self.authorizer) {
            (Some(file), _) => Authorization::File(file.clone()),
            (None, Some(Authorizer::Sar)) => {
                Authorization::Reviews(cluster(self.authz_kubeconfig.as_ref()))
            }
            (None, None) => Authorization::Everything,
        };
        Ok(CallersConfig {
            insecure: self.insecure_callers,
            https: files(&self.https_cert_file, &self.https_key_file),
            grpc: files(&self.grpc_tls_cert_file, &self.grpc_tls_key_file),
            client_ca: self.client_ca_file.clone(),
            issuers: self.issuer().into_iter().collect(),
            reviews: reviews.then(|| {
                let cluster = cluster(self.authn_kubeconfig.as_ref());
                (cluster, self.token_audience.clone())
            }),
            authorization,
            ..CallersConfig::default()
        })
    }

    fn issuer(&self) -> Option<IssuerConfig> {
        let or =
            |given: &Option<String>, usual: &str| given.clone().unwrap_or_else(|| usual.to_owned());
        Some(IssuerConfig {
            issuer: self.token_issuer.clone()?,
            audiences: self.token_audience.clone(),
            keys: match (&self.token_jwks_file, &self.token_jwks_url) {
                (Some(file), _) => KeySource::File(file.clone()),
                (None, Some(url)) => KeySource::Url(url.clone()),
                (None, None) => KeySource::Discovery,
            },
            ca: self.token_ca_file.clone(),
            user_claim: or(&self.token_user_claim, "sub"),
            groups_claim: or(&self.token_groups_claim, "groups"),
            prefix: or(&self.token_prefix, ""),
        })
    }
}

fn files(certificate: &Option<PathBuf>, key: &Option<PathBuf>) -> Option<CertificateFiles> {
    Some(CertificateFiles {
        certificate: certificate.clone()?,
        key: key.clone()?,
    })
}

fn cluster(kubeconfig: Option<&PathBuf>) -> Cluster {
    kubeconfig.map_or(Cluster::Own, |path| Cluster::Kubeconfig(path.clone()))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn config(args: &[&str]) -> Result<CallersConfig, String> {
        let args = ["server-bridge"].iter().chain(args);
        let args = super::super::Args::try_parse_from(args).map_err(|error| error.to_string())?;
        args.callers.config().map_err(|error| error.to_string())
    }

    #[test]
    fn flags_of_the_go_server_mean_what_they_mean_there() {
        let tls = ["--grpc-tls-cert-file=c", "--grpc-tls-key-file=k"];
        let mtls = ["--grpc-authn-type=mtls", "--grpc-client-ca-file=ca"];
        let known = config(&[tls, mtls].concat()).unwrap();
        assert_eq!(known.client_ca, Some("ca".into()));
        assert!(known.grpc.is_some() && known.https.is_none());
        assert!(
            config(&["--grpc-authn-type=mtls"])
                .unwrap_err()
                .contains("without a CA")
        );
        let token = [
            "--grpc-authn-type=token",
            "--authorizer=sar",
            "--grpc-authorizer-config=k",
        ];
        let known = config(&token).unwrap();
        assert_eq!(known.reviews, Some((Cluster::Own, Vec::new())));
        assert_eq!(
            known.authorization,
            Authorization::Reviews(Cluster::Kubeconfig("k".into()))
        );
    }

    #[test]
    fn a_flag_that_would_do_nothing_is_refused() {
        for (args, part) in [
            (&["--https-cert-file=c"][..], "--https-key-file"),
            (&["--token-issuer=https://i"], "--token-audience"),
            (&["--token-audience=a"], "is for `--token-issuer`"),
            (&["--authn-kubeconfig=k"], "is for `--token-review`"),
            (&["--authz-kubeconfig=k"], "--authorizer"),
            (&["--token-prefix=p"], "--token-issuer"),
            (
                &["--authorizer=sar", "--authorization-file=f"],
                "cannot be used with",
            ),
        ] {
            let refused = config(args).unwrap_err();
            assert!(refused.contains(part), "{part}: {refused}");
        }
    }
}
