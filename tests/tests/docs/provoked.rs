//! Every code of the catalogue is provoked by a test that makes the fault for real: with files, certificates, policies, a broker,
//! a bridge, a database, AWS's stand-ins, an API server.
//!
//! The table names one test per code. It is held against the catalogue, and each test against its source: it is there, it is
//! a test, and its file names the code.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use link::fault::CATALOGUE;

use super::faults::Tokens;
use super::root;

/// A test, and the codes that it provokes.
struct Proof {
    file: &'static str,
    test: &'static str,
    codes: &'static [u16],
}

const PROOFS: &[Proof] = &[
    proof(
        "probe/tests/doctor/files.rs",
        "a_file_that_may_not_or_cannot_be_read_is_told_from_one_that_is_wrong",
        &[100, 104],
    ),
    proof(
        "probe/tests/doctor/files.rs",
        "each_fault_of_a_file_has_its_code_with_path_size_and_kind_and_no_content",
        &[101, 102, 103, 110, 111],
    ),
    proof(
        "probe/tests/doctor/files.rs",
        "files_that_are_mounted_one_by_one_are_said_to_grow_stale",
        &[105],
    ),
    proof(
        "probe/tests/doctor/files.rs",
        "what_the_configuration_lacks_is_a_finding_and_what_the_line_lacks_is_usage",
        &[106],
    ),
    proof(
        "probe/tests/doctor/files.rs",
        "a_key_that_others_may_read_is_a_warning_on_a_disk",
        &[107],
    ),
    proof(
        "probe/tests/doctor/files.rs",
        "dates_are_told_and_the_broker_is_asked_all_the_same",
        &[112, 113],
    ),
    proof(
        "probe/tests/doctor/files.rs",
        "a_kind_of_key_that_aws_does_not_take_is_told",
        &[114],
    ),
    proof(
        "probe/tests/doctor/faults.rs",
        "the_clock_here_is_compared_with_the_servers_also_when_its_certificate_seems_over",
        &[120, 121],
    ),
    proof(
        "probe/tests/doctor/faults.rs",
        "a_name_that_the_resolver_does_not_have_is_told_from_a_resolver_that_does_not_answer",
        &[200, 201],
    ),
    proof(
        "probe/tests/doctor/faults.rs",
        "a_name_that_does_not_exist_is_a_fault_of_the_name_or_of_the_resolver",
        &[202],
    ),
    proof(
        "tests/tests/doctor/cloud.rs",
        "an_endpoint_of_another_account_than_the_certificates_is_named_with_the_right_one",
        &[203],
    ),
    proof(
        "probe/tests/doctor/faults.rs",
        "a_port_that_is_blocked_refused_or_silent_is_told_apart",
        &[210],
    ),
    proof(
        "tests/tests/doctor/rehearsed.rs",
        "each_fault_that_has_a_name_gets_its_code_and_no_other",
        &[
            211, 212, 213, 220, 221, 222, 223, 224, 225, 226, 300, 301, 302, 303, 304, 305, 320,
            321, 322, 323, 330, 331, 332, 333, 340, 341,
        ],
    ),
    proof(
        "tests/tests/doctor/faults.rs",
        "numbers_of_the_broker_are_named_before_and_after_they_are_broken",
        &[310],
    ),
    proof(
        "tests/tests/doctor/faults.rs",
        "what_a_policy_must_refuse_is_tried",
        &[311, 312, 313],
    ),
    proof(
        "tests/tests/doctor/faults.rs",
        "a_policy_change_on_its_way_is_no_missing_statement",
        &[314],
    ),
    proof(
        "tests/tests/doctor/faults.rs",
        "topics_of_another_consumer_are_named_with_both_names",
        &[400],
    ),
    proof(
        "tests/tests/doctor/faults.rs",
        "a_source_that_is_not_the_topics_is_named_with_both_values",
        &[401],
    ),
    proof(
        "tests/tests/doctor/region.rs",
        "a_name_that_is_not_registered_an_agent_that_never_was_and_a_bridge_that_is_gone",
        &[402, 501, 510],
    ),
    proof(
        "tests/tests/doctor/faults.rs",
        "nothing_is_wrong_with_each_party_that_has_its_own_policy",
        &[500],
    ),
    proof(
        "tests/tests/doctor/other_end.rs",
        "aws_tells_of_an_agent_that_is_there_deaf_or_gone",
        &[502],
    ),
    proof(
        "tests/tests/doctor/region.rs",
        "an_agent_that_falls_silent_or_stops_is_told_by_the_region",
        &[503],
    ),
    proof(
        "tests/tests/doctor/region.rs",
        "an_agent_that_does_not_apply_or_has_another_version_is_told_in_its_words",
        &[504, 505],
    ),
    proof(
        "tests/tests/doctor/cloud.rs",
        "the_secret_behind_the_mount_may_be_missing_or_not_readable",
        &[600, 603, 604],
    ),
    proof(
        "tests/tests/doctor/cloud.rs",
        "a_pod_without_association_is_told_from_one_whose_role_is_not_given",
        &[601, 602],
    ),
    proof(
        "probe/tests/doctor/files.rs",
        "a_missing_or_empty_mount_is_told_as_a_pod_sees_it",
        &[605, 610],
    ),
    proof(
        "tests/tests/postgres/verbs.rs",
        "each_fault_of_the_database_leads_to_its_page",
        &[700, 701, 702, 704],
    ),
    proof(
        "tests/tests/postgres/verbs.rs",
        "a_copy_that_is_killed_goes_on_and_every_verb_says_how_it_ended",
        &[703],
    ),
    proof(
        "probe/tests/doctor/static_files.rs",
        "each_fault_of_a_file_is_found_before_anything_runs",
        &[800, 801, 802, 803, 804],
    ),
    proof(
        "tests/tests/doctor/static_files.rs",
        "what_the_provisioner_writes_is_healthy_until_it_is_changed_by_hand",
        &[805],
    ),
    proof(
        "server-bridge/tests/rest/explain.rs",
        "a_status_that_cannot_be_read_leaves_it_open_what_is_waited_for",
        &[900],
    ),
    proof(
        "tests/tests/explain/bridges.rs",
        "what_the_broker_refuses_says_the_code_and_the_action_to_allow",
        &[901],
    ),
    proof(
        "tests/tests/explain/bridges.rs",
        "a_bridge_that_is_not_connected_says_so_and_one_that_does_not_run_is_missed",
        &[902],
    ),
    proof(
        "tests/tests/explain/agents.rs",
        "a_broker_that_says_that_nobody_is_subscribed_is_believed",
        &[903],
    ),
    proof(
        "tests/tests/explain/agents.rs",
        "an_agent_that_was_never_heard_is_told_from_one_that_went",
        &[904, 905],
    ),
    proof(
        "tests/tests/explain/agents.rs",
        "what_an_agent_refuses_is_told_in_its_words",
        &[906],
    ),
    proof(
        "tests/tests/explain/agents.rs",
        "an_agent_that_talks_and_keeps_silent_about_a_version_is_told_as_one",
        &[907],
    ),
    proof(
        "tests/tests/kubernetes/refusals/explained.rs",
        "each_refusal_is_explained_with_object_blocker_and_next_step",
        &[908],
    ),
    proof(
        "tests/tests/explain/clusters.rs",
        "what_an_agent_says_of_objects_is_told_with_what_is_in_their_way",
        &[909, 910],
    ),
    proof(
        "tests/tests/explain/bridges.rs",
        "what_the_broker_keeps_silent_about_and_what_waits_behind_it_are_two_things",
        &[911],
    ),
    proof(
        "tests/tests/explain/clusters.rs",
        "a_cluster_that_holds_a_newer_version_is_told_from_one_that_refuses",
        &[912],
    ),
    proof(
        "tests/tests/verify.rs",
        "the_verifier_is_quiet_on_a_healthy_region_and_takes_its_canaries_away",
        &[920],
    ),
    proof(
        "tests/tests/verify.rs",
        "each_invariant_that_is_broken_is_found_and_a_canary_that_comes_back_ends_it",
        &[921, 922, 923, 924],
    ),
];

