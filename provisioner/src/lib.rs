//! Plans and makes what a region needs on AWS.

pub mod aws;
pub mod resource;
