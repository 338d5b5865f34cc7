//! Everything there is in an account, in a form in which two runs with the same end are equal: sorted, with names in
//! place of random ids, without dates and without the contents of secrets.

// Long because one list of what there is, a short reader for each kind.

use serde_json::{Map, Value, json};

use self::scrub::{Names, document, shape, sorted, tags};
use super::{FakeAws, FakeAwsError};

mod scrub;

// === impl FakeAws ===

impl FakeAws {
    /// Secrets (deleted ones too), roles and policies, add-ons and associations, databases with their groups and
    /// snapshots, and security groups with their rules. What AWS IoT has is in the sandbox's registry.
    ///
    /// # Errors
    /// See [`FakeAwsError`].
    pub async fn inventory(&self, account: &str) -> Result<Value, FakeAwsError> {
        let look = Look { aws: self, account };
        let (names, security_groups) = look.network().await?;
        let (secrets, names) = look.secrets(names).await?;
        let mut all = json!({
            "addons": look.addons().await?,
            "associations": look.associations().await?,
            "databases": look.databases().await?,
            "parameterGroups": look.parameter_groups().await?,
            "policies": look.policies().await?,
            "roles": look.roles().await?,
            "secrets": secrets,
            "securityGroups": security_groups,
            "snapshots": look.snapshots().await?,
            "subnetGroups": look.subnet_groups().await?,
        });
        names.scrub(&mut all);
        Ok(all)
    }
}

struct Look<'a> {
    aws: &'a FakeAws,
    account: &'a str,
}

// === impl Look ===

