//! Whose policies these are: the party that is named, or that the policies themselves tell; pure.

use std::collections::BTreeSet;

use link::id::{ClientId, ConsumerName, SourceId};
use link::iot::{ArnPrefix, Context, Document, Request, evaluate};
use link::party::Party;
use link::topic::Scheme;
use region_file::Region;

use super::Asked;
use super::demand;
use super::file::Files;
use super::values::{Chart, Values};

/// A party, and what is foreign to it.
#[derive(Clone, Debug)]
pub(super) struct Holder {
    /// Such as "the agent of `cluster-1`".
    pub(super) name: String,
    /// What it needs.
    pub(super) party: Party,
    /// What it would be otherwise, such as before it was one of several: allowed, and not needed.
    pub(super) also: Vec<Party>,
    /// Client ids of others.
    pub(super) strangers: Vec<String>,
    /// Consumers of others, whose topics are foreign to an agent.
    pub(super) others: Vec<ConsumerName>,
    /// The topics.
    pub(super) scheme: Scheme,
}

// === impl Holder ===

impl Holder {
    /// The party that is asked for, or else the one that the documents were written for.
    ///
    /// # Errors
    /// Why it is not known; the words end the sentence "not checked: …".
    pub(super) fn of(
        asked: &Asked,
        files: &Files,
        documents: &[Document],
        arn: &ArnPrefix,
    ) -> Result<Self, String> {
        let region = files.region();
        let scheme = region.map_or_else(|| scheme(documents), |region| region.scheme.clone());
        let mut holder = match (&asked.consumer, &asked.source) {
            (Some(consumer), _) => agent(consumer, asked.id.as_ref(), region, &scheme)?,
            (None, Some(source)) => bridge(source, asked, files, &scheme, documents, arn)?,
            (None, None) => told(asked, region, &scheme, documents, arn)?,
        };
        holder.add_strangers(region);
        Ok(holder)
    }

    fn new(name: String, party: Party, scheme: &Scheme) -> Self {
        Self {
            name,
            party,
            also: Vec::new(),
            strangers: Vec::new(),
            others: Vec::new(),
            scheme: scheme.clone(),
        }
    }

    fn add_strangers(&mut self, region: Option<&Region>) {
        let own: Vec<String> = self
            .party
            .client_ids()
            .iter()
            .map(ClientId::to_string)
            .collect();
        let mut ids = vec![format!("{NOBODY}-work-agent-client"), NOBODY.to_owned()];
        let mut others: Vec<ConsumerName> = ConsumerName::new(NOBODY).into_iter().collect();
        if let Some(region) = region {
            let clusters = region.clusters.iter().take(MAX_OTHERS);
            let servers = region.server.party.client_ids().into_iter().take(1);
            ids.extend(servers.map(|id| id.to_string()));
            for cluster in clusters {
                ids.extend(cluster.party.client_ids().iter().map(ClientId::to_string));
                others.push(cluster.id.clone());
            }
        }
        ids.retain(|id| !own.contains(id));
        self.strangers = ids;
        self.others = others;
    }
}

fn agent(
    consumer: &ConsumerName,
    id: Option<&ClientId>,
    region: Option<&Region>,
    scheme: &Scheme,
) -> Result<Holder, String> {
    let cluster = region.and_then(|region| region.cluster(consumer.as_str()));
    let source = id.and_then(|id| id.as_str().strip_suffix("-client"));
    let party = match (cluster, source) {
        (Some(cluster), None) => cluster.party.clone(),
        (_, Some(source)) => {
            Party::agent_as(scheme, consumer, source).map_err(|e| e.to_string())?
        }
        (None, None) => Party::agent(scheme, consumer).map_err(|e| e.to_string())?,
    };
    Ok(Holder::new(
        format!("the agent of `{consumer}`"),
        party,
        scheme,
    ))
}

fn bridge(
    source: &SourceId,
    asked: &Asked,
    files: &Files,
    scheme: &Scheme,
    documents: &[Document],
    arn: &ArnPrefix,
) -> Result<Holder, String> {
    let name = format!("the bridge of `{source}`");
    if let Some(region) = files
        .region()
        .filter(|region| region.server.source == *source)
    {
        return Ok(of_region(name, region));
    }
    let values = files.values.iter().map(|(_, values)| values);
    let values = values.filter(|values| values.chart == Chart::Bridge);
    let values = values
        .into_iter()
        .find(|values| values.text(&["source"]).as_deref() == Some(source.as_str()));
    if let Some(party) = values.and_then(|values| of_values(values, source, scheme)) {
        return Ok(Holder::new(name, party, scheme));
    }
    // Nobody says whether it is alone: what the policy was written for.
    let usual = ClientId::new(source.as_str()).map_err(|error| error.to_string())?;
    let base = asked.id.as_ref().unwrap_or(&usual);
    let alone = Party::bridge(scheme, source, base, 1).map_err(|error| error.to_string())?;
    let mut all = vec![alone];
    all.extend(Party::replicas(scheme, source, base, SLOTS, 1));
    all.sort_by_key(|party| {
        let denied = demand::denied(documents, party, arn);
        // One statement may stand for many client ids.
        let actions: BTreeSet<_> = denied.iter().map(|(need, _)| need.action).collect();
        (actions.len(), denied.len())
    });
    let also = all.split_off(1);
    let Some(party) = all.pop() else {
        return Err("no such bridge".into());
    };
    Ok(Holder {
        also,
        ..Holder::new(name, party, scheme)
    })
}

