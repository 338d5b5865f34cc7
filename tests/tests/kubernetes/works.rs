//! Works as ManifestWork objects: what is kept, what others may do to it, and what is said when the cluster refuses.

mod kept;
mod left;
mod others;
mod refused;
mod requests;
mod rig;
