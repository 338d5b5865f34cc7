//! Runs the Kubernetes servers of the tests until it is interrupted, for work by hand: `cargo run -p tests`, and then
//! `KUBECONFIG=… kubectl get namespaces`. With `--node` there is a node beside them, which takes root.

use anyhow::Result;
use tests::kubernetes::Cluster;
use tests::node::Node;

#[tokio::main]
#[expect(clippy::print_stdout, reason = "its output is what it is for")]
async fn main() -> Result<()> {
    let cluster = match std::env::args().nth(1).as_deref() {
        Some("--node") => {
            let node = Node::shared().await?;
            println!("node: {}", node.name());
            node.cluster()
        }
        _ => Cluster::shared().await?,
    };
    println!("KUBECONFIG={}", cluster.kubeconfig().display());
    for (name, id) in cluster.processes() {
        println!("{name}: process {id}");
    }
    // Interrupting it ends the servers and removes their files.
    std::future::pending().await
}
