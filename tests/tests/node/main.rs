//! Our images and charts on a real node: what neither a rendered chart nor an API server without nodes can show. One
//! program, so that tests share a node, which takes ten seconds to start.

mod charts;
mod file_sources;
mod host_resources;
mod power;
mod rehearsal;
mod volumes;
