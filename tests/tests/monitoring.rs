//! What an operator watches by works: rules and dashboards of the charts are read by the programs that read them in
//! production, and every alert fires for the fault it is for.
//!
//! `files` holds rules, pages and dashboards to each other, and runs the unit tests of the rules (`tests/rules`), which prove
//! the real limits and times with simulated ones. `live` starts a region and a Prometheus, and breaks the region for real.

#[path = "monitoring/charts.rs"]
mod charts;
#[path = "monitoring/files.rs"]
mod files;
#[path = "monitoring/live.rs"]
mod live;
