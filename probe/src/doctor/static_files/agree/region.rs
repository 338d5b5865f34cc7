//! Values of the charts against the region's file, which the certificate, the policy and the secrets come from; pure.

use link::fault::Finding;
use link::spelling::nearest;
use region_file::{ManagementCluster, Region, Store};
use serde_json::Value;

use super::super::values::{Chart, Values};
use super::super::{AGREE, Asked};
use super::{Compared, NAMES, Side, is_plain, shown, side};

/// A region and the name of its file.
#[derive(Clone, Copy)]
pub(super) struct Named<'a> {
    pub(super) name: &'a str,
    pub(super) region: &'a Region,
}

/// Compares values with the region.
pub(super) fn values(
    of: Named<'_>,
    file: &str,
    values: &Values,
    asked: &Asked,
    compared: &mut Compared,
) {
    match values.chart {
        Chart::Bridge => bridge(of, file, values, compared),
        Chart::Agent => {
            let said = values.text(&["consumerName"]).filter(|name| is_plain(name));
            let asked = asked.consumer.as_ref().map(ToString::to_string);
            let Some(name) = said.clone().or(asked) else {
                let why = format!(
                    "`{file}` leaves `consumerName` to the mounted file; say which with `--consumer NAME`"
                );
                return compared.open.push(why);
            };
            let cluster = match said {
                Some(name) => consumer(of, file, "consumerName", &name, compared),
                None => of.region.cluster(&name),
            };
            if let Some(cluster) = cluster {
                agent(of, cluster, file, values, compared);
            }
        }
    }
}

/// The cluster of that name; that there is none is a finding.
pub(super) fn consumer<'a>(
    of: Named<'a>,
    file: &str,
    field: &str,
    name: &str,
    compared: &mut Compared,
) -> Option<&'a ManagementCluster> {
    compared.count += 1;
    let cluster = of.region.cluster(name);
    if cluster.is_none() {
        let ids: Vec<&str> = of
            .region
            .clusters
            .iter()
            .map(|cluster| cluster.id.as_str())
            .collect();
        let near = match nearest(name, &ids) {
            Some(near) => format!("the nearest is `{near}`"),
            None => format!("it has {} others", ids.len()),
        };
        let said = format!(
            "{} says {} for `{field}`, and `{}` has no such cluster in `managementClusters`; {near}",
            super::quoted(file),
            shown(name),
            of.name
        );
        let finding = Finding::error(AGREE, said)
            .why("nothing is published to a name that is not registered, and no certificate is made for it")
            .next(format!("correct the name, or add it to `managementClusters` of `{}`", of.name));
        compared.found.push(finding);
    }
    cluster
}

fn bridge(of: Named<'_>, file: &str, values: &Values, compared: &mut Compared) {
    let Named { name, region } = of;
    let server = &region.server;
    let given = |key: &'static str| Some(side(file, key, values.text(&[key])?));
    let store = match server.store {
        Store::Postgres => "postgres",
        Store::Sqlite => "sqlite",
    };
    let said = |field: &'static str, value: String| side(name, field, value);
    compared.known(
        given("source"),
        said("server.source", server.source.to_string()),
        NAMES,
    );
    compared.known(
        given("clientId"),
        said("server.clientId", server.client_id.to_string()),
        POLICY,
    );
    compared.known(
        given("connections"),
        said("server.connections", server.connections.to_string()),
        POLICY,
    );
    compared.known(given("store"), said("server.store", store.into()), POLICY);
    if server.store == Store::Postgres {
        compared.known(
            given("slots"),
            said("server.slots", server.slots.to_string()),
            POLICY,
        );
    }
    if values.all["lifecycleEvents"] == true {
        let asked = server.lifecycle_events.to_string();
        compared.same(
            side(file, "lifecycleEvents", "true"),
            said("server.lifecycleEvents", asked),
            POLICY,
        );
    }
    let workload = &server.workload.service_account;
    compared.known(
        account(file, values),
        said("server.serviceAccount", workload.clone()),
        ROLE,
    );
    place(of, file, values, &region.region, &region.account, compared);
    let names = &region.names;
    let mut secrets = vec![
        (
            "certificate",
            "names.serverCertificate",
            &names.server_certificate,
        ),
        ("config", "names.serverConfig", &names.server_config),
        ("consumers", "names.consumers", &names.consumers),
    ];
    if server.store == Store::Postgres {
        secrets.push((
            "database",
            "names.databaseCredentials",
            &names.database_credentials,
        ));
    }
    mounted(of, file, values, &secrets, compared);
}

