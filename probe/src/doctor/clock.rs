//! The clock here against the server's `Date`.
//!
//! MQTT carries no time. AWS IoT Core answers HTTP under the same name: on 443 anybody (with an error, which has a date too),
//! on 8443 with a client certificate. The answer counts only if the server proves its name; the dates of its certificate are
//! left aside, because a wrong clock here would make every certificate invalid.

mod answer;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use link::clock::Clock;
use link::fault::{Code, Finding};
use link::identity::Identity;
use link::tls;
use rustls::pki_types::ServerName;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use super::aws::facts::AwsFacts;
use super::context::Context;
use super::findings::Findings;
use super::network::at_port;
use crate::dial;

/// A look at the server's clock, on its way while TCP and TLS are looked at.
pub(super) struct Look(Option<AbortOnDropHandle<Option<ServerTime>>>);

/// What a server's clock showed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ServerTime {
    /// Its `Date`, which is cut to whole seconds.
    date: Timestamp,
    /// The clock here before the question and after the answer.
    asked: Timestamp,
    answered: Timestamp,
    /// Who answered.
    who: String,
}

// === impl Look ===

impl Look {
    pub(super) fn start(context: &Context) -> Self {
        let Some(identity) = context.identity.clone() else {
            return Self(None);
        };
        let host = context.target.host.clone();
        let addresses = context.addresses.clone();
        let beside = context.args.alpn_port;
        let mut ports = vec![
            (beside, Proof::None),
            (beside, Proof::CertificateAndProtocol),
        ];
        if context.is_aws() {
            ports.push((HTTPS_WITH_CERTIFICATE, Proof::Certificate));
        }
        let looking: JoinHandle<_> =
            tokio::spawn(async move { first(&host, &addresses, &ports, &identity).await });
        Self(Some(AbortOnDropHandle::new(looking)))
    }
}

/// What the clock of AWS shows, where nobody else told the time.
pub(super) fn by_aws(facts: &AwsFacts, findings: &Findings) -> Option<Finding> {
    let (date, answered) = facts.date?;
    let time = ServerTime {
        date,
        // How long the answer took is not known here; a clock that is called wrong is much further off.
        asked: answered - ASKED_AWS,
        answered,
        who: "AWS".into(),
    };
    (!findings.has_looked_at(CLOCK, WRONG)).then(|| verdict(&time, None))
}

/// Waits for the look, and says what it means.
pub(super) async fn check(context: &Context, look: Look, findings: &mut Findings) {
    let Some(looking) = look.0 else {
        return findings.skip(CLOCK, "certificate, key or CA cannot be used");
    };
    let seen = timeout(context.share(PATIENCE), looking).await;
    match seen.ok().and_then(Result::ok).flatten() {
        Some(time) => {
            let valid = context.identity.as_ref().map(|identity| {
                let certificate = identity.describe();
                (certificate.not_before, certificate.not_after)
            });
            findings.add(verdict(&time, valid));
        }
        None => findings.skip(
            CLOCK,
            &format!(
                "nobody answers HTTPS under the broker's name; the clock here shows {}",
                link::clock::rfc3339_seconds(Clock::system().now())
            ),
        ),
    }
}

/// Pure: how far the clocks are apart, and what the server's says of our certificate.
fn verdict(time: &ServerTime, valid: Option<(Timestamp, Timestamp)>) -> Finding {
    // The date may be almost a second old, and was written between the two looks at our clock.
    let early = time.date.duration_since(time.answered).as_millis();
    let late = time.date.duration_since(time.asked).as_millis() + 1000;
    let off = match (early, late) {
        (early, _) if early > 0 => early,
        (_, late) if late < 0 => late,
        _ => 0,
    };
    let here = link::clock::rfc3339_seconds(time.answered);
    let there = link::clock::rfc3339_seconds(time.date);
    let seen = format!("the clock here shows {here}, that of {} {there}", time.who);
    let distance = off.unsigned_abs();
    if distance <= NEAR_MS {
        let expired = valid.filter(|(from, until)| time.date < *from || time.date >= *until);
        let words = expired.map_or(
            "",
            |_| "; the certificate is not valid by the server's clock either",
        );
        return Finding::ok(CLOCK, format!("{seen}{words}"));
    }
    let direction = if off > 0 { "behind" } else { "ahead" };
    let seen = format!("{seen}: the one here is {} s {direction}", distance / 1000);
    let of_certificate = valid.map_or("", |(from, until)| {
        let holds = |at: Timestamp| from <= at && at < until;
        match (holds(time.answered), holds(time.date)) {
            (false, true) => "; by the server's clock our certificate is valid, so that only the clock here is wrong",
            (true, false) => "; by the server's clock our certificate is not valid",
            _ => "",
        }
    });
    let finding = if distance > FAR_MS {
        Finding::error(WRONG, seen)
    } else {
        Finding::warning(WRONG, seen)
    };
    finding
        .why(format!(
            "certificates seem invalid, AWS refuses what is signed more than five minutes off, and statuses are dated by it{of_certificate}"
        ))
        .next("set the clock: `chronyc tracking`, `timedatectl status`; in a pod it is the node's")
}