fn of_region(name: String, region: &Region) -> Holder {
    let server = &region.server;
    Holder {
        also: server.alone.iter().cloned().collect(),
        ..Holder::new(name, server.party.clone(), &region.scheme)
    }
}

fn of_values(values: &Values, source: &SourceId, scheme: &Scheme) -> Option<Party> {
    let number = |key: &str| values.text(&[key])?.parse::<u16>().ok();
    let base = ClientId::new(values.text(&["clientId"])?).ok()?;
    let connections = number("connections")?.clamp(1, MAX_CONNECTIONS);
    let party = match values.text(&["store"])?.as_str() {
        "postgres" => {
            let slots = number("slots")?.clamp(1, MAX_SLOTS);
            Party::replicas(scheme, source, &base, slots, connections)
        }
        _ => Party::bridge(scheme, source, &base, connections),
    };
    let party = party.ok()?;
    Some(match values.all["lifecycleEvents"] == true {
        true => party.hearing_lifecycle_events(),
        false => party,
    })
}

// Whose client id the documents allow; whoever may be anybody is nobody in particular.
fn told(
    asked: &Asked,
    region: Option<&Region>,
    scheme: &Scheme,
    documents: &[Document],
    arn: &ArnPrefix,
) -> Result<Holder, String> {
    let connects = |id: &str| {
        let context = Context::new(arn.clone(), id);
        evaluate(documents, &Request::connect(&context)).is_allowed()
    };
    let is_anybody = connects(NOBODY);
    let first = |party: &Party| party.client_ids().first().map(ClientId::to_string);
    let is_of = |party: &Party| !is_anybody && first(party).is_some_and(|id| connects(&id));
    if let Some(region) = region {
        if is_of(&region.server.party) || region.server.alone.as_ref().is_some_and(is_of) {
            return Ok(of_region(
                format!("the bridge of `{}`", region.server.source),
                region,
            ));
        }
        if let Some(cluster) = region.clusters.iter().find(|cluster| is_of(&cluster.party)) {
            return agent(&cluster.id, None, Some(region), scheme);
        }
    }
    let statements = documents.iter().flat_map(|document| &document.statements);
    let resources = statements.flat_map(|statement| &statement.resources);
    let ids = resources.filter_map(|resource| resource.split_once(":client/"));
    let consumer = ids
        .filter_map(|(_, id)| Party::consumer_of_agent(id))
        .find(|consumer| !is_anybody && connects(&format!("{consumer}-work-agent-client")));
    if let Some(consumer) = consumer {
        return agent(&consumer, None, region, scheme);
    }
    let operator = match &asked.id {
        Some(id) => id.clone(),
        None => ClientId::new(OPERATOR).map_err(|error| error.to_string())?,
    };
    if connects(operator.as_str()) {
        let party = Party::operator(scheme, &operator);
        return Ok(Holder::new(
            format!("the operator `{operator}`"),
            party,
            scheme,
        ));
    }
    Err(
        "whose policy it is does not follow from it; say `--consumer NAME` for an agent's, `--source NAME` for a \
         bridge's (with `-i` for its client id), or `-i NAME` for an operator's"
            .into(),
    )
}

// The topics that the documents speak of.
fn scheme(documents: &[Document]) -> Scheme {
    let statements = documents.iter().flat_map(|document| &document.statements);
    let resources = statements.flat_map(|statement| &statement.resources);
    let sources = resources.filter_map(|resource| {
        let (_, rest) = resource.split_once("sources/")?;
        let (source, rest) = rest.split_once('/')?;
        rest.starts_with("consumers/").then_some(source)
    });
    let source = sources
        .filter_map(|source| SourceId::new(source).ok())
        .next();
    source.map_or_else(Scheme::default, |source| Scheme::upstream(&source))
}

/// A name that no party has.
pub(super) const NOBODY: &str = "doctor-nobody";

// The name under which the provisioner makes an operator's certificate.
const OPERATOR: &str = "probe";

// The bridge's own default.
const SLOTS: u16 = 8;

// What the chart's schema takes at most; other values have been reported.
const MAX_CONNECTIONS: u16 = 64;
const MAX_SLOTS: u16 = 64;

// Enough others to see that something is theirs.
const MAX_OTHERS: usize = 20;
