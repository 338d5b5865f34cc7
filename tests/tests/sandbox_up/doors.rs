//! The doors that a region's broker has besides its first port: with ALPN as port 443, HTTPS with the time; and what a
//! diagnosis makes of them when a fault closes the first.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::process::{Output, ProcessSpec};
use tests::test_dir::TestDir;

use super::{PATIENCE, stop};

#[tokio::test]
async fn a_region_with_all_doors_is_what_a_diagnosis_finds_on_iot_core() -> Result<()> {
    let test_dir = TestDir::new("up-doors")?;
    let any = "127.0.0.1:0";
    let up = ProcessSpec::binary("sandbox")?
        .args(["up", "--json", "--broker-port", "0", "--control", any])
        .args(["--api-listen", any, "--grpc-listen", any])
        .args(["--alpn-listen", any, "--https-listen", any]);
    let mut region = up.start(test_dir.path())?;
    let line = region.line_with("\"operator\"", PATIENCE).await?;
    let summary: Value = serde_json::from_str(&line)?;
    let text = |value: &Value| value.as_str().map(str::to_owned).context("a text");
    let identity = text(&summary["operator"]["identity"])?;
    let control = text(&summary["control"])?;
    let alpn = text(&summary["broker"]["alpn"])?;
    let (_, alpn) = alpn.rsplit_once(':').context("a port")?;
    let https = text(&summary["broker"]["https"])?;
    let https = https.strip_prefix("https://").context("a URL")?;
    tokio::net::TcpStream::connect(https).await?;

    let run = async |program: &str, line: &[&str]| -> Result<Output> {
        let logs = test_dir.dir(&uuid::Uuid::new_v4().to_string())?;
        let spec = ProcessSpec::binary(program)?.args(line);
        Ok(spec.run(&logs, PATIENCE).await?)
    };
    let by_alpn = [
        "check",
        "--identity",
        &identity,
        "-h",
        "127.0.0.1",
        "-p",
        alpn,
    ];
    let asked = [&by_alpn[..], &["--tls-alpn", "x-amzn-mqtt-ca"]].concat();
    let done = run("probe", &asked).await?;
    ensure!(done.status.success(), "{}", done.stdout);
    let done = run("probe", &by_alpn).await?;
    ensure!(
        done.status.code() != Some(0),
        "without ALPN:\n{}",
        done.stdout
    );

    let doctor = ["doctor", "--identity", &identity, "--alpn-port", alpn];
    let done = run("probe", &doctor).await?;
    ensure!(done.status.success(), "{}", done.stdout);
    let says = |done: &Output, words: &str| -> Result<()> {
        ensure!(
            done.stdout.contains(words),
            "no `{words}` in\n{}",
            done.stdout
        );
        Ok(())
    };
    says(&done, "ok       MQ120")?;

    for (fault, code) in [
        ("port", "error    MQ211"),
        ("clock-skew=1h", "error    MQ121"),
    ] {
        let set = ["fault", "set", fault, "--control", &control];
        let set = run("sandbox", &set).await?;
        ensure!(set.status.success(), "{}", set.stderr);
        let done = run("probe", &doctor).await?;
        ensure!(done.status.code() == Some(1), "{}", done.stdout);
        says(&done, code)?;
        let cleared = run("sandbox", &["fault", "clear", "--control", &control]).await?;
        ensure!(cleared.status.success(), "{}", cleared.stderr);
    }
    let done = run("probe", &doctor).await?;
    ensure!(done.status.success(), "{}", done.stdout);
    stop(region).await?;
    test_dir.passed();
    Ok(())
}
