//! From what the engine says to what label reading takes.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use bollard::models::{ContainerSummary, ContainerSummaryStateEnum, PortSummaryTypeEnum};
use weir_config::labels::{Container, ContainerState, Health};

use crate::discovery::engine::Detail;

/// The network mode of a container that has no network of its own.
const HOST_NETWORK: &str = "host";

/// A listed container, as far as it could serve. `None` for one that does not run.
pub(super) fn container(
    summary: &ContainerSummary,
    detail: Option<&Detail>,
    network: Option<&str>,
    allow_loopback: bool,
) -> Option<Container> {
    let id = summary.id.clone().filter(|id| !id.is_empty())?;
    let state = state(summary, detail)?;
    let names = summary.names.as_deref().unwrap_or_default();
    // A linked container is also listed as /other/alias: its own name is the one without a second slash.
    let own = names
        .iter()
        .map(|name| name.trim_start_matches('/'))
        .find(|name| !name.contains('/'));
    let name = own.map_or_else(|| id.chars().take(12).collect(), str::to_owned);
    let created = summary
        .created
        .and_then(|at| u64::try_from(at).ok())
        .unwrap_or(0);
    Some(Container {
        name,
        labels: summary
            .labels
            .clone()
            .unwrap_or_default()
            .into_iter()
            .collect(),
        created,
        since: created,
        state,
        addresses: addresses(summary, allow_loopback),
        exposed: ports(summary, detail),
        default_network: network.map(str::to_owned),
        id,
    })
}

/// Whether a container shares the host's network, and so has no address of its own.
fn on_host_network(summary: &ContainerSummary) -> bool {
    let mode = summary
        .host_config
        .as_ref()
        .and_then(|host| host.network_mode.as_deref());
    mode == Some(HOST_NETWORK)
}

fn state(summary: &ContainerSummary, detail: Option<&Detail>) -> Option<ContainerState> {
    match summary.state? {
        ContainerSummaryStateEnum::RUNNING => {
            let status = summary.status.as_deref().unwrap_or_default();
            let known = health(status);
            // Between the start and the first word of its health check, a container is not healthy yet.
            let starting = detail
                .is_some_and(|detail| detail.has_healthcheck)
                .then_some(Health::Starting);
            Some(ContainerState::Running {
                health: known.or(starting),
            })
        }
        ContainerSummaryStateEnum::PAUSED => Some(ContainerState::Paused),
        ContainerSummaryStateEnum::STOPPING => Some(ContainerState::Stopping),
        _ => None,
    }
}

/// Engines before API 1.52 tell health in the status text only: `Up 5 seconds (health: starting)`.
fn health(status: &str) -> Option<Health> {
    let inner = status
        .rsplit_once('(')
        .and_then(|(_, rest)| rest.strip_suffix(')'))?;
    match inner {
        "healthy" => Some(Health::Healthy),
        "unhealthy" => Some(Health::Unhealthy),
        "health: starting" | "starting" => Some(Health::Starting),
        _ => None,
    }
}

/// Every address the engine tells; which of them may be called is decided with the labels.
fn addresses(summary: &ContainerSummary, allow_loopback: bool) -> BTreeMap<String, IpAddr> {
    let networks = summary
        .network_settings
        .as_ref()
        .and_then(|settings| settings.networks.as_ref());
    let mut out = BTreeMap::new();
    for (name, settings) in networks.into_iter().flatten() {
        let v4 = settings.ip_address.as_deref().unwrap_or_default();
        let v6 = settings.global_ipv6_address.as_deref().unwrap_or_default();
        if let Ok(address) = v4.parse::<IpAddr>().or_else(|_| v6.parse::<IpAddr>()) {
            out.insert(name.clone(), address);
        }
    }
    if allow_loopback && out.is_empty() && on_host_network(summary) {
        out.insert(HOST_NETWORK.into(), Ipv4Addr::LOCALHOST.into());
    }
    out
}