/// Whether a client certificate is shown.
#[derive(Clone, Copy, Debug)]
enum Proof {
    None,
    Certificate,
    /// And the application protocol that chooses HTTPS beside MQTT.
    CertificateAndProtocol,
}

// The first port that answers.
async fn first(
    host: &str,
    addresses: &[SocketAddr],
    ports: &[(u16, Proof)],
    identity: &Arc<Identity>,
) -> Option<ServerTime> {
    let mut asking = tokio::task::JoinSet::new();
    for (port, proof) in ports.iter().copied() {
        let (host, addresses, identity) =
            (host.to_owned(), at_port(addresses, port), identity.clone());
        asking.spawn(async move {
            timeout(ASK, ask(&host, &addresses, port, proof, &identity))
                .await
                .ok()
                .flatten()
        });
    }
    while let Some(answer) = asking.join_next().await {
        if let Ok(Some(time)) = answer {
            return Some(time);
        }
    }
    None
}

async fn ask(
    host: &str,
    addresses: &[SocketAddr],
    port: u16,
    proof: Proof,
    identity: &Identity,
) -> Option<ServerTime> {
    let (socket, _) = dial::connect(addresses, ASK).await.ok()?;
    let alpn = match proof {
        Proof::CertificateAndProtocol => Some(ALPN_HTTPS),
        Proof::None | Proof::Certificate => None,
    };
    let with_certificate = !matches!(proof, Proof::None);
    let config = tls::clock_config(identity, with_certificate, alpn).ok()?;
    let name = ServerName::try_from(host.to_owned()).ok()?;
    let mut stream = TlsConnector::from(config)
        .connect(name, socket)
        .await
        .ok()?;
    let started = Instant::now();
    let date = answer::date(&mut stream, host).await?;
    let took = SignedDuration::try_from(started.elapsed()).ok()?;
    let answered = Clock::system().now();
    Some(ServerTime {
        date,
        asked: answered - took,
        answered,
        who: format!("the server (port {port})"),
    })
}

// Where AWS IoT Core speaks HTTPS to whoever shows a certificate.
const HTTPS_WITH_CERTIFICATE: u16 = 8443;

// HTTPS with a certificate at the port of both (the protocols page of the AWS IoT Developer Guide).
const ALPN_HTTPS: &str = "x-amzn-http-ca";

// Longer than an answer of AWS takes, and much nearer than clocks must be.
const ASKED_AWS: SignedDuration = SignedDuration::from_secs(5);

// TCP, TLS and one question.
const ASK: Duration = Duration::from_millis(2500);

// It began with TCP; what is left after TLS.
const PATIENCE: Duration = Duration::from_millis(1500);

// Whoever keeps time at all is nearer.
const NEAR_MS: u128 = 30_000;

// AWS refuses signatures that are older.
const FAR_MS: u128 = 300_000;

const CLOCK: Code = Code::new(120);
const WRONG: Code = Code::new(121);

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(date: &str, here: &str) -> ServerTime {
        let answered: Timestamp = here.parse().unwrap();
        ServerTime {
            date: date.parse().unwrap(),
            asked: answered - SignedDuration::from_millis(200),
            answered,
            who: "the server (port 443)".into(),
        }
    }

    #[test]
    fn clocks_may_be_half_a_minute_apart_and_five_minutes_are_an_error() {
        let here = "2026-06-01T12:00:00Z";
        for (date, expected) in [
            ("2026-06-01T12:00:30Z", (120, "ok")),
            ("2026-06-01T12:00:31Z", (121, "warning")),
            ("2026-06-01T11:59:29Z", (120, "ok")),
            ("2026-06-01T11:59:28Z", (121, "warning")),
            ("2026-06-01T12:05:00Z", (121, "warning")),
            ("2026-06-01T12:05:01Z", (121, "error")),
            ("2026-06-01T11:54:00Z", (121, "error")),
        ] {
            let finding = verdict(&seen(date, here), None);
            assert_eq!(
                (finding.code.number(), finding.severity.as_str()),
                expected,
                "{date} {finding:?}"
            );
        }
    }

    #[test]
    fn a_wrong_clock_is_told_from_a_certificate_that_is_over() {
        let valid = Some((
            "2026-01-01T00:00:00Z".parse().unwrap(),
            "2027-01-01T00:00:00Z".parse().unwrap(),
        ));
        let wrong = verdict(&seen("2026-06-01T00:00:00Z", "2020-01-01T00:00:00Z"), valid);
        assert!(
            wrong.seen.contains("behind") && wrong.why.contains("only the clock here is wrong"),
            "{wrong:?}"
        );
        let over = verdict(&seen("2028-06-01T00:00:00Z", "2028-06-01T00:00:00Z"), valid);
        assert!(
            over.seen.contains("not valid by the server's clock either"),
            "{over:?}"
        );
    }
}
