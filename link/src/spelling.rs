//! "Did you mean": the known name that a misspelt one most likely stands for.

/// The known name nearest to `unknown`, or `None` when nothing is near enough to be worth suggesting.
/// Case, `-` and `_` do not count; of a dotted name the last segment alone may match too.
pub fn nearest<'a>(unknown: &str, known: &[&'a str]) -> Option<&'a str> {
    let unknown = fold(unknown);
    let tail = last(&unknown).to_owned();
    known
        .iter()
        // `max_by` keeps the last of equals; the first known name is the better suggestion.
        .rev()
        .map(|name| {
            let folded = fold(name);
            let whole = strsim::jaro_winkler(&unknown, &folded);
            // A key written on the wrong level is a little less likely than a misspelt one.
            let segment = strsim::jaro_winkler(&tail, last(&folded)) * SEGMENT_WEIGHT;
            (whole.max(segment), *name)
        })
        .filter(|(score, _)| *score >= NEAR)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name)
}

fn fold(name: &str) -> String {
    name.chars()
        .filter(|c| !matches!(c, '-' | '_' | ' '))
        .flat_map(char::to_lowercase)
        .collect()
}

fn last(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

// Found by trying: `broker` for `brokerHost` scores 0.92, `user` for `username` 0.9, unrelated keys below 0.75.
const NEAR: f64 = 0.8;
const SEGMENT_WEIGHT: f64 = 0.97;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn likely_misspellings_find_their_name() {
        let known = [
            "brokerHost",
            "username",
            "caFile",
            "clientCertFile",
            "topics.sourceEvents",
        ];
        for (unknown, expected) in [
            ("broker", Some("brokerHost")),
            ("broker_host", Some("brokerHost")),
            ("BROKERHOST", Some("brokerHost")),
            ("user", Some("username")),
            ("ca-file", Some("caFile")),
            ("clientCert", Some("clientCertFile")),
            ("sourceEvents", Some("topics.sourceEvents")),
            ("topics.sourceEvent", Some("topics.sourceEvents")),
            ("zzz", None),
            ("", None),
        ] {
            assert_eq!(nearest(unknown, &known), expected, "{unknown}");
        }
    }
}
