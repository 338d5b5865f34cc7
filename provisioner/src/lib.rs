//! Plans and makes what a region needs on AWS.

pub mod adopt;
pub mod aws;
pub mod converge;
pub mod destroy;
pub mod permissions;
pub mod plan;
pub mod preflight;
pub mod progress;
pub mod cost;
pub mod desired;
pub mod outputs;
pub mod policy;
pub mod region;
pub mod enroll;
pub mod identity;
pub mod resource;
pub mod survey;
pub mod revoke;
pub mod rotate;
