//! The calls of EKS that moto lacks: add-ons, Pod Identity associations and the tags on both. Shapes, errors and limits
//! are those of the EKS API reference (2017-11-01); clusters are moto's.
//!
//! Not there: the associations inside an add-on (`podIdentityAssociations`), which are refused, and versions other than
//! the one that `DescribeAddonVersions` gives.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::http::Method;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::refusal::{refuse, unknown};
use super::{Answer, Request, form, rest};

mod addons;
mod associations;

/// Add-ons and associations of all accounts.
#[derive(Debug, Default)]
pub struct Eks {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By account and cluster.
    clusters: BTreeMap<(String, String), Cluster>,
    /// How many reads see `CREATING`, `UPDATING` or `DELETING` before it is over.
    settle: usize,
    /// Stands in for the clock: seconds since 1970 that grow with every change.
    changes: u32,
}

#[derive(Debug, Default)]
struct Cluster {
    addons: BTreeMap<String, addons::Addon>,
    /// In order of creation, as AWS lists them.
    associations: Vec<associations::Association>,
}

/// A call with its path and query taken apart.
struct Ask<'a> {
    account: &'a str,
    region: &'a str,
    path: BTreeMap<String, String>,
    query: Vec<(String, String)>,
    body: Map<String, Value>,
}

