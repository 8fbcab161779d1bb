//! The top of a file.

use std::path::PathBuf;
use std::time::Duration;

use super::object::{object, words};
use super::{At, Later, Listener, Overload, Route, Service};
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
        /// How long requests in flight may go on after SIGTERM. Default 30s.
        drain_timeout: At<Duration> = "drainTimeout",
        /// How long new connections are still taken after SIGTERM, with readiness failing. Default 5s.
        grace_period: At<Duration> = "gracePeriod",
        /// Where this proxy runs: region/zone/subzone. Default: what WEIR_LOCALITY says.
        locality: At<Locality> = "locality",
        /// What the process does when there is more to do than it can hold.
        overload: Overload = "overload",
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

object! {
    /// Where endpoints are found.
    Discovery = "discovery" {
        /// Containers of a Docker engine, by their labels.
        docker: Docker = "docker",
        /// Read, but not acted on by this version.
        swarm: Later = "swarm",
        /// Read, but not acted on by this version.
        kubernetes: Later = "kubernetes",
        /// Read, but not acted on by this version.
        consul: Later = "consul",
        /// Read, but not acted on by this version.
        etcd: Later = "etcd",
        /// Read, but not acted on by this version.
        dns: Later = "dns",
        /// Read, but not acted on by this version.
        file: Later = "file",
    }
}

object! {
    /// A Docker engine.
    Docker = "discovery.docker" {
        /// unix:///path, tcp://host:port or http://host:port. Default unix:///var/run/docker.sock.
        endpoint: At<String> = "endpoint",
        /// The network in which containers are reached if they are in several.
        network: At<String> = "network",
        /// How long endpoints are kept when more than half of a service vanishes at once. Default 10s.
        hold: At<Duration> = "hold",
        /// Takes loopback and link-local addresses from containers. Default false.
        allow_loopback_endpoints: At<bool> = "allowLoopbackEndpoints",
    }
}

words! {
    /// How an access log line is written.
    LogFormat = "an access log format" { Json = "json", Common = "common", Combined = "combined", Off = "off" }
}
