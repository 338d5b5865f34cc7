//! From an open socket to an accepted CONNECT (docs/IOT-CORE.md §2 points 1–7).

use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};
use link::iot::limits::{self, IN_FLIGHT, PACKET_BYTES, SESSION_EXPIRY, TOPIC_ALIASES};
use link::iot::{ConnectAttributes, Context};
use rmqtt_codec::version::{ProtocolVersion, VersionCodec};
use rmqtt_codec::{MqttCodec, MqttPacket, v3, v5};
use tokio::io::{AsyncRead, AsyncWrite, split};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::codec::FramedRead;
use uuid::Uuid;

use super::{Connection, Peer, Reader, Writer};
use crate::broker::clients::ConnectionRecord;
use crate::broker::codec;
use crate::broker::faults::{self, CertificateRefusal, Swallowed};
use crate::broker::filter;
use crate::broker::hub::{Attach, supported};
use crate::broker::limits::Limits;
use crate::broker::live::Link;
use crate::broker::lock;
use crate::broker::notices::Notice;
use crate::broker::packet::{ConnAck, Connect, Outbound, Reason, Version};
use crate::broker::permissions::Permissions;
use crate::broker::presence::Party;
use crate::broker::shared::Shared;

/// Reads CONNECT and decides. Nothing is returned for a connection that was refused and closed.
pub(super) async fn accept<S>(
    stream: S,
    peer: &Peer,
    shared: &Arc<Shared>,
) -> Option<(Connection, Reader<S>, Writer<S>)>
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    let limits = &shared.environment.limits;
    let (read_half, write_half) = split(stream);
    let mut frames = FramedRead::new(read_half, MqttCodec::Version(VersionCodec));
    let connect = timeout_at(peer.deadline, read_connect(&mut frames))
        .await
        .ok()??;
    let settings = shared.environment.faults.get();
    if settings.swallow.contains(&Swallowed::Connect) {
        swallow(&mut frames).await;
        return None;
    }
    let mut writer = Writer::new(write_half, framing(connect.version, connect.maximum_packet));

    let request = match admit(&connect, peer, shared) {
        Ok(request) => request,
        Err(reason) => {
            // 3.1.1 sees a bare close. CONNACK 0x87 for 5 is documented and was never measured (docs/IOT-CORE.md §1.3).
            let silent = settings.front.certificate_refusal != CertificateRefusal::Answered
                && !shared.registry.is_active(&peer.certificate);
            if connect.version == Version::V5 && !silent {
                writer
                    .send_last(Outbound::ConnAck(Box::new(refused(reason))))
                    .await;
            }
            writer.close(None).await;
            return None;
        }
    };
    // "Client must wait for CONNACK before sending anything else"; what happens otherwise is our choice
    // (docs/IOT-CORE.md §2 point 7).
    if !frames.read_buffer().is_empty() || frames.next().now_or_never().is_some() {
        let text = "Dropped a client that did not wait for CONNACK";
        shared
            .notices
            .write(&Notice::Early, &connect.client_id, text);
        writer.close(None).await;
        return None;
    }

    let Admitted {
        client_id,
        assigned,
        permissions,
    } = request;
    let now = Instant::now();
    let version = shared.clients.next_version(&client_id, now);
    let thing_name = shared.registry.thing_name_of(&client_id, &peer.certificate);
    let expiry = connect.session_expiry.min(SESSION_EXPIRY);
    let keep_alive = keep_alive(connect.keep_alive, limits);
    let link = Arc::new(Link::new(
        shared.next_link(),
        client_id,
        peer.certificate.as_str().to_owned(),
        version,
        permissions,
    ));
    let record = ConnectionRecord {
        client_id: link.client_id.to_string(),
        connected: true,
        certificate: peer.certificate.clone(),
        thing_name,
        clean_session: expiry.is_zero(),
        keep_alive: connect.keep_alive,
        session_expiry: expiry,
        connected_since: shared.presence.now(),
        disconnected: None,
        sockets: peer.sockets,
    };
    shared.clients.connected(&link.client_id, link.id, record);
    let attach = Attach {
        version: connect.version,
        clean_start: connect.clean_start,
        expiry,
        window: connect.receive_maximum.min(IN_FLIGHT),
    };
    let (session, present) = shared.hub.attach(&link, &attach, &shared.environment, now);
    session.answer(
        link.id,
        Outbound::ConnAck(Box::new(ConnAck {
            reason: Reason::SUCCESS,
            session_present: present,
            session_expiry: whole_seconds(expiry),
            receive_maximum: IN_FLIGHT,
            maximum_packet: MAXIMUM_PACKET,
            topic_aliases: TOPIC_ALIASES,
            keep_alive: u16::try_from(whole_seconds(keep_alive)).unwrap_or(u16::MAX),
            assigned_client_id: assigned,
        })),
    );
    let connection = Connection {
        shared: shared.clone(),
        version: connect.version,
        link,
        session,
        keep_alive,
        will: connect.will,
        address: peer.address(),
    };
    Some((
        connection,
        Reader::new(frames, &shared.environment, now),
        writer,
    ))
}

struct Admitted {
    client_id: Arc<str>,
    assigned: Option<String>,
    permissions: Permissions,
}