/// An error of EKS: status, code, message.
struct Refusal(u16, &'static str, String);

// === impl Eks ===

impl Eks {
    /// Add-ons are `CREATING`, `UPDATING` and `DELETING` for this many reads from now on. They are never unless told.
    pub fn settle_after(&self, reads: usize) {
        self.state().settle = reads;
    }

    /// Whether a call is for this fake rather than for moto.
    pub(super) fn takes(request: &Request) -> bool {
        let Some(route) = route(request) else {
            return false;
        };
        match route.params.get("resourceArn") {
            Some(arn) => [":podidentityassociation/", ":addon/"]
                .iter()
                .any(|kind| arn.contains(kind)),
            None => route.operation.contains("Addon") || route.operation.contains("PodIdentity"),
        }
    }

    /// The cluster that a call needs to be there.
    pub(super) fn cluster(request: &Request) -> Option<String> {
        route(request)?.params.remove("clusterName")
    }

    /// The role that a call would hand to EKS.
    pub(super) fn role(request: &Request) -> Option<String> {
        let body: Value = serde_json::from_slice(&request.body).ok()?;
        let role = body
            .get("roleArn")
            .or_else(|| body.get("serviceAccountRoleArn"))?;
        Some(role.as_str()?.to_owned())
    }

    /// Carries a call out. Cluster and role have been looked up.
    pub(super) fn answer(&self, request: &Request) -> Answer {
        let Some(route) = route(request) else {
            return unknown("eks", &request.operation);
        };
        let query = request
            .target
            .split_once('?')
            .map_or("", |(_, query)| query);
        let ask = Ask {
            account: &request.account,
            region: &request.region,
            path: route.params,
            query: form::decode(query),
            body: serde_json::from_slice(&request.body).unwrap_or_default(),
        };
        let mut state = self.state();
        let outcome = match route.operation {
            "CreateAddon" => state.create_addon(&ask),
            "DescribeAddon" => state.describe_addon(&ask),
            "UpdateAddon" => state.update_addon(&ask),
            "DeleteAddon" => state.delete_addon(&ask),
            "ListAddons" => Ok(state.list_addons(&ask)),
            "DescribeAddonVersions" => Ok(addons::versions(&ask)),
            "CreatePodIdentityAssociation" => state.create_association(&ask),
            "DescribePodIdentityAssociation" => state.describe_association(&ask),
            "UpdatePodIdentityAssociation" => state.update_association(&ask),
            "DeletePodIdentityAssociation" => state.delete_association(&ask),
            "ListPodIdentityAssociations" => Ok(state.list_associations(&ask)),
            "ListTagsForResource" | "TagResource" | "UntagResource" => {
                state.tags(&ask, &request.method)
            }
            _ => return unknown("eks", route.operation),
        };
        match outcome {
            Ok(body) => Answer::json(&body),
            Err(Refusal(status, code, message)) => refuse("eks", status, code, &message),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn route(request: &Request) -> Option<rest::Route> {
    let path = request.target.split('?').next()?;
    rest::find("eks", &request.method, path)
}

// === impl State ===

impl State {
    fn cluster(&mut self, ask: &Ask<'_>) -> &mut Cluster {
        let name = ask.path.get("clusterName").cloned().unwrap_or_default();
        self.clusters
            .entry((ask.account.to_owned(), name))
            .or_default()
    }

    fn now(&mut self) -> f64 {
        self.changes += 1;
        EPOCH + f64::from(self.changes)
    }

    fn tags(&mut self, ask: &Ask<'_>, method: &Method) -> Result<Value, Refusal> {
        let arn = ask.path.get("resourceArn").map_or("", String::as_str);
        let clusters = self.clusters.iter_mut();
        let mine = clusters.filter(|((account, _), _)| account == ask.account);
        let found = mine
            .flat_map(|(_, cluster)| cluster.tags())
            .find(|(owner, _)| *owner == arn);
        let Some((_, tags)) = found else {
            let message = format!("{arn} not found");
            return Err(Refusal(404, "NotFoundException", message));
        };
        match *method {
            Method::POST => tags.extend(ask.tags()),
            Method::DELETE => {
                let gone = |name: &String| {
                    ask.query
                        .iter()
                        .any(|(key, value)| key == "tagKeys" && value == name)
                };
                tags.retain(|name, _| !gone(name));
            }
            _ => return Ok(json!({ "tags": tags })),
        }
        Ok(json!({}))
    }
}

// === impl Cluster ===

impl Cluster {
    fn tags(&mut self) -> impl Iterator<Item = (&str, &mut Map<String, Value>)> {
        let addons = self
            .addons
            .values_mut()
            .map(|addon| (addon.arn.as_str(), &mut addon.tags));
        let associations = self.associations.iter_mut();
        addons.chain(
            associations.map(|association| (association.arn.as_str(), &mut association.tags)),
        )
    }
}

// === impl Ask ===

impl Ask<'_> {
    /// A required text of the body.
    fn text(&self, name: &str) -> Result<String, Refusal> {
        let value = self.optional(name).filter(|text| !text.is_empty());
        value.ok_or_else(|| invalid(format!("{name} is required")))
    }

    fn optional(&self, name: &str) -> Option<String> {
        Some(self.body.get(name)?.as_str()?.to_owned())
    }

    fn tags(&self) -> Map<String, Value> {
        let tags = self.body.get("tags").and_then(Value::as_object);
        tags.cloned().unwrap_or_default()
    }

    fn path(&self, name: &str) -> &str {
        self.path.get(name).map_or("", String::as_str)
    }

    fn arn(&self, rest: &str) -> String {
        format!("arn:aws:eks:{}:{}:{rest}", self.region, self.account)
    }

    /// One page of a list, in the form of the API: `maxResults` and `nextToken` in, `nextToken` out.
    fn page(&self, name: &str, all: &[Value]) -> Value {
        let number = |name| form::field(&self.query, name)?.parse::<usize>().ok();
        let start = number("nextToken").unwrap_or(0).min(all.len());
        let end = (start + number("maxResults").unwrap_or(PAGE)).min(all.len());
        let next = (end < all.len()).then(|| end.to_string());
        json!({ name: &all[start..end], "nextToken": next })
    }
}

fn invalid(message: String) -> Refusal {
    Refusal(400, "InvalidParameterException", message)
}

/// Seventeen letters and digits, as in the ids of associations.
fn random_id() -> String {
    Uuid::new_v4().simple().to_string()[..17].to_owned()
}

// 2023-11-14; nothing in the tests depends on it.
const EPOCH: f64 = 1_700_000_000.0;

// Of the API: the most a page may have.
const PAGE: usize = 100;
