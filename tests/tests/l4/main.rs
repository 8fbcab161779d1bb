//! Below HTTP: connections and datagrams that are passed on as they are.

mod authorization;
mod proxy_protocol;
mod reload;
mod sni;
mod splice;
mod support;
mod tcp;
mod udp;
