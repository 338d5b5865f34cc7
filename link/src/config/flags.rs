//! The flags of the broker section, to flatten into a component's arguments.

use super::layers::Layers;

/// Flags that override the configuration file and the environment. Secrets have none: a command line is public.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Broker")]
pub struct BrokerFlags {
    /// Host and port of the broker
    #[arg(long, value_name = "HOST:PORT")]
    pub broker_host: Option<String>,
    /// MQTT keep-alive in seconds
    #[arg(long, value_name = "SECONDS")]
    pub keep_alive: Option<String>,
    /// Limit of one connection attempt, for example 60s
    #[arg(long, value_name = "DURATION")]
    pub dial_timeout: Option<String>,
    /// Rates of publishes and bytes to keep: iot-core or unlimited
    #[arg(long, value_name = "RATES")]
    pub broker_rates: Option<String>,
    /// Topic of events to a consumer
    #[arg(long, value_name = "TOPIC")]
    pub topics_source_events: Option<String>,
    /// Topic of events from a consumer
    #[arg(long, value_name = "TOPIC")]
    pub topics_agent_events: Option<String>,
    /// Topic of events to all consumers
    #[arg(long, value_name = "TOPIC")]
    pub topics_source_broadcast: Option<String>,
    /// Topic of events to all sources
    #[arg(long, value_name = "TOPIC")]
    pub topics_agent_broadcast: Option<String>,
    /// CA of the broker's certificate
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<String>,
    /// Client certificate with its chain
    #[arg(long, value_name = "FILE")]
    pub client_cert_file: Option<String>,
    /// Private key of the client certificate
    #[arg(long, value_name = "FILE")]
    pub client_key_file: Option<String>,
}

// === impl BrokerFlags ===

impl BrokerFlags {
    /// Lays the given flags over the layers, which must have the broker's keys.
    pub fn apply(&self, layers: &mut Layers) {
        for (key, flag, value) in [
            ("brokerHost", "--broker-host", &self.broker_host),
            ("keepAlive", "--keep-alive", &self.keep_alive),
            ("dialTimeout", "--dial-timeout", &self.dial_timeout),
            ("rates", "--broker-rates", &self.broker_rates),
            (
                "topics.sourceEvents",
                "--topics-source-events",
                &self.topics_source_events,
            ),
            (
                "topics.agentEvents",
                "--topics-agent-events",
                &self.topics_agent_events,
            ),
            (
                "topics.sourceBroadcast",
                "--topics-source-broadcast",
                &self.topics_source_broadcast,
            ),
            (
                "topics.agentBroadcast",
                "--topics-agent-broadcast",
                &self.topics_agent_broadcast,
            ),
            ("caFile", "--ca-file", &self.ca_file),
            (
                "clientCertFile",
                "--client-cert-file",
                &self.client_cert_file,
            ),
            ("clientKeyFile", "--client-key-file", &self.client_key_file),
        ] {
            layers.flag(key, flag, value.as_deref());
        }
    }
}
