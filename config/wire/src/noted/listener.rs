//! Notes of listeners, their TLS and tracing.

use weir_config::model::{
    Alpn, Capture, Certificate, ClientAuth, ClientAuthMode, ForwardClientCert, HostTls, Http2,
    Limits, Listener, ListenerName, ListenerTls, MeshMode, Otlp, OtlpProtocol, PathPolicy,
    PolicyName, Propagation, Protocol, ProxyProtocol, ProxyVersion, Roots, Sampling, Secret,
    Source, TlsVersion, Tracing, TrustDomain, TrustedHops, UdpLimits,
};

use super::{noted_enum, noted_shared, noted_struct, noted_text};

noted_struct!(Listener {
    name,
    bind,
    protocol,
    trusted_hops,
    path_policy,
    limits,
    via,
    proxy_protocol,
    udp,
    tls,
    http2,
    mesh,
    capture,
    authorization,
    client_cert,
    source,
});
noted_enum!(ForwardClientCert { units [Sanitize, SanitizeSet, AppendForward] values [] structs [] });
noted_struct!(Http2 {
    enabled,
    max_concurrent_streams,
    stream_window,
    connection_window,
    max_age,
    max_age_grace,
});
noted_struct!(ProxyProtocol {
    from,
    required,
    pass_tlvs
});
noted_struct!(UdpLimits {
    idle_timeout,
    max_sessions,
    max_packet
});
noted_struct!(Limits {
    max_headers,
    max_header_bytes,
    max_field_bytes,
    max_request_line_bytes,
    get_body,
    head_timeout,
    handshake_timeout,
    idle_timeout,
    stream_idle_timeout,
});
noted_enum!(TrustedHops { units [None] values [Count, Networks] structs [] });
noted_enum!(PathPolicy { units [Canonicalize, Strict] values [] structs [] });
noted_enum!(Protocol { units [Http, Https, Tcp, Udp, TlsPassthrough] values [] structs [] });
noted_enum!(MeshMode { units [Strict, Permissive] values [] structs [] });
noted_enum!(Capture { units [HandedOver] values [For] structs [Redirected { pass, pass_unknown }] });
noted_enum!(ProxyVersion { units [V1, V2] values [] structs [] });
noted_text!(ListenerName, name => name.to_string(), text => Self::new(text).ok());
noted_text!(PolicyName, name => name.to_string(), text => Self::new(text).ok());

noted_struct!(ListenerTls {
    certificates,
    min_version,
    alpn,
    client_auth,
    hosts,
    plain_too
});
noted_struct!(HostTls {
    hostnames,
    client_auth
});
noted_struct!(ClientAuth {
    mode,
    roots,
    trust_domain
});
noted_text!(TrustDomain, domain => domain.to_string(), text => Self::new(text).ok());
noted_struct!(Roots { source } skip { ders });
noted_struct!(Certificate {
    name,
    names,
    not_before,
    not_after,
    issuer,
    serial,
    fingerprint,
    source,
} skip { chain, key, ocsp });
noted_shared!(ListenerTls, Certificate, Roots);
noted_enum!(TlsVersion { units [V12, V13] values [] structs [] });
noted_enum!(Alpn { units [H2, Http11] values [] structs [] });
noted_enum!(ClientAuthMode { units [Optional, Require] values [] structs [] });

noted_struct!(Tracing {
    sampling,
    propagation,
    trust_caller,
    response_header,
    otlp
});
noted_struct!(Otlp {
    https,
    host,
    port,
    path,
    protocol,
    headers,
    timeout,
    service_name
});
noted_enum!(OtlpProtocol { units [Grpc, Http] values [] structs [] });
noted_enum!(Propagation { units [TraceContext, B3, B3Multi] values [] structs [] });
noted_text!(Secret, secret => secret.expose().to_owned(), text => Some(Self::new(text)));
noted_text!(Sampling, part => part.hundredths().to_string(), text => {
    let hundredths = text.parse().ok().filter(|h| *h <= Self::ALL.hundredths())?;
    Some(Self::from_hundredths(hundredths))
});

noted_enum!(Source {
    units []
    values [Other]
    structs [File { path, line, column }, Label { container, id, label }]
});
