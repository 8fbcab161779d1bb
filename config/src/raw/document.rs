//! The top of a file.

use std::path::PathBuf;
use std::time::Duration;

use super::object::{object, words};
use super::{At, Control, Discovery, Later, Listener, Mesh, Overload, Route, Service, Tracing};
use crate::model::Locality;

object! {
    /// A Weir configuration file.
    Document = "the configuration" {
        /// The admin server: health, metrics, the API and the dashboard.
        admin: Admin = "admin",
        /// The addresses that are served.
        listeners: Vec<Listener> = "listeners",
        /// Where endpoints are found besides this file.
        discovery: Discovery = "discovery",
        /// Named groups of endpoints.
        services: Vec<Service> = "services",
        /// Which requests go where.
        routes: Vec<Route> = "routes",
        /// Read, but not acted on by this version.
        rollouts: Later = "rollouts",
        /// The access log on standard output. Default json.
        access_log: At<LogFormat> = "accessLog",
        /// Data worker threads. Default: the CPUs that this process may use.
        workers: At<u16> = "workers",
        /// Where what must outlive a restart is kept. Default /var/lib/weir if writable, else ~/.local/state/weir.
        state_dir: At<PathBuf> = "stateDir",
        /// Generations of the configuration that the history keeps, 1 to 10000. Default 100.
        history: At<u32> = "history",
        /// How long requests in flight may go on after SIGTERM. Default 30s.
        drain_timeout: At<Duration> = "drainTimeout",
        /// How long new connections are still taken after SIGTERM, with readiness failing. Default 5s.
        grace_period: At<Duration> = "gracePeriod",
        /// Where this proxy runs: region/zone/subzone. Default: what WEIR_LOCALITY says.
        locality: At<Locality> = "locality",
        /// What the process does when there is more to do than it can hold.
        overload: Overload = "overload",
        /// Trace context and spans.
        tracing: Tracing = "tracing",
        /// Where proxies of their own follow this configuration. Default: nowhere; weir control needs it.
        control: Control = "control",
        /// Identities of services, and what certifies them. Default: no mesh.
        mesh: Mesh = "mesh",
    }
}

object! {
    /// The admin server.
    Admin = "admin" {
        /// IP:port, or unix:///path. Default 127.0.0.1:9900.
        bind: At<String> = "bind",
        /// A file that holds the token for changes. Default: one is made in the state directory.
        token_file: At<PathBuf> = "tokenFile",
        /// The same as tokenFile, written as file:/path. A token itself is never written in a configuration.
        token: At<String> = "token",
        /// Host names under which the admin server may be asked, besides IP addresses and localhost.
        hosts: Vec<At<String>> = "hosts",
    }
}

words! {
    /// How an access log line is written.
    LogFormat = "an access log format" { Json = "json", Common = "common", Combined = "combined", Off = "off" }
}