fn ports(summary: &ContainerSummary, detail: Option<&Detail>) -> Vec<u16> {
    let listed = summary.ports.iter().flatten();
    let tcp = listed.filter(|port| port.typ != Some(PortSummaryTypeEnum::UDP));
    let mut ports: Vec<u16> = tcp.map(|port| port.private_port).collect();
    ports.extend(detail.into_iter().flat_map(|detail| &detail.exposed));
    ports.sort_unstable();
    ports.dedup();
    ports
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(json: &str) -> ContainerSummary {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_listed_container_is_read_whole() {
        let listed = summary(
            r#"{"Id":"0123456789abcdef","Names":["/db/alias","/shop-1"],"Created":1700000000,"State":"running",
               "Status":"Up 3 seconds (healthy)","Labels":{"weir.enable":"true"},
               "Ports":[{"PrivatePort":80,"Type":"tcp"},{"PrivatePort":80,"PublicPort":8080,"Type":"tcp"},
                        {"PrivatePort":53,"Type":"udp"}],
               "NetworkSettings":{"Networks":{"edge":{"IPAddress":"172.18.0.2"},"v6":{"IPAddress":"",
               "GlobalIPv6Address":"fd00::2"},"none":{"IPAddress":""}}}}"#,
        );
        let detail = Detail {
            exposed: vec![9000],
            ..Detail::default()
        };
        let read = container(&listed, Some(&detail), Some("edge"), false).unwrap();
        assert_eq!(
            (read.name.as_str(), read.created),
            ("shop-1", 1_700_000_000)
        );
        assert_eq!(
            read.state,
            ContainerState::Running {
                health: Some(Health::Healthy)
            }
        );
        assert_eq!(read.exposed, [80, 9000]);
        assert_eq!(read.default_network.as_deref(), Some("edge"));
        let addresses: Vec<String> = read
            .addresses
            .iter()
            .map(|(n, a)| format!("{n} {a}"))
            .collect();
        assert_eq!(addresses, ["edge 172.18.0.2", "v6 fd00::2"]);
    }

    // semantics 16
    #[test]
    fn health_is_read_from_the_status_text() {
        for (status, expected) in [
            ("Up 2 hours", None),
            ("Up 2 hours (healthy)", Some(Health::Healthy)),
            ("Up 2 hours (unhealthy)", Some(Health::Unhealthy)),
            (
                "Up Less than a second (health: starting)",
                Some(Health::Starting),
            ),
            ("Up 5 minutes (Paused)", None),
            ("", None),
        ] {
            assert_eq!(health(status), expected, "{status}");
        }
    }

    // semantics 16
    #[test]
    fn a_health_check_that_has_not_spoken_yet_is_not_a_pass() {
        let listed = summary(r#"{"Id":"a","State":"running","Status":"Up Less than a second"}"#);
        let detail = Detail {
            has_healthcheck: true,
            ..Detail::default()
        };
        let read = container(&listed, Some(&detail), None, false).unwrap();
        assert_eq!(
            read.state,
            ContainerState::Running {
                health: Some(Health::Starting)
            }
        );
        let read = container(&listed, None, None, false).unwrap();
        assert_eq!(read.state, ContainerState::Running { health: None });
    }

    #[test]
    fn what_does_not_run_is_no_candidate() {
        for state in ["created", "restarting", "exited", "removing", "dead", ""] {
            let listed = summary(&format!(r#"{{"Id":"a","State":"{state}"}}"#));
            assert_eq!(container(&listed, None, None, false), None, "{state}");
        }
        let paused = summary(r#"{"Id":"a","State":"paused","Status":"Up 5 minutes (Paused)"}"#);
        assert_eq!(
            container(&paused, None, None, false).unwrap().state,
            ContainerState::Paused
        );
    }

    #[test]
    fn a_container_on_the_hosts_network_has_an_address_only_where_loopback_is_allowed() {
        let listed = summary(
            r#"{"Id":"a","State":"running","HostConfig":{"NetworkMode":"host"},
               "NetworkSettings":{"Networks":{"host":{"IPAddress":""}}}}"#,
        );
        assert!(on_host_network(&listed));
        assert!(
            container(&listed, None, None, false)
                .unwrap()
                .addresses
                .is_empty()
        );
        let allowed = container(&listed, None, None, true).unwrap();
        assert_eq!(allowed.addresses["host"], IpAddr::from(Ipv4Addr::LOCALHOST));
    }
}
