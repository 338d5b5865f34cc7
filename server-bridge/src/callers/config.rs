//! Configuration of callers, built into an [`Access`]: files are read and checked at start, so that mistakes fail the start.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use link::admin::Checks;
use link::clock::Clock;
use link::error::{ExitKind, Failure};
use link::http::ServerTls;
use prometheus::Registry;
use tracing::{info, warn};

use super::certificate::Certificates;
use super::control::{AccessControl, AccessPolicy};
use super::files::{Look, Watched};
use super::metrics::CallersMetrics;
use super::review::{ANSWER_WITHIN, AccessReviews, Cluster, Reviewer, TokenReviews};
use super::rules;
use super::tls::{self, Alpn, Anchors, CertificateFiles, Served};
use super::token::keys::{AGAIN, Keys};
use super::token::{Issuer, IssuerConfig};
use super::watcher::CallersWatcher;
use super::{Access, Inner};

/// How callers are known, and what they may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallersConfig {
    /// Nobody is asked although others than this machine can connect.
    pub insecure: bool,
    /// TLS of the REST API; plain without it.
    pub https: Option<CertificateFiles>,
    /// TLS of gRPC; as the REST API without it.
    pub grpc: Option<CertificateFiles>,
    /// The CA of client certificates.
    pub client_ca: Option<PathBuf>,
    /// Issuers whose tokens are checked here.
    pub issuers: Vec<IssuerConfig>,
    /// The API that reviews other tokens, and the audiences one of which they must be for; none: that API's own.
    pub reviews: Option<(Cluster, Vec<String>)>,
    /// What callers may do.
    pub authorization: Authorization,
    /// Time between two looks at the files.
    pub look_every: Duration,
    /// Time before an issuer is asked again for a key that it did not have.
    pub keys_again: Duration,
    /// How long an answer to a review may take, and how long one may wait for its turn to be asked for.
    pub reviewed_within: Duration,
}

/// Who says what callers may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Authorization {
    /// Whoever is known may do everything.
    #[default]
    Everything,
    /// A file of rules.
    File(PathBuf),
    /// A Kubernetes API.
    Reviews(Cluster),
}

/// What comes of it.
#[derive(Debug)]
pub struct Callers {
    /// What REST and gRPC ask.
    pub access: Access,
    /// TLS of the REST API.
    pub https: Option<ServerTls>,
    /// TLS of gRPC.
    pub grpc: Option<ServerTls>,
    /// Follows files and keys; must run.
    pub watcher: CallersWatcher,
}

// === impl CallersConfig ===

impl Default for CallersConfig {
    fn default() -> Self {
        Self {
            insecure: false,
            https: None,
            grpc: None,
            client_ca: None,
            issuers: Vec::new(),
            reviews: None,
            authorization: Authorization::default(),
            look_every: LOOK_EVERY,
            keys_again: AGAIN,
            reviewed_within: ANSWER_WITHIN,
        }
    }
}

impl CallersConfig {
    /// Whether callers are asked who they are.
    pub fn asks(&self) -> bool {
        self.client_ca.is_some() || self.takes_tokens()
    }

    fn takes_tokens(&self) -> bool {
        !self.issuers.is_empty() || self.reviews.is_some()
    }

    /// Whether this makes sense on these addresses, each with its flag.
    ///
    /// # Errors
    /// Exit code 2, with the flag that would help.
    pub fn check(&self, listens: &[(&str, SocketAddr)]) -> Result<(), Failure> {
        let wrong =
            |problem: String, hint: &str| Err(Failure::usage(problem).with_hint(hint.to_owned()));
        let tls = self.https.is_some() || self.grpc.is_some();
        if self.client_ca.is_some() && !tls {
            return wrong(
                "`--client-ca-file` is given without a server certificate".into(),
                "give `--https-cert-file` and `--https-key-file`: client certificates come with TLS",
            );
        }
        if self.client_ca.is_some() && self.https.is_none() && !self.takes_tokens() {
            return wrong(
                "callers are known by client certificates alone, and the REST API has no TLS"
                    .into(),
                "give `--https-cert-file` and `--https-key-file`",
            );
        }
        if self.authorization != Authorization::Everything && !self.asks() {
            return wrong(
                "what callers may do is given, and nothing to know them by".into(),
                "give `--client-ca-file`, `--token-issuer` or `--token-review`",
            );
        }
        if self.insecure && self.asks() {
            return wrong(
                "`--insecure-callers` is given although callers are known".into(),
                "leave it away",
            );
        }
        let open = listens
            .iter()
            .find(|(_, listen)| !listen.ip().is_loopback());
        let Some((flag, listen)) = open else {
            return Ok(());
        };
        if !self.asks() && !self.insecure {
            return wrong(
                format!(
                    "`{flag} {listen}` lets others than this machine connect, and callers are not asked who they are"
                ),
                "give `--client-ca-file`, `--token-issuer` or `--token-review`; or, where something else keeps \
                 unknown callers away, `--insecure-callers`",
            );
        }
        if self.takes_tokens() && !tls {
            warn!(
                "Bearer tokens reach {listen} without TLS: whoever sees the traffic can use them. Give \
                 `--https-cert-file` and `--https-key-file` unless something in front of it encrypts"
            );
        }
        Ok(())
    }

