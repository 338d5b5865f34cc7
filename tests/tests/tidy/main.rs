//! The house rules that no compiler checks: layering, circles, names of types, module docs, file length, forbidden words,
//! references and links that resolve, one home for IoT Core's numbers.
//!
//! Each test reports every breach at once, as `path:line: what; do this instead`.

mod circles;
mod layers;
mod links;
mod members;
mod names;
mod numbers;
mod references;
mod source;
mod syntax;
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
