//! What a verifier says of a round, apart from what it found in it.

use link::error::{Hint as _, chain};
use link::fault::{Code, Finding};
use link::http::client::ApiError;

use super::{CANARY, DIGEST, LEDGER, VERIFIED, look, memory};

pub(super) fn all_well(code: Code, checked: u64) -> Finding {
    let what = match code {
        CANARY => "canaries came back in time",
        LEDGER => "ledgers were compared with an earlier look, and none went back",
        DIGEST => "clusters hold by their report exactly what the server holds",
        _ => "bundles have the version that was acknowledged before, or a later one",
    };
    if checked > 0 {
        return Finding::ok(code, format!("{checked} {what}"));
    }
    let why = match code {
        CANARY => "no canary was sent",
        DIGEST => {
            "no agent has reported between two looks in which nothing changed; agents report every five minutes, so it takes \
             `--every`"
        }
        _ => "there is no earlier look to compare with, or there are no bundles",
    };
    Finding::info(code, format!("Not checked: {why}"))
}

pub(super) fn could_not_look(error: &ApiError) -> Finding {
    Finding::error(VERIFIED, chain(error))
        .why("while nobody looks, nobody knows whether the region keeps what it promises")
        .next(next(error))
}

pub(super) fn could_not_clean(error: &ApiError) -> Finding {
    Finding::error(VERIFIED, chain(error))
        .why("canaries that are not said to be gone may be there still; `--clean` can be repeated")
        .next(next(error))
}

fn next(error: &ApiError) -> String {
    let hint = error.hint();
    hint.unwrap_or_else(|| "see whether the server is ready: `/readyz`".into())
}

/// One that was taken out of service may still be named; a name that was meant for another may be too.
pub(super) fn not_there(consumer: &str) -> Finding {
    let seen = format!("`--except {consumer}`: there is no such cluster");
    Finding::info(VERIFIED, seen)
}

pub(super) fn too_many_consumers() -> Finding {
    let seen = format!(
        "There are more than {} clusters: those that come last by name are not looked at",
        look::MOST_CONSUMERS
    );
    Finding::warning(VERIFIED, seen)
        .why("what is lost there is not found")
        .next("divide the clusters among several regions")
}

pub(super) fn left_out(clusters: usize) -> Finding {
    let seen = format!(
        "{clusters} clusters of this round are not compared: at most {} bundles are remembered, and at most {} of one cluster read",
        memory::MOST_BUNDLES,
        look::MOST_OF_ONE
    );
    Finding::warning(VERIFIED, seen)
        .why("what went back there, or is held there otherwise, is not found")
        .next("run a verifier for each part of the region, and leave the other part out of each with --except")
}
