//! Pods as a test looks at them. What waits says what it saw last: the state of the containers and the events.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod};
use kube::Api;
use kube::api::{ListParams, LogParams};

use super::Node;
use crate::wait::wait_for;

impl Node {
    /// Waits until a pod that a selector of labels chooses is ready, all its containers with it, and gives it.
    ///
    /// # Errors
    /// When none is in time; the message holds its state, its events and the end of its log.
    pub async fn pod_ready(&self, namespace: &str, selector: &str) -> Result<Pod> {
        self.pod_where(namespace, selector, "readiness", is_ready)
            .await
    }

    /// The same for a pod whose first container was started so many times again.
    ///
    /// # Errors
    /// See [`Self::pod_ready`].
    pub async fn pod_restarted(&self, namespace: &str, selector: &str, times: i32) -> Result<Pod> {
        let what = format!("readiness after {times} restarts");
        let again = |pod: &Pod| is_ready(pod) && restarts(pod) >= times;
        self.pod_where(namespace, selector, &what, again).await
    }

    /// Waits until a condition holds for a pod that a selector of labels chooses.
    ///
    /// # Errors
    /// See [`Self::pod_ready`].
    pub async fn pod_where(
        &self,
        namespace: &str,
        selector: &str,
        what: &str,
        condition: impl Fn(&Pod) -> bool,
    ) -> Result<Pod> {
        let pods: Api<Pod> = Api::namespaced(self.client().await?, namespace);
        let what = format!("{what} of a pod {selector} in {namespace}");
        let waited = wait_for(&what, PATIENCE, async || {
            let listed = pods.list(&ListParams::default().labels(selector)).await;
            let listed = listed.map_err(|error| error.to_string())?.items;
            let alive = |pod: &&Pod| pod.metadata.deletion_timestamp.is_none();
            match listed.iter().filter(alive).find(|pod| condition(pod)) {
                Some(pod) => Ok(pod.clone()),
                None => Err(listed.iter().map(state).collect::<Vec<_>>().join("; ")),
            }
        });
        match waited.await {
            Ok(pod) => Ok(pod),
            Err(error) => Err(error)
                .with_context(|| self.evidence())
                .context(self.history(namespace, selector).await),
        }
    }

    /// The address of a ready pod, which this machine reaches.
    ///
    /// # Errors
    /// When none is ready in time.
    pub async fn pod_ip(&self, namespace: &str, selector: &str) -> Result<Ipv4Addr> {
        let pod = self.pod_ready(namespace, selector).await?;
        let address = pod.status.and_then(|status| status.pod_ip);
        let address = address.context("a ready pod has an address")?;
        Ok(address.parse()?)
    }

    /// What the first container of a pod wrote since it was last started.
    ///
    /// # Errors
    /// When there is no such pod.
    pub async fn logs(&self, namespace: &str, selector: &str) -> Result<String> {
        let pods: Api<Pod> = Api::namespaced(self.client().await?, namespace);
        let found = pods.list(&ListParams::default().labels(selector)).await?;
        let pod = found
            .items
            .first()
            .and_then(|pod| pod.metadata.name.clone());
        let Some(pod) = pod else {
            bail!("no pod {selector} in {namespace}");
        };
        Ok(pods.logs(&pod, &LogParams::default()).await?)
    }

    /// The last lines of each of these pods, as far as they can be had.
    pub async fn last_lines(&self, namespace: &str, selector: &str) -> String {
        let Ok(client) = self.client().await else {
            return String::new();
        };
        let pods: Api<Pod> = Api::namespaced(client, namespace);
        let found = pods.list(&ListParams::default().labels(selector)).await;
        let mut lines = String::new();
        for pod in found.into_iter().flatten() {
            let name = pod.metadata.name.unwrap_or_default();
            let log = pods.logs(&name, &LogParams::default()).await;
            let _ = writeln!(lines, "log of {name}:\n{}", tail(&log.unwrap_or_default()));
        }
        lines
    }

