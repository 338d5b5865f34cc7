//! The provisioner is killed after each single call that changes something, and run again: every time it ends where
//! an undisturbed run ends, with no duplicate and no orphan.
//!
//! A call is carried out by the service behind, but its answer never comes: the process is killed while it waits. The
//! calls are counted, not sampled: a case ends with the first run that finishes before its n-th call.
//!
//! Where a run that goes on makes the calls that were left (`apply`, `destroy`), one testbed takes all the kills, one after
//! the other ([`one_after_the_other`]). Where it begins with something of its own (a certificate), each point has a
//! testbed ([`each_apart`]).

use anyhow::{Context as _, Result, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};
use tests::aws::HeldCall;
use tests::testbed::Testbed;

/// A verb to be killed.
struct Case {
    name: &'static str,
    /// What has happened before, undisturbed.
    before: &'static [&'static [&'static str]],
    verb: &'static [&'static str],
    /// How it is run again; as before unless it says otherwise.
    again: &'static [&'static str],
    /// The exit code of an undisturbed run.
    code: i32,
}

const APPLY: &[&str] = &["apply", "--yes"];
const ENROLL: &[&str] = &["enroll", "management-01"];
const UNPROVEN: &[&str] = &["rotate", "management-01", "--insecure-without-proof"];
const DESTROY: &[&str] = &["destroy", "--yes", "--delete-database", "testbed-maestro"];

