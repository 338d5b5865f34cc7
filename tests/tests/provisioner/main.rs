//! The provisioner against an AWS of several accounts, with an IoT Core whose broker obeys.

mod converge;
mod crashes;
