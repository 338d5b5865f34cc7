//! Certificates, keys and mounted directories for tests.
