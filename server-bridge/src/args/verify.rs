//! `server-bridge verify`: whether a region keeps what it promises, once or for ever.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use link::admin::{Admin, Checks, write_listening_file};
use link::cli::{Stdout, printable, stdout_line};
use link::clock::Clock;
use link::error::{ExitKind, Failure, Hint};
use link::fault::{Finding, FindingsReport, Severity};
use link::http::client::{ApiError, ApiFlags};
use link::id::ConsumerName;
use link::shutdown::{Drain, Shutdown};
use link::telemetry;
use prometheus::Registry;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;
use tracing::{error, info, warn};

use crate::verify::{Verifier, VerifyMetrics, VerifyOptions};

/// What to verify, and how often.
#[derive(Debug, clap::Args)]
pub struct VerifyArgs {
    #[expect(missing_docs, reason = "flattened; a text would become help")]
    #[command(flatten)]
    pub api: ApiFlags,
    /// Go on until a signal, with a round this often, and show metrics; without it there is one round
    #[arg(long, value_parser = a_second_at_least, value_name = "DURATION")]
    pub every: Option<Duration>,
    /// Clusters in one round; the next round takes the next ones
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..), value_name = "N")]
    pub sample: u16,
    /// Name of canaries: bundle `NAME-CONSUMER` of each cluster, which holds a ConfigMap `NAME`
    #[arg(long, default_value = "maestro-canary", value_name = "NAME")]
    pub canary: ConsumerName,
    /// Namespace of that ConfigMap; it has to be there
    #[arg(long, default_value = "default", value_name = "NAMESPACE")]
    pub canary_namespace: ConsumerName,
    /// How long a canary may take to come back as applied
    #[arg(long, default_value = "30s", value_parser = a_second_at_least, value_name = "DURATION")]
    pub within: Duration,
    /// Leave this cluster alone, such as one that is taken out of service; may be given again
    #[arg(long, value_name = "CONSUMER")]
    pub except: Vec<ConsumerName>,
    /// Send no canaries: nothing is written
    #[arg(long)]
    pub without_canaries: bool,
    /// Take all canaries away instead, and wait until they are gone
    #[arg(long, conflicts_with_all = ["every", "without_canaries", "except"])]
    pub clean: bool,
    /// Print findings as JSON, one report a line
    #[arg(long)]
    pub json: bool,
    /// Address of /livez, /readyz and /metrics [default: 127.0.0.1:8085]
    #[arg(long, requires = "every", value_parser = link::listen::address, value_name = "IP:PORT")]
    pub admin_listen: Option<SocketAddr>,
    /// Write the address of that port to a JSON file
    #[arg(long, requires = "every", value_name = "FILE")]
    pub listening_file: Option<PathBuf>,
}

// === impl VerifyArgs ===

impl VerifyArgs {
    /// Does it.
    ///
    /// # Errors
    /// Exit code 1 when something is found or a signal ends it before, 2 for what is wrong with the command line.
    pub(super) async fn run(&self) -> Result<(), Failure> {
        let client = self.api.client().map_err(ApiError::into_failure)?;
        client.check_token().map_err(ApiError::into_failure)?;
        let options = VerifyOptions {
            sample: self.sample.into(),
            canary: (!self.without_canaries).then(|| self.canary.to_string()),
            namespace: self.canary_namespace.to_string(),
            within: self.within,
            except: self.except.iter().map(ToString::to_string).collect(),
        };
        let mut verifier = Verifier::new(client, options, Clock::system());
        let shutdown = Shutdown::listen().map_err(|error| Failure::new(ExitKind::Failed, error))?;
        let stop = shutdown.drain().token();
        if let Some(every) = self.every {
            return self.go_on(verifier, every, shutdown).await;
        }
        let once = async {
            match self.clean {
                true => verifier.clean().await,
                false => verifier.round().await.findings,
            }
        };
        let done = stop.run_until_cancelled(once).await;
        let interrupted = done.is_none();
        let findings = done.unwrap_or_else(|| vec![verifier.interrupted()]);
        let report = FindingsReport::new(findings);
        let (Stdout::Open | Stdout::Closed) = stdout_line(&self.text(&report))?;
        if interrupted {
            return Err(Failure::failed(Interrupted));
        }
        if report.is_healthy() {
            return Ok(());
        }
        let bad = |finding: &&Finding| finding.severity >= Severity::Warning;
        let count = report.findings.iter().filter(bad).count();
        let found = format!("{count} things are not as they should be");
        Err(Failure::new(ExitKind::Failed, found))
    }

