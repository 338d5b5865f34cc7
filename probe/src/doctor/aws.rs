//! What AWS knows: certificate, policies, endpoint, connection, and the secret behind the mount.
//!
//! **Boundary:** the only place of this member that knows the AWS SDK, for credentials and signatures. Nothing is changed,
//! and no secret's value is asked for. Keys are sent nowhere but to AWS: to an address on this machine without TLS, as a
//! stand-in has it, requests are signed with keys that are none.

mod calls;
pub(crate) mod facts;
mod pod;
mod sign;
mod until;

use std::net::IpAddr;
use std::sync::OnceLock;
use std::time::Duration;

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use link::clock::Clock;
use link::error::chain;
use link::fault::{Code, Finding};
use link::http::client::HttpAddress;
use link::telemetry::clip;
use tokio::time::{timeout, timeout_at};

use self::calls::Aws;
use self::facts::{AwsFacts, CertificateState, ConnectionState, Unknown};
use self::until::Until;
use super::Context;
use super::endpoint::is_same;
use super::who::Who;

// What is asked, with keys.
async fn service(context: &Context, within: Duration) -> Result<Aws, String> {
    let far = &context.args.far;
    let endpoint = match &far.aws_endpoint {
        None => None,
        Some(url) => Some(HttpAddress::parse(url).map_err(|error| chain(&error))?),
    };
    let keys = keys(endpoint.as_ref()).await?;
    Ok(Aws {
        endpoint,
        region: region(context),
        data_host: context.target.host.clone(),
        keys,
        within,
        date: OnceLock::new(),
    })
}

/// Asks AWS; never fails, because what is not known is said by each fact.
pub(crate) async fn ask(context: &Context, who: &Who) -> AwsFacts {
    if context.args.far.aws_endpoint.is_none() && !context.is_aws() {
        return AwsFacts::none("the broker is not AWS IoT Core by its name");
    }
    let within = context.share(ASK_WITHIN);
    let until = Until::begin(within);
    match timeout_at(until.deadline(), service(context, within)).await {
        Ok(Ok(aws)) => Box::pin(all(&aws, context, who, until)).await,
        // Without keys; a pod gets its own from somebody who says why not.
        Ok(Err(why)) => AwsFacts {
            pod: pod::refusal(context.share(ASK_WITHIN)).await,
            ..AwsFacts::none(why)
        },
        Err(_) => AwsFacts::none(format!(
            "no answer of whoever gives credentials within {} s",
            within.as_secs()
        )),
    }
}

async fn all(aws: &Aws, context: &Context, who: &Who, until: Until) -> AwsFacts {
    let id = context
        .identity
        .as_ref()
        .map(|identity| certificate_id(&identity.describe().fingerprint));
    let not_asked = |why: &str| Unknown::NotAsked(why.to_owned());
    let of_certificate = async {
        let Some(id) = &id else {
            let unknown = not_asked("the certificate cannot be used");
            return (Err(unknown.clone()), Err(unknown));
        };
        let asking = aws.certificate(id);
        let certificate = until.known("iot:DescribeCertificate", asking).await;
        let policies = match &certificate {
            Ok(CertificateState::Registered { arn, .. }) => {
                let asking = aws.policies(arn);
                until.known("iot:ListAttachedPolicies", asking).await
            }
            _ => Err(not_asked("the certificate is not known")),
        };
        (certificate, policies)
    };
    let of_secret = async {
        match &context.args.far.secret {
            Some(secret) => {
                let asking = aws.secret(secret);
                until.known("secretsmanager:DescribeSecret", asking).await
            }
            None => Err(not_asked("no `--secret` is given")),
        }
    };
    let (caller, (certificate, policies), endpoint, connection, subscriptions, secret) = tokio::join!(
        until.known("sts:GetCallerIdentity", aws.caller()),
        of_certificate,
        until.known("iot:DescribeEndpoint", aws.endpoint()),
        until.known("iot:GetConnection", aws.connection(&who.own)),
        until.known("iot:ListSubscriptions", aws.subscriptions(&who.own)),
        of_secret,
    );
    AwsFacts {
        caller,
        certificate_id: id.unwrap_or_default(),
        certificate,
        policies,
        endpoint,
        connection,
        subscriptions,
        secret,
        pod: None,
        client_id: who.own.clone(),
        date: aws.date.get().copied(),
        now: Clock::system().now(),
    }
}

