//! Which address and port of a container are called, and whether yet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use super::keys::Labels;
use super::member::Refusal;
use super::{Container, ContainerState, Health, LabelOptions};
use crate::diagnostic::Diagnostic;
use crate::model::Admission;
use crate::raw::At;

/// Where cloud providers hand out credentials (AWS and others; EC2 by IPv6).
const METADATA: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254)),
];

/// The address to call.
///
/// # Errors
/// The diagnostic for which the container is left out.
pub(super) fn address(labels: &Labels<'_>, options: LabelOptions) -> Result<SocketAddr, Refusal> {
    let ip = network_address(labels, options)?.to_canonical();
    if !options.allow_loopback_endpoints && is_guarded(ip) {
        let message = format!(
            "the address {ip} is loopback, link-local or a metadata service, which labels may not name"
        );
        let help = match options.section {
            "docker" => {
                "attach the container to a network of its own, or set discovery.docker.allowLoopbackEndpoints"
            }
            _ => "attach it to a network of its own",
        };
        return Err(Diagnostic::error(&labels.container.place(""), message)
            .help(help)
            .into());
    }
    if ip.is_unspecified() || ip.is_multicast() {
        return Err(Diagnostic::error(
            &labels.container.place(""),
            format!("{ip} is not an address that can be called"),
        )
        .into());
    }
    Ok(SocketAddr::new(ip, port(labels)?))
}

/// Whether an address is loopback, link-local or a metadata service: what Weir can reach and whoever names it should
/// not, unless the operator allows it.
#[must_use]
pub fn is_guarded(ip: IpAddr) -> bool {
    let link_local = match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    ip.is_loopback() || link_local || METADATA.contains(&ip)
}

fn network_address(labels: &Labels<'_>, options: LabelOptions) -> Result<IpAddr, Refusal> {
    let container = labels.container;
    let networks = || {
        container
            .addresses
            .keys()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(", ")
    };
    if let Some(At { value, place }) = labels.text("weir.network") {
        return in_network(container, &value).ok_or_else(|| {
            let message = format!("the container is not in the network {value:?}");
            let help = match container.addresses.is_empty() {
                true => "it is in no network with an address".to_owned(),
                false => format!("it is in {}", networks()),
            };
            Diagnostic::error(&place, message).help(help).into()
        });
    }
    let chosen = container
        .default_network
        .as_deref()
        .and_then(|network| in_network(container, network));
    let mut all = container.addresses.values();
    match (chosen, all.next(), all.next()) {
        (Some(ip), _, _) | (None, Some(&ip), None) => Ok(ip),
        (None, None, _) => {
            let help =
                "it shares the host's network, or has none; attach it to a network that Weir is in";
            Err(Diagnostic::error(
                &container.place(""),
                "the container has no address of its own",
            )
            .help(help)
            .into())
        }
        (None, Some(_), Some(_)) => {
            let message = format!("the container is in several networks: {}", networks());
            let section = options.section;
            let help = format!(
                "choose one with weir.network, or for all containers with discovery.{section}.network"
            );
            Err(Diagnostic::error(&container.place("weir.network"), message)
                .help(help)
                .into())
        }
    }
}

/// A network of Compose or of a stack goes by the name that its file gives it, too: `edge` for `shop_edge`.
fn in_network(container: &Container, name: &str) -> Option<IpAddr> {
    let qualified = container
        .compose_project()
        .or_else(|| container.stack())
        .map(|project| format!("{project}_{name}"));
    let find = |name: &str| container.addresses.get(name).copied();
    find(name).or_else(|| qualified.and_then(|name| find(&name)))
}

fn port(labels: &Labels<'_>) -> Result<u16, Refusal> {
    if let Some(At { value, place }) = labels.text("weir.port") {
        return match value.parse::<u16>() {
            Ok(port) if port > 0 && value.bytes().all(|b| b.is_ascii_digit()) => Ok(port),
            _ => Err(
                Diagnostic::error(&place, format!("{value:?} is not a port"))
                    .help("a port is from 1 to 65535")
                    .into(),
            ),
        };
    }
    let mut exposed = labels.container.exposed.clone();
    exposed.sort_unstable();
    exposed.dedup();
    let place = labels.container.place("weir.port");
    match exposed.as_slice() {
        [port] if *port > 0 => Ok(*port),
        [] | [_] => Err(
            Diagnostic::error(&place, "the container exposes no TCP port")
                .help("name the port that it listens on with weir.port")
                .into(),
        ),
        several => {
            let ports: Vec<String> = several.iter().map(ToString::to_string).collect();
            let message = format!("the container exposes several ports: {}", ports.join(", "));
            Err(Diagnostic::error(&place, message)
                .help("choose one with weir.port")
                .into())
        }
    }
}

/// What the engine's state means for an endpoint. Without a HEALTHCHECK a probe decides.
pub(super) fn admission(state: ContainerState) -> Admission {
    match state {
        ContainerState::Running { health: None } => Admission::Probe,
        ContainerState::Running {
            health: Some(Health::Healthy),
        } => Admission::Ready,
        ContainerState::Running {
            health: Some(Health::Starting),
        } => Admission::NotReady(Arc::from("starting")),
        ContainerState::Running {
            health: Some(Health::Unhealthy),
        } => Admission::NotReady(Arc::from("unhealthy")),
        ContainerState::Paused => Admission::NotReady(Arc::from("paused")),
        ContainerState::NodeDown => Admission::NotReady(Arc::from("its node is down")),
        ContainerState::Stopping => Admission::Draining,
    }
}