    async fn go_on(
        &self,
        mut verifier: Verifier,
        every: Duration,
        shutdown: Shutdown,
    ) -> Result<(), Failure> {
        let failed = |error: prometheus::Error| Failure::new(ExitKind::Failed, error);
        let registry = Registry::new();
        telemetry::register_build_info(&registry, "server-bridge-verify").map_err(failed)?;
        let metrics = VerifyMetrics::register(&registry).map_err(failed)?;
        let checks = Checks::new();
        let check = checks.add("round");
        check.failing("the first round is not over");
        let admin = Admin::bind(self.admin_listen.unwrap_or(ADMIN)).await?;
        if let Some(file) = &self.listening_file {
            write_listening_file(file, &[("admin", admin.local_addr())])?;
        }
        let drain: Drain = shutdown.drain();
        let serving = tokio::spawn(admin.serve(checks.clone(), registry, drain.clone()));
        let serving = AbortOnDropHandle::new(serving);
        let clock = Clock::system();
        let stop = drain.token();
        let rounds = async {
            loop {
                let began = Instant::now();
                let mut round = verifier.round().await;
                // Whoever sees it in the metrics finds it in what is told.
                self.tell(std::mem::take(&mut round.findings))?;
                metrics.show(&round, &clock);
                match round.looked {
                    true => check.ok(),
                    false => check.failing("the last round could not look"),
                }
                sleep_until(began + every).await;
            }
        };
        let ended = stop.run_until_cancelled(rounds).await;
        drop(serving);
        let Some(ended) = ended else {
            return self.tell_last(verifier.interrupted());
        };
        ended
    }

    /// A signal ended it, which is no failure; nor does it say that all is well.
    fn tell_last(&self, finding: Finding) -> Result<(), Failure> {
        if !self.json && finding.severity < Severity::Warning {
            info!("{}", printable(&finding.seen));
            return Ok(());
        }
        self.tell(vec![finding])
    }

    /// For ever: JSON on standard output, or what is wrong in the log.
    fn tell(&self, findings: Vec<Finding>) -> Result<(), Failure> {
        if self.json {
            let report = FindingsReport::new(findings);
            let (Stdout::Open | Stdout::Closed) = stdout_line(&self.text(&report))?;
            return Ok(());
        }
        let mut well = true;
        for finding in &findings {
            let (code, seen) = (finding.code, printable(&finding.seen));
            let (why, next) = (printable(&finding.why), printable(&finding.next));
            match finding.severity {
                Severity::Error => error!(%code, why, next, "{seen}"),
                Severity::Warning => warn!(%code, why, next, "{seen}"),
                Severity::Info | Severity::Ok => continue,
            }
            well = false;
        }
        if well {
            info!("All that was checked holds");
        }
        Ok(())
    }

    fn text(&self, report: &FindingsReport) -> String {
        if self.json {
            // Plain data can always be written.
            return serde_json::to_string(report).unwrap_or_default();
        }
        let lines = report.findings.iter().map(|finding| {
            let mut line = format!(
                "{} {:7} {}",
                finding.code,
                finding.severity.as_str(),
                printable(&finding.seen)
            );
            for (word, text) in [("why", &finding.why), ("next", &finding.next)] {
                if !text.is_empty() {
                    line.push_str(&format!("\n              {word}: {}", printable(text)));
                }
            }
            line
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// A signal came before the round was over.
#[derive(Debug, thiserror::Error)]
#[error("interrupted before all was checked")]
struct Interrupted;

impl Hint for Interrupted {
    fn hint(&self) -> Option<String> {
        Some("canaries stay until `server-bridge verify --clean`".into())
    }
}

/// A round has its cost, and a canary travels twice through a broker.
fn a_second_at_least(text: &str) -> Result<Duration, String> {
    match super::duration(text)? {
        given if given < Duration::from_secs(1) => Err("must be at least `1s`".into()),
        given => Ok(given),
    }
}

const ADMIN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8085);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_takes_a_second_at_least() {
        assert_eq!(a_second_at_least("1s"), Ok(Duration::from_secs(1)));
        for wrong in ["0", "999ms", "x"] {
            assert!(a_second_at_least(wrong).is_err(), "{wrong}");
        }
    }
}