/// Whether a client id that AWS calls connected is so all the time: two processes with one id take turns. `None` where it
/// was not called that, or cannot be asked again.
pub(crate) async fn takes_turns(
    context: &Context,
    who: &Who,
    facts: &AwsFacts,
    looked: Duration,
) -> Option<Finding> {
    let before = facts.connection.as_ref().ok().filter(|it| it.connected)?;
    let within = context.share(ASK_WITHIN);
    let asking = async {
        let aws = service(context, within).await.ok()?;
        aws.connection(&who.own).await.ok()
    };
    let after = timeout(within, asking).await.ok().flatten()?;
    of_turns(&who.own, before, &after, looked)
}

fn of_turns(
    id: &str,
    before: &ConnectionState,
    after: &ConnectionState,
    looked: Duration,
) -> Option<Finding> {
    let (first, then) = (before.since?, after.since?);
    let looked = looked.as_secs_f32();
    if after.connected && first == then {
        return Some(Finding::ok(
            IN_USE,
            format!("AWS: `{id}` is connected since {first:.0}, and was so {looked:.1} s later"),
        ));
    }
    let now = if after.connected {
        "connected anew"
    } else {
        "gone"
    };
    Some(
        Finding::warning(
            IN_USE,
            format!("AWS: `{id}` was connected since {first:.3}, and {looked:.1} s later it is {now} (since {then:.3})"),
        )
        .why("two processes with one client id throw each other out for ever; one that is just being restarted looks like this once")
        .next("run it again; if it stays, look for a second process with this certificate: an old pod, or a second cluster"),
    )
}

/// What is said of AWS itself; what it knows of the connection is said where that is checked.
pub(crate) fn findings(context: &Context, facts: &AwsFacts) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Ok(endpoint) = &facts.endpoint {
        found.push(endpoint_finding(context, endpoint));
    }
    let answers = [
        facts.certificate.as_ref().err(),
        facts.policies.as_ref().err(),
        facts.endpoint.as_ref().err(),
        facts.connection.as_ref().err(),
        facts.subscriptions.as_ref().err(),
    ];
    let refused: Vec<&str> = answers
        .iter()
        .flatten()
        .filter_map(|unknown| match unknown {
            Unknown::Refused(words) | Unknown::Failed(words) => Some(words.as_str()),
            Unknown::NotAsked(_) | Unknown::Elsewhere(_) => None,
        })
        .collect();
    let asked = answers.iter().flatten().count() < answers.len();
    found.push(match (asked, refused.as_slice(), answers[0]) {
        (_, _, Some(Unknown::Elsewhere(words))) => Finding::info(ASKED, format!("not checked: {words}"))
            .why("nothing that is wrong with the broker or the agent: only who asks knows nothing of them")
            .next("give credentials of the account that the broker's endpoint is of, and its region"),
        (true, [], _) => Finding::ok(ASKED, format!("AWS was asked{}", facts.asked_as())),
        (_, [_, ..], _) => Finding::info(ASKED, format!("not all could be asked{}: {}", facts.asked_as(), refused.join("; ")))
            .why("what AWS does not say is told apart less exactly")
            .next("where it is refused, allow `iot:DescribeCertificate`, `iot:ListAttachedPolicies`, `iot:GetPolicy`, `iot:DescribeEndpoint`, `iot:GetConnection` and `iot:ListSubscriptions` to who runs this; where it does not answer, let port 443 of that service through"),
        (false, [], unknown) => {
            let why = unknown.map_or("", Unknown::words);
            Finding::info(ASKED, format!("not checked: {why}"))
        }
    });
    found.extend(pod::finding(context, facts));
    found.extend(secret(context, facts));
    found
}

/// How it is known, before the broker is dialled, that another account or region was asked than the broker's: the endpoint
/// there is another one, and the certificate is not there either. `None` where it is not known.
pub(crate) fn asked_elsewhere(context: &Context, facts: &AwsFacts) -> Option<String> {
    let endpoint = other_endpoint(context, facts).filter(|_| facts.lacks_certificate())?;
    Some(format!("its endpoint is `{endpoint}`"))
}

/// The endpoint of the account and region that were asked, where it is another one than the broker's. The certificate may be
/// registered there too, but who is connected to the broker is known elsewhere.
pub(crate) fn other_endpoint<'f>(context: &Context, facts: &'f AwsFacts) -> Option<&'f str> {
    let endpoint = facts.endpoint.as_ref().ok()?;
    let is_other = !is_same(&context.target.host, endpoint);
    (is_other && is_called_by_name(context)).then_some(endpoint.as_str())
}

// Whether the broker's name tells which endpoint it is; an address does not.
fn is_called_by_name(context: &Context) -> bool {
    let is_address = context.target.host.parse::<IpAddr>().is_ok();
    !is_address && (context.is_aws() || context.args.far.aws_endpoint.is_some())
}