    /// Reads the files and builds. Adds the readiness check `tls` where there is a server certificate.
    ///
    /// # Errors
    /// Exit code 2 for what is wrong with a file.
    pub async fn build(
        self,
        clock: Clock,
        registry: &Registry,
        checks: &Checks,
    ) -> Result<Callers, Failure> {
        let metrics = CallersMetrics::register(registry)
            .map_err(|error| Failure::new(ExitKind::Failed, error))?;
        metrics.open(!self.asks());
        let mut looks: Vec<Box<dyn Look>> = Vec::new();
        let mut expiries = Vec::new();
        let anchors = match &self.client_ca {
            None => None,
            Some(path) => {
                let parse = Box::new(|contents: &[Vec<u8>]| Anchors::parse(contents));
                let refused = metrics.refused("client-ca");
                let (anchors, watched) =
                    Watched::open("client CA", vec![path.clone()], refused, parse)
                        .map_err(|problem| unusable("--client-ca-file", &problem))?;
                looks.push(Box::new(watched));
                Some(anchors)
            }
        };
        let mandatory = !self.takes_tokens();
        let mut listener = |name: &'static str, flag: &str, files: &CertificateFiles| {
            let now = clock.clone();
            let parse = Box::new(move |contents: &[Vec<u8>]| Served::parse(contents, now.now()));
            let paths = vec![files.certificate.clone(), files.key.clone()];
            let (served, watched) =
                Watched::open("server certificate", paths, metrics.refused(name), parse)
                    .map_err(|problem| unusable(flag, &problem))?;
            looks.push(Box::new(watched));
            expiries.push((metrics.expiry(name), served.clone()));
            Ok::<_, Failure>(served)
        };
        let https = match &self.https {
            None => None,
            Some(files) => Some(listener("https", "--https-cert-file", files)?),
        };
        let grpc = match &self.grpc {
            None => https.clone(),
            Some(files) => Some(listener("grpc", "--grpc-tls-cert-file", files)?),
        };
        let server = |served: Option<_>, alpn| {
            let clients = anchors.clone().map(|anchors| (anchors, mandatory));
            let failed = metrics.failed_handshakes.clone();
            served
                .map(|served| tls::server(served, clients, alpn, failed))
                .transpose()
                .map_err(|error| Failure::new(ExitKind::Failed, error))
        };
        let https = server(https, Alpn::Http1)?;
        let grpc = server(grpc, Alpn::Http2)?;
        let mut keys = Vec::new();
        let inner = if self.asks() {
            let certificates = anchors.map(|anchors| Certificates::new(anchors, clock.clone()));
            let mut issuers = Vec::new();
            for config in self.issuers {
                let held = Keys::new(&config, self.keys_again)
                    .map_err(|problem| unusable("--token-issuer", &problem))?;
                let held = Arc::new(held);
                keys.push(Arc::clone(&held));
                issuers.push(Issuer::new(config, held, clock.clone()));
            }
            let reviews = match &self.reviews {
                None => None,
                Some((cluster, audiences)) => {
                    let within = self.reviewed_within;
                    let reviewer = reviewer("--authn-kubeconfig", cluster, within).await?;
                    Some(TokenReviews::new(reviewer, audiences.clone()))
                }
            };
            let permits = match self.authorization {
                Authorization::Everything => {
                    info!(
                        "Whoever is known may do everything: neither `--authorization-file` nor `--authorizer sar` is given"
                    );
                    AccessPolicy::Everything
                }
                Authorization::File(path) => {
                    let parse = Box::new(|contents: &[Vec<u8>]| {
                        let text = contents.first().map_or(&[][..], Vec::as_slice);
                        let text = std::str::from_utf8(text).map_err(|_| "is not UTF-8 text")?;
                        rules::parse(text)
                    });
                    let refused = metrics.refused("authorization");
                    let (rules, watched) =
                        Watched::open("authorization rules", vec![path], refused, parse)
                            .map_err(|problem| unusable("--authorization-file", &problem))?;
                    looks.push(Box::new(watched));
                    AccessPolicy::Rules(rules)
                }
                Authorization::Reviews(cluster) => AccessPolicy::Reviews(AccessReviews::new(
                    reviewer("--authorizer", &cluster, self.reviewed_within).await?,
                )),
            };
            Inner::AccessControl(Box::new(AccessControl {
                certificates,
                issuers,
                reviews,
                permits,
                metrics,
            }))
        } else {
            if self.insecure {
                warn!(
                    "CALLERS ARE NOT ASKED WHO THEY ARE (`--insecure-callers`): whoever can connect may do everything"
                );
            }
            Inner::Open
        };
        let check = (!expiries.is_empty()).then(|| checks.add("tls"));
        Ok(Callers {
            access: Access(Arc::new(inner)),
            https,
            grpc,
            watcher: CallersWatcher::new(looks, keys, expiries, check, clock, self.look_every),
        })
    }
}

