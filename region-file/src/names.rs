//! Names in AWS, made from templates; the defaults are those of the first deployment.

use std::collections::BTreeMap;

use link::spelling::nearest;

use super::file;
use super::grammar::Named;
use super::problem::Problem;

/// Names of what is the region's, all in its account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// RDS instance.
    pub database: String,
    /// DB subnet group.
    pub subnet_group: String,
    /// Security group of the database.
    pub security_group: String,
    /// Secret with the server's certificate and key.
    pub server_certificate: String,
    /// Secret with the server's configuration.
    pub server_config: String,
    /// Secret with the database's credentials.
    pub database_credentials: String,
    /// Secret with the registrations of clusters.
    pub consumers: String,
    /// The server's IoT policy.
    pub server_policy: String,
    /// The server's IoT thing.
    pub server_thing: String,
    /// The server's IAM role.
    pub server_role: String,
}

/// Names of what belongs to one management cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterNames {
    /// Secret with the agent's certificate and key, in the cluster's account.
    pub certificate: String,
    /// Secret with the agent's configuration, in the cluster's account.
    pub config: String,
    /// The agent's IoT policy, in the region's account.
    pub policy: String,
    /// The agent's IoT thing, in the region's account.
    pub thing: String,
    /// The agent's IAM role, in the cluster's account.
    pub role: String,
}

/// Whose account, and in which region of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AccountRegion<'a> {
    pub(super) account: &'a str,
    pub(super) region: &'a str,
}

/// Makes names and sees that no two are one.
pub(super) struct Namer<'a> {
    file: &'a file::NamesSection,
    words: [(&'static str, &'a str); 2],
    home: AccountRegion<'a>,
    taken: BTreeMap<(Named, AccountRegion<'a>, String), &'static str>,
    problems: &'a mut Vec<Problem>,
}

// === impl Namer ===

impl<'a> Namer<'a> {
    /// Names for the region `name` at `home`.
    pub(super) fn new(
        file: &'a file::NamesSection,
        name: &'a str,
        home: AccountRegion<'a>,
        problems: &'a mut Vec<Problem>,
    ) -> Self {
        Self {
            file,
            words: [("name", name), ("region", home.region)],
            home,
            taken: BTreeMap::new(),
            problems,
        }
    }

    /// The region's names.
    pub(super) fn region(&mut self) -> Names {
        let file = self.file;
        let home = self.home;
        let mut name = |kind, key, given: &Option<String>, default| {
            self.name(kind, key, given.as_deref().unwrap_or(default), None, home)
        };
        use Named::{Database, Policy, Role, Secret, SecurityGroup, SubnetGroup, Thing};
        Names {
            database: name(Database, "database", &file.database, "{name}-maestro"),
            subnet_group: name(
                SubnetGroup,
                "subnetGroup",
                &file.subnet_group,
                "{name}-maestro-db",
            ),
            security_group: name(
                SecurityGroup,
                "securityGroup",
                &file.security_group,
                "{name}-maestro-db",
            ),
            server_certificate: name(
                Secret,
                "serverCertificate",
                &file.server_certificate,
                "maestro/server-cert",
            ),
            server_config: name(
                Secret,
                "serverConfig",
                &file.server_config,
                "maestro/server-config",
            ),
            database_credentials: name(
                Secret,
                "databaseCredentials",
                &file.database_credentials,
                "maestro/db-credentials",
            ),
            consumers: name(Secret, "consumers", &file.consumers, "maestro/consumers"),
            server_policy: name(
                Policy,
                "serverPolicy",
                &file.server_policy,
                "{name}-maestro-server-policy",
            ),
            server_thing: name(
                Thing,
                "serverThing",
                &file.server_thing,
                "{name}-maestro-server",
            ),
            server_role: name(
                Role,
                "serverRole",
                &file.server_role,
                "{name}-maestro-server",
            ),
        }
    }

