//! The AWS of the tests holds what it promises: accounts are apart, the EKS calls that moto lacks are there, and a test
//! can refuse, fail and hold calls. Requests are written by hand, as no AWS SDK is in this member.

// Long because one client for one harness, and its promises one by one.

use std::time::Duration;

use anyhow::{Context as _, Result};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::aws::{FakeAws, FakeAwsError, Iot, account_id};

/// A client with the credentials of one account.
struct Client<'a> {
    aws: &'a FakeAws,
    http: reqwest::Client,
    key: String,
}

// === impl Client ===

impl<'a> Client<'a> {
    fn of(aws: &'a FakeAws, account: &str) -> Result<Self> {
        Self::with_key(aws, &aws.account(account).access_key)
    }

    fn with_key(aws: &'a FakeAws, key: &str) -> Result<Self> {
        let http = reqwest::Client::builder().no_proxy().build()?;
        let key = key.to_owned();
        Ok(Self { aws, http, key })
    }

    fn request(&self, method: Method, service: &str, path: &str) -> reqwest::RequestBuilder {
        let signature = format!(
            "AWS4-HMAC-SHA256 Credential={}/20260101/eu-west-1/{service}/aws4_request, SignedHeaders=host, Signature=0",
            self.key
        );
        let url = format!("{}{path}", self.aws.endpoint().url());
        self.http
            .request(method, url)
            .header("authorization", signature)
    }

    async fn secrets(&self, operation: &str, body: Value) -> Result<(StatusCode, Value)> {
        let request = self
            .request(Method::POST, "secretsmanager", "/")
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", format!("secretsmanager.{operation}"));
        let answer = request.body(body.to_string()).send().await?;
        let status = answer.status();
        Ok((status, serde_json::from_str(&answer.text().await?)?))
    }

    async fn form(&self, service: &str, form: &str) -> Result<(StatusCode, String)> {
        let request = self
            .request(Method::POST, service, "/")
            .header("content-type", "application/x-www-form-urlencoded");
        let answer = request.body(form.to_owned()).send().await?;
        Ok((answer.status(), answer.text().await?))
    }

    async fn eks(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<(StatusCode, String, Value)> {
        let mut request = self.request(method, "eks", path);
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let answer = request.send().await?;
        let status = answer.status();
        let code = answer.headers().get("x-amzn-errortype");
        let code = code.map_or(Ok(""), |code| code.to_str())?.to_owned();
        Ok((status, code, answer.json().await?))
    }
}

#[tokio::test]
async fn accounts_see_nothing_of_each_other() -> Result<()> {
    let aws = FakeAws::start(None).await?;
    let (region, management) = (
        Client::of(&aws, "region")?,
        Client::of(&aws, "management-01")?,
    );
    let secret = json!({ "Name": "maestro/server", "SecretString": "{\"a\":\"b\"}" });
    assert_eq!(region.secrets("CreateSecret", secret).await?.0, 200);
    assert_eq!(
        aws.secret("region", "maestro/server").await?,
        Some(json!({ "a": "b" }))
    );
    let (status, body) = management
        .secrets("GetSecretValue", json!({ "SecretId": "maestro/server" }))
        .await?;
    assert!(
        status.is_client_error() && body["__type"] == "ResourceNotFoundException",
        "{body}"
    );

    let unknown = Client::with_key(&aws, "AKIASOMEBODYELSE")?;
    let (status, body) = unknown
        .form("sts", "Action=GetCallerIdentity&Version=2011-06-15")
        .await?;
    assert!(
        status == 403 && body.contains("InvalidClientTokenId"),
        "{body}"
    );
    Ok(())
}

#[tokio::test]
async fn an_assumed_role_acts_in_the_account_of_the_role() -> Result<()> {
    let aws = FakeAws::start(None).await?;
    let region = Client::of(&aws, "region")?;
    let management = aws.account("management-01");
    let assume = |role: &str| {
        let account = &management.id;
        format!(
            "Action=AssumeRole&Version=2011-06-15&RoleSessionName=test&RoleArn=arn:aws:iam::{account}:role/{role}"
        )
    };
    let (status, body) = region.form("sts", &assume("nobody")).await?;
    assert!(
        status.is_client_error() && body.contains("<Code>AccessDenied</Code>"),
        "{body}"
    );
    let (_, body) = region.form("sts", &assume("operator")).await?;
    let key = body.split("<AccessKeyId>").nth(1).context("a key")?;
    let key = key.split('<').next().unwrap_or_default();
    let assumed = Client::with_key(&aws, key)?;
    let (_, body) = assumed
        .form("sts", "Action=GetCallerIdentity&Version=2011-06-15")
        .await?;
    let arn = format!("arn:aws:sts::{}:assumed-role/operator/test", management.id);
    assert!(body.contains(&arn), "{body}");
    let (_, body) = assumed
        .form("iam", "Action=GetRole&Version=2010-05-08&RoleName=operator")
        .await?;
    assert!(
        body.contains(&management.prerequisites.operator_role),
        "{body}"
    );
    Ok(())
}

#[tokio::test]
async fn aws_iot_is_in_one_account_only() -> Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let (address, account) = (listener.local_addr()?, account_id());
    let echo =
        async |request: axum::extract::Request| format!("{} {}", request.method(), request.uri());
    let sandbox = axum::serve(listener, axum::Router::new().fallback(echo));
    let sandbox = tokio::spawn(sandbox.into_future());
    let aws = FakeAws::start(Some(Iot { address, account })).await?;
    let path = "/policies/a%2Fb?policyVersionId=1";
    let (region, management) = (
        Client::of(&aws, "region")?,
        Client::of(&aws, "management-01")?,
    );
    let answer = region.request(Method::GET, "iot", path).send().await?;
    assert_eq!(answer.text().await?, format!("GET {path}"));
    let answer = management.request(Method::GET, "iot", path).send().await?;
    assert_eq!(answer.status(), 403);
    let calls = aws.endpoint().calls();
    assert_eq!(calls[0].action(), "iot:GetPolicy");
    assert!(calls[1].refused && !calls[1].mutating, "{calls:?}");
    sandbox.abort();
    Ok(())
}