async fn reviewer(flag: &str, cluster: &Cluster, within: Duration) -> Result<Reviewer, Failure> {
    Reviewer::new(cluster, within)
        .await
        .map_err(|problem| unusable(flag, &problem))
}

fn unusable(flag: &str, problem: &str) -> Failure {
    Failure::usage(format!("`{flag}`: {problem}"))
}

// Kubernetes itself takes about a minute to write a changed Secret into a pod.
const LOOK_EVERY: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_left_unasked_beyond_loopback_unless_it_is_said() {
        let check = |config: &CallersConfig, listen: &str| {
            let listen = listen.parse().unwrap();
            config.check(&[("--api-listen", listen)])
        };
        let open = CallersConfig::default();
        for loopback in ["127.0.0.1:8000", "[::1]:8000", "127.9.9.9:0"] {
            assert!(check(&open, loopback).is_ok(), "{loopback}");
        }
        for anywhere in ["0.0.0.0:8000", "[::]:8000", "10.0.0.1:8000"] {
            let refused = check(&open, anywhere).unwrap_err();
            assert!(
                refused
                    .to_string()
                    .contains(&format!("`--api-listen {anywhere}`"))
            );
            assert!(refused.hint().unwrap().contains("--insecure-callers"));
        }
        let insecure = CallersConfig {
            insecure: true,
            ..CallersConfig::default()
        };
        assert!(check(&insecure, "0.0.0.0:8000").is_ok());
        let known = CallersConfig {
            reviews: Some((Cluster::Own, Vec::new())),
            ..CallersConfig::default()
        };
        assert!(check(&known, "0.0.0.0:8000").is_ok());
        let both = CallersConfig {
            insecure: true,
            ..known
        };
        assert!(check(&both, "127.0.0.1:8000").is_err());
    }

    #[test]
    fn what_would_let_nobody_in_or_everybody_is_refused() {
        let ca = CallersConfig {
            client_ca: Some("ca.crt".into()),
            ..CallersConfig::default()
        };
        let files = CertificateFiles {
            certificate: "tls.crt".into(),
            key: "tls.key".into(),
        };
        let refused = ca.check(&[]).unwrap_err();
        assert!(refused.to_string().contains("without a server certificate"));
        let grpc_only = CallersConfig {
            grpc: Some(files),
            ..ca
        };
        let refused = grpc_only.check(&[]).unwrap_err();
        assert!(refused.to_string().contains("the REST API has no TLS"));
        let rules = CallersConfig {
            authorization: Authorization::File("rules.yaml".into()),
            ..CallersConfig::default()
        };
        let refused = rules.check(&[]).unwrap_err();
        assert!(refused.to_string().contains("nothing to know them by"));
    }
}
