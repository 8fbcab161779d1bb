//! Notes of services, their policies and endpoints.

use weir_config::model::{
    Admission, AltName, AppProtocol, BackendRoots, BackendTls, Balancer, BodyMatch, ConnectionPool,
    ConsistentHash, Distribute, Endpoint, EndpointId, FailurePercentage, GrpcProbe, HashKey,
    HashTable, HealthCheck, HealthProbe, HttpProbe, LoadBalancer, Locality, LocalityPolicy,
    MeshProtocol, OutlierDetection, ProbeMethod, RetryLimit, Service, ServiceMesh, ServiceName,
    StatusRange, SuccessRate, TcpProbe, Version, VersionName, Warmup, Weight,
};

use serde_json::Value;

use super::{Noted, noted_enum, noted_shared, noted_struct, noted_text, variant};

noted_struct!(Service {
    name,
    versions,
    load_balancer,
    pool,
    outlier,
    health_check,
    drain_timeout,
    proxy_protocol,
    protocol,
    tls,
    mesh,
    source,
} skip { endpoints });
noted_struct!(Version { name, weight });
noted_struct!(Endpoint {
    id,
    address,
    version,
    weight,
    priority,
    locality,
    admission,
    source
});
noted_enum!(AppProtocol { units [Http, Http1, H2c] values [] structs [] });
noted_enum!(Admission { units [Ready, Probe, Draining] values [NotReady] structs [] });

noted_struct!(LoadBalancer {
    balancer,
    warmup,
    locality
});
noted_enum!(Balancer {
    units [LeastRequest, RoundRobin, Random, PeakEwma]
    values [ConsistentHash]
    structs []
});
noted_struct!(ConsistentHash { key, table });
noted_enum!(HashKey {
    units [SourceIp]
    values [Header, Query]
    structs [Cookie { name, path, max_age }]
});
noted_enum!(HashTable { units [] values [] structs [Ring { min_size }, Maglev { size }] });
noted_struct!(Warmup {
    duration,
    minimum_percent,
    aggression
});
noted_struct!(LocalityPolicy {
    distribute,
    failover
});
noted_struct!(Distribute { from, to });
noted_struct!(Locality {
    region,
    zone,
    subzone
});

noted_struct!(ConnectionPool {
    max_connections,
    max_connections_per_endpoint,
    connect_timeout,
    stream_idle_timeout,
    max_pending,
    max_requests,
    max_requests_per_endpoint,
    idle_timeout,
    max_requests_per_connection,
    max_concurrent_streams,
    max_idle_per_endpoint,
    retries,
});
noted_enum!(RetryLimit { units [] values [Fixed] structs [Budget { percent, min }] });
noted_struct!(OutlierDetection {
    consecutive_5xx,
    consecutive_gateway,
    split_local_origin,
    consecutive_local_origin,
    interval,
    base_ejection_time,
    max_ejection_time,
    max_ejection_percent,
    always_eject_one,
    min_health_percent,
    success_rate,
    failure_percentage,
    check_ends_ejection,
    observe_only,
});
noted_struct!(SuccessRate {
    minimum_hosts,
    request_volume,
    stdev_factor
});
noted_struct!(FailurePercentage {
    threshold,
    minimum_hosts,
    request_volume
});

noted_struct!(HealthCheck {
    probe,
    port,
    interval,
    timeout,
    unhealthy_threshold,
    healthy_threshold,
});
noted_enum!(HealthProbe { units [] values [Tcp, Http, Grpc] structs [] });
noted_struct!(TcpProbe { send, expect });
noted_struct!(HttpProbe {
    method,
    path,
    host,
    headers,
    expected,
    body
});
noted_struct!(GrpcProbe { service, authority });
noted_enum!(ProbeMethod { units [Get, Head] values [] structs [] });
noted_struct!(StatusRange { low, high });
noted_enum!(BodyMatch { units [] values [Contains, Regex] structs [] });

noted_struct!(ServiceMesh {
    mode,
    port,
    protocol,
    listen
});
noted_enum!(MeshProtocol { units [Http, Tcp] values [] structs [] });

noted_struct!(BackendTls {
    roots,
    hostname,
    alt_names,
    client
});
noted_shared!(BackendTls);
noted_enum!(AltName { units [] values [Dns, Uri] structs [] });

noted_text!(ServiceName, name => name.to_string(), text => Self::new(text).ok());
noted_text!(VersionName, name => name.to_string(), text => Self::new(text).ok());
noted_text!(EndpointId, id => id.to_string(), text => Self::new(text).ok());
noted_text!(Weight, weight => weight.to_string(), text => text.parse().ok());

impl Noted for BackendRoots {
    fn note(&self) -> Value {
        match self {
            Self::System => "System".into(),
            Self::Insecure => "Insecure".into(),
            Self::Given(roots) => vec!["Given".into(), roots.note()].into(),
        }
    }

    /// The authorities' certificates are a resource of their own: those of a note are only amended.
    fn read(note: &Value) -> Option<Self> {
        match note.as_str()? {
            "System" => Some(Self::System),
            "Insecure" => Some(Self::Insecure),
            _ => None,
        }
    }

    fn amend(&mut self, note: &Value) -> Option<()> {
        match (&mut *self, variant(note)?) {
            (Self::Given(roots), ("Given", note)) => roots.amend(note),
            _ => {
                *self = Self::read(note)?;
                Some(())
            }
        }
    }
}
