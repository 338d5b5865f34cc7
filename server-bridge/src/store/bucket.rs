//! Buckets of consumers, the unit in which replicas share the work.

use std::fmt;

use link::id::ConsumerName;

/// One of the parts into which the names of consumers fall.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bucket(u8);

// === impl Bucket ===

impl Bucket {
    /// How many there are.
    pub const COUNT: usize = 256;

    /// The bucket with this number.
    pub const fn new(number: u8) -> Self {
        Self(number)
    }

    /// The bucket of a consumer. Every version of every bridge must come to the same one: FNV-1a of the name in 64 bits,
    /// whose bytes are folded into one by exclusive or.
    pub fn of(consumer: &ConsumerName) -> Self {
        let hash = consumer.as_str().bytes().fold(FNV_BASIS, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME)
        });
        Self(
            hash.to_be_bytes()
                .into_iter()
                .fold(0, |all, byte| all ^ byte),
        )
    }

    /// All of them, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..=u8::MAX).map(Self)
    }

    /// Its number.
    pub const fn number(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// <http://www.isthe.com/chongo/tech/comp/fnv/>
const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn of(name: &str) -> u8 {
        Bucket::of(&ConsumerName::new(name).unwrap()).number()
    }

    #[test]
    fn the_bucket_of_a_name_never_changes() {
        let golden = [
            ("a", 187),
            ("c1", 28),
            ("cluster-1", 186),
            ("cluster-2", 206),
            ("management-cluster-eu-west-1a", 88),
        ];
        assert_eq!(golden.map(|(name, _)| (name, of(name))), golden);
    }

    #[test]
    fn names_that_differ_in_a_number_fall_into_all_buckets_alike() {
        let mut counts = BTreeMap::new();
        for number in 0..25_600 {
            *counts.entry(of(&format!("mc-{number:05}"))).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), Bucket::COUNT);
        // A hundred each on average; ten is one standard deviation of chance.
        let (least, most) = (
            counts.values().min().unwrap(),
            counts.values().max().unwrap(),
        );
        assert!(*least > 50 && *most < 160, "{least} to {most}");
    }
}
