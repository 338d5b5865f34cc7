//! Where things are and what they share: network, EKS, broker, secrets, tags.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use link::config::parse_duration;

use super::Check;
use crate::file::{self, Profile};
use crate::input;
use crate::{Addons, BrokerSettings, EksSettings, NetworkSettings, SecretSettings, grammar};

impl Check<'_> {
    pub(super) fn network(&mut self, file: file::NetworkSection) -> NetworkSettings {
        let vpc = self.text("network.vpc", file.vpc, "", |text| grammar::id("vpc", text));
        let field = "network.privateSubnets";
        let subnets = self.ids(field, file.private_subnets.as_deref(), "subnet");
        if file
            .private_subnets
            .is_some_and(|subnets| subnets.len() < 2)
        {
            self.report(
                field,
                "has fewer than two subnets",
                "list private subnets in at least two zones: RDS takes no fewer",
            );
        }
        NetworkSettings {
            vpc,
            private_subnets: subnets,
        }
    }

    pub(super) fn eks(&mut self, file: file::EksSection) -> EksSettings {
        let cluster = self.text("eks.cluster", file.cluster, "", grammar::eks_cluster);
        let field = "eks.securityGroups";
        let security_groups = self.ids(field, file.security_groups.as_deref(), "sg");
        if file.security_groups.is_some_and(|groups| groups.is_empty()) {
            self.report(
                field,
                "is empty, so that the server could not reach the database",
                "list the security groups of the nodes and the cluster's primary one",
            );
        }
        let bastion = file.bastion_security_group;
        if let Some(bastion) = &bastion {
            self.form("eks.bastionSecurityGroup", grammar::id("sg", bastion));
        }
        EksSettings {
            cluster,
            security_groups,
            bastion_security_group: bastion,
            addons: Addons {
                pod_identity_agent: file.pod_identity_agent.unwrap_or(true),
                secrets_store_driver: file.secrets_store_driver.unwrap_or(true),
            },
            rotation_poll_interval: self.poll_interval(file.rotation_poll_interval.as_deref()),
        }
    }

    fn poll_interval(&mut self, text: Option<&str>) -> Duration {
        let Some(text) = text else {
            return POLL_INTERVAL;
        };
        match parse_duration(text) {
            Some(interval)
                if POLL_INTERVALS.contains(&interval) && interval.subsec_nanos() == 0 =>
            {
                interval
            }
            _ => {
                self.report(
                    "eks.rotationPollInterval",
                    format!("is `{text}`, no interval the driver can keep"),
                    "write 30s to 24h in whole seconds, such as `5m`",
                );
                POLL_INTERVAL
            }
        }
    }

    pub(super) fn broker(
        &mut self,
        file: &file::BrokerSection,
        directory: &Path,
    ) -> BrokerSettings {
        let port = file.port.unwrap_or(8883);
        // A broker with roots of its own is a sandbox, which may listen anywhere.
        if file.ca.is_none() && !matches!(port, 8883 | 443) {
            self.report(
                "broker.port",
                format!("is {port}, where IoT Core speaks no MQTT"),
                "write 8883, or 443 where only that is open",
            );
        }
        let ca = match &file.ca {
            None => AMAZON_ROOTS.to_owned(),
            Some(path) => self.ca(&directory.join(path)),
        };
        BrokerSettings { port, ca }
    }

    fn ca(&mut self, path: &Path) -> String {
        let fix = "give a file of PEM certificates, or leave it out for Amazon's roots";
        let what = match input::read_text(path) {
            Ok(text) if text.contains("PRIVATE KEY") => {
                format!("`{}` holds a private key", path.display())
            }
            Ok(text) if text.contains("-----BEGIN CERTIFICATE-----") => return text,
            Ok(_) => format!("`{}` holds no certificate", path.display()),
            Err(error) => format!("`{}` cannot be read: {error}", path.display()),
        };
        self.report("broker.ca", what, fix);
        String::new()
    }

    pub(super) fn secrets(
        &mut self,
        file: file::SecretsSection,
        profile: Profile,
    ) -> SecretSettings {
        let days = file.recovery_days.unwrap_or(match profile {
            // The shortest that AWS has, so that a mistake can be undone.
            Profile::Development => 7,
            Profile::Production => 30,
        });
        self.form("secrets.recoveryDays", grammar::recovery_days(days));
        SecretSettings {
            recovery_days: days,
            kms_key: self.kms_key("secrets.kmsKey", file.kms_key),
            management_kms_key: self.kms_key("secrets.managementKmsKey", file.management_kms_key),
        }
    }

    pub(super) fn tags(&mut self, tags: &BTreeMap<String, String>) {
        if tags.len() > TAGS {
            let what = format!("has {} tags", tags.len());
            self.report(
                "tags",
                what,
                format!("keep at most {TAGS}: AWS allows 50 and one is ours"),
            );
        }
        let fits = |text: &str| {
            text.chars()
                .all(|c| c.is_alphanumeric() || " _.:/=+-@".contains(c))
        };
        for (key, value) in tags {
            let lower = key.to_ascii_lowercase();
            let what = if key.is_empty() || key.chars().count() > 128 || !fits(key) {
                "has a key AWS does not take"
            } else if value.chars().count() > 256 || !fits(value) {
                "has a value AWS does not take"
            } else if lower.starts_with("aws:") || lower.starts_with("provisioner:") {
                "is a reserved key"
            } else {
                continue;
            };
            let fix = "write a key up to 128 and a value up to 256 letters, digits, spaces and `_.:/=+-@`, not \
                       beginning with `aws:` or `provisioner:`";
            self.report(&format!("tags.{key}"), what, fix);
        }
    }

    pub(super) fn kms_key(&mut self, field: &str, key: Option<String>) -> Option<String> {
        if let Some(key) = &key {
            self.form(field, grammar::kms_key(key));
        }
        key
    }

    fn ids(&mut self, field: &str, ids: Option<&[String]>, prefix: &str) -> Vec<String> {
        let ids = ids.unwrap_or_default();
        for (index, id) in ids.iter().enumerate() {
            let field = format!("{field}[{index}]");
            self.form(&field, grammar::id(prefix, id));
            if ids[..index].contains(id) {
                self.report(&field, format!("is `{id}` again"), "list it once");
            }
        }
        ids.to_vec()
    }
}

/// Amazon Root CA 1 (RSA) and 3 (ECDSA): the roots that IoT Core's ATS endpoints chain to.
const AMAZON_ROOTS: &str = include_str!("../../data/amazon-root-ca.pem");

// A rotated certificate reaches a pod within 5 minutes for 8 640 looks a month and secret, about 0.04 USD each; the
// driver's own 2 minutes would cost 0.11 USD, AWS's suggestion of an hour would make every rotation wait for an hour.
const POLL_INTERVAL: Duration = Duration::from_secs(5 * 60);
const POLL_INTERVALS: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(30)..=Duration::from_secs(24 * 60 * 60);

// AWS allows 50 tags a resource; one is the ownership tag.
const TAGS: usize = 49;
