//! Definitions of other projects' kinds, of Argo CD, the Prometheus operator, External Secrets and the Secrets Store CSI
//! driver, so that an API server checks objects of theirs as it would in a cluster that has them.
//!
//! `tests/crds/fetch` brings them. Only their schemas are here: nothing acts on such an object, and no webhook of theirs
//! is asked. A server that serves them is no longer like one without, so tests that count requests stay away from it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client};

use crate::process::{ProcessError, ProcessSpec};
use crate::wait::{TimedOut, wait_for};

/// The definitions could not be had, or the API server did not take them.
#[derive(Debug, thiserror::Error)]
pub enum DefineError {
    /// `tests/crds/fetch` could not be run.
    #[error("fetch the definitions of other projects")]
    Process(#[from] ProcessError),
    /// It failed; what it said.
    #[error("fetch the definitions of other projects: {0}")]
    Fetch(String),
    /// A file of its is not there.
    #[error("read the definitions of other projects")]
    Files(#[from] io::Error),
    /// One is no definition.
    #[error("read `{file}`")]
    Definition {
        /// Which file.
        file: String,
        /// What is wrong with it.
        #[source]
        source: Box<serde_saphyr::Error>,
    },
    /// The API server refused one, or does not answer.
    #[error("define `{name}`")]
    Api {
        /// Which definition.
        name: String,
        /// What it said.
        #[source]
        source: kube::Error,
    },
    /// They are there, and not served.
    #[error("define the kinds of other projects")]
    Served(#[from] TimedOut),
}

/// The folder with the definitions, fetched if they are not there; `logs` takes what the fetching says.
///
/// # Errors
/// When they cannot be fetched; the error says what is missing.
pub async fn folder(logs: &Path) -> Result<PathBuf, DefineError> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds/fetch");
    let fetch = ProcessSpec::at("fetch-definitions", script, REMEDY);
    let fetched = fetch.run(logs, PATIENCE).await?;
    if !fetched.status.success() {
        return Err(DefineError::Fetch(fetched.stderr));
    }
    Ok(fetched.stdout.trim().into())
}

/// Defines them all and waits until each is served. A server that has them is left with those of `modules.txt`.
///
/// # Errors
/// See [`DefineError`].
pub async fn define(client: &Client, logs: &Path) -> Result<(), DefineError> {
    apply(client, read(&folder(logs).await?)?).await
}

/// Defines those of these names, such as `secretstores.external-secrets.io`, and waits likewise.
///
/// # Errors
/// See [`DefineError`].
pub async fn define_only(client: &Client, logs: &Path, names: &[&str]) -> Result<(), DefineError> {
    let mut definitions = read(&folder(logs).await?)?;
    let named = |it: &CustomResourceDefinition| it.metadata.name.clone().unwrap_or_default();
    definitions.retain(|it| names.contains(&named(it).as_str()));
    apply(client, definitions).await
}

async fn apply(
    client: &Client,
    definitions: Vec<CustomResourceDefinition>,
) -> Result<(), DefineError> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    // On the server's side: some are too long for the annotation that `kubectl apply` leaves.
    let params = PatchParams::apply("tests").force();
    for definition in &definitions {
        let name = definition.metadata.name.clone().unwrap_or_default();
        let patched = api.patch(&name, &params, &Patch::Apply(definition)).await;
        patched.map_err(|source| DefineError::Api { name, source })?;
    }
    for definition in &definitions {
        served(client, definition).await?;
    }
    Ok(())
}

fn read(folder: &Path) -> Result<Vec<CustomResourceDefinition>, DefineError> {
    let mut definitions = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_none_or(|end| end != "yaml") {
            continue;
        }
        let text = std::fs::read_to_string(&path)?;
        for document in text.split("\n---\n") {
            let read = serde_saphyr::from_str(document.trim_start_matches("---\n"));
            definitions.push(read.map_err(|source| DefineError::Definition {
                file: path.display().to_string(),
                source: Box::new(source),
            })?);
        }
    }
    Ok(definitions)
}

/// Waits for the kind itself, and then for its place in the group's list, where clients look it up: the definition's
/// conditions come a moment before it is served, the list a moment after.
///
/// # Errors
/// When it is not served in time.
pub async fn served(
    client: &Client,
    definition: &CustomResourceDefinition,
) -> Result<(), TimedOut> {
    let spec = &definition.spec;
    let versions = spec.versions.iter().filter(|version| version.served);
    for version in versions {
        let path = format!(
            "/apis/{}/{}/{}",
            spec.group, version.name, spec.names.plural
        );
        let one = ListParams::default().limit(1);
        let probe = async || {
            let request = kube::api::Request::new(path.clone()).list(&one);
            let request = request.map_err(|error| error.to_string())?;
            let answer = client.request_text(request).await;
            answer.map_err(|error| error.to_string())
        };
        wait_for(&path, PATIENCE, probe).await?;
        let group_version = format!("{}/{}", spec.group, version.name);
        let what = format!("`{}` in the list of {group_version}", spec.names.plural);
        wait_for(&what, PATIENCE, async || {
            let listed = client.list_api_group_resources(&group_version).await;
            let listed = listed.map_err(|error| error.to_string())?.resources;
            let mut names = listed.iter().map(|resource| &resource.name);
            match names.any(|name| *name == spec.names.plural) {
                true => Ok(()),
                false => Err(format!("{} others", listed.len())),
            }
        })
        .await?;
    }
    Ok(())
}

const REMEDY: &str = "run `tests/crds/fetch`";
// 80 MB, and the start of a server that compiles two dozen schemas.
const PATIENCE: Duration = Duration::from_secs(300);