    /// Waits until a pod's log holds a text.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn logged(&self, namespace: &str, selector: &str, text: &str) -> Result<()> {
        let what = format!("`{text}` in the log of {selector}");
        let read = async || match self.logs(namespace, selector).await {
            Ok(log) if log.contains(text) => Ok(()),
            Ok(log) => Err(tail(&log)),
            Err(error) => Err(format!("{error:#}")),
        };
        let waited = wait_for(&what, PATIENCE, read).await;
        waited.with_context(|| self.evidence())
    }

    /// Waits for an event with this reason whose text holds all of these, and gives the text.
    ///
    /// # Errors
    /// When it does not come in time; the message holds those that did.
    pub async fn event(&self, namespace: &str, reason: &str, texts: &[&str]) -> Result<String> {
        let what = format!("an event {reason} with {texts:?} in {namespace}");
        let look = async || {
            let events = self.events(namespace).await;
            let events = events.map_err(|error| format!("{error:#}"))?;
            let fits = |(of, text): &&(String, String)| {
                of == reason && texts.iter().all(|part| text.contains(part))
            };
            match events.iter().find(fits) {
                Some((_, text)) => Ok(text.clone()),
                None => Err(format!("{events:?}")),
            }
        };
        let waited = wait_for(&what, PATIENCE, look).await;
        waited.with_context(|| self.evidence())
    }

    async fn events(&self, namespace: &str) -> Result<Vec<(String, String)>> {
        let events: Api<Event> = Api::namespaced(self.client().await?, namespace);
        let events = events.list(&ListParams::default()).await?.items;
        let parts = |event: Event| {
            let (reason, text) = (event.reason, event.message);
            (reason.unwrap_or_default(), text.unwrap_or_default())
        };
        Ok(events.into_iter().map(parts).collect())
    }

    /// Why a pod may not have become what was expected.
    async fn history(&self, namespace: &str, selector: &str) -> String {
        let mut history = format!("events in {namespace}:\n");
        for (reason, text) in self.events(namespace).await.unwrap_or_default() {
            let _ = writeln!(history, "    {reason}: {text}");
        }
        if let Ok(log) = self.logs(namespace, selector).await {
            let _ = write!(history, "log of {selector}:\n{}", tail(&log));
        }
        history
    }

    /// Where the kernel tells about the process of a program in a pod: `/proc/NUMBER` of this machine.
    ///
    /// # Errors
    /// When there is none.
    pub fn process(&self, pod: &Pod, program: &str) -> Result<PathBuf> {
        let uid = pod.metadata.uid.as_deref().context("a pod has an id")?;
        for entry in std::fs::read_dir("/proc")? {
            let process = entry?.path();
            // Whoever ends meanwhile has neither.
            let groups = std::fs::read_to_string(process.join("cgroup")).unwrap_or_default();
            let name = std::fs::read_to_string(process.join("comm")).unwrap_or_default();
            if groups.contains(uid) && program.starts_with(name.trim()) && !name.is_empty() {
                return Ok(process);
            }
        }
        bail!("no process of `{program}` in pod {uid}")
    }
}

/// How often the first container of a pod was started again.
pub fn restarts(pod: &Pod) -> i32 {
    containers(pod).first().map_or(0, |it| it.restart_count)
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .iter()
        .flat_map(|it| it.conditions.iter().flatten());
    let mut ready = conditions.filter(|it| it.type_ == "Ready");
    ready.any(|it| it.status == "True")
}

fn state(pod: &Pod) -> String {
    let phase = pod.status.as_ref().and_then(|it| it.phase.as_deref());
    let mut text = phase.unwrap_or("no phase").to_owned();
    for container in containers(pod) {
        let state = container.state.as_ref();
        let _ = write!(text, ", {}: {state:?}", container.name);
    }
    text
}

fn containers(pod: &Pod) -> &[ContainerStatus] {
    let status = pod.status.as_ref();
    status
        .and_then(|it| it.container_statuses.as_deref())
        .unwrap_or_default()
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL)..].join("\n")
}

const TAIL: usize = 30;

// A pod is ready within three seconds of its Deployment; this is for a machine that builds at the same time.
const PATIENCE: Duration = Duration::from_secs(120);
