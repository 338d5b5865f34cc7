//! The way to the broker: its name, and TCP to its port and to the one beside it.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use link::fault::{Code, Finding};
use link::identity::Identity;
use link::tls::{ALPN_MQTT, TlsOptions};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::context::Context;
use super::endpoint::Endpoint;
use super::findings::Findings;
use crate::dial::{self, start_tls};
use crate::off_thread;
use verdict::Beside;

mod verdict;

/// Looks up the broker's name; the error says why what needs it is not looked at.
pub(super) async fn look_up(
    context: &Context,
    findings: &mut Findings,
) -> Result<Vec<SocketAddr>, String> {
    let (host, port) = (context.target.host.clone(), context.target.port);
    if let Some(finding) = Endpoint::of(&host).finding(&host) {
        findings.add(finding);
    }
    if let Ok(address) = host.parse::<IpAddr>() {
        let seen =
            format!("`{host}` is an address: nothing to look up, and no server name is sent");
        findings.add(Finding::ok(DNS, seen));
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let asked = host.clone();
    let resolving = move || (asked.as_str(), port).to_socket_addrs();
    let found = match off_thread::within(context.share(LOOK_UP), resolving).await {
        None => Err(verdict::no_answer(&host)),
        Some(Err(error)) => Err(verdict::of_look_up(&host, &error.to_string())),
        Some(Ok(found)) => match found.collect::<Vec<SocketAddr>>() {
            none if none.is_empty() => Err(verdict::no_such_name(&host)),
            found => Ok(found),
        },
    };
    match found {
        Ok(addresses) => {
            let texts: Vec<String> = addresses.iter().map(|it| it.ip().to_string()).collect();
            findings.add(Finding::ok(
                DNS,
                format!("`{host}` is {}", texts.join(", ")),
            ));
            Ok(addresses)
        }
        Err(finding) => {
            findings.add(finding);
            Err(format!("`{host}` has no address"))
        }
    }
}

/// Dials the broker, and port 443 with the application protocol at the same time.
pub(super) async fn connect(
    context: &Context,
    findings: &mut Findings,
) -> Result<TcpStream, String> {
    let target = &context.target;
    let beside = tokio::spawn(beside(
        at_port(&context.addresses, context.args.alpn_port),
        target.host.clone(),
        context.identity.clone(),
        context.share(CONNECT),
        target.port == context.args.alpn_port,
    ));
    let share = context.share(CONNECT);
    match dial::connect(&context.addresses, share).await {
        Ok((socket, address)) => {
            findings.add(Finding::ok(CONNECTION, format!("connected to {address}")));
            if context.is_aws()
                && let Ok(Ok(other)) = timeout(context.at_most(PATIENCE), beside).await
            {
                findings.add(verdict::second_way(other, context.args.alpn_port));
            }
            Ok(socket)
        }
        Err(failure) => {
            let other = beside.await.unwrap_or(Beside::Closed);
            let finding = verdict::of_tcp(
                &failure,
                &target.address(),
                context.args.alpn_port,
                other,
                share,
                proxy(),
            );
            findings.add(finding);
            Err(format!("no connection to `{}`", target.address()))
        }
    }
}

async fn beside(
    addresses: Vec<SocketAddr>,
    host: String,
    identity: Option<Arc<Identity>>,
    within: Duration,
    is_same: bool,
) -> Beside {
    if is_same {
        return Beside::NotTried;
    }
    // Both halves within the time of one.
    let dialling = async {
        let Ok((socket, _)) = dial::connect(&addresses, within).await else {
            return Beside::Closed;
        };
        let Some(identity) = identity else {
            return Beside::TcpOnly;
        };
        let options = TlsOptions {
            alpn: Some(ALPN_MQTT.to_owned()),
            ..TlsOptions::default()
        };
        match timeout(within, start_tls(socket, &host, &identity, &options)).await {
            Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(ALPN_MQTT.as_bytes()) => {
                Beside::Works
            }
            _ => Beside::TcpOnly,
        }
    };
    timeout(within, dialling).await.unwrap_or(Beside::Closed)
}

/// The same addresses at another port.
pub(super) fn at_port(addresses: &[SocketAddr], port: u16) -> Vec<SocketAddr> {
    let all = addresses.iter();
    all.map(|address| SocketAddr::new(address.ip(), port))
        .collect()
}

fn proxy() -> Option<&'static str> {
    let is_set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    PROXY_VARIABLES.into_iter().find(is_set)
}

// Where other programs are told of a proxy.
const PROXY_VARIABLES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

// A resolver asks a second time after five seconds by default; who needs that has a fault.
const LOOK_UP: Duration = Duration::from_millis(2500);

// A lost packet is sent again after one second.
const CONNECT: Duration = Duration::from_millis(2500);

// Only for a fact that is nice to know.
const PATIENCE: Duration = Duration::from_millis(700);

const DNS: Code = Code::new(200);
const CONNECTION: Code = Code::new(210);
