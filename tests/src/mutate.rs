//! Damages good inputs at random: what the stable smoke run feeds to decoders, since libFuzzer needs nightly.

use rand::RngExt as _;
use rand::rngs::StdRng;

/// A damaged copy of one of the seeds, sometimes spliced with another one.
pub fn mutant(rng: &mut StdRng, seeds: &[Vec<u8>], dictionary: &[&str]) -> Vec<u8> {
    let pick = |rng: &mut StdRng| match seeds.len() {
        0 => Vec::new(),
        count => seeds[rng.random_range(0..count)].clone(),
    };
    let mut bytes = pick(rng);
    for _ in 0..rng.random_range(0..=8_u8) {
        if bytes.len() > LONGEST {
            bytes.truncate(LONGEST);
        }
        let at = rng.random_range(0..=bytes.len());
        match rng.random_range(0..8_u8) {
            0 if at < bytes.len() => bytes[at] = rng.random(),
            1 if at < bytes.len() => bytes[at] ^= 1 << rng.random_range(0..8_u8),
            2 => bytes.truncate(at),
            3 => bytes.insert(at, *pick_byte(rng)),
            4 => {
                let end = (at + rng.random_range(0..16_usize)).min(bytes.len());
                bytes.drain(at..end);
            }
            5 => {
                let end = (at + rng.random_range(0..64_usize)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                let to = rng.random_range(0..=bytes.len());
                bytes.splice(to..to, copy);
            }
            6 if !dictionary.is_empty() => {
                let word = dictionary[rng.random_range(0..dictionary.len())];
                bytes.splice(at..at, word.bytes());
            }
            _ => {
                let other = pick(rng);
                let from = rng.random_range(0..=other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
        }
    }
    bytes
}

/// Bytes that formats care about come up more often than others.
fn pick_byte(rng: &mut StdRng) -> &'static u8 {
    &TELLING[rng.random_range(0..TELLING.len())]
}

const TELLING: &[u8] = b"\0\n\r\t \"'{}[]():,;/\\+#$*?-.0919aZ=<>&|!@%\x7f\x80\xc3\xe2\xf0\xff";

// Decoders are linear in their input; longer ones only make fewer rounds.
const LONGEST: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn one_seed_makes_the_same_mutants_again() {
        let seeds = [b"hello, world".to_vec(), b"{\"a\":1}".to_vec()];
        let run = || -> Vec<Vec<u8>> {
            let mut rng = StdRng::seed_from_u64(5);
            (0..100)
                .map(|_| mutant(&mut rng, &seeds, &["null"]))
                .collect()
        };
        assert_eq!(run(), run());
        assert!(
            run()
                .iter()
                .any(|mutant| *mutant != seeds[0] && *mutant != seeds[1])
        );
    }
}
