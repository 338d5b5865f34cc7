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
    let scenes = [
        (
            "conflict",
            unapplied(
                "apply Deployment shop/web: conflict with `kubectl-edit`: .spec.replicas; hint: set `force: true` to take these fields",
            ),
        ),
        (
            "conflict, in a Go agent's words",
            unapplied(
                "Apply failed with 1 conflict: conflict with \"kubectl-edit\" using v1: .spec.replicas",
            ),
        ),
        (
            "webhook",
            unapplied("admission webhook \"policy.example\" denied the request: no"),
        ),
        (
            "missing right",
            unapplied(
                "apply Deployment shop/web: deployments.apps \"web\" is forbidden: User \"agent\" cannot patch resource \"deployments\" in API group \"apps\" in the namespace \"shop\"; hint: let that user `patch` `deployments.apps`; `agent permissions` prints the role",
            ),
        ),
        (
            "no such kind",
            unapplied(
                "apply Widget shop/web: no matches for kind \"Widget\" in version \"example.com/v1\"",
            ),
        ),
        (
            "no such namespace",
            unapplied("namespaces \"shop\" not found"),
        ),
        (
            "unusable version",
            whole(
                "False",
                "ManifestWorkInvalid",
                "Failed to apply manifest work: manifests[0]: kind is missing",
            ),
        ),
        ("paused in the cluster", paused),
        ("the cluster holds a newer version", ahead),
        ("reported and not judged yet", Scene::reported(&[], &[])),
        ("no status", odd),
    ];
    insta::assert_snapshot!("unapplied", table(&scenes));
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
    let scenes = [
        ("not available", unavailable("Resource is not available")),
        (
            "applied, and availability not judged",
            Scene::reported(std::slice::from_ref(&applied), &[]),
        ),
        ("well", Scene::reported(&well, &[])),
        ("deletion held by a finalizer", deleting(&[held])),
        ("deletion under way", deleting(&[])),
    ];
    insta::assert_snapshot!("unavailable", table(&scenes));
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
