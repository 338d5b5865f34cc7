//! Metrics of the gRPC endpoint, with the names and labels of Maestro's (docs/MAESTRO.md §5.8), so that its alerts and dashboards
//! read them. Sources are named up to a number; all beyond are `other`.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use link::telemetry::register;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry};
use tonic::Code;

use crate::store::SourceName;

/// What happened to calls and messages.
#[derive(Clone, Debug)]
pub(super) struct GrpcMetrics {
    clients: IntGaugeVec,
    called: IntCounterVec,
    processed: IntCounterVec,
    seconds: HistogramVec,
    received: IntCounterVec,
    sent: IntCounterVec,
    sources: Arc<Mutex<BTreeSet<String>>>,
}

/// Which call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallKind {
    Publish,
    Subscribe,
}

/// A stream that is counted as long as it is there.
#[derive(Debug)]
pub(super) struct Registered {
    metrics: GrpcMetrics,
    source: String,
}

// === impl GrpcMetrics ===

impl GrpcMetrics {
    /// Creates and registers the metrics.
    ///
    /// # Errors
    /// If a metric of the same name is registered already.
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            clients: register(
                registry,
                IntGaugeVec::new(
                    Opts::new(
                        "grpc_server_registered_source_clients",
                        "Streams of sources that are open",
                    ),
                    &["source"],
                )?,
            )?,
            called: register(
                registry,
                IntCounterVec::new(
                    Opts::new(
                        "grpc_server_called_total",
                        "gRPC calls by call and source; the sources beyond 256, and who may not call, are `other`",
                    ),
                    &["type", "source"],
                )?,
            )?,
            processed: register(
                registry,
                IntCounterVec::new(
                    Opts::new(
                        "grpc_server_processed_total",
                        "gRPC calls that were answered, by call, source and code; streams when they began",
                    ),
                    &["type", "source", "code"],
                )?,
            )?,
            seconds: register(
                registry,
                HistogramVec::new(
                    HistogramOpts::new(
                        "grpc_server_processed_duration_seconds",
                        "Seconds until a gRPC call was answered, by call and source; of a stream until it began",
                    ),
                    &["type", "source"],
                )?,
            )?,
            received: register(
                registry,
                IntCounterVec::new(
                    Opts::new(
                        "grpc_server_message_received_total",
                        "gRPC messages received, by call and source",
                    ),
                    &["type", "source"],
                )?,
            )?,
            sent: register(
                registry,
                IntCounterVec::new(
                    Opts::new(
                        "grpc_server_message_sent_total",
                        "gRPC messages sent, by call and source; heartbeats are left out",
                    ),
                    &["type", "source"],
                )?,
            )?,
            sources: Arc::default(),
        })
    }

    /// The label of a source that may call. One that may not, or has no name, is [`OTHER`].
    pub(super) fn source(&self, source: Option<&SourceName>) -> String {
        let Some(source) = source else {
            return OTHER.to_owned();
        };
        let mut known = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(source.as_str()) {
            return source.to_string();
        }
        if known.len() >= SOURCES {
            return OTHER.to_owned();
        }
        known.insert(source.to_string());
        source.to_string()
    }

    /// A call with its one message was answered.
    pub(super) fn answered(&self, call: CallKind, source: &str, code: Code, took: Duration) {
        let labels = [call.as_str(), source];
        self.called.with_label_values(&labels).inc();
        self.received.with_label_values(&labels).inc();
        self.processed
            .with_label_values(&[call.as_str(), source, code_name(code)])
            .inc();
        self.seconds
            .with_label_values(&labels)
            .observe(took.as_secs_f64());
        if call == CallKind::Publish && code == Code::Ok {
            self.sent.with_label_values(&labels).inc();
        }
    }

    /// Counts a stream while what is returned is there.
    pub(super) fn stream(&self, source: String) -> Registered {
        self.clients.with_label_values(&[&source]).inc();
        Registered {
            metrics: self.clone(),
            source,
        }
    }
}

// === impl Registered ===

impl Registered {
    /// An event was handed to the connection.
    pub(super) fn sent(&self) {
        let labels = [CallKind::Subscribe.as_str(), &self.source];
        self.metrics.sent.with_label_values(&labels).inc();
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let labels = [&self.source];
        self.metrics.clients.with_label_values(&labels).dec();
    }
}

// === impl CallKind ===

impl CallKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "Publish",
            Self::Subscribe => "Subscribe",
        }
    }
}

/// A code as Go writes it.
const fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "Canceled",
        Code::Unknown => "Unknown",
        Code::InvalidArgument => "InvalidArgument",
        Code::DeadlineExceeded => "DeadlineExceeded",
        Code::NotFound => "NotFound",
        Code::AlreadyExists => "AlreadyExists",
        Code::PermissionDenied => "PermissionDenied",
        Code::ResourceExhausted => "ResourceExhausted",
        Code::FailedPrecondition => "FailedPrecondition",
        Code::Aborted => "Aborted",
        Code::OutOfRange => "OutOfRange",
        Code::Unimplemented => "Unimplemented",
        Code::Internal => "Internal",
        Code::Unavailable => "Unavailable",
        Code::DataLoss => "DataLoss",
        Code::Unauthenticated => "Unauthenticated",
    }
}

/// The label of all sources beyond [`SOURCES`], and of those that may not call.
const OTHER: &str = "other";

// Each is some thirty series. Users have one source for each cluster at most, and alerts sum over them.
const SOURCES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_labels_up_to_their_number_and_other_beyond() {
        let registry = Registry::new();
        let metrics = GrpcMetrics::register(&registry).unwrap();
        let name = |number: usize| SourceName::new(format!("s{number}")).unwrap();
        for number in 0..SOURCES {
            assert_eq!(metrics.source(Some(&name(number))), format!("s{number}"));
        }
        assert_eq!(metrics.source(Some(&name(SOURCES))), OTHER);
        assert_eq!(metrics.source(Some(&name(0))), "s0");
        assert_eq!(metrics.source(None), OTHER);
        let streams = metrics.stream("s0".into());
        let count = || metrics.clients.with_label_values(&["s0"]).get();
        assert_eq!(count(), 1);
        drop(streams);
        assert_eq!(count(), 0);
    }
}
