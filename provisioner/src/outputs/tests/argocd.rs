//! What Argo CD gets.

use crate::fixture::two_clusters;
use crate::outputs::{argocd, helm};

#[test]
fn an_application_of_argo_cd_has_the_values_for_helm_and_the_namespace_of_the_file() {
    let region = two_clusters("agent: {namespace: agents}\n");
    let server = argocd::application(&region, None);
    let source = &server["spec"]["source"];
    assert_eq!(source["path"], "deploy/charts/server-bridge");
    let values = &source["helm"]["valuesObject"];
    let mut expected = helm::tree(&helm::ServerValues::new(&region));
    // Of the Application: clients of the first deployment have no tokens.
    expected["callers"] = serde_json::json!({"insecure": true});
    assert_eq!(*values, expected);
    assert_eq!(server["metadata"]["name"], helm::SERVER);
    assert_eq!(source["helm"]["releaseName"], helm::SERVER);
    assert_eq!(server["spec"]["destination"]["namespace"], "maestro-server");

    let cluster = &region.clusters[1];
    let agent = argocd::application(&region, Some(cluster));
    let values = &agent["spec"]["source"]["helm"]["valuesObject"];
    assert_eq!(
        *values,
        helm::tree(&helm::AgentValues::new(&region, cluster))
    );
    assert_eq!(agent["metadata"]["name"], helm::AGENT);
    assert_eq!(agent["spec"]["destination"]["namespace"], "agents");
    let values = argocd::values(&region, Some(cluster));
    assert_eq!(values["agent"]["consumerName"], "management-02");
}

#[test]
fn a_clusters_secret_says_what_the_cluster_is() {
    let region = two_clusters("profile: production\n");
    let cluster = |index: usize| helm::yaml(&argocd::cluster(&region, region.clusters.get(index)));
    insta::assert_snapshot!(cluster(1), @r#"
    metadata:
      labels:
        argocd.argoproj.io/secret-type: cluster
        cluster_type: management-cluster
        environment: production
      annotations:
        aws_account_id: "333333333333"
        aws_region: us-east-2
        cluster_name: management-02
        rc_aws_account_id: "111111111111"
    "#);
    assert!(cluster(9).contains("cluster_type: regional-cluster"));
}