fn agent(
    of: Named<'_>,
    cluster: &ManagementCluster,
    file: &str,
    values: &Values,
    compared: &mut Compared,
) {
    let Named { name, region } = of;
    let id = event_source(&values.all["extraArgs"])
        .unwrap_or_else(|| format!("{}-work-agent", cluster.id));
    let own = side(name, "agentClientId", cluster.agent_client_id.clone());
    compared.known(
        Some(side(file, "extraArgs --cloudevents-client-id", id)),
        own,
        POLICY,
    );
    let workload = side(
        name,
        "agent.serviceAccount",
        region.agent.service_account.clone(),
    );
    compared.known(account(file, values), workload, ROLE);
    place(
        of,
        file,
        values,
        &cluster.region,
        &cluster.account,
        compared,
    );
    let home = number(values, &["global", "rc_aws_account_id"]);
    let home = home.map(|home| side(file, "global.rc_aws_account_id", home));
    compared.known(home, side(name, "account", region.account.clone()), NAMES);
    let secrets = [
        (
            "certificate",
            "names.agentCertificate",
            &cluster.names.certificate,
        ),
        ("config", "names.agentConfig", &cluster.names.config),
    ];
    mounted(of, file, values, &secrets, compared);
}

// AWS region and account, as far as they are said.
fn place(
    of: Named<'_>,
    file: &str,
    values: &Values,
    region: &str,
    account: &str,
    compared: &mut Compared,
) {
    let of_secrets = values
        .text(&["secrets", "region"])
        .filter(|text| !text.is_empty());
    let of_secrets = of_secrets.map(|text| side(file, "secrets.region", text));
    let global = || {
        Some(side(
            file,
            "global.aws_region",
            values.text(&["global", "aws_region"])?,
        ))
    };
    compared.known(
        of_secrets.or_else(global),
        side(of.name, "region", region),
        MOUNT,
    );
    let number = number(values, &["global", "aws_account_id"]);
    let number = number.map(|number| side(file, "global.aws_account_id", number));
    compared.known(number, side(of.name, "account", account), MOUNT);
}

// Of secrets that are mounted by their names in AWS.
fn mounted(
    of: Named<'_>,
    file: &str,
    values: &Values,
    secrets: &[(&str, &str, &String)],
    compared: &mut Compared,
) {
    if values.text(&["secrets", "provider"]).as_deref() == Some("existing") {
        return;
    }
    for (key, field, expected) in secrets {
        let Some(value) = values.text(&["secrets", key]) else {
            continue;
        };
        let field_here = format!("secrets.{key}");
        let value = secret_name(&value, expected);
        compared.known(
            Some(side(file, &field_here, value)),
            side(of.name, field, expected.as_str()),
            MOUNT,
        );
    }
}

// The name in an ARN, which ends in six characters that nobody chose.
fn secret_name(text: &str, expected: &str) -> String {
    let name = text
        .strip_prefix("arn:")
        .and_then(|arn| arn.split_once(":secret:"));
    match name {
        Some((_, name)) if name == expected => expected.to_owned(),
        Some((_, name)) => match name.rsplit_once('-') {
            Some((before, tail)) if tail.len() == 6 => before.to_owned(),
            _ => name.to_owned(),
        },
        None => text.to_owned(),
    }
}

// Twelve digits, also where YAML took them for a number.
fn number(values: &Values, path: &[&str]) -> Option<String> {
    let text = values.text(path)?;
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    Some(if is_number {
        format!("{text:0>12}")
    } else {
        text
    })
}

fn account<'a>(file: &'a str, values: &Values) -> Option<Side<'a>> {
    let name = values.text(&["serviceAccount", "name"])?;
    Some(side(file, "serviceAccount.name", name))
}

fn event_source(arguments: &Value) -> Option<String> {
    let mut arguments = arguments.as_array()?.iter().filter_map(Value::as_str);
    loop {
        let argument = arguments.next()?;
        match argument.strip_prefix("--cloudevents-client-id") {
            Some("") => return arguments.next().map(str::to_owned),
            Some(rest) if rest.starts_with('=') => return Some(rest[1..].to_owned()),
            _ => {}
        }
    }
}

const POLICY: &str =
    "the policy that `provisioner` makes names what region.yaml says, and refuses the rest";
const ROLE: &str =
    "the role that may read the secrets is given to the service account that region.yaml names";
const MOUNT: &str = "the pod waits for a volume with secrets that are not there";
