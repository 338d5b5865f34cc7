//! The reviewed renders of the charts.

use anyhow::{Context as _, Result, ensure};

use super::server::{accepted, client};
use super::{documents, root};

#[tokio::test(flavor = "multi_thread")]
async fn every_reviewed_render_of_the_charts_is_taken_strictly_with_the_kinds_of_others()
-> Result<()> {
    let client = client().await?;
    let mut kinds = std::collections::BTreeSet::new();
    for chart in ["agent", "server-bridge"] {
        let folder = root().join("tests/golden/charts").join(chart);
        let mut renders = 0;
        for entry in
            std::fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))?
        {
            let path = entry?.path();
            let file = path.display().to_string();
            if !file.ends_with(".yaml") || file.ends_with(".values.yaml") {
                continue;
            }
            let objects = documents(&std::fs::read_to_string(&path)?)?;
            ensure!(!objects.is_empty(), "{file} has no objects");
            accepted(&client, &objects).await.context(file)?;
            kinds.extend(objects.iter().map(|object| object["kind"].to_string()));
            renders += 1;
        }
        ensure!(
            renders > 0,
            "{} has no renders; run `UPDATE_GOLDEN=1 cargo test -p tests --test kubernetes chart::golden`",
            folder.display()
        );
    }
    for kind in ["SecretProviderClass", "ExternalSecret", "PodMonitor"] {
        ensure!(kinds.contains(&format!("\"{kind}\"")), "no {kind}");
    }
    Ok(())
}
