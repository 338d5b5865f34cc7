//! What was reported of a source lately, page by page.

use server_bridge::store::Store;

use crate::reports::{shown, source};
use crate::status::status;
use crate::{at, bundle, with_consumers};

/// Ids of what was reported of a source since then, in pages of `limit`.
pub(crate) async fn since(store: &impl Store, text: &str, second: i64, limit: u32) -> Vec<String> {
    let of = source(text);
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = store.reports_since(&of, at(second), after, limit).await;
        let page = page.unwrap();
        assert!(page.heads.iter().all(|head| head.source == of));
        let full = page.heads.len() == limit as usize;
        assert!(page.heads.len() <= limit as usize && (full || page.next.is_none()));
        seen.extend(page.heads.iter().map(shown));
        after = page.next;
        if after.is_none() {
            return seen;
        }
    }
}

pub(crate) async fn what_was_reported_of_a_source_comes_in_pages_that_leave_nothing_out(
    store: impl Store,
) {
    with_consumers(&store, &["c1", "c2"]).await;
    let ids: Vec<String> = (0..13).map(|number| format!("b{number:02}")).collect();
    for (number, id) in (0..).zip(&ids) {
        let mut new = bundle(id, if number % 4 == 3 { "c2" } else { "c1" });
        new.source = source(if number % 5 == 4 { "rosa" } else { "own" });
        store.create_bundle(new, at(1)).await.unwrap();
        let consumer = if number % 4 == 3 { "c2" } else { "c1" };
        let mut update = status(id, consumer, 1, 1);
        // Those that were made last were reported first, two at each time.
        update.at = at(100 - number / 2);
        store.apply_status(update).await.unwrap();
    }
    store.remove_consumer("id-c2", None, at(100)).await.unwrap();
    let all = [
        "b00", "b01", "b02", "b05", "b06", "b08", "b10", "b12", "-b03", "-b07", "-b11",
    ];
    for limit in [1, 2, 4, 7, 8, 9, 10, 11, 12] {
        assert_eq!(
            since(&store, "own", 0, limit).await,
            all,
            "pages of {limit}"
        );
    }
    let late = ["b00", "b01", "b02", "b05", "-b03", "-b07", "-b11"];
    for limit in [1, 4, 5, 99] {
        assert_eq!(since(&store, "own", 98, limit).await, late);
    }
    // What goes while a reader is on its way is on a later page.
    let own = source("own");
    let first = store.reports_since(&own, at(0), None, 3).await.unwrap();
    store.remove_consumer("id-c1", None, at(200)).await.unwrap();
    let rest = store.reports_since(&own, at(0), first.next, 99).await;
    let rest: Vec<_> = rest.unwrap().heads.iter().map(shown).collect();
    for id in ids
        .iter()
        .filter(|id| !["b04", "b09"].contains(&id.as_str()))
    {
        assert!(rest.contains(&format!("-{id}")), "{id} in {rest:?}");
    }
    let nothing = store.reports_since(&own, at(0), None, 0).await.unwrap();
    assert!(nothing.heads.is_empty() && nothing.next.is_some());
}
