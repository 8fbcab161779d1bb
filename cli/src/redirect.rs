//! Bringing an app's connections to its sidecar, by rules of the kernel's packet filter (nf_tables).
//!
//! [`Rules`] says what is wanted, [`text`] shows it in the words of `nft`, and [`install`] and [`remove`] tell the kernel over
//! netlink, for an image that holds nothing but this binary has no `nft`. One table of ours, replaced in one transaction: done
//! twice it is the same, and nothing of anybody else is touched.

mod message;
mod network;
mod rules;
mod socket;
mod text;

pub(crate) use network::Network;
pub(crate) use rules::{Interception, Rules};

use std::io;

/// Of everything of ours.
pub(crate) const TABLE: &str = "weir-sidecar";

/// Puts the rules in force in this network namespace, in place of those of an earlier time.
///
/// # Errors
/// What the kernel says; without `CAP_NET_ADMIN` that is a refusal.
pub(crate) fn install(rules: &Rules) -> io::Result<()> {
    socket::transact(&rules.install())
}

/// Takes them away. Without any that is done already.
///
/// # Errors
/// What the kernel says.
pub(crate) fn remove() -> io::Result<()> {
    socket::transact(&rules::remove())
}
