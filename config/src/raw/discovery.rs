//! Where endpoints are found: the `discovery` part of a file.

use std::path::PathBuf;
use std::time::Duration;

use super::object::{object, words};
use super::{At, Later};

object! {
    /// Where endpoints are found.
    Discovery = "discovery" {
        /// Containers of a Docker engine, by their labels.
        docker: Docker = "docker",
        /// Services of a Docker Swarm, by their labels.
        swarm: Swarm = "swarm",
        /// Read, but not acted on by this version.
        kubernetes: Later = "kubernetes",
        /// Read, but not acted on by this version.
        consul: Later = "consul",
        /// Read, but not acted on by this version.
        etcd: Later = "etcd",
        /// Names whose addresses are endpoints.
        dns: Vec<Dns> = "dns",
        /// A directory of files that list endpoints.
        files: EndpointFiles = "files",
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
        /// Reads Traefik's labels, too. Default false.
        traefik_labels: At<bool> = "traefikLabels",
    }
}

object! {
    /// A Docker Swarm, as one of its managers tells it.
    Swarm = "discovery.swarm" {
        /// unix:///path, tcp://host:port or http://host:port. Default unix:///var/run/docker.sock.
        endpoint: At<String> = "endpoint",
        /// The overlay network in which tasks are reached if they are in several.
        network: At<String> = "network",
        /// The addresses of the tasks, or the virtual IPs of the services. Default tasks.
        addresses: At<SwarmAddresses> = "addresses",
        /// How often the manager is asked without an event. Default 1s, at least 200ms.
        interval: At<Duration> = "interval",
        /// How long endpoints are kept when more than half of a service vanishes at once. Default 10s.
        hold: At<Duration> = "hold",
        /// Reads Traefik's labels, too. Default false.
        traefik_labels: At<bool> = "traefikLabels",
    }
}

words! {
    /// What is called of a Swarm service.
    SwarmAddresses = "what is called of a service" {
        /// Each task, by its own address.
        Tasks = "tasks",
        /// The service's virtual IP.
        Vip = "vip",
    }
}

object! {
    /// A name that is looked up again and again.
    Dns = "a lookup of discovery.dns" {
        /// The service whose endpoints the addresses are.
        #[schemars(required)]
        service: At<String> = "service",
        /// The name, whole: search domains are not tried.
        #[schemars(required)]
        name: At<String> = "name",
        /// A, AAAA or SRV. Default A.
        kind: At<RecordKind> = "type",
        /// The port of each address. Required for A and AAAA; an SRV record has its own.
        port: At<u16> = "port",
        /// The version of the endpoints. Default stable.
        version: At<String> = "version",
        /// Who is asked, as IP or IP:port. Default those of /etc/resolv.conf.
        resolvers: Vec<At<String>> = "resolvers",
        /// How long an answer holds at least, whatever its TTL. Default 1s, at least 500ms.
        min_ttl: At<Duration> = "minTtl",
        /// How long an answer holds at most, whatever its TTL. Default 30s.
        max_ttl: At<Duration> = "maxTtl",
        /// How long a resolver may take for one answer. Default 2s.
        timeout: At<Duration> = "timeout",
        /// How long endpoints are kept when more than half of them vanish at once. Default 10s.
        hold: At<Duration> = "hold",
        /// Takes loopback, link-local and metadata addresses from answers. Default false.
        allow_loopback_endpoints: At<bool> = "allowLoopbackEndpoints",
    }
}

words! {
    /// The kind of DNS records.
    RecordKind = "a type of DNS records" { A = "A", Aaaa = "AAAA", Srv = "SRV" }
}

object! {
    /// A directory of endpoint files.
    EndpointFiles = "discovery.files" {
        /// Its *.yaml, *.yml and *.json files are read, hidden ones left out.
        #[schemars(required)]
        directory: At<PathBuf> = "directory",
        /// How long endpoints are kept when more than half of a service vanishes at once. Default 10s.
        hold: At<Duration> = "hold",
    }
}
