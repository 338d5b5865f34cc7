//! Delivery over a store that fails as a test says and a broker that is a list.

mod acks;
mod asks;
mod bench;
mod bundles;
mod heard;
mod history;
mod presence;
mod repairs;
mod replicas;
mod resync;
mod supervision;
mod turns;
