//! Addresses and the networks they lie in.

use std::net::IpAddr;

/// Whether `address` lies in `network`: `10.0.0.0/8`, `2001:db8::/32` or a single address.
///
/// `None` when the text is no network, or one whose meaning is not documented: bits behind the prefix that are not
/// zero, and a single IPv6 address, for which IAM documents the prefix `/32`, unless both readings agree.
pub(super) fn contains(network: &str, address: IpAddr) -> Option<bool> {
    let (base, length) = match network.split_once('/') {
        // `parse` takes a sign, which no network has.
        Some((_, length)) if !length.bytes().all(|digit| digit.is_ascii_digit()) => return None,
        Some((base, length)) => (base, Some(length.parse::<u32>().ok()?)),
        None => (network, None),
    };
    let (base, width) = bits_of(base.parse().ok()?);
    let ignored = width.checked_sub(length.unwrap_or(width))?;
    if front(base, ignored).checked_shl(ignored).unwrap_or(0) != base {
        return None;
    }
    // A client of a listener for both kinds of address is the IPv4 client that it is.
    let (asked, asked_width) = bits_of(address.to_canonical());
    if asked_width != width {
        return Some(false);
    }
    let lies = |ignored: u32| front(base, ignored) == front(asked, ignored);
    let doubtful = length.is_none() && width == 128 && lies(128 - 32) != lies(0);
    (!doubtful).then(|| lies(ignored))
}

fn bits_of(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(address) => (address.to_bits().into(), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    }
}

// A shift by the full width leaves nothing to compare: everything is inside `0.0.0.0/0`.
fn front(bits: u128, ignored: u32) -> u128 {
    bits.checked_shr(ignored).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_their_addresses_up_to_the_last_bit() {
        for (network, address, inside) in [
            ("10.0.0.0/8", "10.255.255.255", Some(true)),
            ("10.0.0.0/8", "11.0.0.0", Some(false)),
            ("0.0.0.0/0", "255.255.255.255", Some(true)),
            ("::/0", "2001:db8::1", Some(true)),
            ("::/0", "10.0.0.1", Some(false)),
            ("10.1.2.3", "10.1.2.3", Some(true)),
            ("10.1.2.3/32", "10.1.2.4", Some(false)),
            ("10.0.0.0/8", "::ffff:10.1.2.3", Some(true)),
            ("2001:db8::/32", "2001:db8:ffff::1", Some(true)),
            ("2001:db8::/32", "2001:db9::", Some(false)),
            ("2001:db8::1", "2001:db8::1", Some(true)),
            ("2001:db8::1", "2001:db9::1", Some(false)),
            // IAM documents `/32` for an address without a prefix.
            ("2001:db8::1", "2001:db8::2", None),
            ("10.0.0.1/8", "10.1.2.3", None),
            ("10.0.0.0/33", "10.0.0.0", None),
            ("10.0.0.0/+8", "10.0.0.0", None),
            ("10.0.0.0/", "10.0.0.0", None),
            ("010.0.0.0/8", "10.0.0.0", None),
            ("*", "10.0.0.0", None),
            ("", "10.0.0.0", None),
        ] {
            let asked = address.parse().unwrap();
            assert_eq!(contains(network, asked), inside, "{network} {address}");
        }
    }
}
