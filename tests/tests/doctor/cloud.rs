//! What AWS says of who asks, of the secret behind the mount and of the endpoint: with the sandbox's control plane as AWS IoT,
//! moto as Secrets Manager, and an agent of Pod Identity that answers in the words of the real one.

use std::net::SocketAddr;

use anyhow::Result;
use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use sandbox::broker::CertificateState::{Active, Inactive};
use sandbox::control::{Control, ControlConfig, RunningControl};
use serde_json::json;
use tests::aws::{FakeAws, Iot, REGION};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::bed::{Bed, Mounted};
use crate::cli::{Run, doctor};
use crate::other_end::Rival;
use crate::setup::{CONSUMER, agent, operator};

/// A control plane of the bed's broker that says that its endpoint is another one.
async fn control(bed: &Bed, of: &Bed, endpoint: &str) -> Result<RunningControl> {
    let any = "127.0.0.1:0".parse()?;
    let mut config = ControlConfig::new(any, bed.authority.clone(), of.broker.handle());
    config.endpoint = endpoint.to_owned();
    Ok(Control::bind(config).await?.start())
}

async fn look(bed: &Bed, mount: &Mounted, more: &[&str], env: &[(&str, &str)]) -> Result<Run> {
    let port = bed.broker.local_addr().port().to_string();
    let mount = mount.path.display().to_string();
    let fixed = ["-h", "localhost", "-p", &port, "--identity", &mount];
    doctor(&bed.dir, &[&fixed[..], more].concat(), env).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_secret_behind_the_mount_may_be_missing_or_not_readable() -> Result<()> {
    let bed = Bed::new("doctor-secret").await?;
    let mount = bed.mounted(operator(&bed.arn())?, Active)?;
    let account = bed.arn().account;
    let iot = Iot {
        address: bed.control.local_addr(),
        account: account.clone(),
    };
    let aws = FakeAws::start(Some(iot)).await?;
    // What the doctor signs with where AWS is asked without TLS.
    aws.endpoint().register("stand-in", &account);
    let secret = json!({ "Name": "maestro/agent-cert", "SecretString": "{}" });
    aws.call("region", "secretsmanager", "CreateSecret", secret)
        .await?;
    let url = aws.endpoint().url();
    let region = [("AWS_REGION", REGION)];
    let with = |secret| ["--aws-endpoint", url.as_str(), "--secret", secret];

    let run = look(&bed, &mount, &with("maestro/agent-cert"), &region).await?;
    run.says_only(&[])?;
    run.tells(604, "ok", &["maestro/agent-cert", "exists"])?;
    run.tells(600, "ok", &["AWS was asked"])?;
    let run = look(&bed, &mount, &with("maestro/agent-crt"), &region).await?;
    run.says_only(&[604])?;
    run.tells(604, "error", &["maestro/agent-crt", "SecretProviderClass"])?;
    aws.endpoint()
        .deny("secretsmanager:DescribeSecret", &account);
    let run = look(&bed, &mount, &with("maestro/agent-cert"), &region).await?;
    run.says_only(&[603])?;
    run.tells(
        603,
        "error",
        &["secretsmanager:GetSecretValue", "kms:Decrypt"],
    )?;
    // What cannot be asked is said, with the right that is missing, and is no fault.
    aws.endpoint()
        .allow("secretsmanager:DescribeSecret", &account);
    aws.endpoint().deny("iot:DescribeCertificate", &account);
    let run = look(&bed, &mount, &with("maestro/agent-cert"), &region).await?;
    run.says_only(&[])?;
    run.tells(
        600,
        "info",
        &["not all could be asked", "iot:DescribeCertificate"],
    )?;
    bed.dir.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_without_association_is_told_from_one_whose_role_is_not_given() -> Result<()> {
    let bed = Bed::new("doctor-pod").await?;
    let mount = bed.mounted(operator(&bed.arn())?, Active)?;
    let in_pod = ("KUBERNETES_SERVICE_HOST", "10.0.0.1");
    // Nobody: who has no keys asks nobody.
    let asks = [
        "--secret",
        "maestro/agent-cert",
        "--aws-endpoint",
        "https://127.0.0.1:9",
    ];
    let run = look(&bed, &mount, &asks, &[in_pod]).await?;
    run.says_only(&[601])?;
    run.tells(601, "error", &["AWS_CONTAINER_CREDENTIALS_FULL_URI"])?;

    let trust = "[0a1b]: (AccessDeniedException): Unauthorized Exception! EKS does not have permissions to assume the associated role., fault: client";
    let gone = "[0a1b]: (ResourceNotFoundException): No association found, fault: client";
    let broken = "Service account token cannot be parsed";
    for (status, words, code) in [(400, trust, 602), (404, gone, 601), (400, broken, 601)] {
        let identity = PodIdentity::start(status, words).await?;
        let environment = [
            in_pod,
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", identity.uri.as_str()),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN", TOKEN),
        ];
        let run = look(&bed, &mount, &asks, &environment).await?;
        run.says_only(&[code])?;
        run.tells(code, "error", &[words])?;
        assert!(!run.to_string().contains(TOKEN), "{run}");
    }
    bed.dir.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_of_another_account_than_the_certificates_is_named_with_the_right_one()
-> Result<()> {
    let bed = Bed::new("doctor-endpoint").await?;
    let mount = bed.mounted(operator(&bed.arn())?, Active)?;
    let control = control(&bed, &bed, OTHER).await?;
    let url = control.url();
    let run = look(&bed, &mount, &["--aws-endpoint", &url], &[]).await?;
    run.says_only(&[203])?;
    run.tells(203, "error", &["`localhost`", OTHER, "brokerHost"])?;
    bed.dir.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_asked_in_another_account_says_nothing_of_a_broker_that_works() -> Result<()> {
    let bed = Bed::new("doctor-account").await?;
    let other = Bed::new("doctor-other-account").await?;
    let mount = bed.mounted(agent(&bed.arn(), CONSUMER)?, Active)?;
    let named = control(&bed, &other, OTHER).await?;
    let alike = control(&bed, &other, "localhost").await?;
    let taking = ["--consumer", CONSUMER, "--take-over", "--watch", "0.01"];
    for url in [named.url(), alike.url()] {
        let asks = ["--aws-endpoint", url.as_str()];
        let run = look(&bed, &mount, &[&taking[..], &asks].concat(), &[]).await?;
        run.says_only(&[])?;
        let words = ["another account or region", "is not registered there"];
        run.tells(600, "info", &words)?;
        run.tells(600, "info", &["credentials of the account"])?;
    }
    // Nothing is known of the agent then, which is no sign that it is away.
    let port = bed.broker.local_addr().port();
    let running = Rival::start(&bed.broker.handle(), &mount, port).await?;
    let url = named.url();
    let asks = ["--consumer", CONSUMER, "--aws-endpoint", &url];
    let run = look(&bed, &mount, &asks, &[]).await?;
    run.says_only(&[300])?;
    run.tells(300, "warning", &["was not tried"])?;
    drop(running);
    // Where the broker does not take the certificate either, it may be the account's fault: the endpoint is its own.
    let registry = bed.broker.registry();
    registry.set_state(&mount.id, Inactive)?;
    registry.delete_certificate(&mount.id, true)?;
    let url = bed.control.url();
    let asks = ["--aws-endpoint", url.as_str()];
    let run = look(&bed, &mount, &[&taking[..], &asks].concat(), &[]).await?;
    run.says_only(&[301])?;
    run.tells(501, "info", &["not known"])?;
    bed.dir.passed();
    other.dir.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_with_the_same_certificate_but_another_endpoint_frees_no_client_id() -> Result<()>
{
    let bed = Bed::new("doctor-twice").await?;
    let other = Bed::new("doctor-twice-other").await?;
    let mount = bed.mounted(agent(&bed.arn(), CONSUMER)?, Active)?;
    // A certificate can be registered in several accounts.
    let registry = other.broker.registry();
    registry.put_policy("agent", agent(&other.arn(), CONSUMER)?)?;
    let certificate = std::fs::read_to_string(mount.path.join("certificate"))?;
    registry.register_pem(&certificate, &["agent"])?;
    let asked = control(&bed, &other, OTHER).await?;
    let port = bed.broker.local_addr().port();
    let running = Rival::start(&bed.broker.handle(), &mount, port).await?;
    let url = asked.url();
    let asks = ["--consumer", CONSUMER, "--aws-endpoint", &url];
    let run = look(&bed, &mount, &asks, &[]).await?;
    run.says_only(&[203])?;
    run.tells(203, "error", &[OTHER])?;
    run.tells(500, "info", &["another account or region"])?;
    assert_eq!(running.lost(), 0, "{run}");
    bed.dir.passed();
    other.dir.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_of_aws_that_is_silent_takes_nothing_from_what_the_others_say() -> Result<()> {
    let bed = Bed::new("doctor-silent").await?;
    let mount = bed.mounted(agent(&bed.arn(), CONSUMER)?, Inactive)?;
    let arn = format!("arn:aws:iot:us-east-1:000000000000:cert/{}", mount.id);
    let certificate =
        json!({ "certificateDescription": { "status": "INACTIVE", "certificateArn": arn } });
    let answer = |value: serde_json::Value| get(move || async move { value.to_string() });
    let router = Router::new()
        .route("/certificates/{id}", answer(certificate))
        .route(
            "/endpoint",
            answer(json!({ "endpointAddress": "localhost" })),
        )
        // As where port 443 of the endpoint is closed.
        .fallback(std::future::pending::<StatusCode>);
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    let url = format!("http://{}", listener.local_addr()?);
    let serving = tokio::spawn(async move {
        let _ = axum::serve(listener, router).await;
    });
    let _serving = AbortOnDropHandle::new(serving);
    let asks = ["--consumer", CONSUMER, "--aws-endpoint", &url];
    let run = look(&bed, &mount, &asks, &[]).await?;
    run.says_only(&[301])?;
    run.tells(301, "error", &["INACTIVE"])?;
    run.tells(600, "info", &["iot:GetConnection: no answer within 4 s"])?;
    run.tells(501, "info", &["iot:GetConnection"])?;
    bed.dir.passed();
    Ok(())
}

/// An agent of EKS Pod Identity that refuses, as plain text with a status of its own (its `HandleCredentialFetchingError`).
struct PodIdentity {
    uri: String,
    _task: AbortOnDropHandle<()>,
}

// === impl PodIdentity ===

impl PodIdentity {
    async fn start(status: u16, words: &'static str) -> Result<Self> {
        let status = StatusCode::from_u16(status)?;
        let refuse = async move |headers: HeaderMap| match headers.get("authorization") {
            Some(token) if token == TOKEN => (status, words),
            _ => (
                StatusCode::BAD_REQUEST,
                "Service account token cannot be empty",
            ),
        };
        let router = Router::new().route("/v1/credentials", get(refuse));
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let uri = format!("http://{}/v1/credentials", listener.local_addr()?);
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self {
            uri,
            _task: AbortOnDropHandle::new(task),
        })
    }
}

const TOKEN: &str = "canary-token-of-a-service-account";

const OTHER: &str = "a1b2c3-ats.iot.us-east-1.amazonaws.com";
