//! The harness of the end-to-end tests: throw-away certificates, real brokers, breakable networks, real binaries.
//!
//! Everything listens on 127.0.0.1 on a free port, belongs to a [`test_dir::TestDir`] directory and dies with the
//! value that started it. A test that ends without [`test_dir::TestDir::passed`] leaves its evidence behind and
//! says where. Nothing here sleeps for a fixed time: [`wait::wait_for`] polls a condition until a deadline and
//! fails with the last thing it saw.

pub mod api;
pub mod aws;
pub mod browser;
pub mod crds;
pub mod csi;
pub mod decoders;
pub mod doc_page;
pub mod fleet;
pub mod go;
pub mod in_process;
pub mod kubernetes;
pub mod measure;
pub mod metrics;
pub mod mosquitto;
pub mod mutate;
pub mod node;
pub mod peer_events;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod prometheus;
pub mod proxy;
pub mod region;
pub mod rehearse;
pub mod scripted_agent;
pub mod seed;
pub mod session;
pub mod source;
pub mod test_dir;
pub mod testbed;
pub mod tmpfs;
pub mod wait;

/// Throw-away certificates, laid down as the two CSI writers do.
pub use sandbox::pki;
