//! `provisioner policy check|explain`.

use std::collections::BTreeMap;

use link::error::{ExitKind, Failure};
use link::iot::Document;
use region_file::Region;

use super::{print, print_json};
use crate::args::{GlobalArgs, PolicyCommand};
use crate::context::{self, Context};
use crate::policy::{self, Documents, PartyName, live};
use crate::scope::Scope;

pub(crate) async fn run(
    global: &GlobalArgs,
    command: &PolicyCommand,
) -> Result<Option<ExitKind>, Failure> {
    match command {
        PolicyCommand::Check { live, json } => {
            let (region, documents) = Box::pin(documents(global, *live)).await?;
            let matrix = policy::check(&region, &documents);
            if *json {
                print_json(&matrix)?;
            } else {
                print(&matrix.to_string())?;
            }
            Ok((!matrix.is_as_it_should_be()).then_some(ExitKind::Failed))
        }
        PolicyCommand::Explain {
            party,
            action,
            name,
            live,
            json,
        } => {
            let (region, documents) = Box::pin(documents(global, *live)).await?;
            let party = PartyName::parse(&region, party).map_err(Failure::misuse)?;
            let action = policy::action(action).map_err(Failure::misuse)?;
            let explanation = policy::explain(&region, &documents, &party, action, name);
            if *json {
                print_json(&explanation)?;
            } else {
                print(&explanation.to_string())?;
            }
            Ok((!explanation.allowed).then_some(ExitKind::Refused))
        }
    }
}

/// The policies as the file asks for them, or as they are attached in AWS.
async fn documents(global: &GlobalArgs, live: bool) -> Result<(Region, Documents), Failure> {
    if !live {
        let region = context::read(global)?;
        let documents = Documents::desired(&region);
        return Ok((region, documents));
    }
    let only = vec![Scope::Region];
    let context = Context::open(&GlobalArgs {
        only,
        ..global.clone()
    })
    .await?;
    let mut attached: BTreeMap<PartyName, Vec<Document>> = BTreeMap::new();
    for party in PartyName::all(&context.region) {
        if let Some(policy) = party.policy(&context.region) {
            let documents = live::documents(&context.cloud, &policy)
                .await
                .map_err(super::enroll::failed)?;
            attached.insert(party, documents);
        }
    }
    Ok((context.region, Documents::live(attached)))
}
