//! What a verb works on: the region's file, the accounts it may touch, and the resources in them.

use std::collections::BTreeSet;

use link::error::{ExitKind, Failure, Hint};
use link::id::ConsumerName;
use region_file::{Access, ManagementCluster, Region};

use crate::args::GlobalArgs;
use crate::aws::{Cloud, Expected, OpenError};
use crate::desired;
use crate::resource::Resource;
use crate::scope::Scope;

/// A region, opened.
pub(crate) struct Context {
    pub(crate) region: Region,
    pub(crate) cloud: Cloud,
    /// The parts this command is about.
    pub(crate) scopes: BTreeSet<Scope>,
    /// Parts of the file that it has no credentials for.
    pub(crate) skipped: Vec<Scope>,
}

/// A management cluster was named that the file does not have.
#[derive(Debug, thiserror::Error)]
#[error("there is no management cluster `{name}` in the file")]
pub(crate) struct UnknownCluster {
    name: String,
    known: Vec<String>,
}

// === impl Context ===

impl Context {
    /// Reads the file and opens the accounts that the options name: with `--only`, those; else the region's, and of
    /// the management clusters those it has credentials for.
    ///
    /// # Errors
    /// What is wrong with the file, and credentials of another account than the file says. Nothing was touched.
    pub(crate) async fn open(global: &GlobalArgs) -> Result<Self, Failure> {
        let region = read(global)?;
        let scopes = scopes(&region, global)?;
        let mut cloud = Cloud::default();
        for scope in needed(&region, global, &scopes) {
            let (expected, access) = account_access(&region, global, &scope)?;
            let account = expected.open(&access).await.map_err(refused)?;
            cloud = cloud.with(scope, account);
        }
        let known = region.clusters.iter().map(scope_of);
        let skipped = known.filter(|scope| global.only.is_empty() && !scopes.contains(scope));
        let skipped = skipped.collect();
        Ok(Self {
            region,
            cloud,
            scopes,
            skipped,
        })
    }

    /// Everything in the parts this command is about, in the order it is made.
    pub(crate) fn resources(&self) -> Vec<Resource> {
        let mut resources = Vec::new();
        if self.scopes.contains(&Scope::Region) {
            resources.extend(desired::region(&self.region));
        }
        for cluster in &self.region.clusters {
            if self.scopes.contains(&scope_of(cluster)) {
                resources.extend(desired::cluster(&self.region, cluster));
            }
        }
        resources
    }
}

/// Reads the region's file. Its warnings are for `validate` and `plan` to print.
pub(crate) fn read(global: &GlobalArgs) -> Result<Region, Failure> {
    Region::read(&global.file).map_err(Failure::misuse)
}

/// With the exit code that fits: a wrong account or profile is a usage error, found before anything is changed.
pub(crate) fn refused(error: OpenError) -> Failure {
    let hint = error.hint();
    let kind = match error {
        OpenError::WrongAccount { .. } | OpenError::UnknownProfile { .. } => ExitKind::Usage,
        OpenError::Caller { .. } => ExitKind::Failed,
    };
    Failure::new(kind, error).with_hint(hint)
}

fn scopes(region: &Region, global: &GlobalArgs) -> Result<BTreeSet<Scope>, Failure> {
    let named = global
        .only
        .iter()
        .chain(global.profiles.iter().map(|profile| &profile.scope));
    for scope in named {
        cluster_of(region, scope)?;
    }
    if !global.only.is_empty() {
        return Ok(global.only.iter().cloned().collect());
    }
    let reachable = region.clusters.iter().filter(|cluster| {
        cluster.account == region.account
            || cluster.access.is_some()
            || profile(global, &scope_of(cluster)).is_some()
    });
    Ok([Scope::Region]
        .into_iter()
        .chain(reachable.map(scope_of))
        .collect())
}

/// The accounts to open: those of the parts, and the region's for a cluster's certificate if there are credentials for it.
fn needed(region: &Region, global: &GlobalArgs, scopes: &BTreeSet<Scope>) -> BTreeSet<Scope> {
    let mut needed = scopes.clone();
    let same_account = region
        .clusters
        .iter()
        .any(|cluster| scopes.contains(&scope_of(cluster)) && cluster.account == region.account);
    let named = profile(global, &Scope::Region).is_some() || region.access != Access::default();
    if same_account || named {
        needed.insert(Scope::Region);
    }
    needed
}

/// Which account a scope must be in, and the credentials for it.
fn account_access(
    region: &Region,
    global: &GlobalArgs,
    scope: &Scope,
) -> Result<(Expected, Access), Failure> {
    let (account, aws_region, mut access) = match cluster_of(region, scope)? {
        None => (&region.account, &region.region, region.access.clone()),
        Some(cluster) => {
            let access = match &cluster.access {
                Some(access) => access.clone(),
                None if cluster.account == region.account => region.access.clone(),
                None => Access::default(),
            };
            (&cluster.account, &cluster.region, access)
        }
    };
    if let Some(profile) = profile(global, scope) {
        access.profile = Some(profile.to_owned());
    }
    let expected = Expected {
        scope: scope.clone(),
        account: account.clone(),
        region: aws_region.clone(),
    };
    Ok((expected, access))
}

/// The profile that the command line gives for a scope.
pub(crate) fn profile<'a>(global: &'a GlobalArgs, scope: &Scope) -> Option<&'a str> {
    let given = global
        .profiles
        .iter()
        .rfind(|given| given.scope == *scope)?;
    Some(&given.profile)
}

fn cluster_of<'a>(
    region: &'a Region,
    scope: &Scope,
) -> Result<Option<&'a ManagementCluster>, Failure> {
    match scope {
        Scope::Region => Ok(None),
        Scope::Cluster(id) => find_cluster(region, id.as_str()).map(Some),
    }
}

/// The management cluster of that id.
pub(crate) fn find_cluster<'a>(
    region: &'a Region,
    id: &str,
) -> Result<&'a ManagementCluster, Failure> {
    let found = region.cluster(id);
    found.ok_or_else(|| Failure::misuse(UnknownCluster::new(id, region)))
}

/// The id of a management cluster that the file has, before any account is opened.
pub(crate) fn cluster_name(global: &GlobalArgs, id: &str) -> Result<ConsumerName, Failure> {
    let region = read(global)?;
    find_cluster(&region, id).map(|cluster| cluster.id.clone())
}

fn scope_of(cluster: &ManagementCluster) -> Scope {
    Scope::Cluster(cluster.id.clone())
}

// === impl UnknownCluster ===

impl UnknownCluster {
    /// The error for `name`, which is none of the region's clusters.
    pub(crate) fn new(name: &str, region: &Region) -> Self {
        let known = region.clusters.iter();
        Self {
            name: name.to_owned(),
            known: known.map(|cluster| cluster.id.to_string()).collect(),
        }
    }
}

impl Hint for UnknownCluster {
    fn hint(&self) -> Option<String> {
        Some(match self.known.as_slice() {
            [] => "add it to `managementClusters`, which has none".into(),
            known => format!(
                "name one of `{}`, or add it to `managementClusters`",
                known.join("`, `")
            ),
        })
    }
}
