//! server-bridge
