//! IP addresses: `ip`, `isIP`, `ip.isCanonical` and what can be asked of an address. As in Kubernetes, an IPv4 address
//! written as IPv6 (`::ffff:1.2.3.4`) and one with a zone are refused.

use std::net::IpAddr;

use cel::Env;
use cel::common::types::{CelBool, CelInt, CelString, Type};

use super::opaque::{Content, Opaque};
use super::{Declared, Result, fails};

pub(super) type Ip = Opaque<IpAddr>;

impl Content for IpAddr {
    fn kind() -> &'static Type {
        &TYPE
    }
}

pub(super) fn declare(env: &mut Env) -> Declared {
    cel::add_overload!(env, fn ip: (CelString) -> Result<Ip>)?;
    cel::add_overload!(env, fn is_ip: (CelString) -> CelBool, name = "isIP")?;
    cel::add_overload!(env, fn is_canonical: (CelString) -> Result<CelBool>, name = "ip.isCanonical")?;
    cel::add_overload!(env, fn string: (Ip) -> CelString)?;
    cel::add_member_overload!(env, fn family: (Ip) -> CelInt)?;
    cel::add_member_overload!(env, fn is_unspecified: (Ip) -> CelBool)?;
    cel::add_member_overload!(env, fn is_loopback: (Ip) -> CelBool)?;
    cel::add_member_overload!(env, fn is_link_local_multicast: (Ip) -> CelBool)?;
    cel::add_member_overload!(env, fn is_link_local_unicast: (Ip) -> CelBool)?;
    cel::add_member_overload!(env, fn is_global_unicast: (Ip) -> CelBool)
}

/// Reads an address.
pub(super) fn parse(text: &str) -> Option<IpAddr> {
    let address: IpAddr = text.parse().ok()?;
    let mapped = matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
    (!mapped).then_some(address)
}

/// Reads an address for a function.
///
/// # Errors
/// When the text is none.
pub(super) fn parsed(function: &str, text: &CelString<'_>) -> Result<IpAddr> {
    parse(text.inner())
        .ok_or_else(|| fails(function, &format!("`{}` is no IP address", text.inner())))
}

fn ip(text: &CelString<'_>) -> Result<Ip> {
    parsed("ip", text).map(Opaque)
}

fn is_ip(text: &CelString<'_>) -> CelBool {
    parse(text.inner()).is_some().into()
}

fn is_canonical(text: &CelString<'_>) -> Result<CelBool> {
    let address = parsed("ip.isCanonical", text)?;
    Ok((address.to_string() == text.inner()).into())
}

fn string(this: &Ip) -> CelString<'static> {
    this.0.to_string().into()
}

fn family(this: &Ip) -> CelInt {
    if this.0.is_ipv4() { 4 } else { 6 }.into()
}

fn is_unspecified(this: &Ip) -> CelBool {
    this.0.is_unspecified().into()
}

fn is_loopback(this: &Ip) -> CelBool {
    this.0.is_loopback().into()
}

fn is_link_local_multicast(this: &Ip) -> CelBool {
    link_local_multicast(this.0).into()
}

fn is_link_local_unicast(this: &Ip) -> CelBool {
    link_local_unicast(this.0).into()
}

// As Go defines it: private addresses count.
fn is_global_unicast(this: &Ip) -> CelBool {
    let address = this.0;
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    let not_global = broadcast
        || address.is_unspecified()
        || address.is_loopback()
        || address.is_multicast()
        || link_local_unicast(address);
    (!not_global).into()
}

fn link_local_unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

fn link_local_multicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.octets().starts_with(&[224, 0, 0]),
        IpAddr::V6(v6) => v6.segments()[0] & 0xff0f == 0xff02,
    }
}

static TYPE: Type = Type::new_unspecified_type("net.IP");
