//! The values known by name per kind. The first four kinds are the Go agent's, verbatim; the others are read in
//! the same manner, so that the servers of a private cluster can be followed without a JSONPath in every manifest.

use link::bundle::manifest::ObjectRef;

/// A name, and the paths whose first value it takes.
pub(super) type NamedValue = (&'static str, &'static [&'static str]);

/// What is known of a kind.
pub(super) fn of(object: &ObjectRef) -> Option<&'static [NamedValue]> {
    let (group, version, kind) = (
        object.group.as_str(),
        object.version.as_str(),
        object.kind.as_str(),
    );
    Some(match (group, version, kind) {
        ("apps", "v1", "Deployment") => DEPLOYMENT,
        ("apps", "v1", "DaemonSet") => DAEMON_SET,
        ("batch", "v1", "Job") => JOB,
        ("", "v1", "Pod") => POD,
        ("apps", "v1", "StatefulSet") => STATEFUL_SET,
        // A ReplicaSet counts as a Deployment does.
        ("apps", "v1", "ReplicaSet") => DEPLOYMENT,
        ("batch", "v1", "CronJob") => CRON_JOB,
        ("", "v1", "Namespace") => NAMESPACE,
        ("", "v1", "PersistentVolumeClaim") => CLAIM,
        ("", "v1", "Service") | ("networking.k8s.io", "v1", "Ingress") => LOAD_BALANCER,
        ("apiextensions.k8s.io", "v1", "CustomResourceDefinition") => DEFINITION,
        // Served as v1alpha1 and v1beta1, alike in what is read here.
        ("hypershift.openshift.io", _, "HostedCluster") => HOSTED_CLUSTER,
        ("hypershift.openshift.io", _, "NodePool") => NODE_POOL,
        _ => return None,
    })
}

macro_rules! condition {
    ($type:literal) => {
        &[concat!(
            ".status.conditions[?(@.type==\"",
            $type,
            "\")].status"
        )]
    };
}

const DEPLOYMENT: &[NamedValue] = &[
    ("ReadyReplicas", &[".status.readyReplicas"]),
    ("Replicas", &[".status.replicas"]),
    ("AvailableReplicas", &[".status.availableReplicas"]),
];

const DAEMON_SET: &[NamedValue] = &[
    ("NumberReady", &[".status.numberReady"]),
    (
        "DesiredNumberScheduled",
        &[".status.desiredNumberScheduled"],
    ),
    ("NumberAvailable", &[".status.numberAvailable"]),
];

const JOB: &[NamedValue] = &[
    ("JobComplete", condition!("Complete")),
    ("JobSucceeded", &[".status.succeeded"]),
];

const POD: &[NamedValue] = &[
    ("PodReady", condition!("Ready")),
    ("PodPhase", &[".status.phase"]),
];

const STATEFUL_SET: &[NamedValue] = &[
    ("ReadyReplicas", &[".status.readyReplicas"]),
    ("Replicas", &[".status.replicas"]),
    ("AvailableReplicas", &[".status.availableReplicas"]),
    ("UpdatedReplicas", &[".status.updatedReplicas"]),
];

const CRON_JOB: &[NamedValue] = &[("LastScheduleTime", &[".status.lastScheduleTime"])];

const NAMESPACE: &[NamedValue] = &[("Phase", &[".status.phase"])];

const CLAIM: &[NamedValue] = &[
    ("Phase", &[".status.phase"]),
    ("Capacity", &[".status.capacity.storage"]),
];

// Some clouds give an address, some a name.
const LOAD_BALANCER: &[NamedValue] = &[(
    "LoadBalancerIngress",
    &[
        ".status.loadBalancer.ingress[0].ip",
        ".status.loadBalancer.ingress[0].hostname",
    ],
)];

const DEFINITION: &[NamedValue] = &[
    ("Established", condition!("Established")),
    ("NamesAccepted", condition!("NamesAccepted")),
];

const HOSTED_CLUSTER: &[NamedValue] = &[
    ("Available", condition!("Available")),
    ("Progressing", condition!("Progressing")),
    ("Degraded", condition!("Degraded")),
    // The newest entry stands first.
    ("Version", &[".status.version.history[0].version"]),
    ("VersionState", &[".status.version.history[0].state"]),
];

const NODE_POOL: &[NamedValue] = &[
    ("Ready", condition!("Ready")),
    ("AllNodesHealthy", condition!("AllNodesHealthy")),
    ("UpdatingVersion", condition!("UpdatingVersion")),
    ("Replicas", &[".status.replicas"]),
];
