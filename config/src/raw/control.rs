//! What a file says of the control plane that other processes follow.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::At;
use super::object::object;

object! {
    /// Where proxies of their own follow this configuration, over xDS.
    Control = "control" {
        /// IP:port. Default 0.0.0.0:9902.
        bind: At<SocketAddr> = "bind",
        /// The server's certificate, and whose clients it believes.
        tls: ControlTls = "tls",
        /// Who may follow, and what each may see. Default with tls.clientCa: every client of that authority, all listeners.
        nodes: Vec<ControlNode> = "nodes",
        /// Plain text, and everybody who can connect is believed. Only on a loopback address. Default false.
        insecure: At<bool> = "insecure",
    }
}

object! {
    /// TLS of the control plane's server.
    ControlTls = "control.tls" {
        /// The certificate with its chain, in PEM.
        #[schemars(required)]
        cert: At<PathBuf> = "cert",
        /// Its key, in PEM.
        #[schemars(required)]
        key: At<PathBuf> = "key",
        /// Authorities whose clients are believed, in PEM. With it every proxy needs a certificate, whose common name or DNS
        /// name is the node's.
        client_ca: At<PathBuf> = "clientCa",
    }
}

object! {
    /// Proxies that may follow.
    ControlNode = "a node of control.nodes" {
        /// The node's name; one star stands for any characters.
        #[schemars(required)]
        name: At<String> = "name",
        /// The SHA-256 of its token, in 64 hexadecimal digits: printf %s TOKEN | sha256sum. The token itself is never written here.
        token_sha256: At<String> = "tokenSha256",
        /// The listeners that it may serve; with them go their routes, services and keys. Default all.
        listeners: Vec<At<String>> = "listeners",
    }
}