const fn proof(file: &'static str, test: &'static str, codes: &'static [u16]) -> Proof {
    Proof { file, test, codes }
}

#[test]
fn each_code_is_provoked_by_a_test_that_is_there() -> Result<()> {
    let proven: Vec<u16> = PROOFS.iter().flat_map(|it| it.codes).copied().collect();
    let once: BTreeSet<u16> = proven.iter().copied().collect();
    ensure!(once.len() == proven.len(), "a code is in the table twice");
    let known: BTreeSet<u16> = CATALOGUE.iter().map(|entry| entry.code.number()).collect();
    ensure!(
        once == known,
        "provoked by no test: {:?}; not in the catalogue: {:?}\nhint: write a test that makes the fault for real, and name it here",
        known.difference(&once),
        once.difference(&known)
    );
    for Proof { file, test, codes } in PROOFS {
        let text = std::fs::read_to_string(root().join(file)).context(*file)?;
        let lines: Vec<&str> = text.lines().collect();
        let at = lines
            .iter()
            .position(|line| line.contains(&format!("fn {test}(")))
            .with_context(|| format!("{file} has no `{test}`"))?;
        let is_test = lines[..at]
            .last()
            .is_some_and(|line| *line == "#[test]" || line.starts_with("#[tokio::test"));
        ensure!(is_test, "{file}: `{test}` is no test");
        let named = Tokens::of(&text)?;
        let lacks: Vec<_> = codes.iter().filter(|code| !named.names(**code)).collect();
        ensure!(lacks.is_empty(), "{file} does not name {lacks:?}");
    }
    Ok(())
}

#[test]
fn what_is_broken_leads_to_codes_of_which_each_is_there() -> Result<()> {
    let text = std::fs::read_to_string(root().join("docs/faults/README.md"))?;
    let section = text.split("## By what is broken").nth(1);
    let section = section.and_then(|rest| rest.split("\n## ").next());
    let rows: Vec<&str> = section
        .context("the table by what is broken")?
        .lines()
        .filter(|line| line.starts_with("| ") && line.contains("[MQ"))
        .collect();
    ensure!(rows.len() == FAULTS, "{} rows", rows.len());
    let known: BTreeSet<String> = CATALOGUE.iter().map(|it| it.code.to_string()).collect();
    for row in rows {
        for link in row.split('[').skip(1) {
            let code = link.split(']').next().unwrap_or_default();
            ensure!(
                known.contains(code) && link.contains(&format!("({code}.md)")),
                "{row}"
            );
        }
    }
    Ok(())
}

// What the doctor was made to tell apart; one more is one more row.
const FAULTS: usize = 26;
