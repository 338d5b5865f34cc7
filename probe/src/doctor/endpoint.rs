//! What the name of an endpoint of AWS IoT Core says.

use link::fault::{Code, Finding};

/// The kind of endpoint that a host name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// `PREFIX-ats.iot.REGION.amazonaws.com`.
    DataAts,
    /// `PREFIX.iot.REGION.amazonaws.com`: its certificate is of another authority.
    LegacyData,
    /// An endpoint of the same service that does not speak MQTT.
    OtherService(&'static str),
    /// No endpoint of AWS IoT Core.
    Elsewhere,
}

// === impl Endpoint ===

impl Endpoint {
    /// From its name.
    pub(super) fn of(host: &str) -> Self {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let labels: Vec<&str> = host.split('.').collect();
        // At the end: what is asked there is signed with the keys of whoever asks.
        let is_aws = host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn");
        match labels.as_slice() {
            [_, "credentials", "iot", ..] if is_aws => Self::OtherService("iot:CredentialProvider"),
            [_, "jobs", "iot", ..] if is_aws => Self::OtherService("iot:Jobs"),
            [prefix, "iot", ..] if is_aws && prefix.ends_with("-ats") => Self::DataAts,
            ["iot", ..] if is_aws => Self::OtherService("the control plane"),
            [_, "iot", ..] if is_aws => Self::LegacyData,
            _ => Self::Elsewhere,
        }
    }

    /// What is wrong with it by its name alone.
    pub(super) fn finding(self, host: &str) -> Option<Finding> {
        match self {
            Self::DataAts | Self::Elsewhere => None,
            Self::LegacyData => Some(
                Finding::warning(
                    LEGACY,
                    format!("`{host}` is the legacy `iot:Data` endpoint, without `-ats`"),
                )
                .why("its certificate is of another authority than Amazon's, so that ca.crt with Amazon Root CA 1 does not fit")
                .next(NEXT),
            ),
            Self::OtherService(what) => Some(
                Finding::error(LEGACY, format!("`{host}` is an endpoint of {what}"))
                    .why("it does not speak MQTT")
                    .next(NEXT),
            ),
        }
    }
}

/// Whether two names are of the endpoint of one account and region: with `-ats` or without, which has a finding of its own.
pub(super) fn is_same(a: &str, b: &str) -> bool {
    let plain = |host: &str| {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        match host.split_once('.') {
            Some((prefix, rest)) => format!("{}.{rest}", prefix.trim_end_matches("-ats")),
            None => host,
        }
    };
    plain(a) == plain(b)
}

const LEGACY: Code = Code::new(202);

const NEXT: &str = "use the name that `aws iot describe-endpoint --endpoint-type iot:Data-ATS` prints in the account and region of the certificate";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_endpoint_has_two_names_and_may_end_with_a_dot() {
        let ats = "a1-ats.iot.us-east-2.amazonaws.com";
        for (other, expected) in [
            ("A1-ATS.iot.us-east-2.amazonaws.com.", true),
            ("a1.iot.us-east-2.amazonaws.com", true),
            ("a2-ats.iot.us-east-2.amazonaws.com", false),
            ("a1-ats.iot.us-west-2.amazonaws.com", false),
            ("localhost", false),
        ] {
            assert_eq!(is_same(ats, other), expected, "{other}");
        }
    }

    #[test]
    fn an_endpoint_is_known_by_its_name() {
        for (host, expected) in [
            ("a1-ats.iot.us-east-2.amazonaws.com", Endpoint::DataAts),
            ("A1-ATS.iot.us-east-2.amazonaws.com.", Endpoint::DataAts),
            ("a1-ats.iot.cn-north-1.amazonaws.com.cn", Endpoint::DataAts),
            ("a1.iot.us-east-2.amazonaws.com", Endpoint::LegacyData),
            (
                "a1.credentials.iot.us-east-2.amazonaws.com",
                Endpoint::OtherService("iot:CredentialProvider"),
            ),
            (
                "iot.us-east-2.amazonaws.com",
                Endpoint::OtherService("the control plane"),
            ),
            (
                "a1-ats.iot.us-east-2.amazonaws.com.example.com",
                Endpoint::Elsewhere,
            ),
            ("localhost", Endpoint::Elsewhere),
            ("a.iot.example.com", Endpoint::Elsewhere),
        ] {
            assert_eq!(Endpoint::of(host), expected, "{host}");
        }
    }
}
