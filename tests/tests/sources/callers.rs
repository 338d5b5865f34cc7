//! Who may speak as which source: by client certificate or token, and by rules; whoever may not is told why.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tests::api::config_map;
use tests::pki::{Authority, Set};
use tests::source::{Source, work};

use crate::{builder, of, text};

#[tokio::test(flavor = "multi_thread")]
async fn sources_are_who_their_certificate_or_token_says_and_others_are_told_why() -> Result<()> {
    let files = tempfile::tempdir()?;
    let files = files.path();
    let authority = Authority::new("callers")?;
    write(files, "server", &authority.server(&[])?)?;
    // Without an organisation, which the Go server refuses.
    write(files, "team", &authority.client("team")?)?;
    write(
        files,
        "foreign",
        &Authority::new("foreign")?.client("team")?,
    )?;
    std::fs::write(files.join("rules.yaml"), RULES)?;
    let file = |name: &str| files.join(name).display().to_string();
    let issuer = Source::at("", "", "issuer", files);
    let (keys, token) = (file("keys"), file("token"));
    issuer
        .done(&[
            "token",
            ISSUER,
            AUDIENCE,
            "bot",
            &file("other"),
            &file("forged"),
        ])
        .await?;
    issuer
        .done(&["token", ISSUER, AUDIENCE, "bot", &keys, &token])
        .await?;
    let flags = [
        ("--https-cert-file", file("server.crt")),
        ("--https-key-file", file("server.key")),
        ("--client-ca-file", file("server.ca")),
        ("--token-issuer", ISSUER.into()),
        ("--token-audience", AUDIENCE.into()),
        ("--token-jwks-file", keys),
        ("--authorization-file", file("rules.yaml")),
    ];
    let flags = flags
        .into_iter()
        .flat_map(|(flag, value)| [flag.to_owned(), value]);
    let mut region = builder("sources-callers")
        .bridge_args(flags)
        .start()
        .await?;
    let logs = region.test_dir.path().to_owned();
    let listening = region.bridge.listening().await?;
    let rest = listening
        .api
        .context("the bridge has an API")?
        .replace("http://", "https://");
    let grpc = listening.grpc.context("the bridge offers gRPC")?;
    let go = |name: &str, label: &str| {
        let logs = logs.join(label);
        std::fs::create_dir_all(&logs)?;
        let go = Source::at(&rest, &grpc, name, &logs);
        anyhow::Ok(go.with(["-timeout", "30s", "-ca", &file("server.ca")]))
    };
    let certificate = |name: &str| {
        [
            "-cert".into(),
            file(&format!("{name}.crt")),
            "-key".into(),
            file(&format!("{name}.key")),
        ]
    };

    // Both ways in work, for reading by REST too.
    let by_certificate = go("a", "certificate")?.with(certificate("team"));
    let by_token = go("b", "token")?.with(["-token", &token]);
    for (go, name) in [(&by_certificate, "of-a"), (&by_token, "of-b")] {
        let mut watch = go.follow(&["watch", "cluster1"]).await?;
        let made = work(name, &json!({}), &[config_map(name, "")]);
        go.done(&["create", "cluster1", &made]).await?;
        watch
            .line("its status", |line| {
                of(line, name) && line["conditions"]["Applied"] == "True"
            })
            .await?;
        ensure!(
            !watch
                .lines()?
                .iter()
                .any(|line| line.get("event").is_some() && !of(line, name))
        );
    }

    // Another source's name, for publications and for streams.
    let data = json!({ "manifests": [config_map("x", "")] }).to_string();
    let publish = [
        "publish",
        "spec.create_request",
        "cluster1",
        ID,
        "0",
        &data,
        METADATA,
    ];
    let posing = go("b", "posing")?.with(certificate("team"));
    let answer = posing.tried(&publish).await?;
    ensure!(
        answer["is"] == "forbidden" && answer["code"] == "PermissionDenied",
        "{answer}"
    );
    let said = text(&answer, "error");
    ensure!(said.contains("`team`") && said.contains("`b`"), "{answer}");
    let mut stream = posing.follow(&["subscribe"]).await?;
    let lost = stream
        .line("the refusal", |line| line["stream"] == "lost")
        .await?;
    ensure!(text(&lost, "why").contains("`team`"), "{lost}");

    // Nobody that is known.
    for (label, flags, word) in [
        ("nobody", Vec::new(), "Unauthenticated"),
        (
            "forged",
            vec!["-token".to_owned(), file("forged")],
            "Unauthenticated",
        ),
        ("foreign", certificate("foreign").to_vec(), "Unavailable"),
    ] {
        let answer = go("a", label)?.with(flags).tried(&publish).await?;
        ensure!(answer["code"] == word, "{label}: {answer}");
        let message = text(&answer, "message");
        ensure!(message.len() > 20, "{label}: {answer}");
        let secret = std::fs::read_to_string(file("forged"))?;
        ensure!(!message.contains(&secret), "{label}: {answer}");
    }
    region.passed();
    Ok(())
}

fn write(directory: &Path, name: &str, set: &Set) -> Result<()> {
    for (end, content) in [
        ("crt", &set.certificate),
        ("key", &set.key),
        ("ca", &set.ca),
    ] {
        std::fs::write(directory.join(format!("{name}.{end}")), content)?;
    }
    Ok(())
}

const RULES: &str = "\
rules:
- users: [team]
  sources: [a]
  consumers: [cluster1]
  verbs: ['*']
- users: [bot]
  sources: [b]
  consumers: [cluster1]
  verbs: ['*']
";
const ISSUER: &str = "https://issuer.example";
const AUDIENCE: &str = "bridge";
const ID: &str = "55c61e54-a3f6-563d-9fec-b1fe297bdfdb";
const METADATA: &str = r#"metadata={"name":"x","namespace":"cluster1"}"#;