async fn read_connect<R>(frames: &mut FramedRead<R, MqttCodec>) -> Option<Connect>
where
    R: AsyncRead + Unpin,
{
    let (MqttPacket::Version(version), _) = frames.next().await?.ok()? else {
        return None;
    };
    let version = match version {
        ProtocolVersion::MQTT3 => Version::V3,
        ProtocolVersion::MQTT5 => Version::V5,
    };
    *frames.decoder_mut() = framing(version, None);
    let (packet, _) = frames.next().await?.ok()?;
    codec::connect(packet)
}

/// Answers nothing until the client gives up, or for a minute.
async fn swallow<R>(frames: &mut FramedRead<R, MqttCodec>)
where
    R: AsyncRead + Unpin,
{
    let reading = async { while let Some(Ok(_)) = frames.next().await {} };
    let _ = timeout(SWALLOW, reading).await;
}

fn admit(connect: &Connect, peer: &Peer, shared: &Arc<Shared>) -> Result<Admitted, Reason> {
    let counters = &shared.environment.counters;
    if !shared.registry.is_active(&peer.certificate) {
        counters.connect_denied.add(1);
        let text = "Refused a certificate that is not registered as ACTIVE";
        shared
            .notices
            .write(&Notice::Certificate, &peer.certificate, text);
        return Err(Reason::NOT_AUTHORIZED);
    }
    let (client_id, assigned) = client_id(&connect.client_id)?;
    let permissions = Permissions::new(
        shared.registry.clone(),
        peer.certificate.clone(),
        context(connect, &client_id, peer, shared),
        shared.notices.clone(),
    );
    let will_allowed = match &connect.will {
        None => true,
        // The socket was seen to close (docs/IOT-CORE.md §1.1); 5 documents 0x9B.
        Some(will) if !supported(will.qos) => return Err(Reason::QOS_NOT_SUPPORTED),
        Some(will) if limits::check_payload(will.payload.len()).is_err() => {
            return Err(Reason::QUOTA_EXCEEDED);
        }
        Some(will) => {
            filter::check_topic(&will.topic)?;
            permissions.publishes(&will.topic, will.retain)
        }
    };
    let settings = shared.environment.faults.get();
    let refused = settings.refuses(&settings.refuse_connects, &client_id);
    if refused || !permissions.connects() || !will_allowed {
        counters.connect_denied.add(1);
        let party = Party {
            client_id: &client_id,
            certificate: peer.certificate.as_str(),
            session: Uuid::new_v4(),
            address: peer.address(),
        };
        shared.publish_event(shared.presence.connect_failed(&party));
        return Err(Reason::NOT_AUTHORIZED);
    }
    let every = shared.environment.quotas.connect_every;
    if faults::happens(settings.throttle_connects)
        || !lock(&shared.connects).allows(&client_id, every, Instant::now())
    {
        counters.connect_throttled.add(1);
        return Err(Reason::QUOTA_EXCEEDED);
    }
    Ok(Admitted {
        client_id,
        assigned,
        permissions,
    })
}

/// 1 to 128 bytes, no `$` in front; an empty one becomes `$GEN/<uuid>`, which cannot be used again for that very
/// reason (docs/IOT-CORE.md §2 point 2).
fn client_id(asked: &str) -> Result<(Arc<str>, Option<String>), Reason> {
    if asked.is_empty() {
        let made = format!("$GEN/{}", Uuid::new_v4());
        return Ok((made.as_str().into(), Some(made)));
    }
    limits::check_client_id(asked).map_err(|_| Reason::CLIENT_ID_NOT_VALID)?;
    Ok((asked.into(), None))
}

fn context(connect: &Connect, client_id: &str, peer: &Peer, shared: &Shared) -> Context {
    let mut context = Context::new(shared.arn.clone(), client_id);
    context.source_ip = peer.address();
    context.connect = ConnectAttributes {
        persistent: !connect.session_expiry.is_zero() || !connect.clean_start,
        last_will: connect.will.is_some(),
    };
    if let Some(certificate) = shared.registry.certificate(&peer.certificate) {
        context.certificate.id = Some(peer.certificate.as_str().to_owned());
        context.certificate.attributes = certificate.attributes;
        context.thing = shared.registry.thing_of(client_id, &peer.certificate);
    }
    context
}

/// 30 to 1 200 s; zero and what is longer become 1 200 (docs/IOT-CORE.md §2 point 4).
fn keep_alive(asked: u16, limits: &Limits) -> Duration {
    limits::effective_keep_alive(asked).min(limits.keep_alive_max)
}

fn framing(version: Version, client_maximum: Option<u32>) -> MqttCodec {
    match version {
        Version::V3 => MqttCodec::V3(v3::Codec::new(MAXIMUM_PACKET)),
        Version::V5 => {
            let mut codec = v5::Codec::new(MAXIMUM_PACKET, 0);
            if let Some(maximum) = client_maximum {
                codec.set_max_outbound_size(maximum);
            }
            MqttCodec::V5(codec)
        }
    }
}

fn refused(reason: Reason) -> ConnAck {
    ConnAck {
        reason,
        session_present: false,
        session_expiry: 0,
        receive_maximum: 0,
        maximum_packet: 0,
        topic_aliases: 0,
        keep_alive: 0,
        assigned_client_id: None,
    }
}

fn whole_seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

// Clients wait 10 to 30 s for CONNACK.
const SWALLOW: Duration = Duration::from_secs(60);

// The number fits.
const MAXIMUM_PACKET: u32 = PACKET_BYTES as u32;