#[tokio::test]
async fn an_association_lives_as_on_eks() -> Result<()> {
    let aws = FakeAws::start(None).await?;
    let (account, client) = (aws.account("region"), Client::of(&aws, "region")?);
    let path = "/clusters/region/pod-identity-associations";
    let role = &account.prerequisites.operator_role;
    let ask = |role: &str| json!({ "namespace": "maestro", "serviceAccount": "maestro", "roleArn": role, "tags": { "a": "b" } });
    let (status, _, created) = client.eks(Method::POST, path, Some(ask(role))).await?;
    assert_eq!(status, 200, "{created}");
    let association = &created["association"];
    let id = association["associationId"].as_str().context("an id")?;
    assert!(id.len() == 19 && id.starts_with("a-"), "{id}");

    let (status, code, _) = client.eks(Method::POST, path, Some(ask(role))).await?;
    assert_eq!(
        (status.as_u16(), code.as_str()),
        (409, "ResourceInUseException")
    );
    let nowhere = "/clusters/nowhere/pod-identity-associations";
    let (status, code, _) = client.eks(Method::POST, nowhere, Some(ask(role))).await?;
    assert_eq!(
        (status.as_u16(), code.as_str()),
        (404, "ResourceNotFoundException")
    );
    let missing = role.replace("operator", "nobody");
    let (status, code, _) = client.eks(Method::POST, path, Some(ask(&missing))).await?;
    assert_eq!(
        (status.as_u16(), code.as_str()),
        (400, "InvalidParameterException")
    );
    let foreign = &aws.account("management-01").prerequisites.operator_role;
    let (status, code, _) = client.eks(Method::POST, path, Some(ask(foreign))).await?;
    assert_eq!(
        (status.as_u16(), code.as_str()),
        (403, "AccessDeniedException")
    );

    let arn = association["associationArn"].as_str().context("an ARN")?;
    let tags = format!("/tags/{}", arn.replace('/', "%2F").replace(':', "%3A"));
    let more = json!({ "tags": { "c": "d" } });
    assert_eq!(client.eks(Method::POST, &tags, Some(more)).await?.0, 200);
    client
        .eks(Method::DELETE, &format!("{tags}?tagKeys=a"), None)
        .await?;
    let (_, _, read) = client.eks(Method::GET, &tags, None).await?;
    assert_eq!(read, json!({ "tags": { "c": "d" } }));

    let (_, _, listed) = client
        .eks(Method::GET, &format!("{path}?namespace=other"), None)
        .await?;
    assert_eq!(listed["associations"], json!([]));
    client
        .eks(Method::DELETE, &format!("{path}/{id}"), None)
        .await?;
    let (_, _, listed) = client.eks(Method::GET, path, None).await?;
    assert_eq!(listed["associations"], json!([]));
    Ok(())
}