    /// The names of the management cluster `id` at `away`.
    pub(super) fn cluster(&mut self, id: &str, away: &AccountRegion<'a>) -> ClusterNames {
        let file = self.file;
        let home = self.home;
        let mut name = |kind, key, given: &Option<String>, default, place: &AccountRegion<'a>| {
            let template = given.as_deref().unwrap_or(default);
            self.name(kind, key, template, Some(id), *place)
        };
        use Named::{Policy, Role, Secret, Thing};
        ClusterNames {
            certificate: name(
                Secret,
                "agentCertificate",
                &file.agent_certificate,
                "maestro/agent-cert",
                away,
            ),
            config: name(
                Secret,
                "agentConfig",
                &file.agent_config,
                "maestro/agent-config",
                away,
            ),
            policy: name(
                Policy,
                "agentPolicy",
                &file.agent_policy,
                "{cluster}-maestro-agent-policy",
                &home,
            ),
            thing: name(
                Thing,
                "agentThing",
                &file.agent_thing,
                "{cluster}-maestro-agent",
                &home,
            ),
            role: name(
                Role,
                "agentRole",
                &file.agent_role,
                "{cluster}-maestro-agent",
                away,
            ),
        }
    }

    fn name(
        &mut self,
        kind: Named,
        key: &'static str,
        template: &str,
        cluster: Option<&str>,
        place: AccountRegion<'a>,
    ) -> String {
        let field = format!("names.{key}");
        let words: Vec<(&str, &str)> = self
            .words
            .into_iter()
            .chain(cluster.map(|id| ("cluster", id)))
            .collect();
        let name = match fill(template, &words) {
            Ok(name) => name,
            Err((what, fix)) => {
                self.tell(Problem::new(field, what, fix));
                return template.to_owned();
            }
        };
        if let Err(fault) = kind.check(&name) {
            self.tell(Problem::new(field, fault.what, fault.fix));
            return name;
        }
        self.take(kind, key, &field, &name, cluster, place);
        name
    }

    fn take(
        &mut self,
        kind: Named,
        key: &'static str,
        field: &str,
        name: &str,
        cluster: Option<&str>,
        place: AccountRegion<'a>,
    ) {
        // Roles are an account's, whatever the region.
        let region = if kind == Named::Role {
            ""
        } else {
            place.region
        };
        let place = AccountRegion { region, ..place };
        let account = place.account;
        let Some(first) = self.taken.insert((kind, place, name.to_owned()), key) else {
            return;
        };
        let problem = match cluster {
            Some(id) if first == key => Problem::new(
                field,
                format!("gives `{name}` to `{id}` and to another cluster in account {account}"),
                format!("use `{{cluster}}` in `{field}`"),
            ),
            _ => Problem::new(
                field,
                format!("is `{name}`, as `names.{first}` is in account {account}"),
                "write two different names",
            ),
        };
        self.tell(problem);
    }

    // A bad template is one problem, however many clusters it is used for.
    fn tell(&mut self, problem: Problem) {
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }
}

// Puts the words of `words` for `{word}`; otherwise what is wrong and what to write.
fn fill(template: &str, words: &[(&str, &str)]) -> Result<String, (String, String)> {
    let mut text = String::new();
    let mut rest = template;
    while let Some(start) = rest.find('{') {
        text.push_str(&rest[..start]);
        let Some(length) = rest[start..].find('}') else {
            return Err((
                format!("is `{template}`, where a `{{` stays open"),
                "close it".into(),
            ));
        };
        let word = &rest[start + 1..start + length];
        let Some((_, value)) = words.iter().find(|(known, _)| *known == word) else {
            let known: Vec<&str> = words.iter().map(|(known, _)| *known).collect();
            let fix = match nearest(word, &known) {
                Some(near) => format!("write `{{{near}}}`"),
                None => format!("use only `{{{}}}` here", known.join("}`, `{")),
            };
            return Err((
                format!("is `{template}`, where `{{{word}}}` stands for nothing"),
                fix,
            ));
        };
        text.push_str(value);
        rest = &rest[start + length + 1..];
    }
    text.push_str(rest);
    Ok(text)
}
