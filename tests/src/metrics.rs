//! Reads a component's `/metrics` page, so that tests can hold it to what it counts.

use std::collections::BTreeMap;

/// One scrape of a metrics page.
#[derive(Clone, Debug, Default)]
pub struct MetricsPage {
    samples: Vec<Sample>,
}

#[derive(Clone, Debug, PartialEq)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

// === impl MetricsPage ===

impl MetricsPage {
    /// Fetches `http://ADMIN/metrics`.
    ///
    /// # Errors
    /// When nobody answers, or not with 200.
    pub async fn scrape(admin: &str) -> Result<Self, reqwest::Error> {
        let url = format!("{}/metrics", admin.trim_end_matches('/'));
        let answer = reqwest::get(url).await?.error_for_status()?;
        Ok(Self::parse(&answer.text().await?))
    }

    /// Reads the text format; lines that are not samples are passed over.
    pub fn parse(text: &str) -> Self {
        let samples = text.lines().filter_map(sample).collect();
        Self { samples }
    }

    /// The sum of all samples of a metric that carry these labels, whatever other labels they have; `None` when
    /// there is no such sample.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let values: Vec<f64> = self
            .samples
            .iter()
            .filter(|sample| sample.name == name && sample.carries(labels))
            .map(|sample| sample.value)
            .collect();
        (!values.is_empty()).then(|| values.iter().sum())
    }

    /// Like [`Self::sum`], with a metric that is not there counted as 0, as a counter that never counted.
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "counters are whole, positive and far below 2^53"
        )]
        let count = self.sum(name, labels).unwrap_or_default() as u64;
        count
    }

    /// All metric names, sorted, for failure messages.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self
            .samples
            .iter()
            .map(|sample| sample.name.as_str())
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

// === impl Sample ===

impl Sample {
    fn carries(&self, labels: &[(&str, &str)]) -> bool {
        labels
            .iter()
            .all(|(name, value)| self.labels.get(*name).is_some_and(|found| found == value))
    }
}

fn sample(line: &str) -> Option<Sample> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let (head, labels, tail) = match line.split_once('{') {
        Some((head, rest)) => {
            let (labels, tail) = labels(rest)?;
            (head, labels, tail)
        }
        None => {
            let (head, tail) = line.split_once(' ')?;
            (head, BTreeMap::new(), tail)
        }
    };
    let value = tail.split_whitespace().next()?.parse().ok()?;
    Some(Sample {
        name: head.to_owned(),
        labels,
        value,
    })
}

/// Labels up to the closing brace, and what follows it. Values may hold braces, commas and escaped quotes.
fn labels(text: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    let mut rest = text.trim_start();
    loop {
        if let Some(tail) = rest.strip_prefix('}') {
            return Some((labels, tail));
        }
        let (name, after) = rest.split_once("=\"")?;
        let (value, after) = quoted(after)?;
        labels.insert(name.trim().to_owned(), value);
        rest = after.trim_start_matches([',', ' ']);
    }
}

fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_add_up_over_the_labels_not_asked_for() {
        let page = MetricsPage::parse(
            "# HELP link_refused_total refused\n\
             # TYPE link_refused_total counter\n\
             link_refused_total{reason=\"stale\",way=\"down\"} 2\n\
             link_refused_total{reason=\"stale\",way=\"up\"} 3\n\
             link_refused_total{reason=\"a \\\"b\\\", {c}\"} 1\n\
             up 1\n",
        );
        assert_eq!(
            page.sum("link_refused_total", &[("reason", "stale")]),
            Some(5.0)
        );
        assert_eq!(
            page.count("link_refused_total", &[("reason", "a \"b\", {c}")]),
            1
        );
        assert_eq!(page.sum("link_refused_total", &[("reason", "other")]), None);
        assert_eq!(page.count("up", &[]), 1);
        assert_eq!(page.names(), ["link_refused_total", "up"]);
    }
}