#[tokio::test]
async fn an_addon_settles_after_as_many_reads_as_told() -> Result<()> {
    let aws = FakeAws::start(None).await?;
    aws.eks().settle_after(2);
    let client = Client::of(&aws, "region")?;
    let values = "{\"a\": 1}";
    let addon = json!({ "addonName": "eks-pod-identity-agent", "configurationValues": values });
    client
        .eks(Method::POST, "/clusters/region/addons", Some(addon))
        .await?;
    let path = "/clusters/region/addons/eks-pod-identity-agent";
    let mut seen = Vec::new();
    for _ in 0..3 {
        let (_, _, read) = client.eks(Method::GET, path, None).await?;
        assert_eq!(read["addon"]["configurationValues"], json!(values));
        seen.push(read["addon"]["status"].clone());
    }
    assert_eq!(seen, ["CREATING", "CREATING", "ACTIVE"]);
    client.eks(Method::DELETE, path, None).await?;
    let mut last = client.eks(Method::GET, path, None).await?;
    assert_eq!(last.2["addon"]["status"], json!("DELETING"));
    while last.0 == 200 {
        last = client.eks(Method::GET, path, None).await?;
    }
    assert_eq!(last.1, "ResourceNotFoundException");
    Ok(())
}

#[tokio::test]
async fn refusals_and_failures_speak_the_protocol_of_the_service() -> Result<()> {
    let aws = FakeAws::start(None).await?;
    let (client, endpoint) = (Client::of(&aws, "region")?, aws.endpoint());
    let id = &aws.account("region").id;
    for action in [
        "secretsmanager:CreateSecret",
        "iam:CreateRole",
        "ec2:CreateVpc",
        "eks:CreateAddon",
    ] {
        endpoint.deny(action, id);
    }
    let (status, body) = client.secrets("CreateSecret", json!({})).await?;
    assert_eq!(
        (status.as_u16(), &body["__type"]),
        (400, &json!("AccessDeniedException"))
    );
    let (status, body) = client
        .form("iam", "Action=CreateRole&Version=2010-05-08")
        .await?;
    assert!(
        status == 403
            && body.contains("<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied<"),
        "{body}"
    );
    let (status, body) = client
        .form("ec2", "Action=CreateVpc&Version=2016-11-15")
        .await?;
    assert!(
        status == 403 && body.contains("<Errors><Error><Code>UnauthorizedOperation<"),
        "{body}"
    );
    let (status, code, _) = client
        .eks(Method::POST, "/clusters/region/addons", Some(json!({})))
        .await?;
    assert_eq!(
        (status.as_u16(), code.as_str()),
        (403, "AccessDeniedException")
    );

    let form = "Action=SimulatePrincipalPolicy&Version=2010-05-08&ActionNames.member.1=iam%3ACreateRole\
                &ActionNames.member.2=iam%3AGetRole&PolicySourceArn=arn%3Aaws%3Aiam%3A%3A";
    let (_, body) = client
        .form("iam", &format!("{form}{id}%3Auser%2Fmoto"))
        .await?;
    let decisions: Vec<_> = body
        .split("<EvalDecision>")
        .skip(1)
        .filter_map(|rest| rest.split('<').next())
        .collect();
    assert_eq!(decisions, ["implicitDeny", "allowed"]);

    endpoint.fail_once("sts:GetCallerIdentity", "Throttling", 400);
    let whoami = "Action=GetCallerIdentity&Version=2011-06-15";
    let (status, body) = client.form("sts", whoami).await?;
    assert!(
        status == 400 && body.contains("<Code>Throttling</Code>"),
        "{body}"
    );
    assert_eq!(client.form("sts", whoami).await?.0, 200);

    // IoT is nowhere, and what moto does not know is no page.
    let answer = client
        .request(Method::GET, "iot", "/endpoint")
        .send()
        .await?;
    assert_eq!(answer.status(), 403);
    let (status, body) = client
        .form("rds", "Action=DescribeCertificates&Version=2014-10-31")
        .await?;
    assert!(
        status == 400 && body.contains("UnknownOperationException"),
        "{body}"
    );
    let mutating: Vec<_> = endpoint
        .calls()
        .into_iter()
        .filter(|call| call.mutating)
        .map(|call| call.action())
        .collect();
    assert_eq!(
        mutating,
        [
            "secretsmanager:CreateSecret",
            "iam:CreateRole",
            "ec2:CreateVpc",
            "eks:CreateAddon"
        ]
    );
    assert_eq!(endpoint.mutations(), 0);
    Ok(())
}

