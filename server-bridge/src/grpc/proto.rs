//! The generated code of `proto/cloudevent.proto`: messages, and the trait of the service.

#[expect(
    unreachable_pub,
    unused_qualifications,
    clippy::allow_attributes,
    clippy::enum_variant_names,
    reason = "generated; `cloud_event_service_server` is what is used of it"
)]
mod generated {
    tonic::include_proto!("io.cloudevents.v1");
}

pub(super) use generated::cloud_event::Data;
pub(super) use generated::cloud_event_attribute_value::Attr;
pub(super) use generated::cloud_event_service_server::{
    CloudEventService, CloudEventServiceServer, SERVICE_NAME,
};
pub(super) use generated::{
    CloudEvent, CloudEventAttributeValue, PublishRequest, SubscriptionRequest,
};

/// What the reflection service tells of it.
pub(super) const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/cloudevent.bin"));
