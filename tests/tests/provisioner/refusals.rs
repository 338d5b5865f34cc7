//! What cannot go well is refused before anything was changed, by the name of what is wrong, with the next step.

use anyhow::Context as _;
use serde_json::json;
use tests::estate::Estate;
use tests::process::Output;

use super::{AGENT_POLICY, CLUSTER, SERVER_POLICY, statement};

type Result<T = ()> = std::result::Result<T, anyhow::Error>;

/// Runs a command that must be refused with this exit code, must change nothing and must say all this.
async fn refused(estate: &Estate, args: &[&str], code: i32, says: &[&str]) -> Result<Output> {
    let before = estate.world.front().mutations();
    let output = estate.run(args).await?;
    assert_eq!(output.status.code(), Some(code), "{args:?}: {output:?}");
    for text in says {
        let said = output.stdout.contains(text) || output.stderr.contains(text);
        assert!(said, "{args:?} does not say `{text}`: {output:?}");
    }
    assert_eq!(
        estate.world.front().mutations(),
        before,
        "{args:?} changed something"
    );
    Ok(output)
}

/// The same with another file, for `plan` and `apply`.
async fn refused_file(estate: &Estate, file: &str, code: i32, says: &[&str]) -> Result {
    estate.write_file(file)?;
    refused(estate, &["plan"], code, says).await?;
    refused(estate, &["apply", "--yes"], code, says).await?;
    estate.write_file(&estate.file())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_file_gets_wrong_is_refused_by_its_field() -> Result {
    let estate = Estate::start("wrong_file", &[CLUSTER]).await?;
    let file = estate.file();
    let region = estate.world.account("region").clone();
    let away = estate.world.account(CLUSTER).clone();

    // Credentials of another account: both ids, before any look.
    let swapped = format!("region={CLUSTER}");
    let says = [region.id.as_str(), away.id.as_str(), "`region`"];
    for verb in [&["plan"][..], &["apply", "--yes"], &["destroy", "--yes"]] {
        let args = [&["--profile", &swapped], verb].concat();
        refused(&estate, &args, 2, &says).await?;
    }

    let ground = &region.ground;
    let (subnet, group) = (&ground.subnets[1], &ground.cluster_security_group);
    let bastion = &ground.bastion_security_group;
    for (there, absent, field) in [
        (ground.vpc.as_str(), "vpc-00000000", "network.vpc"),
        (subnet, "subnet-00000000", "network.privateSubnets[1]"),
        (group, "sg-00000000", "eks.securityGroups"),
        (bastion, "sg-00000000", "eks.bastionSecurityGroup"),
        ("cluster: region", "cluster: nowhere", "eks.cluster"),
    ] {
        let name = absent.rsplit(' ').next().unwrap_or_default();
        let says = [field, name, "hint: put the right ids into the file"];
        refused_file(&estate, &file.replace(there, absent), 1, &says).await?;
    }
    let elsewhere = file.replace(
        &format!("id: {CLUSTER},"),
        &format!("id: {CLUSTER}, eksCluster: nowhere,"),
    );
    let says = ["eksCluster", CLUSTER, "nowhere"];
    refused_file(&estate, &elsewhere, 1, &says).await?;

    let beside = beside(&estate, subnet).await?;
    let one_zone = file.replace(
        &ground.subnets.join(", "),
        &[subnet.as_str(), &beside].join(", "),
    );
    let says = ["network.privateSubnets", "all in one zone"];
    refused_file(&estate, &one_zone, 1, &says).await?;

    // However many connections of however long a name: the policy fits IoT Core's 2048 characters.
    let name = "x".repeat(100);
    let many = format!("{file}server: {{clientId: {name}, connections: 64}}\n");
    estate.write_file(&many)?;
    estate.must(&["plan"]).await?;
    estate.must(&["policy", "check"]).await?;
    estate.write_file(&file)?;

    let says = ["nothing was changed: there is nobody to ask", "`--yes`"];
    refused(&estate, &["apply"], 2, &says).await?;
    assert_eq!(estate.world.front().mutations(), 0);
    estate.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_others_have_are_refused() -> Result {
    let estate = Estate::start("taken_names", &[CLUSTER]).await?;
    let call = async |service, operation, params| {
        let world = &estate.world;
        world.call("region", service, operation, params).await
    };
    let allow_all = statement(&json!({ "Effect": "Allow", "Action": "iot:*", "Resource": "*" }));
    let secret = json!({ "Name": "maestro/db-credentials", "SecretString": "{}" });
    call("secretsmanager", "CreateSecret", secret).await?;
    let role = json!({
        "RoleName": "estate-maestro-server",
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
            "! region role/estate-maestro-server: something of this name is there and carries no mark",
            "! region iot-policy/estate-maestro-server-policy: something of this name",
            "hint: run `provisioner adopt` if it is this region's",
            "! region iot-policy/management-01-maestro-agent-policy: it belongs to the region `other`",
            "hint: choose another name under `names:` in the file",
        ];
        refused(&estate, args, 1, &says).await?;
    }
    // What is not ours stays, and an identity is not given to a name of somebody else's either.
    refused(&estate, &["enroll", CLUSTER], 1, &["region `other`"]).await?;
    estate.must(&["destroy", "--yes"]).await?;
    assert_eq!(estate.world.front().mutations(), 0);
    estate.passed();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_permission_is_named_and_a_protected_database_stays() -> Result {
    let estate = Estate::start("permissions", &[CLUSTER]).await?;
    let front = estate.world.front();
    let region = estate.world.account("region").id.clone();
    let away = estate.world.account(CLUSTER).id.clone();
    estate.write_file(&format!(
        "{}database: {{deletionProtection: true}}\n",
        estate.file()
    ))?;

    for (action, account, scope) in [
        ("iot:CreatePolicy", &region, "region"),
        ("eks:CreatePodIdentityAssociation", &away, CLUSTER),
    ] {
        front.deny(action, account);
        let whose = format!("in the account of `{scope}`");
        let says = [action, &whose, "`provisioner permissions`"];
        refused(&estate, &["apply", "--yes"], 1, &says).await?;
        front.allow(action, account);
    }
    // A look that is not allowed is named too.
    front.deny("eks:DescribeCluster", &region);
    refused(
        &estate,
        &["plan"],
        1,
        &["eks:DescribeCluster", "hint: give the caller"],
    )
    .await?;
    front.allow("eks:DescribeCluster", &region);
    assert_eq!(front.mutations(), 0);

    // Who may not ask IAM finds out at the call itself.
    front.deny("iam:SimulatePrincipalPolicy", &region);
    front.deny("iot:CreatePolicy", &region);
    let failed = estate.run(&["apply", "--yes"]).await?;
    assert_eq!(failed.status.code(), Some(1), "{failed:?}");
    let hint =
        "hint: give the caller permission `iot:CreatePolicy` on `estate-maestro-server-policy`";
    assert!(failed.stderr.contains(hint), "{}", failed.stderr);

    // The same command goes on from there, through calls that AWS throttles and fails.
    front.allow("iot:CreatePolicy", &region);
    front.fail_once("iot:CreatePolicy", "ThrottlingException", 429);
    front.fail_once("iam:CreateRole", "ServiceFailure", 500);
    estate.must(&["apply", "--yes"]).await?;
    estate.must(&["plan", "--exit-code"]).await?;

    let protected = ["AWS protects it from deletion", "deletionProtection: false"];
    let destroy = ["destroy", "--yes", "--delete-database", "estate-maestro"];
    refused(&estate, &destroy, 1, &protected).await?;
    estate.write_file(&estate.file())?;
    estate.must(&["apply", "--yes"]).await?;
    let data = [
        "`estate-maestro` holds data",
        "--delete-database estate-maestro",
    ];
    refused(&estate, &["destroy", "--yes"], 2, &data).await?;
    let other = ["destroy", "--yes", "--delete-database", "estate"];
    refused(&estate, &other, 2, &data).await?;
    refused(&estate, &destroy[..1], 2, &["there is nobody to ask"]).await?;
    let without = ["destroy", "--delete-database", "estate-maestro"];
    refused(&estate, &without, 2, &["there is nobody to ask"]).await?;
    estate.passed();
    Ok(())
}

/// Another subnet in the zone of one.
async fn beside(estate: &Estate, subnet: &str) -> Result<String> {
    let call = async |operation, params| {
        let world = &estate.world;
        world.call("region", "ec2", operation, params).await
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
