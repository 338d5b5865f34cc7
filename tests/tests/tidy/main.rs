//! The house rules that no compiler checks: layering, module docs, file length, forbidden words, dead links, one home
//! for IoT Core's numbers.
//!
//! Each test reports every breach at once, as `path:line: what; do this instead`.

mod layers;
mod links;
mod members;
mod numbers;
mod references;
mod source;
mod tree;
mod words;

/// Fails with one line per breach.
fn nothing_in(breaches: &[String]) {
    assert!(
        breaches.is_empty(),
        "{} breach(es) of the house rules:\n{}\n",
        breaches.len(),
        breaches.join("\n")
    );
}
