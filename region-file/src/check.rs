//! From what the file says to a [`Region`]: defaults put in, forms checked, parts held against each other.
//!
//! Checking does not stop at the first problem: a placeholder stands in for what is missing or wrong.

use std::path::Path;

use link::error::{Hint, chain};
use link::id::{InvalidName, SourceId};
use link::party::Party;

use super::file::{self, RegionFile};
use super::grammar::{self, Checked, Fault};
use super::names::{AccountRegion, Namer};
use super::problem::Problem;
use super::{Access, Region, Store, Workload};

mod database;
mod infrastructure;
mod parties;

/// Checks and completes a file. `None`, or problems besides, when it cannot be used.
pub(super) fn check(
    file: RegionFile,
    directory: &Path,
    problems: &mut Vec<Problem>,
) -> Option<Region> {
    let mut check = Check { problems };
    let profile = file.profile.unwrap_or_default();
    let name = check.text("name", file.name, "region", grammar::base_name);
    let region = check.text("region", file.region, "us-east-2", grammar::region);
    let account = check.text("account", file.account, STAND_IN, grammar::account);
    let access = check
        .access("access", file.access, &account)
        .unwrap_or_default();
    let network = check.network(file.network.unwrap_or_default());
    let eks = check.eks(file.eks.unwrap_or_default());
    let database = check.database(file.database.unwrap_or_default(), profile);
    let broker = check.broker(&file.broker.unwrap_or_default(), directory);
    let secrets = check.secrets(file.secrets.unwrap_or_default(), profile);
    let tags = file.tags.unwrap_or_default();
    check.tags(&tags);
    let agent = check.workload("agent", file.agent.unwrap_or_default(), "maestro-agent");

    let server = file.server.unwrap_or_default();
    let source = check.parsed(
        "server.source",
        server.source.as_deref().unwrap_or("maestro"),
        SourceId::new,
    );
    let scheme = check.scheme(file.topics, source.as_ref());
    let arn = super::arn_prefix(&region, &account);
    let server = check.server(server, &name, source, scheme.as_ref(), &arn);

    let clusters = file.management_clusters.unwrap_or_default();
    let drafts = check.clusters(clusters, &eks, &region, scheme.as_ref(), &arn);
    let ids: Vec<(String, String, String)> = drafts
        .iter()
        .map(|cluster| {
            (
                cluster.id.to_string(),
                cluster.account.clone(),
                cluster.region.clone(),
            )
        })
        .collect();
    let file_names = file.names.unwrap_or_default();
    let home = AccountRegion {
        account: &account,
        region: &region,
    };
    let mut namer = Namer::new(&file_names, &name, home, check.problems);
    let names = namer.region();
    let mut clusters = Vec::new();
    for (mut cluster, (id, account, region)) in drafts.into_iter().zip(&ids) {
        cluster.names = namer.cluster(id, &AccountRegion { account, region });
        clusters.push(cluster);
    }
    let server = server?;
    let scheme = match server.store {
        // The same that its party was made of.
        Store::Postgres => Party::replica_scheme(&scheme?, &server.client_id).ok()?,
        Store::Sqlite => scheme?,
    };
    Some(Region {
        name,
        region,
        account,
        profile,
        access,
        network,
        eks,
        database,
        broker,
        scheme,
        server,
        agent,
        clusters,
        things: file.things.unwrap_or(true),
        secrets,
        tags,
        names,
    })
}

struct Check<'a> {
    problems: &'a mut Vec<Problem>,
}

// === impl Check ===

impl Check<'_> {
    fn access(
        &mut self,
        at: &str,
        file: Option<file::AccessSection>,
        account: &str,
    ) -> Option<Access> {
        let file = file?;
        if let Some(arn) = &file.role_arn {
            let field = format!("{at}.roleArn");
            match grammar::role_arn(arn) {
                Ok(of) if of != account && account != STAND_IN => {
                    let what = format!("is a role in account {of}, but this is account {account}");
                    self.report(&field, what, "give a role of the account it is for");
                }
                Ok(_) => {}
                Err(fault) => self.form(&field, Err(fault)),
            }
        }
        if file.profile.as_deref() == Some("") {
            self.report(
                &format!("{at}.profile"),
                "is empty",
                "name a profile, or leave it out",
            );
        }
        Some(Access {
            profile: file.profile,
            role_arn: file.role_arn,
        })
    }

    fn workload(&mut self, at: &str, file: file::AgentSection, default: &str) -> Workload {
        let mut label = |key: &str, text: Option<String>| {
            self.text(
                &format!("{at}.{key}"),
                text.or_else(|| Some(default.to_owned())),
                default,
                grammar::label,
            )
        };
        Workload {
            namespace: label("namespace", file.namespace),
            service_account: label("serviceAccount", file.service_account),
        }
    }

    // A text that must be there; a missing one has been reported already.
    fn text(
        &mut self,
        field: &str,
        text: Option<String>,
        stand_in: &str,
        check: impl Fn(&str) -> Checked,
    ) -> String {
        let Some(text) = text else {
            return stand_in.to_owned();
        };
        match check(&text) {
            Ok(()) => text,
            Err(fault) => {
                self.form(field, Err(fault));
                stand_in.to_owned()
            }
        }
    }

    fn parsed<T>(
        &mut self,
        field: &str,
        text: &str,
        parse: impl Fn(String) -> Result<T, InvalidName>,
    ) -> Option<T> {
        match parse(text.to_owned()) {
            Ok(name) => Some(name),
            Err(error) => {
                self.report(
                    field,
                    format!("is refused: {error}"),
                    "write a name that keeps this rule",
                );
                None
            }
        }
    }

    fn form(&mut self, field: &str, checked: Result<(), Fault>) {
        if let Err(Fault { what, fix }) = checked {
            self.report(field, what, fix);
        }
    }

    fn failed<T>(&mut self, field: &str, error: &(impl Hint + 'static)) -> Option<T> {
        let fix = error.hint().unwrap_or_else(|| "write another value".into());
        self.report(field, format!("is refused: {}", chain(error)), fix);
        None
    }

    fn report(&mut self, field: &str, what: impl Into<String>, fix: impl Into<String>) {
        self.problems.push(Problem::new(field, what, fix));
    }
}

// Stands in for an account that is missing or wrong, so that checking can go on.
const STAND_IN: &str = "000000000000";
