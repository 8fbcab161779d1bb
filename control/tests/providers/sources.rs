//! The sources, as tests play them.

pub(crate) mod dns;
pub(crate) mod docker;
pub(crate) mod files;
pub(crate) mod gate;
pub(crate) mod swarm;

use std::net::IpAddr;

use weir_config::model::Model;
use weir_control::ControlOptions;

/// What a provider watches. Changes also work while it is down, and show once it is up again.
pub(crate) trait Source: Sized {
    /// Up, without any host.
    async fn start() -> Self;
    /// The provider's name on the board.
    fn name() -> String;
    /// To watch it and nothing else, with [`crate::HOLD`].
    fn options(&self) -> ControlOptions;
    /// Has exactly these hosts, and as far as it can tell says so of those that stop.
    fn set(&self, hosts: &[u8]);
    /// Answers, and has nothing any more, without a word.
    fn lose_all(&self);
    /// Has only that host any more, without a word about the others.
    fn lose_but(&self, host: u8);
    /// Does not answer.
    fn down(&self);
    fn up(&self);
    /// Has something wrong from now on; what the problem's source says.
    fn spoil(&self) -> &'static str;
}

/// `10.9.0.N`
pub(crate) fn address(host: u8) -> String {
    format!("10.9.0.{host}")
}

/// The hosts of `web` in a model, in order.
pub(crate) fn hosts(model: &Model) -> Vec<u8> {
    let endpoints = model.service("web").map(|service| &service.endpoints);
    let last = |ip: IpAddr| match ip {
        IpAddr::V4(v4) => v4.octets()[3],
        IpAddr::V6(_) => 0,
    };
    let mut hosts: Vec<u8> = endpoints
        .into_iter()
        .flatten()
        .map(|endpoint| last(endpoint.address.ip()))
        .collect();
    hosts.sort_unstable();
    hosts
}
