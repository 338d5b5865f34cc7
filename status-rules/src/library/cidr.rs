//! Address ranges: `cidr`, `isCIDR`, and what they contain.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cel::Env;
use cel::common::types::{CelBool, CelInt, CelString, Type};

use super::ip::{self, Ip};
use super::opaque::{Content, Opaque};
use super::{Declared, Result, fails};

/// An address and how many of its first bits are the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cidr {
    address: IpAddr,
    prefix: u8,
}

type Value = Opaque<Cidr>;

// === impl Cidr ===

impl Cidr {
    fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        let address = ip::parse(address)?;
        let plain = prefix == "0" || !prefix.starts_with(['0', '+']);
        let prefix: u8 = prefix.parse().ok().filter(|_| plain)?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        (prefix <= bits).then_some(Self { address, prefix })
    }

    fn network(self, address: IpAddr) -> IpAddr {
        let prefix = u32::from(self.prefix);
        match address {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
                Ipv4Addr::from_bits(v4.to_bits() & mask).into()
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
                Ipv6Addr::from_bits(v6.to_bits() & mask).into()
            }
        }
    }

    fn contains(self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4()
            && self.network(self.address) == self.network(address)
    }
}

impl Content for Cidr {
    fn kind() -> &'static Type {
        &TYPE
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

pub(super) fn declare(env: &mut Env) -> Declared {
    cel::add_overload!(env, fn cidr: (CelString) -> Result<Value>)?;
    cel::add_overload!(env, fn is_cidr: (CelString) -> CelBool, name = "isCIDR")?;
    cel::add_overload!(env, fn string: (Value) -> CelString)?;
    cel::add_member_overload!(env, fn contains_ip: (Value, Ip) -> CelBool, name = "containsIP")?;
    cel::add_member_overload!(env, fn contains_ip_text: (Value, CelString) -> Result<CelBool>, name = "containsIP")?;
    cel::add_member_overload!(env, fn contains_cidr: (Value, Value) -> CelBool, name = "containsCIDR")?;
    cel::add_member_overload!(env, fn contains_cidr_text: (Value, CelString) -> Result<CelBool>, name = "containsCIDR")?;
    cel::add_member_overload!(env, fn address: (Value) -> Ip, name = "ip")?;
    cel::add_member_overload!(env, fn prefix_length: (Value) -> CelInt)?;
    cel::add_member_overload!(env, fn masked: (Value) -> Value)
}

fn cidr(text: &CelString<'_>) -> Result<Value> {
    parsed("cidr", text).map(Opaque)
}

fn is_cidr(text: &CelString<'_>) -> CelBool {
    Cidr::parse(text.inner()).is_some().into()
}

fn string(this: &Value) -> CelString<'static> {
    this.0.to_string().into()
}

fn contains_ip(this: &Value, address: &Ip) -> CelBool {
    this.0.contains(address.0).into()
}

fn contains_ip_text(this: &Value, text: &CelString<'_>) -> Result<CelBool> {
    Ok(this.0.contains(ip::parsed("containsIP", text)?).into())
}

fn contains_cidr(this: &Value, other: &Value) -> CelBool {
    (this.0.prefix <= other.0.prefix && this.0.contains(other.0.address)).into()
}

fn contains_cidr_text(this: &Value, text: &CelString<'_>) -> Result<CelBool> {
    Ok(contains_cidr(this, &Opaque(parsed("containsCIDR", text)?)))
}

fn address(this: &Value) -> Ip {
    Opaque(this.0.address)
}

fn prefix_length(this: &Value) -> CelInt {
    i64::from(this.0.prefix).into()
}

fn masked(this: &Value) -> Value {
    Opaque(Cidr {
        address: this.0.network(this.0.address),
        prefix: this.0.prefix,
    })
}

fn parsed(function: &str, text: &CelString<'_>) -> Result<Cidr> {
    Cidr::parse(text.inner()).ok_or_else(|| {
        fails(
            function,
            &format!("`{}` is no range of addresses", text.inner()),
        )
    })
}

static TYPE: Type = Type::new_unspecified_type("net.CIDR");