#[tokio::test(flavor = "multi_thread")]
async fn apply_killed_after_any_call_ends_where_an_undisturbed_one_ends() -> Result<()> {
    let case = Case {
        name: "crash_apply",
        before: &[],
        verb: APPLY,
        again: APPLY,
        code: 0,
    };
    let points = one_after_the_other(&case).await?;
    ensure!(points > 30, "only {points} calls change something");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn enroll_killed_after_any_call_ends_where_an_undisturbed_one_ends() -> Result<()> {
    let before: &[&[&str]] = &[&["apply", "--yes", "--only", "region"]];
    let case = Case {
        name: "crash_enroll",
        before,
        verb: ENROLL,
        again: ENROLL,
        code: 0,
    };
    let points = each_apart(&case).await?;
    ensure!(points >= 6, "only {points} calls change something");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn rotate_killed_after_any_call_ends_where_an_undisturbed_one_ends() -> Result<()> {
    let case = Case {
        name: "crash_rotate",
        before: &[APPLY],
        verb: UNPROVEN,
        again: UNPROVEN,
        code: 0,
    };
    let points = each_apart(&case).await?;
    ensure!(points >= 6, "only {points} calls change something");
    Ok(())
}

/// Nobody connects with the new certificate, so the rotation ends in its second phase; what is left of the witness of
/// a killed run goes with the next.
#[tokio::test(flavor = "multi_thread")]
async fn rotate_that_waits_for_proof_leaves_no_witness_wherever_it_is_killed() -> Result<()> {
    let verb: &[&str] = &["rotate", "management-01", "--within", "1s"];
    let case = Case {
        name: "crash_witness",
        before: &[APPLY],
        verb,
        again: verb,
        code: 3,
    };
    let points = each_apart(&case).await?;
    ensure!(points >= 10, "only {points} calls change something");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn destroy_killed_after_any_call_leaves_what_an_undisturbed_one_leaves() -> Result<()> {
    let case = Case {
        name: "crash_destroy",
        before: &[APPLY],
        verb: DESTROY,
        again: DESTROY,
        code: 0,
    };
    let points = one_after_the_other(&case).await?;
    ensure!(points > 25, "only {points} calls change something");
    Ok(())
}

/// What an undisturbed run leaves, and how many calls of it change something.
async fn undisturbed(case: &Case) -> Result<(Value, usize)> {
    let testbed = prepared(case).await?;
    let before = testbed.aws.endpoint().mutations();
    let code = testbed.run(case.verb).await?.status.code();
    ensure!(
        code == Some(case.code),
        "undisturbed, it ended with {code:?}"
    );
    let points = testbed.aws.endpoint().mutations() - before;
    let expected = end(&testbed).await?;
    testbed.passed();
    Ok((expected, points))
}

/// Kills each run after its first change that none before has made, until one has nothing left to change. Returns how many
/// were killed.
async fn one_after_the_other(case: &Case) -> Result<usize> {
    let (expected, points) = undisturbed(case).await?;
    let testbed = prepared(case).await?;
    let mut killed: Vec<String> = Vec::new();
    while let Some(action) = killed_at(&testbed, case, testbed.aws.endpoint().hold_answer_of_new())
        .await
        .with_context(|| format!("{}: after kills at {killed:?}", case.name))?
    {
        killed.push(action);
        ensure!(
            killed.len() <= points,
            "{}: {points} changes undisturbed, and more with kills between: {killed:?}",
            case.name
        );
    }
    ensure!(killed.len() == points, "{}: {killed:?}", case.name);
    let found = end(&testbed).await?;
    ensure!(
        found == expected,
        "{}: the end is another\nfound    {found:#}\nexpected {expected:#}",
        case.name
    );
    testbed.passed();
    Ok(points)
}

/// Kills one run after its n-th change, for every n, each in a testbed of its own. Returns how many n there are.
async fn each_apart(case: &Case) -> Result<usize> {
    let (expected, points) = undisturbed(case).await?;
    let each = futures_util::stream::iter(1..=points + 1)
        .map(|n| killed_and_run_again(case, n, points, &expected));
    each.buffer_unordered(AT_ONCE)
        .try_collect::<Vec<()>>()
        .await?;
    Ok(points)
}

/// The call at which it was killed; `None` when it ended before, as an undisturbed run does.
async fn killed_at(testbed: &Testbed, case: &Case, held: HeldCall) -> Result<Option<String>> {
    let mut process = testbed.begin(case.verb)?;
    let call = tokio::select! {
        call = held.reached() => call,
        ended = process.exited(PATIENCE) => {
            let code = ended?.code();
            ensure!(code == Some(case.code), "it ended with {code:?}");
            None
        }
    };
    process.kill()?;
    Ok(call.map(|call| call.action()))
}

async fn killed_and_run_again(
    case: &Case,
    n: usize,
    points: usize,
    expected: &Value,
) -> Result<()> {
    let testbed = prepared(case).await?;
    let held = testbed.aws.endpoint().hold_answer_of_mutating(n);
    let Some(action) = killed_at(&testbed, case, held).await? else {
        ensure!(n > points, "ended before call {n} of {points}");
        testbed.passed();
        return Ok(());
    };
    let context = format!("{}: killed after call {n} of {points}, {action}", case.name);
    ensure!(n <= points, "{context}: more calls than undisturbed");
    let again = testbed.run(case.again).await?;
    ensure!(
        again.status.code() == Some(case.code),
        "{context}: run again, it ended with {}\n{}{}",
        again.status,
        again.stdout,
        again.stderr
    );
    let found = end(&testbed).await.context(context.clone())?;
    ensure!(
        found == *expected,
        "{context}: the end is another\nfound    {found:#}\nexpected {expected:#}"
    );
    testbed.passed();
    Ok(())
}

async fn prepared(case: &Case) -> Result<Testbed> {
    let testbed = Testbed::start(case.name, &["management-01"]).await?;
    for verb in case.before {
        testbed.must(verb).await?;
    }
    Ok(testbed)
}

/// Everything there is, without what differs from run to run.
async fn end(testbed: &Testbed) -> Result<Value> {
    let mut accounts = Vec::new();
    for account in testbed.aws.accounts() {
        accounts.push(testbed.aws.inventory(&account.name).await?);
    }
    let registry = testbed.broker.registry();
    let mut certificates: Vec<Value> = registry
        .certificates()
        .into_iter()
        .map(|(_, it)| json!({"state": it.state, "policies": it.policies}))
        .collect();
    certificates.sort_by_key(Value::to_string);
    let policies: Vec<Value> = registry
        .policies()
        .into_iter()
        .map(|(name, it)| {
            json!({"name": name, "versions": it.versions.len(), "tags": it.tags,
            "document": it.default_version().map(|version| version.document().to_json())})
        })
        .collect();
    let things: Vec<Value> = registry
        .things()
        .into_iter()
        .map(|(name, it)| json!({"name": name, "attributes": it.attributes, "certificates": it.principals.len()}))
        .collect();
    let all = json!({
        "accounts": accounts,
        "certificates": certificates,
        "policies": policies,
        "things": things,
    });
    Ok(nameless(testbed, all))
}

/// With names in place of account numbers, and without versions of secrets that carry no label: nobody reads them, and
/// AWS removes them by itself. A rotation that is killed after its last call is over, so the next run is a new one and
/// leaves more of them.
fn nameless(testbed: &Testbed, mut value: Value) -> Value {
    let accounts = value["accounts"].as_array_mut().into_iter().flatten();
    let secrets = accounts.filter_map(|account| account["secrets"].as_object_mut());
    for secret in secrets.flat_map(|secrets| secrets.values_mut()) {
        if let Some(versions) = secret["versions"].as_array_mut() {
            versions.retain(|labels| labels.as_array().is_some_and(|labels| !labels.is_empty()));
        }
    }
    let mut text = value.to_string();
    for account in testbed.aws.accounts() {
        text = text.replace(&account.id, &account.name);
    }
    serde_json::from_str(&text).unwrap_or(value)
}

// As many at once as the two cores of a small machine carry; the accounts are apart.
const AT_ONCE: usize = 3;
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(120);
