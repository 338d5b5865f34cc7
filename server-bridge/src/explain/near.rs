//! Which known names somebody may have meant.

use link::spelling::nearest;

/// At most `SHOWN` names that hold what was given, and then those spelled like it, nearest first, each once.
pub fn near(given: &str, known: &[String]) -> Vec<String> {
    let given = given.to_lowercase();
    let mut found: Vec<String> = Vec::new();
    if given.len() >= SHORTEST {
        let holding = known
            .iter()
            .filter(|name| name.to_lowercase().contains(&given));
        for name in holding {
            if !found.contains(name) {
                found.push(name.clone());
            }
            if found.len() == SHOWN {
                return found;
            }
        }
    }
    let mut rest: Vec<&str> = known.iter().map(String::as_str).collect();
    while found.len() < SHOWN {
        rest.retain(|name| !found.iter().any(|found| found == name));
        match nearest(&given, &rest) {
            Some(name) => found.push(name.to_owned()),
            None => break,
        }
    }
    found
}

/// As many as somebody reads.
const SHOWN: usize = 5;

// One letter is in every name.
const SHORTEST: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_the_text_comes_first_and_then_what_is_spelled_like_it() {
        let known = ["cluster-1", "cluster-2", "mc-eu-1", "Shop-Frontend", "zzz"];
        let known = known.map(str::to_owned);
        assert_eq!(near("front", &known), ["Shop-Frontend"]);
        assert_eq!(near("clutser-1", &known), ["cluster-1", "cluster-2"]);
        assert_eq!(near("cluster", &known), ["cluster-1", "cluster-2"]);
        assert_eq!(near("q", &known), [""; 0]);
    }
}
