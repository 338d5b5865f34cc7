//! The client library's options, each set on purpose: its defaults are made for other brokers.

use std::sync::Arc;

use rumqttc::{
    AckMode, AsyncClient, EventLoop, MqttOptions, MqttState, PublishProperties, TlsConfiguration,
    Transport,
};

use super::resumption::Resumption;
use super::socket::{self, ReadPause};
use super::{Config, IN_FLIGHT_WINDOW};
use crate::message::Message;

pub(super) fn client_options(
    config: &Config,
    tls: Arc<rustls::ClientConfig>,
    pause: ReadPause,
) -> MqttOptions {
    let window = config.limits.in_flight.min(IN_FLIGHT_WINDOW);
    let mut options = MqttOptions::new(
        config.client_id.as_str(),
        (config.host.clone(), config.port),
    );
    options
        .set_transport(transport(tls))
        .set_socket_connector(move |host, _| socket::dial(host, pause.clone()))
        .set_keep_alive(u16::try_from(config.keep_alive.as_secs()).unwrap_or(u16::MAX))
        .set_connect_timeout(config.connect_timeout)
        // The first connection of a process starts clean, because the library cannot publish in a session whose
        // packet ids it does not know; later ones resume (the driver switches this off at CONNACK).
        .set_clean_start(true)
        .set_session_expiry_interval(Some(
            u32::try_from(config.expiry().as_secs()).unwrap_or(u32::MAX),
        ))
        .set_receive_maximum(Some(window))
        .set_outgoing_inflight_upper_limit(window)
        // The default of 10 KiB ends the loop on any larger packet, for ever.
        .set_max_packet_size(Some(
            u32::try_from(config.limits.packet_bytes).unwrap_or(u32::MAX),
        ))
        .set_ack_mode(AckMode::Manual)
        .set_max_request_batch(usize::from(window));
    if config.resume {
        options
            .set_clean_start(false)
            .set_session_store(Resumption { window });
    }
    if let Some(will) = &config.will {
        options.set_last_will(will.as_sent());
    }
    options
}

pub(super) fn transport(tls: Arc<rustls::ClientConfig>) -> Transport {
    Transport::tls_with_config(TlsConfiguration::Rustls(tls))
}

pub(super) fn publish_properties(message: &Message) -> PublishProperties {
    let extra = message.extra.as_deref().cloned().unwrap_or_default();
    PublishProperties {
        payload_format_indicator: extra.payload_format_indicator,
        message_expiry_interval: message.expiry_seconds,
        topic_alias: None,
        response_topic: extra.response_topic,
        correlation_data: extra.correlation_data,
        user_properties: message.user_properties.clone(),
        subscription_identifiers: Vec::new(),
        content_type: message.content_type.clone(),
    }
}

/// An event loop and its handle; nothing is dialled.
#[expect(
    clippy::disallowed_methods,
    reason = "this module is what the ban sends others to"
)]
pub(super) fn client(options: MqttOptions) -> (AsyncClient, EventLoop) {
    AsyncClient::builder(options)
        .capacity(REQUEST_CAPACITY)
        .build()
}

/// What the library knows of a session in which nothing is in flight, as it makes it from these options itself.
pub(super) fn nothing_in_flight(options: &MqttOptions) -> MqttState {
    let window = options.get_outgoing_inflight_upper_limit();
    MqttState::builder(window.unwrap_or(u16::MAX))
        .ack_mode(options.ack_mode())
        .topic_alias_policy(options.topic_alias_policy())
        .client_topic_alias_max(options.topic_alias_max().unwrap_or(0))
        .build()
}

/// Requests that may wait in the library: an ack for every packet id there is, a window of publishes, subscribes and the
/// disconnect. The pump keeps its publishes within the window and every delivery is acked once at most, so a full queue,
/// which would lose an ack and with it a place in the broker's window, cannot happen.
const REQUEST_CAPACITY: usize = u16::MAX as usize + IN_FLIGHT_WINDOW as usize + 8;