#[tokio::test]
async fn a_held_call_takes_effect_and_is_never_answered() -> Result<()> {
    let aws = FakeAws::start(None).await?;
    let client = Client::of(&aws, "region")?;
    let create = |name: &str| {
        client.secrets(
            "CreateSecret",
            json!({ "Name": name, "SecretString": "value" }),
        )
    };
    let held = aws.endpoint().hold_answer_of_mutating(2);
    assert_eq!(create("first").await?.0, 200);
    tokio::select! {
        answer = create("second") => panic!("answered: {answer:?}"),
        call = held.reached() => assert_eq!(call.context("a call")?.action(), "secretsmanager:CreateSecret"),
        () = tokio::time::sleep(PATIENCE) => panic!("the second call was not held"),
    }
    assert_eq!(aws.secret("region", "second").await?, Some(json!("value")));
    assert_eq!(create("third").await?.0, 200);
    assert_eq!(aws.endpoint().mutations(), 3);
    Ok(())
}

#[tokio::test]
async fn a_secret_has_one_current_version_whoever_moved_it() -> Result<()> {
    let aws = FakeAws::start(None).await?;
    let call = async |operation: &str, body: Value| {
        aws.call("region", "secretsmanager", operation, body).await
    };
    let first = call("CreateSecret", json!({ "Name": "s", "SecretString": "1" })).await?;
    let staged = json!({ "SecretId": "s", "SecretString": "2", "VersionStages": ["AWSPENDING"], "ClientRequestToken": "2".repeat(32) });
    let second = call("PutSecretValue", staged).await?;
    let moved = json!({
        "SecretId": "s", "VersionStage": "AWSCURRENT",
        "MoveToVersionId": second["VersionId"], "RemoveFromVersionId": first["VersionId"],
    });
    call("UpdateSecretVersionStage", moved).await?;
    // Without a stage: the current one.
    let read = call("GetSecretValue", json!({ "SecretId": "s" })).await?;
    assert_eq!(read["SecretString"], json!("2"));
    let third =
        json!({ "SecretId": "s", "SecretString": "3", "ClientRequestToken": "3".repeat(32) });
    call("PutSecretValue", third).await?;
    let versions = aws.secret_versions("region", "s").await?;
    let current: Vec<_> = versions
        .iter()
        .filter(|version| version.stages.contains(&"AWSCURRENT".to_owned()))
        .collect();
    assert_eq!(current.len(), 1, "{versions:?}");
    assert_eq!(current[0].value, json!(3));
    call(
        "DeleteSecret",
        json!({ "SecretId": "s", "RecoveryWindowInDays": 7 }),
    )
    .await?;
    assert_eq!(aws.secret("region", "s").await?, None);
    let refused = call(
        "PutSecretValue",
        json!({ "SecretId": "s", "SecretString": "4" }),
    )
    .await;
    assert!(
        matches!(refused, Err(FakeAwsError::Refused { .. })),
        "{refused:?}"
    );
    Ok(())
}

