//! A service that answers from a script, below the SDK's runtime: what is sent, and what becomes of the answers.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_sts::config::{Credentials, SharedCredentialsProvider};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::http::StatusCode;
use aws_types::origin::Origin;
use aws_types::sdk_config::Builder;
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};

use super::*;
use crate::aws::{AwsErrorKind, Optional as _, Outcome as _, ec2, rds};

/// Answers in turn, and not at all after the last.
#[derive(Clone, Debug, Default)]
struct Script {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

#[derive(Debug)]
struct Answer {
    status: u16,
    date: Option<&'static str>,
    body: String,
}

#[derive(Clone, Debug)]
struct Asked {
    line: String,
    headers: String,
    form: String,
}

// === impl Script ===

impl Script {
    fn of(answers: &[(u16, &str)]) -> Self {
        let script = Self::default();
        for (status, body) in answers {
            script.answer(*status, None, body);
        }
        script
    }

    fn answer(&self, status: u16, date: Option<&'static str>, body: &str) {
        let body = body.to_owned();
        let answer = Answer { status, date, body };
        self.answers.lock().unwrap().push_back(answer);
    }

    /// Settings of a caller whose connections all lead here.
    fn config(&self) -> Builder {
        let connector = SharedHttpConnector::new(self.clone());
        let credentials = Credentials::new("AKID", "hunter2", None, None, "test");
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .http_client(http_client_fn(move |_, _| connector.clone()))
            .retry_config(RetryConfig::standard().with_max_attempts(3))
            .timeout_config(
                TimeoutConfig::builder()
                    .operation_attempt_timeout(Duration::from_secs(60))
                    .build(),
            )
    }

