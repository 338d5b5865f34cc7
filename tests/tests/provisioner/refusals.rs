//! What cannot go well is refused before anything was changed, by the name of what is wrong, with the next step.

use anyhow::Context as _;
use serde_json::json;
use tests::process::Output;
use tests::testbed::Testbed;

use super::{AGENT_POLICY, CLUSTER, SERVER_POLICY, statement};

type Result<T = ()> = std::result::Result<T, anyhow::Error>;

/// Runs a command that must be refused with this exit code, must change nothing and must say all this.
async fn refused(testbed: &Testbed, args: &[&str], code: i32, says: &[&str]) -> Result<Output> {
    let before = testbed.aws.endpoint().mutations();
    let output = testbed.run(args).await?;
    assert_eq!(output.status.code(), Some(code), "{args:?}: {output:?}");
    for text in says {
        let said = output.stdout.contains(text) || output.stderr.contains(text);
        assert!(said, "{args:?} does not say `{text}`: {output:?}");
    }
    assert_eq!(
        testbed.aws.endpoint().mutations(),
        before,
        "{args:?} changed something"
    );
    Ok(output)
}

/// The same with another file, for `plan` and `apply`.
async fn refused_file(testbed: &Testbed, file: &str, code: i32, says: &[&str]) -> Result {
    testbed.write_file(file)?;
    refused(testbed, &["plan"], code, says).await?;
    refused(testbed, &["apply", "--yes"], code, says).await?;
    testbed.write_file(&testbed.file())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_file_gets_wrong_is_refused_by_its_field() -> Result {
    let testbed = Testbed::start("wrong_file", &[CLUSTER]).await?;
    let file = testbed.file();
    let region = testbed.aws.account("region").clone();
    let away = testbed.aws.account(CLUSTER).clone();

    // Credentials of another account: both ids, before any look.
    let swapped = format!("region={CLUSTER}");
    let says = [region.id.as_str(), away.id.as_str(), "`region`"];
    for verb in [&["plan"][..], &["apply", "--yes"], &["destroy", "--yes"]] {
        let args = [&["--profile", &swapped], verb].concat();
        refused(&testbed, &args, 2, &says).await?;
    }

    let prerequisites = &region.prerequisites;
    let (subnet, group) = (
        &prerequisites.subnets[1],
        &prerequisites.cluster_security_group,
    );
    let bastion = &prerequisites.bastion_security_group;
    for (there, absent, field) in [
        (prerequisites.vpc.as_str(), "vpc-00000000", "network.vpc"),
        (subnet, "subnet-00000000", "network.privateSubnets[1]"),
        (group, "sg-00000000", "eks.securityGroups"),
        (bastion, "sg-00000000", "eks.bastionSecurityGroup"),
        ("cluster: region", "cluster: nowhere", "eks.cluster"),
    ] {
        let name = absent.rsplit(' ').next().unwrap_or_default();
        let says = [field, name, "hint: put the right ids into the file"];
        refused_file(&testbed, &file.replace(there, absent), 1, &says).await?;
    }
    let elsewhere = file.replace(
        &format!("id: {CLUSTER},"),
        &format!("id: {CLUSTER}, eksCluster: nowhere,"),
    );
    let says = ["eksCluster", CLUSTER, "nowhere"];
    refused_file(&testbed, &elsewhere, 1, &says).await?;

    let beside = beside(&testbed, subnet).await?;
    let one_zone = file.replace(
        &prerequisites.subnets.join(", "),
        &[subnet.as_str(), &beside].join(", "),
    );
    let says = ["network.privateSubnets", "all in one zone"];
    refused_file(&testbed, &one_zone, 1, &says).await?;

    // However many connections of however long a name: the policy fits IoT Core's 2048 characters.
    let name = "x".repeat(100);
    let many = format!("{file}server: {{clientId: {name}, connections: 64}}\n");
    testbed.write_file(&many)?;
    testbed.must(&["plan"]).await?;
    testbed.must(&["policy", "check"]).await?;
    testbed.write_file(&file)?;

    let says = ["nothing was changed: there is nobody to ask", "`--yes`"];
    refused(&testbed, &["apply"], 2, &says).await?;
    assert_eq!(testbed.aws.endpoint().mutations(), 0);
    testbed.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_others_have_are_refused() -> Result {
    let testbed = Testbed::start("taken_names", &[CLUSTER]).await?;
    let call = async |service, operation, params| {
        let aws = &testbed.aws;
        aws.call("region", service, operation, params).await
    };
    let allow_all = statement(&json!({ "Effect": "Allow", "Action": "iot:*", "Resource": "*" }));
    let secret = json!({ "Name": "maestro/db-credentials", "SecretString": "{}" });
    call("secretsmanager", "CreateSecret", secret).await?;
    let role = json!({
        "RoleName": "testbed-maestro-server",
        "AssumeRolePolicyDocument": statement(&json!({
            "Effect": "Allow", "Principal": { "AWS": "*" }, "Action": "sts:AssumeRole",
        })),
    });
    call("iam", "CreateRole", role).await?;
    let policy = json!({ "policyName": SERVER_POLICY, "policyDocument": allow_all });
    call("iot", "CreatePolicy", policy).await?;
    let other = json!({
        "policyName": AGENT_POLICY,
        "policyDocument": allow_all,
        "tags": [{ "Key": "provisioner:region", "Value": "other" }],
    });
    call("iot", "CreatePolicy", other).await?;

    for args in [&["plan"][..], &["apply", "--yes"]] {
        let says = [
            "! region secret/maestro/db-credentials: something of this name is there and carries no mark",
            "! region role/testbed-maestro-server: something of this name is there and carries no mark",
            "! region iot-policy/testbed-maestro-server-policy: something of this name",
            "hint: run `provisioner adopt` if it is this region's",
            "! region iot-policy/management-01-maestro-agent-policy: it belongs to the region `other`",
            "hint: choose another name under `names:` in the file",
        ];
        refused(&testbed, args, 1, &says).await?;
    }
    // What is not ours stays, and an identity is not given to a name of somebody else's either.
    refused(&testbed, &["enroll", CLUSTER], 1, &["region `other`"]).await?;
    testbed.must(&["destroy", "--yes"]).await?;
    assert_eq!(testbed.aws.endpoint().mutations(), 0);
    testbed.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_permission_is_named_and_a_protected_database_stays() -> Result {
    let testbed = Testbed::start("permissions", &[CLUSTER]).await?;
    let endpoint = testbed.aws.endpoint();
    let region = testbed.aws.account("region").id.clone();
    let away = testbed.aws.account(CLUSTER).id.clone();
    testbed.write_file(&format!(
        "{}database: {{deletionProtection: true}}\n",
        testbed.file()
    ))?;

    for (action, account, scope) in [
        ("iot:CreatePolicy", &region, "region"),
        ("eks:CreatePodIdentityAssociation", &away, CLUSTER),
    ] {
        endpoint.deny(action, account);
        let whose = format!("in the account of `{scope}`");
        let says = [action, &whose, "`provisioner permissions`"];
        refused(&testbed, &["apply", "--yes"], 1, &says).await?;
        endpoint.allow(action, account);
    }
    // A look that is not allowed is named too.
    endpoint.deny("eks:DescribeCluster", &region);
    refused(
        &testbed,
        &["plan"],
        1,
        &["eks:DescribeCluster", "hint: give the caller"],
    )
    .await?;
    endpoint.allow("eks:DescribeCluster", &region);
    assert_eq!(endpoint.mutations(), 0);

    // Who may not ask IAM finds out at the call itself.
    endpoint.deny("iam:SimulatePrincipalPolicy", &region);
    endpoint.deny("iot:CreatePolicy", &region);
    let failed = testbed.run(&["apply", "--yes"]).await?;
    assert_eq!(failed.status.code(), Some(1), "{failed:?}");
    let hint =
        "hint: give the caller permission `iot:CreatePolicy` on `testbed-maestro-server-policy`";
    assert!(failed.stderr.contains(hint), "{}", failed.stderr);

    // The same command goes on from there, through calls that AWS throttles and fails.
    endpoint.allow("iot:CreatePolicy", &region);
    endpoint.fail_once("iot:CreatePolicy", "ThrottlingException", 429);
    endpoint.fail_once("iam:CreateRole", "ServiceFailure", 500);
    testbed.must(&["apply", "--yes"]).await?;
    testbed.must(&["plan", "--exit-code"]).await?;

    let protected = ["AWS protects it from deletion", "deletionProtection: false"];
    let destroy = ["destroy", "--yes", "--delete-database", "testbed-maestro"];
    refused(&testbed, &destroy, 1, &protected).await?;
    testbed.write_file(&testbed.file())?;
    testbed.must(&["apply", "--yes"]).await?;
    let data = [
        "`testbed-maestro` holds data",
        "--delete-database testbed-maestro",
    ];
    refused(&testbed, &["destroy", "--yes"], 2, &data).await?;
    let other = ["destroy", "--yes", "--delete-database", "testbed"];
    refused(&testbed, &other, 2, &data).await?;
    refused(&testbed, &destroy[..1], 2, &["there is nobody to ask"]).await?;
    let without = ["destroy", "--delete-database", "testbed-maestro"];
    refused(&testbed, &without, 2, &["there is nobody to ask"]).await?;
    testbed.passed();
    Ok(())
}

/// Another subnet in the zone of one.
async fn beside(testbed: &Testbed, subnet: &str) -> Result<String> {
    let call = async |operation, params| {
        let aws = &testbed.aws;
        aws.call("region", "ec2", operation, params).await
    };
    let asked = json!({ "SubnetId.1": subnet });
    let found = call("DescribeSubnets", asked).await?;
    let found = &found["subnetSet"][0];
    let made = json!({
        "VpcId": found["vpcId"],
        "AvailabilityZone": found["availabilityZone"],
        "CidrBlock": "10.0.9.0/24",
    });
    let made = call("CreateSubnet", made).await?;
    let id = made["subnet"]["subnetId"].as_str();
    Ok(id.context("no subnet was made")?.to_owned())
}