impl Look<'_> {
    async fn call(
        &self,
        service: &str,
        operation: &str,
        params: Value,
    ) -> Result<Value, FakeAwsError> {
        self.aws
            .call(self.account, service, operation, params)
            .await
    }

    /// A list that fits one page.
    async fn list(
        &self,
        service: &str,
        operation: &str,
        params: Value,
        pointer: &str,
    ) -> Result<Vec<Value>, FakeAwsError> {
        let mut answer = self.call(service, operation, params).await?;
        let more = [
            &answer["NextToken"],
            &answer["nextToken"],
            &answer["Marker"],
        ];
        if more.iter().any(|token| !token.is_null()) {
            return Err(FakeAwsError::Answer(format!(
                "{operation}: more than one page"
            )));
        }
        match answer.pointer_mut(pointer).map(Value::take) {
            Some(Value::Array(items)) => Ok(items),
            _ => Ok(Vec::new()),
        }
    }

    async fn network(&self) -> Result<(Names, Value), FakeAwsError> {
        let mut names = Names::default();
        let ids = self
            .aws
            .accounts()
            .iter()
            .map(|account| (account.id.clone(), format!("<{}>", account.name)));
        names.extend(ids);
        for (operation, set, id) in [
            ("DescribeVpcs", "/vpcSet", "vpcId"),
            ("DescribeSubnets", "/subnetSet", "subnetId"),
        ] {
            for item in self.list("ec2", operation, json!({}), set).await? {
                let name = tags(&item["tagSet"])["Name"].as_str().map(str::to_owned);
                let name = name.unwrap_or_else(|| string(&item["cidrBlock"]));
                names.extend([(string(&item[id]), format!("{}:{name}", &id[..id.len() - 2]))]);
            }
        }
        let groups = self
            .list(
                "ec2",
                "DescribeSecurityGroups",
                json!({}),
                "/securityGroupInfo",
            )
            .await?;
        for group in &groups {
            let name = format!("group:{}", string(&group["groupName"]));
            names.extend([(string(&group["groupId"]), name)]);
        }
        let mut rules = self
            .list(
                "ec2",
                "DescribeSecurityGroupRules",
                json!({}),
                "/securityGroupRuleSet",
            )
            .await?;
        let mut all = Map::new();
        for group in &groups {
            let mine = rules
                .iter_mut()
                .filter(|rule| rule["groupId"] == group["groupId"]);
            let mut mine: Vec<Value> = mine
                .map(|rule| {
                    json!({
                        "egress": rule["isEgress"],
                        "protocol": rule["ipProtocol"],
                        "from": rule["fromPort"],
                        "to": rule["toPort"],
                        "cidr": rule["cidrIpv4"],
                        "group": rule["referencedGroupInfo"]["groupId"],
                        "description": rule["description"],
                        "tags": tags(&rule["tagSet"]),
                    })
                })
                .collect();
            mine.iter_mut().for_each(|rule| names.scrub(rule));
            let key = format!(
                "{}/{}",
                string(&group["vpcId"]),
                string(&group["groupName"])
            );
            let group = json!({
                "description": group["groupDescription"],
                "rules": sorted(mine),
                "tags": tags(&group["tagSet"]),
            });
            all.insert(key, group);
        }
        Ok((names, Value::Object(all)))
    }

    async fn secrets(&self, mut names: Names) -> Result<(Value, Names), FakeAwsError> {
        let asked = json!({ "IncludePlannedDeletion": true, "MaxResults": 100 });
        let mut all = Map::new();
        for secret in self
            .list("secretsmanager", "ListSecrets", asked, "/SecretList")
            .await?
        {
            let (name, arn) = (string(&secret["Name"]), string(&secret["ARN"]));
            // Six random characters and a dash.
            names.extend([(arn.clone(), arn[..arn.len().saturating_sub(7)].to_owned())]);
            let stages = secret["SecretVersionsToStages"]
                .as_object()
                .into_iter()
                .flat_map(Map::values);
            let stages =
                stages.map(|stages| sorted(stages.as_array().cloned().unwrap_or_default()));
            let deleted = secret
                .get("DeletedDate")
                .is_some_and(|date| !date.is_null());
            let mut entry = json!({
                "description": secret["Description"],
                "kmsKey": secret["KmsKeyId"],
                "tags": tags(&secret["Tags"]),
                "versions": sorted(stages.collect()),
                "deleted": deleted,
            });
            if !deleted {
                let policy = self
                    .call(
                        "secretsmanager",
                        "GetResourcePolicy",
                        json!({ "SecretId": name }),
                    )
                    .await?;
                entry["policy"] = document(&policy["ResourcePolicy"]);
                entry["value"] = self
                    .aws
                    .secret(self.account, &name)
                    .await?
                    .map_or(Value::Null, |value| shape(&value));
            }
            all.insert(name, entry);
        }
        Ok((Value::Object(all), names))
    }

    async fn roles(&self) -> Result<Value, FakeAwsError> {
        let mut all = Map::new();
        for role in self.list("iam", "ListRoles", json!({}), "/Roles").await? {
            let name = string(&role["RoleName"]);
            let asked = || json!({ "RoleName": name });
            let role = self.call("iam", "GetRole", asked()).await?;
            let role = &role["Role"];
            let mut inline = Map::new();
            for policy in self
                .list("iam", "ListRolePolicies", asked(), "/PolicyNames")
                .await?
            {
                let named = json!({ "RoleName": name, "PolicyName": policy });
                let found = self.call("iam", "GetRolePolicy", named).await?;
                inline.insert(string(&policy), document(&found["PolicyDocument"]));
            }
            let attached = self
                .list(
                    "iam",
                    "ListAttachedRolePolicies",
                    asked(),
                    "/AttachedPolicies",
                )
                .await?;
            let attached = attached
                .into_iter()
                .map(|policy| policy["PolicyArn"].clone());
            let entry = json!({
                "path": role["Path"],
                "description": role["Description"],
                "trust": document(&role["AssumeRolePolicyDocument"]),
                "boundary": role["PermissionsBoundary"]["PermissionsBoundaryArn"],
                "maxSession": role["MaxSessionDuration"],
                "tags": tags(&role["Tags"]),
                "inline": inline,
                "attached": sorted(attached.collect()),
            });
            all.insert(name, entry);
        }
        Ok(Value::Object(all))
    }

    async fn policies(&self) -> Result<Value, FakeAwsError> {
        let mut all = Map::new();
        for policy in self
            .list(
                "iam",
                "ListPolicies",
                json!({ "Scope": "Local" }),
                "/Policies",
            )
            .await?
        {
            let asked =
                json!({ "PolicyArn": policy["Arn"], "VersionId": policy["DefaultVersionId"] });
            let version = self.call("iam", "GetPolicyVersion", asked).await?;
            let asked = json!({ "PolicyArn": policy["Arn"] });
            let found = self.call("iam", "GetPolicy", asked).await?;
            let entry = json!({
                "document": document(&version["PolicyVersion"]["Document"]),
                "tags": tags(&found["Policy"]["Tags"]),
            });
            all.insert(string(&policy["PolicyName"]), entry);
        }
        Ok(Value::Object(all))
    }

    async fn clusters(&self) -> Result<Vec<String>, FakeAwsError> {
        let clusters = self
            .list("eks", "ListClusters", json!({}), "/clusters")
            .await?;
        Ok(clusters.iter().map(string).collect())
    }

    async fn addons(&self) -> Result<Value, FakeAwsError> {
        let mut all = Map::new();
        for cluster in self.clusters().await? {
            let asked = json!({ "clusterName": cluster });
            for name in self.list("eks", "ListAddons", asked, "/addons").await? {
                let asked = json!({ "clusterName": cluster, "addonName": name });
                let addon = self.call("eks", "DescribeAddon", asked).await?;
                let addon = &addon["addon"];
                let entry = json!({
                    "status": addon["status"],
                    "version": addon["addonVersion"],
                    "configuration": document(&addon["configurationValues"]),
                    "role": addon["serviceAccountRoleArn"],
                    "tags": addon["tags"],
                });
                all.insert(format!("{cluster}/{}", string(&name)), entry);
            }
        }
        Ok(Value::Object(all))
    }

    async fn associations(&self) -> Result<Value, FakeAwsError> {
        let mut all = Map::new();
        for cluster in self.clusters().await? {
            let asked = json!({ "clusterName": cluster });
            for one in self
                .list("eks", "ListPodIdentityAssociations", asked, "/associations")
                .await?
            {
                let asked =
                    json!({ "clusterName": cluster, "associationId": one["associationId"] });
                let found = self
                    .call("eks", "DescribePodIdentityAssociation", asked)
                    .await?;
                let found = &found["association"];
                let key = format!(
                    "{cluster}/{}/{}",
                    string(&found["namespace"]),
                    string(&found["serviceAccount"])
                );
                let entry = json!({
                    "role": found["roleArn"],
                    "targetRole": found["targetRoleArn"],
                    "disableSessionTags": found["disableSessionTags"],
                    "tags": found["tags"],
                });
                all.insert(key, entry);
            }
        }
        Ok(Value::Object(all))
    }

    async fn databases(&self) -> Result<Value, FakeAwsError> {
        let mut all = Map::new();
        for mut database in self
            .list("rds", "DescribeDBInstances", json!({}), "/DBInstances")
            .await?
        {
            let name = string(&database["DBInstanceIdentifier"]);
            if let Some(settings) = database.as_object_mut() {
                settings.retain(|name, _| !RANDOM.contains(&name.as_str()));
                settings["DBSubnetGroup"] = settings["DBSubnetGroup"]["DBSubnetGroupName"].clone();
                let found = settings.remove("TagList").unwrap_or_default();
                settings.insert("tags".into(), tags(&found));
            }
            all.insert(name, database);
        }
        Ok(Value::Object(all))
    }

    async fn subnet_groups(&self) -> Result<Value, FakeAwsError> {
        let mut all = Map::new();
        for group in self
            .list(
                "rds",
                "DescribeDBSubnetGroups",
                json!({}),
                "/DBSubnetGroups",
            )
            .await?
        {
            let found = self.tags_of(&group["DBSubnetGroupArn"]).await?;
            let subnets = group["Subnets"].as_array().into_iter().flatten();
            // In the order of their zones: ids are random.
            let mut subnets: Vec<_> = subnets.collect();
            subnets.sort_by_key(|subnet| string(&subnet["SubnetAvailabilityZone"]["Name"]));
            let subnets = subnets
                .into_iter()
                .map(|subnet| subnet["SubnetIdentifier"].clone());
            let entry = json!({
                "description": group["DBSubnetGroupDescription"],
                "vpc": group["VpcId"],
                "subnets": subnets.collect::<Vec<_>>(),
                "tags": found,
            });
            all.insert(string(&group["DBSubnetGroupName"]), entry);
        }
        Ok(Value::Object(all))
    }

    async fn parameter_groups(&self) -> Result<Value, FakeAwsError> {
        let mut all = Map::new();
        for group in self
            .list(
                "rds",
                "DescribeDBParameterGroups",
                json!({}),
                "/DBParameterGroups",
            )
            .await?
        {
            let name = string(&group["DBParameterGroupName"]);
            let asked = json!({ "DBParameterGroupName": name });
            let parameters = self
                .list("rds", "DescribeDBParameters", asked, "/Parameters")
                .await?;
            let parameters = parameters.into_iter().map(|parameter| {
                (
                    string(&parameter["ParameterName"]),
                    parameter["ParameterValue"].clone(),
                )
            });
            let entry = json!({
                "family": group["DBParameterGroupFamily"],
                "parameters": parameters.collect::<Map<_, _>>(),
                "tags": self.tags_of(&group["DBParameterGroupArn"]).await?,
            });
            all.insert(name, entry);
        }
        Ok(Value::Object(all))
    }

    async fn snapshots(&self) -> Result<Value, FakeAwsError> {
        let snapshots = self
            .list("rds", "DescribeDBSnapshots", json!({}), "/DBSnapshots")
            .await?;
        // Automatic ones have the time in their names, and go with the database.
        let automatic = |name: &Value| name.as_str().is_some_and(|name| name.starts_with("rds:"));
        let names = snapshots
            .into_iter()
            .map(|snapshot| snapshot["DBSnapshotIdentifier"].clone())
            .filter(|name| !automatic(name));
        Ok(sorted(names.collect()))
    }

    async fn tags_of(&self, arn: &Value) -> Result<Value, FakeAwsError> {
        let found = self
            .call("rds", "ListTagsForResource", json!({ "ResourceName": arn }))
            .await?;
        Ok(tags(&found["TagList"]))
    }
}

fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

// Of a database: dates, ids and what follows from other settings.
const RANDOM: [&str; 4] = [
    "InstanceCreateTime",
    "LatestRestorableTime",
    "DbiResourceId",
    "DbInstancePort",
];