fn endpoint_finding(context: &Context, endpoint: &str) -> Finding {
    let host = &context.target.host;
    if is_same(host, endpoint) {
        return Finding::ok(
            ENDPOINT,
            format!("`{host}` is the endpoint of this account and region"),
        );
    }
    let seen =
        format!("`{host}` is dialled, and the endpoint of this account and region is `{endpoint}`");
    if is_called_by_name(context) {
        return Finding::error(ENDPOINT, seen)
            .why("a certificate is known in the account and region alone in which it is registered")
            .next(format!("set `brokerHost: {endpoint}:{}`, or use the certificate of the other account and region", context.target.port));
    }
    Finding::info(ENDPOINT, seen)
        .why("an address, an own domain or a VPC endpoint is not called like it")
}

fn secret(context: &Context, facts: &AwsFacts) -> Option<Finding> {
    let name = context.args.far.secret.as_ref()?;
    Some(match &facts.secret {
        Ok(true) => Finding::ok(SECRET, format!("secret `{name}` exists, and may be looked at{}", facts.asked_as())),
        Ok(false) => Finding::error(SECRET, format!("secret `{name}` does not exist{}", facts.asked_as()))
            .why("the mount fails, and the pod does not start")
            .next("compare the name in the SecretProviderClass with `aws secretsmanager list-secrets`, in the account and region of the role"),
        Err(Unknown::Refused(words)) => Finding::error(MAY_READ, words.clone())
            .why("the mount fails with AccessDenied, and the pod does not start")
            .next("allow `secretsmanager:GetSecretValue` and `secretsmanager:DescribeSecret` on the secret, and `kms:Decrypt` on its key, to the role"),
        Err(unknown) => Finding::info(SECRET, format!("not checked: {}", unknown.words())),
    })
}

async fn keys(endpoint: Option<&HttpAddress>) -> Result<Credentials, String> {
    if endpoint.is_some_and(|address| !address.is_tls()) {
        return Ok(stand_in());
    }
    let provider = DefaultCredentialsChain::builder().build().await;
    provider.provide_credentials().await.map_err(|error| {
        let why = chain(&error);
        format!("no credentials of AWS: {}", clip(&why, CLIP))
    })
}

// Keys that are none, for a stand-in of AWS on this machine.
fn stand_in() -> Credentials {
    let word = "stand-in";
    Credentials::new(word, word, None, None, word)
}

fn region(context: &Context) -> String {
    let given = std::env::var("AWS_REGION").ok();
    let of_host = &context.target.arn.region;
    match given {
        _ if context.is_aws() && of_host.as_str() != "REGION" => of_host.clone(),
        Some(region) if !region.is_empty() => region,
        _ => "us-east-1".into(),
    }
}

// The id of a certificate is the SHA-256 of its DER form, in small letters without colons (docs/IOT-CORE.md §7).
fn certificate_id(fingerprint: &str) -> String {
    fingerprint
        .chars()
        .filter(char::is_ascii_hexdigit)
        .collect::<String>()
        .to_ascii_lowercase()
}

const ASKED: Code = Code::new(600);
const MAY_READ: Code = Code::new(603);
const SECRET: Code = Code::new(604);
const ENDPOINT: Code = Code::new(203);
const IN_USE: Code = Code::new(304);

// A cold credential service and three calls one after another.
const ASK_WITHIN: Duration = Duration::from_secs(4);

// The SDK says of each source that it asked what was wrong.
const CLIP: usize = 300;

#[cfg(test)]
mod tests {
    use link::fault::Severity;

    use super::*;

    #[tokio::test]
    async fn without_tls_nothing_is_signed_with_real_keys() {
        for url in ["http://127.0.0.1:1", "HTTP://127.0.0.1:1"] {
            let address = HttpAddress::parse(url).unwrap();
            let keys = keys(Some(&address)).await.unwrap();
            assert_eq!(keys.access_key_id(), "stand-in", "{url}");
        }
    }

    #[test]
    fn a_client_id_that_is_connected_anew_within_a_look_is_two_processes() {
        let at = |second: i64| ConnectionState {
            connected: true,
            since: jiff::Timestamp::from_second(second).ok(),
            reason: None,
        };
        let look = Duration::from_secs(2);
        let same = of_turns("a", &at(1), &at(1), look).unwrap();
        assert_eq!((same.code, same.severity), (IN_USE, Severity::Ok));
        let other = of_turns("a", &at(1), &at(3), look).unwrap();
        assert_eq!((other.code, other.severity), (IN_USE, Severity::Warning));
    }
}