    fn ec2(&self) -> Query {
        ec2::client(&self.config().build())
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

impl HttpConnector for Script {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let headers = request.headers().iter();
        let headers = headers.map(|(name, value)| format!("{name}: {value}\n"));
        self.asked.lock().unwrap().push(Asked {
            line: format!("{} {}", request.method(), request.uri()),
            headers: headers.collect(),
            form: String::from_utf8_lossy(request.body().bytes().unwrap()).into_owned(),
        });
        let Some(next) = self.answers.lock().unwrap().pop_front() else {
            return HttpConnectorFuture::new(std::future::pending());
        };
        let status = StatusCode::try_from(next.status).unwrap();
        let mut answer = HttpResponse::new(status, SdkBody::from(next.body));
        if let Some(date) = next.date {
            answer.headers_mut().insert("date", date);
        }
        HttpConnectorFuture::ready(Ok(answer))
    }
}

fn page(group: &str, next: &str) -> String {
    format!(
        "<DescribeSecurityGroupsResponse><securityGroupInfo>{group}</securityGroupInfo>\
         <nextToken>{next}</nextToken></DescribeSecurityGroupsResponse>"
    )
}

fn refusal(code: &str) -> String {
    let error = format!("<Error><Code>{code}</Code><Message>no</Message></Error>");
    format!("<Response><Errors>{error}</Errors></Response>")
}

#[tokio::test(start_paused = true)]
async fn a_call_is_a_form_that_is_signed_for_its_service_and_region() {
    let script = Script::of(&[(200, &page("", ""))]);
    let answer = script
        .ec2()
        .call(ec2::describe_security_group("sg-1"))
        .await;
    assert!(answer.unwrap().items.is_empty());
    let asked = &script.asked()[0];
    assert_eq!(asked.line, "POST https://ec2.eu-west-1.amazonaws.com/");
    let form = "Action=DescribeSecurityGroups&Version=2016-11-15&GroupId.1=sg-1";
    assert_eq!(asked.form, form);
    for part in [
        "authorization: AWS4-HMAC-SHA256 Credential=AKID/",
        "/eu-west-1/ec2/aws4_request, SignedHeaders=",
        "content-type;",
        "content-type: application/x-www-form-urlencoded\n",
        &format!("content-length: {}\n", form.len()),
        "api/ec2",
        "amz-sdk-request: attempt=1; max=3",
        "amz-sdk-invocation-id: ",
    ] {
        assert!(asked.headers.contains(part), "{part} in {asked:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn throttling_and_failures_are_tried_again() {
    for (status, body) in [
        (503, refusal("RequestLimitExceeded")),
        (400, refusal("Throttling")),
        (502, "<html>Bad gateway</html>".to_owned()),
    ] {
        let script = Script::of(&[(status, &body), (status, &body), (200, "")]);
        let answer = script.ec2().call(ec2::describe_vpcs("vpc-1")).await;
        assert!(answer.is_ok(), "{body}: {answer:?}");
        assert_eq!(script.asked().len(), 3, "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn failures_are_tried_again_only_so_often() {
    let script = Script::of(&[(500, ""); 4]);
    let answer = script.ec2().call(ec2::describe_vpcs("vpc-1")).await;
    let error = answer.during("ec2:DescribeVpcs", "vpc-1").unwrap_err();
    assert_eq!(script.asked().len(), 3);
    assert_eq!((error.kind(), error.code()), (AwsErrorKind::Other, None));
    assert_eq!(
        error.to_string(),
        "ec2:DescribeVpcs `vpc-1`: HTTP status 500, and no reason"
    );
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_told_at_once_with_its_code() {
    let script = Script::of(&[
        (400, &refusal("InvalidVpcID.NotFound")),
        (403, &refusal("UnauthorizedOperation")),
    ]);
    let client = script.ec2();
    let mut outcomes = Vec::new();
    for _ in 0..2 {
        let answer = client.call(ec2::describe_vpcs("vpc-1")).await;
        outcomes.push(answer.during("ec2:DescribeVpcs", "vpc-1").was_there());
    }
    assert_eq!(outcomes[0], Ok(false));
    let denied = outcomes[1].as_ref().unwrap_err();
    assert_eq!(denied.kind(), AwsErrorKind::Denied);
    assert_eq!(
        denied.to_string(),
        "ec2:DescribeVpcs `vpc-1`: no (UnauthorizedOperation)"
    );
    assert_eq!(script.asked().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn no_answer_is_waited_for_only_so_long() {
    let script = Script::default();
    let answer = script.ec2().call(ec2::describe_vpcs("vpc-1")).await;
    let error = answer.during("ec2:DescribeVpcs", "vpc-1").unwrap_err();
    assert_eq!(error.kind(), AwsErrorKind::Unreachable);
    assert_eq!(script.asked().len(), 3);
}

// What was done was done: trying again could only find that it is there already.
#[tokio::test(start_paused = true)]
async fn an_answer_that_cannot_be_read_is_not_asked_for_again() {
    let other = "<DescribeVpcsResponse/>";
    for body in ["", "<html>", other] {
        let script = Script::of(&[(200, body), (200, body)]);
        let client = script.ec2();
        let answer = client.call(ec2::describe_subnets("subnet-1")).await;
        let error = answer
            .during("ec2:DescribeSubnets", "subnet-1")
            .unwrap_err();
        assert_eq!(error.kind(), AwsErrorKind::Other);
        assert!(error.to_string().contains("could not be read"), "{error}");
        assert_eq!(script.asked().len(), 1);
        // Of this one, nobody reads anything.
        assert!(
            client
                .call(ec2::delete_security_group("sg-1"))
                .await
                .is_ok()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn all_pages_are_read() {
    let group = "<item><groupId>sg-1</groupId></item>";
    let pages = [page("", "one"), page(group, "two&amp;"), page(group, "")];
    let script = Script::of(&[(200, &pages[0]), (200, &pages[1]), (200, &pages[2])]);
    let call = ec2::describe_security_groups(&[("vpc-id", "vpc-1")]);
    let groups = script.ec2().call_paged(call).await.unwrap();
    assert_eq!(groups.len(), 2);
    let forms: Vec<_> = script.asked().into_iter().map(|asked| asked.form).collect();
    let first = "Action=DescribeSecurityGroups&Version=2016-11-15\
         &Filter.1.Name=vpc-id&Filter.1.Value.1=vpc-1";
    assert_eq!(
        forms,
        [
            first.to_owned(),
            format!("{first}&NextToken=one"),
            format!("{first}&NextToken=two%26")
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn pages_without_end_are_an_error() {
    let script = Script::of(&vec![(200, page("", "same").as_str()); MAX_PAGES + 1]);
    let call = ec2::describe_security_groups(&[]);
    assert!(script.ec2().call_paged(call).await.is_err());
    assert_eq!(script.asked().len(), MAX_PAGES);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_wrong_is_put_right_by_the_service() {
    let script = Script::default();
    let refused = refusal("SignatureDoesNotMatch");
    script.answer(403, Some("Thu, 01 Jan 2099 12:30:00 GMT"), &refused);
    script.answer(200, None, "");
    let answer = script.ec2().call(ec2::describe_vpcs("vpc-1")).await;
    assert!(answer.is_ok(), "{answer:?}");
    let again = &script.asked()[1].headers;
    assert!(again.contains("x-amz-date: 20990101T12"), "{again}");
}

#[tokio::test(start_paused = true)]
async fn without_credentials_nothing_is_sent() {
    let script = Script::default();
    let mut config = script.config();
    config.set_credentials_provider(None);
    let client = ec2::client(&config.build());
    let answer = client.call(ec2::describe_vpcs("vpc-1")).await;
    let error = answer.during("ec2:DescribeVpcs", "vpc-1").unwrap_err();
    assert_eq!(error.kind(), AwsErrorKind::Credentials);
    assert!(script.asked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn settings_that_contradict_each_other_are_told_and_nothing_is_sent() {
    let script = Script::default();
    let config = script.config().endpoint_url("http://localhost:1");
    let client = rds::client(&config.use_fips(true).build());
    let answer = client.call(rds::delete_db_subnet_group("r1")).await;
    let error = answer.during("rds:DeleteDBSubnetGroup", "r1").unwrap_err();
    assert!(
        error.to_string().contains("AWS_USE_FIPS_ENDPOINT"),
        "{error}"
    );
    assert!(script.asked().is_empty());
}

#[derive(Debug)]
struct Environment;

impl LoadServiceConfig for Environment {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        let name = format!("{}_{}", key.env(), key.service_id());
        (name == "AWS_ENDPOINT_URL_EC2" && key.profile() == "endpoint_url")
            .then(|| "http://localhost:1/base/".to_owned())
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_for_one_service_wins_over_the_one_for_all() {
    let script = Script::of(&[(200, ""), (200, ""), (200, "")]);
    let config = |origin| {
        let mut config = script
            .config()
            .endpoint_url("http://localhost:2")
            .service_config(Environment);
        config.insert_origin("endpoint_url", origin);
        config.build()
    };
    let environment = config(Origin::shared_environment_variable());
    let calls = [
        ec2::client(&environment)
            .call(ec2::describe_vpcs("vpc-1"))
            .await,
        rds::client(&environment)
            .call(rds::delete_db_subnet_group("r1"))
            .await,
        // But not over one in the code.
        ec2::client(&config(Origin::shared_config()))
            .call(ec2::describe_vpcs("vpc-1"))
            .await,
    ];
    assert!(calls.iter().all(Result::is_ok), "{calls:?}");
    let lines: Vec<_> = script.asked().into_iter().map(|asked| asked.line).collect();
    assert_eq!(
        lines,
        [
            "POST http://localhost:1/base/",
            "POST http://localhost:2/",
            "POST http://localhost:2/"
        ]
    );
}
