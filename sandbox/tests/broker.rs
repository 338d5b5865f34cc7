//! The broker keeps IoT Core's rules: one test per promise, grouped by the points of docs/IOT-CORE.md §2.
//!
//! Most tests speak raw packets over an in-process pipe with a paused clock, so that hours cost nothing and every
//! code is seen; `tls` and `mosquitto` use the real socket.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod broker {
    mod client;
    mod connect;
    mod control;
    mod data_plane;
    mod faults;
    mod fronts;
    mod mosquitto;
    mod publish;
    mod registry;
    mod rehearsals;
    mod rig;
    mod session;
    mod subscribe;
    mod throughput;
    mod tls;
}
