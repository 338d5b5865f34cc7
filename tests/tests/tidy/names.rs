//! A public type's name says which one it is: within a member no two of them share a name.

use std::collections::BTreeMap;

use crate::nothing_in;
use crate::syntax::members;

#[test]
fn no_two_public_types_of_a_member_share_a_name() {
    let mut breaches = Vec::new();
    for (member, modules) in members() {
        let mut homes: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for source in modules.values() {
            for name in &source.public_types {
                homes.entry(name).or_default().push(&source.file);
            }
        }
        for (name, files) in homes.into_iter().filter(|(_, files)| files.len() > 1) {
            breaches.push(format!(
                "{member}: `{name}` is declared in {}; give each its module's name",
                files.join(" and ")
            ));
        }
    }
    nothing_in(&breaches);
}