#[tokio::test]
async fn two_accounts_with_the_same_end_have_the_same_inventory() -> Result<()> {
    let aws = FakeAws::builder()
        .account("region")
        .account("region-again")
        .start()
        .await?;
    let mut inventories = Vec::new();
    for account in aws.accounts() {
        furnish(&aws, &account.name).await?;
        let text = aws.inventory(&account.name).await?.to_string();
        inventories.push(text.replace(&account.name, "region"));
    }
    assert_eq!(inventories[0], inventories[1]);
    let all: Value = serde_json::from_str(&inventories[0])?;
    assert_eq!(all["secrets"]["s"]["value"], json!({ "password": "text" }));
    assert_eq!(all["secrets"]["s"]["tags"], json!({ "a": "b" }));
    let rules = all["securityGroups"]["vpc:region/db"]["rules"].to_string();
    assert!(
        rules.contains("\"group\":\"group:region-cluster\""),
        "{rules}"
    );
    let database = &all["databases"]["db"];
    assert_eq!(
        database["PerformanceInsightsEnabled"],
        json!("true"),
        "{database}"
    );
    assert_eq!(
        database["VpcSecurityGroups"][0]["VpcSecurityGroupId"],
        json!("group:db")
    );
    assert_eq!(
        all["subnetGroups"]["db"]["subnets"][2],
        json!("subnet:region-private-c")
    );
    assert_eq!(
        all["roles"]["maestro"]["inline"]["read"]["Statement"][0]["Effect"],
        json!("Allow")
    );
    assert_eq!(
        all["associations"]["region/maestro/maestro"]["role"],
        json!("arn:aws:iam::<region>:role/maestro")
    );
    Ok(())
}

/// One of everything.
async fn furnish(aws: &FakeAws, account: &str) -> Result<(), FakeAwsError> {
    let prerequisites = aws.account(account).prerequisites.clone();
    let call = async |service: &str, operation: &str, params: Value| {
        aws.call(account, service, operation, params).await
    };
    let secret = json!({ "Name": "s", "SecretString": "{\"password\":\"x\"}", "Tags": [{ "Key": "a", "Value": "b" }] });
    call("secretsmanager", "CreateSecret", secret).await?;
    let group =
        json!({ "GroupName": "db", "GroupDescription": "database", "VpcId": prerequisites.vpc });
    let group = call("ec2", "CreateSecurityGroup", group).await?["groupId"].clone();
    let rule = json!({
        "GroupId": group,
        "IpPermissions.1.IpProtocol": "tcp",
        "IpPermissions.1.FromPort": "5432",
        "IpPermissions.1.ToPort": "5432",
        "IpPermissions.1.Groups.1.GroupId": prerequisites.cluster_security_group,
    });
    call("ec2", "AuthorizeSecurityGroupIngress", rule).await?;
    let mut subnets = json!({ "DBSubnetGroupName": "db", "DBSubnetGroupDescription": "database" });
    for (index, subnet) in prerequisites.subnets.iter().enumerate() {
        subnets[format!("SubnetIds.SubnetIdentifier.{}", index + 1)] = json!(subnet);
    }
    call("rds", "CreateDBSubnetGroup", subnets).await?;
    let database = json!({
        "DBInstanceIdentifier": "db", "DBInstanceClass": "db.t4g.medium", "Engine": "postgres",
        "EngineVersion": "16.4", "AllocatedStorage": "20", "MasterUsername": "maestro",
        "MasterUserPassword": "not-a-secret", "DBSubnetGroupName": "db",
        "VpcSecurityGroupIds.VpcSecurityGroupId.1": group, "EnablePerformanceInsights": "true",
    });
    call("rds", "CreateDBInstance", database).await?;
    let empty = json!({ "Version": "2012-10-17", "Statement": [] }).to_string();
    let role = json!({ "RoleName": "maestro", "AssumeRolePolicyDocument": empty });
    let role = call("iam", "CreateRole", role).await?["Role"]["Arn"].clone();
    let read =
        json!({ "Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": "*" });
    let read = json!({ "Version": "2012-10-17", "Statement": [read] }).to_string();
    let policy = json!({ "RoleName": "maestro", "PolicyName": "read", "PolicyDocument": read });
    call("iam", "PutRolePolicy", policy).await?;
    let association = json!({
        "clusterName": prerequisites.cluster, "namespace": "maestro", "serviceAccount": "maestro", "roleArn": role,
    });
    call("eks", "CreatePodIdentityAssociation", association).await?;
    let addon = json!({ "clusterName": prerequisites.cluster, "addonName": "coredns", "configurationValues": "{}" });
    call("eks", "CreateAddon", addon).await?;
    Ok(())
}

// A call takes 10 ms; this is for a machine that builds at the same time.
const PATIENCE: Duration = Duration::from_secs(60);
