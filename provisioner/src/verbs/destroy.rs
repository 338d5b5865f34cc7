//! `provisioner destroy`.

use link::error::{Failure, Hint};

use super::{print, print_json};
use crate::args::{DestroyArgs, Place};
use crate::ask;
use crate::context::{Context, UnknownCluster};
use crate::converge::StoppedError;
use crate::desired;
use crate::destroy::{Fate, Leaving, Removal, destroy};
use crate::progress::Lines;
use crate::resource::Resource;
use crate::survey::Survey;

/// It was not done.
#[derive(Debug, thiserror::Error)]
enum DestroyError {
    #[error("nothing was removed: {resource}: {why}")]
    Obstacle {
        resource: String,
        why: String,
        hint: Option<String>,
    },
    #[error("nothing was removed: `{0}` holds data")]
    Data(String),
}

pub(crate) async fn run(place: &Place, args: &DestroyArgs) -> Result<(), Failure> {
    let context = Context::open(place).await?;
    let resources = resources(&context, args)?;
    let survey = Survey::of(&context.cloud, &resources)
        .await
        .map_err(|error| StoppedError::look(error).into_failure())?;
    let removal = Removal::of(&resources, &survey);
    if !args.json {
        print(&describe(&removal))?;
    }
    if let Some(leaving) = removal.obstacle() {
        return Err(Failure::failed(DestroyError::obstacle(leaving)));
    }
    confirm(&removal, args)?;
    let removed = destroy(&context.cloud, &resources, &Lines::default())
        .await
        .map_err(StoppedError::into_failure)?;
    if args.json {
        return print_json(
            &serde_json::json!({"removed": removed, "resources": removal.resources}),
        );
    }
    print(&format!("{removed} removed"))
}

fn resources(context: &Context, args: &DestroyArgs) -> Result<Vec<Resource>, Failure> {
    let Some(id) = &args.cluster else {
        return Ok(context.resources());
    };
    let cluster = context.region.cluster(id.as_str());
    let cluster = cluster.ok_or_else(|| Failure::misuse(UnknownCluster(id.to_string())))?;
    let all = desired::everything_of(&context.region, cluster).into_iter();
    let within = all.filter(|resource| context.cloud.reaches(&resource.address().scope));
    Ok(within.collect())
}

fn confirm(removal: &Removal, args: &DestroyArgs) -> Result<(), Failure> {
    for name in &removal.data {
        match &args.delete_database {
            Some(given) if given == name => {}
            Some(_) => return Err(Failure::misuse(DestroyError::Data(name.clone()))),
            None if args.yes => return Err(Failure::misuse(DestroyError::Data(name.clone()))),
            None => ask::agree(
                &format!("The database `{name}` is deleted with its data."),
                name,
                &format!("--delete-database {name}"),
            )?,
        }
    }
    if !args.yes && removal.count() > 0 {
        ask::agree(
            &format!("Remove {} resources?", removal.count()),
            "yes",
            "--yes",
        )?;
    }
    Ok(())
}

fn describe(removal: &Removal) -> String {
    let line = |leaving: &Leaving| match &leaving.fate {
        Fate::Delete => format!("- {}\n", leaving.resource),
        Fate::Stay { why } => format!("  {}: stays, {why}\n", leaving.resource),
        Fate::Protected { why, .. } => format!("! {}: {why}\n", leaving.resource),
        Fate::Unknown { why } => format!("? {}: {why}\n", leaving.resource),
    };
    let mut text: String = removal.resources.iter().map(line).collect();
    text.push_str(&format!("{} to remove", removal.count()));
    text
}

// === impl DestroyError ===

impl DestroyError {
    fn obstacle(leaving: &Leaving) -> Self {
        let (why, hint) = match &leaving.fate {
            Fate::Protected { why, hint } => (why.clone(), Some(hint.clone())),
            Fate::Unknown { why } => (why.clone(), None),
            Fate::Delete | Fate::Stay { .. } => (String::new(), None),
        };
        Self::Obstacle {
            resource: leaving.resource.clone(),
            why,
            hint,
        }
    }
}

impl Hint for DestroyError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Obstacle { hint, .. } => hint.clone(),
            Self::Data(name) => Some(format!(
                "add `--delete-database {name}` if its data may go, or leave it with `--only`"
            )),
        }
    }
}
