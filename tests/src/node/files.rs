//! The files that containerd, the CNI plugins and the kubelet read, and the script that is process 1 of the node.

use std::io;
use std::net::Ipv4Addr;
use std::path::Path;

use serde_json::{Value, json};

use super::assets::NodePrograms;
use super::host_resources::HostResources;
use crate::kubernetes::Cluster;

/// Writes all of them into the node's directory. `logs` is for what outlives a failed test.
///
/// # Errors
/// When the directory cannot be written to.
pub(super) fn write(
    resources: &HostResources,
    assets: &NodePrograms,
    cluster: &Cluster,
    logs: &Path,
) -> io::Result<()> {
    let home = resources.directory();
    for directory in ["cni", "containerd", "kubelet", "volumes"] {
        std::fs::create_dir_all(home.join(directory))?;
    }
    std::fs::create_dir_all(logs.join("pods"))?;
    let file = |name: &str, content: String| std::fs::write(home.join(name), content);
    file("cni/10-pods.conflist", network(resources).to_string())?;
    file("containerd.toml", containerd(&home, assets))?;
    let kubelet = kubelet(resources, cluster, logs);
    file("kubelet.yaml", kubelet.to_string())?;
    file("node.sh", script(resources, assets, cluster, logs))
}

fn network(resources: &HostResources) -> Value {
    json!({ "cniVersion": "0.4.0", "name": "pods", "plugins": [{
        "type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
        "ipam": {
            "type": "host-local",
            "ranges": [[{ "subnet": resources.pods() }]],
            "routes": [{ "dst": "0.0.0.0/0" }],
            "dataDir": resources.directory().join("ipam"),
        },
    }] })
}

/// `restrict_oom_score_adj`: without CAP_SYS_RESOURCE nobody may lower it, and every pod would fail with "can't get final
/// child's PID from pipe".
fn containerd(home: &Path, assets: &NodePrograms) -> String {
    let (home, cni) = (home.display(), assets.cni().display().to_string());
    format!(
        r#"version = 2
root = "{home}/containerd/root"
state = "{home}/containerd/state"
[grpc]
  address = "{home}/containerd.sock"
[ttrpc]
  address = "{home}/containerd.ttrpc.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "{home}/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  disable_tcp_service = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{cni}"
    conf_dir = "{home}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
"#
    )
}

fn kubelet(resources: &HostResources, cluster: &Cluster, logs: &Path) -> Value {
    let home = resources.directory();
    let host: Ipv4Addr = resources.host();
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": { "enabled": false },
            "webhook": { "enabled": false },
            "x509": { "clientCAFile": cluster.file("ca.crt") },
        },
        "authorization": { "mode": "AlwaysAllow" },
        "tlsCertFile": cluster.file("kubelet.crt"),
        "tlsPrivateKeyFile": cluster.file("kubelet.key"),
        "containerRuntimeEndpoint": format!("unix://{}/containerd.sock", home.display()),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}", resources.name()),
        "failCgroupV1": false,
        "failSwapOn": false,
        "oomScoreAdj": 0,
        "enforceNodeAllocatable": [],
        // The disk of a machine that builds is nearly full at times.
        "evictionHard": {
            "imagefs.available": "0%", "imagefs.inodesFree": "0%", "memory.available": "0%",
            "nodefs.available": "0%", "nodefs.inodesFree": "0%",
        },
        "imageGCHighThresholdPercent": 100,
        // Else an imported image with the id of a pulled one wants the credentials of the pull.
        "imagePullCredentialsVerificationPolicy": "NeverVerify",
        "podLogsDir": logs.join("pods"),
        "volumePluginDir": home.join("volume-plugins"),
        "resolvConf": "",
        "clusterDomain": "cluster.local",
        "clusterDNS": [host],
        // ConfigMaps and mounted secrets change within seconds in place of a minute and a half.
        "syncFrequency": "1s",
        "fileCheckFrequency": "5s",
        "nodeStatusUpdateFrequency": "5s",
    })
}

/// Process 1: when it is killed, everything on the node is.
fn script(
    resources: &HostResources,
    assets: &NodePrograms,
    cluster: &Cluster,
    logs: &Path,
) -> String {
    let (name, node) = (resources.name(), resources.node());
    let home = resources.directory().display().to_string();
    let kubeconfig = cluster.node_kubeconfig(&name).display().to_string();
    let logs = logs.display();
    let (programs, pause) = (assets.programs(), assets.pause());
    let (programs, pause) = (programs.display(), pause.display());
    let kubelet = assets.kubelet().display();
    format!(
        r#"export PATH={programs}:/usr/sbin:/usr/bin:/sbin:/bin
mount --make-rshared /
# Places that nobody can choose: the node's own, and empty after a power cut.
for place in /run /var/lib/cni /var/lib/kubelet /var/log/containers; do
    mkdir -p $place
    mount -t tmpfs tmpfs $place
done
root=/sys/fs/cgroup
if [ -e $root/cgroup.controllers ]; then
    mkdir -p $root/{name}
    for group in $root $root/{name}; do
        for controller in $(cat $group/cgroup.controllers); do echo +$controller >$group/cgroup.subtree_control; done
    done
else
    for controller in cpu cpuacct cpuset memory devices freezer blkio pids systemd; do
        [ ! -e $root/$controller ] || mkdir -p $root/$controller/{name}
    done
    for file in cpus mems; do cat $root/cpuset/cpuset.$file >$root/cpuset/{name}/cpuset.$file; done
fi
containerd --config {home}/containerd.toml >>{logs}/containerd.log 2>&1 &
until ctr -a {home}/containerd.sock version >/dev/null 2>&1; do sleep 0.1; done
ctr -a {home}/containerd.sock -n k8s.io images import {pause}
{kubelet} --config={home}/kubelet.yaml --kubeconfig={kubeconfig} --root-dir={home}/kubelet \
    --cert-dir={home}/kubelet/pki --hostname-override={name} --node-ip={node} --v=2 >>{logs}/kubelet.log 2>&1 &
# Reaps what is orphaned.
while :; do wait -n; [ $? = 127 ] && sleep 0.2; done
"#
    )
}
