//! Who may call, as a file writes it; rules have the names of Istio's `AuthorizationPolicy`.

use ipnet::IpNet;

use super::object::{object, words};
use super::{At, Later};

object! {
    /// Who may call a service or a listener, or may not.
    Authorization = "an authorization" {
        /// Metrics and logs name it.
        #[schemars(required)]
        name: At<String> = "name",
        /// The service that is called, of mesh.authorization alone; * for each of them.
        service: At<String> = "service",
        /// allow, deny or audit.
        #[schemars(required)]
        action: At<Action> = "action",
        /// enforce (default), or log: the decision is counted and not enforced.
        mode: At<Mode> = "mode",
        /// Who calls: a service, a whole spiffe://DOMAIN/PATH, one with a star at an end, or * for all who have an identity. Default
        /// everybody.
        from: Vec<At<String>> = "from",
        /// Who does not.
        not_from: Vec<At<String>> = "notFrom",
        /// Networks of who is connected.
        ip_blocks: Vec<At<IpNet>> = "ipBlocks",
        not_ip_blocks: Vec<At<IpNet>> = "notIpBlocks",
        /// Networks of the client, as trusted hops name it.
        remote_ip_blocks: Vec<At<IpNet>> = "remoteIpBlocks",
        not_remote_ip_blocks: Vec<At<IpNet>> = "notRemoteIpBlocks",
        /// Names of listeners.
        listeners: Vec<At<String>> = "listeners",
        not_listeners: Vec<At<String>> = "notListeners",
        /// Hosts without a port; a star at an end stands for anything.
        hosts: Vec<At<String>> = "hosts",
        not_hosts: Vec<At<String>> = "notHosts",
        methods: Vec<At<String>> = "methods",
        not_methods: Vec<At<String>> = "notMethods",
        /// /api is that path and all below it, =/api that path alone; a star at an end stands for anything.
        paths: Vec<At<String>> = "paths",
        not_paths: Vec<At<String>> = "notPaths",
        ports: Vec<At<u16>> = "ports",
        not_ports: Vec<At<u16>> = "notPorts",
        /// In place of all these: several rules, as Istio writes them. One must fit.
        rules: Vec<AccessRule> = "rules",
    }
}

words! {
    /// What follows when a rule fits.
    Action = "an action" { Allow = "allow", Deny = "deny", Audit = "audit" }
}

words! {
    /// Whether a decision is enforced.
    Mode = "a mode" { Enforce = "enforce", Log = "log" }
}

object! {
    /// Who, what and when.
    AccessRule = "a rule" {
        from: Vec<RuleFrom> = "from",
        to: Vec<RuleTo> = "to",
        when: Vec<Condition> = "when",
    }
}

object! {
    /// Who calls.
    RuleFrom = "an entry of from" {
        source: RuleSource = "source",
    }
}

object! {
    /// Who calls.
    RuleSource = "source" {
        principals: Vec<At<String>> = "principals",
        not_principals: Vec<At<String>> = "notPrincipals",
        ip_blocks: Vec<At<IpNet>> = "ipBlocks",
        not_ip_blocks: Vec<At<IpNet>> = "notIpBlocks",
        remote_ip_blocks: Vec<At<IpNet>> = "remoteIpBlocks",
        not_remote_ip_blocks: Vec<At<IpNet>> = "notRemoteIpBlocks",
        request_principals: Later = "requestPrincipals",
        not_request_principals: Later = "notRequestPrincipals",
        namespaces: Later = "namespaces",
        not_namespaces: Later = "notNamespaces",
        service_accounts: Later = "serviceAccounts",
        not_service_accounts: Later = "notServiceAccounts",
    }
}

object! {
    /// What is called.
    RuleTo = "an entry of to" {
        operation: RuleOperation = "operation",
    }
}

object! {
    /// What is called.
    RuleOperation = "operation" {
        hosts: Vec<At<String>> = "hosts",
        not_hosts: Vec<At<String>> = "notHosts",
        ports: Vec<At<u16>> = "ports",
        not_ports: Vec<At<u16>> = "notPorts",
        methods: Vec<At<String>> = "methods",
        not_methods: Vec<At<String>> = "notMethods",
        paths: Vec<At<String>> = "paths",
        not_paths: Vec<At<String>> = "notPaths",
    }
}

object! {
    /// What else must be.
    Condition = "a condition" {
        /// request.headers[NAME], source.principal, source.ip, remote.ip, destination.port or connection.sni.
        #[schemars(required)]
        key: At<String> = "key",
        values: Vec<At<String>> = "values",
        not_values: Vec<At<String>> = "notValues",
    }
}
