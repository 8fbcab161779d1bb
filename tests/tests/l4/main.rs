//! Below HTTP: connections and datagrams that are passed on as they are.

mod proxy_protocol;
mod reload;
mod sni;
mod support;
mod tcp;
mod udp;
