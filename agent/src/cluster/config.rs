//! Finding out which API server, and as whom.

use std::io;
use std::time::Duration;

use http::HeaderValue;
use http::header::USER_AGENT;
use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};

use super::{ClusterError, ClusterOptions};

/// Reads the kubeconfig or the pod's service account. A kubeconfig that is there but broken is an error, not a reason
/// to look elsewhere: an agent must not end up in another cluster by a typing mistake.
pub(super) async fn load(options: &ClusterOptions) -> Result<Config, ClusterError> {
    let selection = KubeConfigOptions {
        context: options.context.clone(),
        ..KubeConfigOptions::default()
    };
    let mut config = if let Some(path) = &options.kubeconfig {
        let broken = |source: KubeconfigError| ClusterError::Kubeconfig {
            path: path.clone(),
            source: Box::new(source.into()),
        };
        let kubeconfig = Kubeconfig::read_from(path).map_err(broken)?;
        Config::from_custom_kubeconfig(kubeconfig, &selection)
            .await
            .map_err(broken)?
    } else {
        match Config::from_kubeconfig(&selection).await {
            Ok(config) => config,
            Err(error) if is_absent(&error) && options.context.is_none() => {
                Config::incluster().map_err(ClusterError::InCluster)?
            }
            Err(error) => return Err(ClusterError::Environment(Box::new(error.into()))),
        }
    };
    let user_agent = format!("agent/{} ({})", version(), options.consumer);
    if let Ok(user_agent) = HeaderValue::try_from(user_agent) {
        config.headers.push((USER_AGENT, user_agent));
    }
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.write_timeout = Some(WRITE_TIMEOUT);
    config.read_timeout = Some(READ_TIMEOUT);
    config.reset_reader_on_write = true;
    // Fifteen hidden attempts over minutes would stall a worker that could look at another work.
    config.default_retry = false;
    Ok(config)
}

/// Whether nobody wrote a kubeconfig.
fn is_absent(error: &KubeconfigError) -> bool {
    match error {
        KubeconfigError::FindPath => true,
        KubeconfigError::ReadConfig(source, _) => source.kind() == io::ErrorKind::NotFound,
        _ => false,
    }
}

/// The version without the commit.
fn version() -> &'static str {
    let version = link::cli::version();
    version
        .split_once(' ')
        .map_or(version, |(number, _)| number)
}

// A server that does not take a connection by then is better tried again, perhaps at another address.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

// A peer that takes no bytes for this long is dead.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

// Above the 290 s after which the server ends a watch, even one on which nothing happens: only a dead peer is silent
// for longer. Requests that are no watches have a shorter limit (`observe`).
const READ_TIMEOUT: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use kube::config::LoadDataError;

    use super::*;

    #[test]
    fn only_a_kubeconfig_that_is_not_there_sends_us_to_the_pod() {
        let read = |kind: io::ErrorKind| KubeconfigError::ReadConfig(kind.into(), "c".into());
        assert!(is_absent(&KubeconfigError::FindPath));
        assert!(is_absent(&read(io::ErrorKind::NotFound)));
        assert!(!is_absent(&read(io::ErrorKind::PermissionDenied)));
        assert!(!is_absent(&KubeconfigError::LoadClientKey(
            LoadDataError::NoBase64DataOrFile
        )));
    }
}
