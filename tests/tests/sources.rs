//! Sources as Go users run them, towards real bridges: what the Go library does with gRPC and REST of the same server, call
//! by call, and what it sees while bridges stop, streams stall and lists are long.

#[path = "sources/callers.rs"]
mod callers;
#[path = "sources/lists.rs"]
mod lists;
#[path = "sources/several.rs"]
mod several;
#[path = "sources/streams.rs"]
mod streams;
#[path = "sources/writes.rs"]
mod writes;

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;
use tests::api::{Api, Bundle};
use tests::process::ProcessSpec;
use tests::region::{BrokerKind, Region, RegionBuilder};
use tests::source::Source;
use tests::test_dir::{TestDir, workspace};
use tests::wait::wait_for;

#[tokio::test]
async fn the_go_client_keeps_the_habits_of_its_library() -> Result<()> {
    let test_dir = TestDir::new("sources-go")?;
    let go = ProcessSpec::installed("go", "install Go; `go.mod` in tests/go says which version")?
        .arg("-C")
        .arg(workspace().join("tests/go"))
        .args(["test", "./..."]);
    let output = go.run(test_dir.path(), BUILDING).await?;
    ensure!(output.status.success(), "{output:?}");
    test_dir.passed();
    Ok(())
}

/// A region whose rates are not IoT Core's.
fn builder(test: &str) -> RegionBuilder {
    let free = ["--broker-rates", "unlimited"];
    RegionBuilder::new(test, BrokerKind::Sandbox)
        .without_quotas()
        .bridge_args(free)
        .agent_args(free)
}

/// A source towards the first bridge.
async fn source(region: &mut Region, name: &str) -> Result<Source> {
    let logs = region.test_dir.path().to_owned();
    Source::of(&mut region.bridge, name, &logs).await
}

/// Waits for a bundle to be as a test wants it.
async fn bundle(
    api: &Api,
    id: &str,
    what: &str,
    is: impl Fn(Option<&Bundle>) -> bool,
) -> Result<()> {
    wait_for(what, PATIENCE, async || {
        let found = api.bundle(id).await.map_err(|error| error.to_string())?;
        if is(found.as_ref()) {
            Ok(())
        } else {
            Err(format!("{found:?}"))
        }
    })
    .await?;
    Ok(())
}

/// Whether a line is of a watch, of the work of this name.
fn of(line: &Value, name: &str) -> bool {
    line.get("event").is_some() && line["name"] == name
}

/// What an answer says, whatever else it holds.
fn text(line: &Value, key: &str) -> String {
    line[key].as_str().unwrap_or_default().to_owned()
}

const PATIENCE: Duration = Duration::from_secs(30);
// Its libraries, the first time.
const BUILDING: Duration = Duration::from_secs(400);
