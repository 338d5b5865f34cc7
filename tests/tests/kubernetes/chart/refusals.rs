//! What the charts refuse, and that each refusal names the value and what to do: misspelt keys, wrong values, combinations
//! that cannot be meant.

use anyhow::{Result, ensure};
use tests::test_dir::TestDir;

use super::server::SERVER;
use super::{AGENT, REGION, helm, path};

#[tokio::test]
async fn a_misspelt_key_is_refused_with_its_name_wherever_it_is() -> Result<()> {
    let keys = [
        "secretProviderClass.region",
        "secrets.provder",
        "secrets.csi.usePodIdentiy",
        "secrets.external.store.knid",
        "image.digst",
        "metrics.podMonitor.intervall",
        "metrics.rules.lables",
        "networkPolicy.egress.brokerPort",
        "serviceAccount.autmount",
        "podDisruptionBudget.minAvailable",
        "livenessProbe.period",
        "check.imge",
        "globall",
    ];
    for chart in [AGENT, SERVER] {
        for key in keys {
            let (above, name) = key.rsplit_once('.').unwrap_or(("", key));
            let name = if above == "secretProviderClass" {
                above
            } else {
                name
            };
            refused(
                chart,
                &[&format!("{key}=x")],
                &["not allowed", &format!("'{name}'")],
            )
            .await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_wrong_value_is_refused_with_its_place_and_what_there_is() -> Result<()> {
    for chart in [AGENT, SERVER] {
        for (value, words) in [
            (
                "secrets.provider=vault",
                ["/secrets/provider", "'csi', 'external', 'existing'"],
            ),
            (
                "secrets.external.store.kind=Store",
                ["/secrets/external/store/kind", "'SecretStore'"],
            ),
            (
                "secrets.external.refreshInterval=soon",
                ["/refreshInterval", "pattern"],
            ),
            ("image.digest=latest", ["/image/digest", "sha256"]),
            (
                "image.pullPolicy=Sometimes",
                ["/image/pullPolicy", "'IfNotPresent'"],
            ),
            (
                "terminationGracePeriodSeconds=5",
                ["/terminationGracePeriodSeconds", "minimum"],
            ),
            (
                "networkPolicy.egress.brokerPorts={any}",
                ["/brokerPorts/0", "want integer"],
            ),
            ("extraEnv[0].nam=A", ["/extraEnv/0", "'name'"]),
            (
                "podDisruptionBudget.maxUnavailable=0",
                ["/maxUnavailable", "minimum"],
            ),
            (
                "podDisruptionBudget.maxUnavailable=0%",
                ["/maxUnavailable", "pattern"],
            ),
            ("mountPath=/a\nb", ["/mountPath", "pattern"]),
            ("check.clientId=a\nb", ["/check/clientId", "pattern"]),
        ] {
            refused(chart, &[value], &words).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_meant_together_is_refused_with_both_names_and_a_way_out() -> Result<()> {
    for chart in [AGENT, SERVER] {
        let cases: [(&[&str], &[&str]); 11] = [
            (
                &["secrets.region="],
                &["secrets.region", "global.aws_region"],
            ),
            (
                &["secrets.provider=existing"],
                &["secrets.existing is empty", "name the Secret"],
            ),
            (
                &["secrets.existing=mine"],
                &["`mine`", "secrets.provider: existing"],
            ),
            (
                &["secrets.external.store.create=true"],
                &[
                    "secrets.external.store.create",
                    "secrets.provider: external",
                ],
            ),
            (
                &["secrets.csi.create=false"],
                &["secrets.csi.name is empty"],
            ),
            (
                &["serviceAccount.create=false"],
                &["serviceAccount.name is needed"],
            ),
            (
                &["commonLabels.app\\.kubernetes\\.io/name=x"],
                &["commonLabels", "selectors"],
            ),
            (
                &["podLabels.app\\.kubernetes\\.io/instance=x"],
                &["podLabels", "selectors"],
            ),
            (
                &[
                    "metrics.serviceMonitor.enabled=true",
                    "metrics.service=false",
                ],
                &["metrics.serviceMonitor.enabled", "metrics.service: true"],
            ),
            (
                &[
                    "metrics.serviceMonitor.enabled=true",
                    "metrics.podMonitor.enabled=true",
                ],
                &["metrics.podMonitor.enabled", "keep one"],
            ),
            (
                &[
                    "networkPolicy.create=false",
                    "networkPolicy.egress.create=true",
                ],
                &["networkPolicy.egress.create", "networkPolicy.create: true"],
            ),
        ];
        for (values, words) in cases {
            refused(chart, values, words).await?;
        }
    }
    let agent: [(&[&str], &[&str]); 3] = [
        (
            &["consumerName=A_B"],
            &["consumerName is `A_B`", "lower case"],
        ),
        (
            &["check.clientId=mc1-work-agent-client"],
            &["check.clientId", "replicas: 0"],
        ),
        (
            &["serviceAccount.automount=false"],
            &["serviceAccount.automount", "extraVolumeMounts"],
        ),
    ];
    for (values, words) in agent {
        refused(AGENT, values, words).await?;
    }
    let server: [(&[&str], &[&str]); 10] = [
        (&["replicas=2"], &["replicas is 2", "store: postgres"]),
        (
            &["database.iamAuth=true"],
            &["database.iamAuth", "store: postgres"],
        ),
        (
            &["store=postgres", "persistence.existingClaim=c"],
            &["persistence.existingClaim", "postgres"],
        ),
        (
            &["store=postgres", "secrets.database="],
            &["secrets.database is empty"],
        ),
        (
            &["store=postgres", "replicas=8"],
            &["slots is 8", "raise slots"],
        ),
        (&["clientId=a/b"], &["clientId is `a/b`"]),
        (
            &["clientId=x{{ .Values.global.end }}", "global.end=a\nb"],
            &["clientId is", "control characters"],
        ),
        (
            &["check.clientId=maestro"],
            &["check.clientId", "replicas: 0"],
        ),
        (
            &["store=postgres", "check.clientId=maestro-7"],
            &["check.clientId", "replicas: 0"],
        ),
        (
            &[
                "store=postgres",
                "connections=2",
                "check.clientId=maestro-0-1",
            ],
            &["check.clientId", "replicas: 0"],
        ),
    ];
    for (values, words) in server {
        refused(SERVER, values, words).await?;
    }
    Ok(())
}

#[tokio::test]
async fn callers_who_would_all_be_let_in_or_none_are_refused_with_the_values_that_do_it()
-> Result<()> {
    let cases: [(&[&str], &[&str]); 14] = [
        (
            &["callers.tokenReview=false"],
            &["no other way to know callers", "callers.insecure: true"],
        ),
        (
            &["callers.insecure=true", "callers.tokenReview=true"],
            &["callers.insecure is true", "callers.tokenReview"],
        ),
        (
            &["callers.insecure=true", "callers.issuer.url=https://i"],
            &["callers.insecure is true", "callers.issuer.url"],
        ),
        (
            &["callers.insecure=true", "callers.authorization.by=rules"],
            &["callers.authorization says", "nobody is asked"],
        ),
        (
            &["callers.clientCa.secret=ca"],
            &["callers.tls.secret is empty"],
        ),
        (
            &["callers.clientCa.secret=a", "callers.clientCa.configMap=b"],
            &["callers.clientCa.configMap", "keep one"],
        ),
        (
            &["callers.issuer.url=https://i", "callers.audiences=null"],
            &["audiences"],
        ),
        (
            &["callers.issuer.prefix=x"],
            &["callers.issuer.url is empty"],
        ),
        (
            &[
                "callers.issuer.url=https://i",
                "callers.issuer.jwksUrl=https://i",
                "callers.issuer.jwksConfigMap=c",
            ],
            &["callers.issuer.jwksConfigMap", "keep one"],
        ),
        (
            &["callers.authorization.by=rules"],
            &["there are none", "callers.authorization.rules"],
        ),
        (
            &[
                "callers.authorization.by=everything",
                "callers.authorization.configMap=c",
            ],
            &["callers.authorization.by is `everything`"],
        ),
        (
            &["callers.authorization.rules[0].sources={a}"],
            &["/callers/authorization/rules/0"],
        ),
        (
            &["callers.tls.grpcSecret=a", "grpc.enabled=false"],
            &["callers.tls.grpcSecret", "grpc.enabled is false"],
        ),
        (&["networkPolicy.apiFrom=null"], &["apiFrom"]),
    ];
    for (values, words) in cases {
        refused(SERVER, values, words).await?;
    }
    Ok(())
}

async fn refused(chart: &str, values: &[&str], words: &[&str]) -> Result<()> {
    let test_dir = TestDir::new("chart-refusals")?;
    let source = path(chart);
    let mut arguments = vec!["template", "x", &source, "--set", REGION];
    arguments.extend(values.iter().flat_map(|value| ["--set", *value]));
    let output = helm(test_dir.path(), &arguments).await?;
    ensure!(!output.status.success(), "{chart}: {values:?} is accepted");
    for word in words {
        ensure!(
            output.stderr.contains(word),
            "{chart} {values:?}: no {word:?} in {}",
            output.stderr
        );
    }
    test_dir.passed();
    Ok(())
}
