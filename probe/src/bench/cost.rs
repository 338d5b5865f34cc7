//! What a run would cost on AWS IoT Core, and whether a host is one; pure.

use std::fmt;
use std::net::IpAddr;

use link::iot::limits::METERED_BYTES;

use super::plan::Plan;

/// An estimate of what AWS charges. `Display` is a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Estimate {
    messages: u64,
    metered: u64,
}

// === impl Estimate ===

impl Estimate {
    /// Metered are the PUBLISH in, the PUBLISH out and the PUBACK of the receiver, in units of 5 KB, and of each connection
    /// CONNECT and SUBSCRIBE (docs/IOT-CORE.md §3).
    pub(super) fn of(plan: &Plan) -> Self {
        let messages = plan.messages();
        let topic = plan.topic(plan.connections).len() as u64;
        let units = (u64::from(plan.size) + topic).div_ceil(METERED_BYTES);
        Self {
            messages,
            metered: messages * (2 * units + 1) + 2 * u64::from(plan.connections),
        }
    }

    /// In US dollars.
    fn dollars(&self) -> f64 {
        #[expect(
            clippy::cast_precision_loss,
            reason = "an estimate, of far fewer than 2^52"
        )]
        let metered = self.metered as f64;
        metered * DOLLARS_PER_MILLION / 1e6
    }
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} messages are metered as {}, about {:.2} USD at {DOLLARS_PER_MILLION:.2} USD for a million ({PRICED})",
            self.messages,
            self.metered,
            self.dollars()
        )
    }
}

/// Whether the name is one of AWS's.
pub(super) fn is_aws(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn")
}

/// Whether it is this machine, where a sandbox answers as IoT Core does and costs nothing.
pub(super) fn is_here(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

const DOLLARS_PER_MILLION: f64 = 1.0;
// As provisioner/data/prices.yaml has it.
const PRICED: &str = "us-east-1, June 2026; other regions up to twice that, see `provisioner cost`";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn messages_are_metered_in_units_and_both_ways() {
        let plan = |size| Plan {
            run: "0a1b2c3d".into(),
            connections: 2,
            rate: 10,
            size,
            warm_up: Duration::ZERO,
            duration: Duration::from_secs(10),
        };
        let metered = |size| Estimate::of(&plan(size)).metered;
        assert_eq!(metered(1024), 100 * 3 + 4);
        // The topic counts too.
        assert_eq!(metered(5000), 100 * 5 + 4);
        let text = Estimate::of(&plan(1024)).to_string();
        assert!(
            text.starts_with("100 messages are metered as 304, about 0.00 USD"),
            "{text}"
        );
    }

    #[test]
    fn aws_is_known_by_its_name() {
        for host in [
            "a1-ats.iot.eu-west-1.amazonaws.com",
            "X.AmazonAWS.com.",
            "x.amazonaws.com.cn",
        ] {
            assert!(is_aws(host), "{host}");
        }
        for host in ["amazonaws.com.example", "broker", "127.0.0.1"] {
            assert!(!is_aws(host), "{host}");
        }
        assert!(
            is_here("127.0.0.1") && is_here("::1") && is_here("localhost") && !is_here("10.0.0.1")
        );
    }
}
