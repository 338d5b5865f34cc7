//! Stuck in the cluster.

use super::*;

fn unapplied(message: &str) -> Scene {
    let failed = "Failed to apply manifest: ";
    Scene::reported(
        &[
            condition(
                "Applied",
                "False",
                "AppliedManifestWorkFailed",
                &format!("Failed to apply manifest work: {message}"),
            ),
            condition(
                "Available",
                "False",
                "ResourcesNotAvailable",
                "1 of 1 resources are not available",
            ),
        ],
        &[object(
            "Deployment",
            "web",
            &[
                condition(
                    "Applied",
                    "False",
                    "AppliedManifestFailed",
                    &format!("{failed}{message}"),
                ),
                condition(
                    "Available",
                    "False",
                    "ResourceNotAvailable",
                    "Resource is not available",
                ),
            ],
        )],
    )
}

#[test]
fn what_is_not_applied_names_the_object_and_what_is_in_its_way() {
    let whole = |status: &str, reason, message| {
        Scene::reported(&[condition("Applied", status, reason, message)], &[])
    };
    let mut paused = whole("Unknown", "PausedInCluster", "maintenance");
    let held = paused.facts.bundle.status.as_mut().unwrap();
    let mut payload = held.payload.to_value();
    payload["conditions"]
        .as_array_mut()
        .unwrap()
        .push(condition(
            "Paused",
            "True",
            "PausedInCluster",
            "maintenance",
        ));
    held.payload = Json::from_value(&payload);
    let mut ahead = whole(
        "False",
        "NewerVersionHeld",
        "the cluster holds version 7 of this bundle",
    );
    ahead.facts.bundle.status.as_mut().unwrap().version = Version::new(7).unwrap();
    let mut odd = Scene::acked();
    odd.facts.bundle.status = Some(Status {
        version: Version::FIRST,
        sequence_id: None,
        payload: Json::parse("{\"conditions\":7}").unwrap(),
    });
    let cases: &[Case<'_>] = &[
        (
            "conflict",
            unapplied(
                "apply Deployment shop/web: conflict with `kubectl-edit`: .spec.replicas; hint: set `force: true` to take these fields",
            ),
            &[
                "MQ908 applied",
                "Deployment shop/web (apply): field manager `kubectl-edit`: .spec.replicas",
                "> set `force: true` to take these fields",
            ],
        ),
        (
            "conflict, in a Go agent's words",
            unapplied(
                "Apply failed with 1 conflict: conflict with \"kubectl-edit\" using v1: .spec.replicas",
            ),
            &[
                "MQ908",
                "field manager `kubectl-edit`: .spec.replicas",
                "`ignoreFields`",
            ],
        ),
        (
            "webhook",
            unapplied("admission webhook \"policy.example\" denied the request: no"),
            &[
                "MQ908",
                "webhook `policy.example` denies it",
                "as the webhook or policy demands",
            ],
        ),
        (
            "missing right",
            unapplied(
                "apply Deployment shop/web: deployments.apps \"web\" is forbidden: User \"agent\" cannot patch resource \"deployments\" in API group \"apps\" in the namespace \"shop\"; hint: let that user `patch` `deployments.apps`; `agent permissions` prints the role",
            ),
            &[
                "MQ908",
                "`agent` may not `patch` `deployments.apps`",
                "`agent permissions`",
            ],
        ),
        (
            "no such kind",
            unapplied(
                "apply Widget shop/web: no matches for kind \"Widget\" in version \"example.com/v1\"",
            ),
            &[
                "MQ908",
                "no kind `Widget` in `example.com/v1`",
                "install the definition",
            ],
        ),
        (
            "no such namespace",
            unapplied("namespaces \"shop\" not found"),
            &[
                "MQ908",
                "no namespace `shop`",
                "put the Namespace into the bundle",
            ],
        ),
        (
            "unusable version",
            whole(
                "False",
                "ManifestWorkInvalid",
                "Failed to apply manifest work: manifests[0]: kind is missing",
            ),
            &[
                "MQ908",
                "ManifestWorkInvalid",
                "manifests[0]: kind is missing",
            ],
        ),
        (
            "paused in the cluster",
            paused,
            &[
                "MQ908",
                "somebody paused it in the cluster: maintenance",
                "remove the annotation",
            ],
        ),
        (
            "the cluster holds a newer version",
            ahead,
            &["MQ912 reported", "holds version 7", "no other bridge"],
        ),
        (
            "reported and not judged yet",
            Scene::reported(&[], &[]),
            &["MQ908", "not yet that it is applied"],
        ),
        ("no status", odd, &["MQ900", "cannot be read"]),
    ];
    check(cases);
}

#[test]
fn what_is_applied_says_which_object_is_not_available_and_what_is_deleted_what_holds_it() {
    let applied = condition(
        "Applied",
        "True",
        "AppliedManifestWorkComplete",
        "Apply manifest work complete",
    );
    let unavailable = |message: &str| {
        Scene::reported(
            &[
                applied.clone(),
                condition(
                    "Available",
                    "False",
                    "ResourcesNotAvailable",
                    "1 of 2 resources are not available",
                ),
            ],
            &[
                object(
                    "ConfigMap",
                    "settings",
                    &[condition(
                        "Applied",
                        "True",
                        "AppliedManifestComplete",
                        "Apply manifest complete",
                    )],
                ),
                object(
                    "Deployment",
                    "web",
                    &[condition(
                        "Available",
                        "False",
                        "ResourceNotAvailable",
                        message,
                    )],
                ),
            ],
        )
    };
    let well = [
        applied.clone(),
        condition(
            "Available",
            "True",
            "ResourcesAvailable",
            "All resources are available",
        ),
    ];
    let deleting = |objects: &[Value]| {
        let message = "ManifestWork is being deleted";
        Scene::reported(
            &[
                applied.clone(),
                condition("Deleting", "True", "WorkDeleting", message),
            ],
            objects,
        )
        .deleting(true)
    };
    let held = object(
        "ConfigMap",
        "a",
        &[condition(
            "Deleting",
            "True",
            "ObjectTerminating",
            "ConfigMap shop/a waits for finalizer `example.com/hold`",
        )],
    );
    let cases: &[Case<'_>] = &[
        (
            "not available",
            unavailable("Resource is not available"),
            &[
                "MQ909 available",
                "Deployment shop/web: Resource is not available",
                "kubectl describe",
            ],
        ),
        (
            "applied, and availability not judged",
            Scene::reported(std::slice::from_ref(&applied), &[]),
            &["MQ909", "not yet that it is available"],
        ),
        (
            "well",
            Scene::reported(&well, &[]),
            &["-  Version 1 is applied and available."],
        ),
        (
            "deletion held by a finalizer",
            deleting(&[held]),
            &[
                "MQ910 deleted",
                "waits for finalizer `example.com/hold`",
                "controller behind the finalizer",
            ],
        ),
        (
            "deletion under way",
            deleting(&[]),
            &["MQ910", "ManifestWork is being deleted"],
        ),
    ];
    check(cases);
}

#[test]
fn conditions_are_told_with_what_is_in_the_way() {
    let story = unapplied("admission webhook \"policy.example\" denied the request: no").story();
    let blockers: Vec<_> = story
        .conditions
        .iter()
        .map(|it| {
            (
                it.object.as_deref(),
                it.condition.as_str(),
                it.blocker.as_deref(),
            )
        })
        .collect();
    let webhook = Some("webhook `policy.example` denies it");
    assert_eq!(
        blockers,
        [
            (None, "Applied", webhook),
            (None, "Available", None),
            (Some("Deployment shop/web"), "Applied", webhook),
            (Some("Deployment shop/web"), "Available", None),
        ]
    );
}

#[test]
fn what_an_agent_said_before_it_went_is_told_as_its_last_word() {
    let failing = unapplied("admission webhook \"w\" denied the request: no");
    let away = failing.agent(PresenceState::Away, |agent| {
        agent.why = Some("CONNECTION_LOST".into());
    });
    let cases: &[Case<'_>] = &[(
        "not applied, and the agent is away since",
        away,
        &[
            "MQ904 applied for 10 min",
            "the agent of `cluster1` is away since 2026-08-01T09:53:20Z (6 min 40 s): the broker says CONNECTION_LOST; last it said: Deployment shop/web",
            "webhook `w` denies it",
            "> bring the agent back",
        ],
    )];
    check(cases);
}
