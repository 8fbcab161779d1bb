//! TLS on both sides. Certificates and authorities are secrets, which are a resource of their own ([`crate::secret`]).

use std::net::IpAddr;
use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::{DataSource, data_source};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::common_tls_context::{
    CombinedCertificateValidationContext, ValidationContextType,
};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::subject_alt_name_matcher::SanType;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::tls_parameters::TlsProtocol;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, CommonTlsContext, DownstreamTlsContext, SdsSecretConfig,
    SubjectAltNameMatcher, TlsParameters, UpstreamTlsContext,
};
use envoy_types::pb::envoy::r#type::matcher::v3::StringMatcher;
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use weir_config::model::{
    Alpn, AltName, BackendRoots, BackendTls, Certificate, ClientAuth, ClientAuthMode, ListenerTls,
    Roots, TlsVersion,
};

use crate::basic::{ads, bool_value, is_true, same_stream};
use crate::keys::Keys;
use crate::refusal::{Refusal, Within as _, take};
use crate::secret;

/// Where most systems keep the authorities that they trust; Envoy must be told a file.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// What a listener shows, under what is asked of these clients.
pub(crate) fn downstream(
    tls: &ListenerTls,
    auth: Option<&ClientAuth>,
    keys: &mut Keys,
) -> DownstreamTlsContext {
    let certificates = tls
        .certificates
        .iter()
        .map(|c| sds(keys.name_certificate(c)))
        .collect();
    let required = auth.is_some_and(|auth| auth.mode == ClientAuthMode::Require);
    DownstreamTlsContext {
        common_tls_context: Some(CommonTlsContext {
            tls_params: Some(TlsParameters {
                tls_minimum_protocol_version: match tls.min_version {
                    TlsVersion::V12 => TlsProtocol::TlSv12,
                    TlsVersion::V13 => TlsProtocol::TlSv13,
                }
                .into(),
                tls_maximum_protocol_version: TlsProtocol::TlSv13.into(),
                ..TlsParameters::default()
            }),
            tls_certificate_sds_secret_configs: certificates,
            alpn_protocols: tls.alpn.iter().map(|alpn| alpn.text().to_owned()).collect(),
            validation_context_type: auth.map(|auth| {
                ValidationContextType::ValidationContextSdsSecretConfig(sds(
                    keys.name_roots(&auth.roots)
                ))
            }),
            ..CommonTlsContext::default()
        }),
        require_client_certificate: bool_value(required),
        ..DownstreamTlsContext::default()
    }
}

/// How endpoints are called.
pub(crate) fn upstream(tls: &BackendTls, keys: &mut Keys) -> UpstreamTlsContext {
    let names = match (tls.alt_names.as_slice(), &tls.hostname) {
        ([], None) => Vec::new(),
        ([], Some(host)) => vec![alt_name(&AltName::Dns(host.clone()))],
        (names, _) => names.iter().map(alt_name).collect(),
    };
    let names = CertificateValidationContext {
        match_typed_subject_alt_names: names,
        ..CertificateValidationContext::default()
    };
    let validation = match &tls.roots {
        BackendRoots::Insecure => None,
        BackendRoots::System => Some(ValidationContextType::ValidationContext(
            CertificateValidationContext {
                trusted_ca: Some(file(SYSTEM_ROOTS)),
                ..names
            },
        )),
        BackendRoots::Given(roots) => Some(ValidationContextType::CombinedValidationContext(
            CombinedCertificateValidationContext {
                default_validation_context: Some(names),
                validation_context_sds_secret_config: Some(sds(keys.name_roots(roots))),
                ..CombinedCertificateValidationContext::default()
            },
        )),
    };
    let client = tls
        .client
        .iter()
        .map(|c| sds(keys.name_certificate(c)))
        .collect();
    UpstreamTlsContext {
        common_tls_context: Some(CommonTlsContext {
            tls_certificate_sds_secret_configs: client,
            validation_context_type: validation,
            ..CommonTlsContext::default()
        }),
        sni: tls.hostname.clone().unwrap_or_default(),
        ..UpstreamTlsContext::default()
    }
}

fn file(path: &str) -> DataSource {
    DataSource {
        specifier: Some(data_source::Specifier::Filename(path.to_owned())),
        ..DataSource::default()
    }
}

fn sds(name: String) -> SdsSecretConfig {
    SdsSecretConfig {
        name,
        sds_config: ads(),
    }
}

fn alt_name(name: &AltName) -> SubjectAltNameMatcher {
    let (kind, text) = match name {
        AltName::Uri(uri) => (SanType::Uri, uri),
        AltName::Dns(name) if name.parse::<IpAddr>().is_ok() => (SanType::IpAddress, name),
        AltName::Dns(name) => (SanType::Dns, name),
    };
    SubjectAltNameMatcher {
        san_type: kind.into(),
        matcher: Some(StringMatcher {
            match_pattern: Some(MatchPattern::Exact(text.clone())),
            ignore_case: false,
        }),
        oid: String::new(),
    }
}

/// What one filter chain shows and asks for.
pub(crate) struct Shown {
    pub(crate) tls: ListenerTls,
    pub(crate) auth: Option<ClientAuth>,
}

pub(crate) fn decode_downstream(wire: DownstreamTlsContext, keys: &Keys) -> Result<Shown, Refusal> {
    // Resumption and stapling are Weir's own; a name that no certificate is for gets the first one in either case.
    take!(wire => DownstreamTlsContext {
        common_tls_context, require_client_certificate, disable_stateful_session_resumption, session_timeout,
        full_scan_certs_on_sni_mismatch, prefer_client_ciphers,
    } refuse { require_sni, ocsp_staple_policy, session_ticket_keys_type });
    let _ = (disable_stateful_session_resumption, session_timeout);
    let _ = (full_scan_certs_on_sni_mismatch, prefer_client_ciphers);
    let common = common_tls_context.ok_or_else(|| Refusal::missing("common_tls_context"))?;
    let parts = common_parts(common, keys).within("common_tls_context")?;
    if parts.certificates.is_empty() {
        return Err(
            Refusal::missing("tls_certificate_sds_secret_configs").within("common_tls_context")
        );
    }
    let required = is_true(require_client_certificate.as_ref());
    let auth = match (parts.validation, required) {
        (None, false) => None,
        (None, true) => {
            let why =
                "asks for a certificate without saying who may have issued it (validation_context)";
            return Err(Refusal::new(why).within("require_client_certificate"));
        }
        (
            Some(Validation {
                roots: Some(BackendRoots::Given(roots)),
                names,
            }),
            _,
        ) if names.is_empty() => {
            let mode = match required {
                true => ClientAuthMode::Require,
                false => ClientAuthMode::Optional,
            };
            Some(ClientAuth {
                mode,
                roots,
                trust_domain: None,
            })
        }
        (Some(validation), _) => {
            let field = match validation.names.is_empty() {
                true => "trusted_ca",
                false => "match_typed_subject_alt_names",
            };
            return Err(Refusal::unsupported(field)
                .within("validation_context")
                .within("common_tls_context"));
        }
    };
    Ok(Shown {
        tls: ListenerTls {
            plain_too: false,
            certificates: parts.certificates,
            min_version: parts.min_version,
            alpn: match parts.alpn.is_empty() {
                true => vec![Alpn::Http11],
                false => parts.alpn,
            },
            client_auth: None,
            hosts: Vec::new(),
        },
        auth,
    })
}

pub(crate) fn decode_upstream(
    wire: UpstreamTlsContext,
    keys: &Keys,
) -> Result<BackendTls, Refusal> {
    take!(wire => UpstreamTlsContext {
        common_tls_context, sni, auto_sni_san_validation, max_session_keys, enforce_rsa_key_usage,
    } refuse { auto_host_sni, allow_renegotiation });
    let _ = (max_session_keys, enforce_rsa_key_usage);
    let parts =
        common_parts(common_tls_context.unwrap_or_default(), keys).within("common_tls_context")?;
    let hostname = (!sni.is_empty()).then_some(sni);
    let (roots, mut alt_names) = match parts.validation {
        None => (BackendRoots::Insecure, Vec::new()),
        Some(Validation {
            roots: Some(roots),
            names,
        }) => (roots, names),
        Some(_) => {
            return Err(Refusal::missing("trusted_ca")
                .within("validation_context")
                .within("common_tls_context"));
        }
    };
    if hostname
        .as_ref()
        .is_some_and(|host| alt_names == [AltName::Dns(host.clone())])
    {
        alt_names.clear();
    } else if roots != BackendRoots::Insecure && alt_names.is_empty() && !auto_sni_san_validation {
        let why = "is missing: whom a certificate must name is always checked here";
        return Err(Refusal::new(why)
            .within("match_typed_subject_alt_names")
            .within("validation_context")
            .within("common_tls_context"));
    }
    if parts.certificates.len() > 1 {
        let why = "names more than one certificate, which is not supported";
        return Err(Refusal::new(why)
            .within("tls_certificate_sds_secret_configs")
            .within("common_tls_context"));
    }
    Ok(BackendTls {
        roots,
        hostname,
        alt_names,
        client: parts.certificates.into_iter().next(),
    })
}

struct Parts {
    certificates: Vec<Arc<Certificate>>,
    min_version: TlsVersion,
    alpn: Vec<Alpn>,
    validation: Option<Validation>,
}

/// Who is believed, and what they must be called.
#[derive(Default)]
struct Validation {
    roots: Option<BackendRoots>,
    names: Vec<AltName>,
}

fn common_parts(wire: CommonTlsContext, keys: &Keys) -> Result<Parts, Refusal> {
    take!(wire => CommonTlsContext {
        tls_params, tls_certificates, tls_certificate_sds_secret_configs, alpn_protocols, validation_context_type,
    } refuse {
        tls_certificate_provider_instance, custom_tls_certificate_selector, tls_certificate_certificate_provider,
        tls_certificate_certificate_provider_instance, custom_handshaker, key_log,
    });
    let mut certificates = Vec::new();
    for (index, inline) in tls_certificates.into_iter().enumerate() {
        let name = format!("inline-{index}");
        certificates.push(Arc::new(
            secret::certificate(name, inline).at("tls_certificates", index)?,
        ));
    }
    for (index, named) in tls_certificate_sds_secret_configs.into_iter().enumerate() {
        let field = "tls_certificate_sds_secret_configs";
        certificates.push(
            keys.certificate(&secret_name(named).at(field, index)?)
                .at(field, index)?,
        );
    }
    let alpn = |(index, text): (usize, String)| match text.as_str() {
        "h2" => Ok(Alpn::H2),
        "http/1.1" => Ok(Alpn::Http11),
        _ => Err(
            Refusal::new(format!("is {text:?}; h2 and http/1.1 are supported"))
                .within(&format!("alpn_protocols[{index}]")),
        ),
    };
    Ok(Parts {
        certificates,
        min_version: oldest(tls_params.unwrap_or_default()).within("tls_params")?,
        alpn: alpn_protocols
            .into_iter()
            .enumerate()
            .map(alpn)
            .collect::<Result<_, _>>()?,
        validation: validation_context_type
            .map(|wire| validation(wire, keys))
            .transpose()?,
    })
}

fn oldest(wire: TlsParameters) -> Result<TlsVersion, Refusal> {
    take!(wire => TlsParameters { tls_minimum_protocol_version, tls_maximum_protocol_version } refuse {
        cipher_suites, ecdh_curves, signature_algorithms, compliance_policies,
    });
    match TlsProtocol::try_from(tls_maximum_protocol_version) {
        Ok(TlsProtocol::TlsAuto | TlsProtocol::TlSv13) => {}
        _ => {
            return Err(Refusal::new("is not TLSv1_3, which is always spoken")
                .within("tls_maximum_protocol_version"));
        }
    }
    match TlsProtocol::try_from(tls_minimum_protocol_version) {
        Ok(TlsProtocol::TlsAuto | TlsProtocol::TlSv12) => Ok(TlsVersion::V12),
        Ok(TlsProtocol::TlSv13) => Ok(TlsVersion::V13),
        _ => Err(
            Refusal::new("is older than TLSv1_2, which is the oldest that is spoken")
                .within("tls_minimum_protocol_version"),
        ),
    }
}

fn secret_name(wire: SdsSecretConfig) -> Result<String, Refusal> {
    take!(wire => SdsSecretConfig { name, sds_config } refuse {});
    same_stream(sds_config).within("sds_config")?;
    Ok(name)
}

#[allow(deprecated)]
fn validation(wire: ValidationContextType, keys: &Keys) -> Result<Validation, Refusal> {
    let named = |wire: SdsSecretConfig| {
        let roots = keys.roots(&secret_name(wire)?)?;
        Ok::<_, Refusal>(Some(BackendRoots::Given(roots)))
    };
    match wire {
        ValidationContextType::ValidationContext(context) => {
            validation_context(context).within("validation_context")
        }
        ValidationContextType::ValidationContextSdsSecretConfig(wire) => Ok(Validation {
            roots: named(wire).within("validation_context_sds_secret_config")?,
            names: Vec::new(),
        }),
        ValidationContextType::CombinedValidationContext(combined) => {
            take!(combined => CombinedCertificateValidationContext {
                default_validation_context, validation_context_sds_secret_config,
            } refuse {
                validation_context_certificate_provider, validation_context_certificate_provider_instance,
            });
            let inline = validation_context(default_validation_context.unwrap_or_default())
                .within("default_validation_context")
                .within("combined_validation_context")?;
            let roots = match validation_context_sds_secret_config {
                None => inline.roots,
                Some(wire) => named(wire)
                    .within("validation_context_sds_secret_config")
                    .within("combined_validation_context")?,
            };
            Ok(Validation { roots, ..inline })
        }
        ValidationContextType::ValidationContextCertificateProvider(_) => Err(
            Refusal::unsupported("validation_context_certificate_provider"),
        ),
        ValidationContextType::ValidationContextCertificateProviderInstance(_) => Err(
            Refusal::unsupported("validation_context_certificate_provider_instance"),
        ),
    }
}

fn validation_context(wire: CertificateValidationContext) -> Result<Validation, Refusal> {
    take!(wire => CertificateValidationContext {
        trusted_ca, system_root_certs, match_typed_subject_alt_names, suppress_client_ca_list,
    } refuse {
        ca_certificate_provider_instance, watched_directory, verify_certificate_spki, verify_certificate_hash,
        match_subject_alt_names, require_signed_certificate_timestamp, crl, allow_expired_certificate,
        trust_chain_verification, custom_validator_config, only_verify_leaf_cert_crl, max_verify_depth,
    });
    let _ = suppress_client_ca_list;
    let roots = match (trusted_ca, system_root_certs) {
        (None, None) => None,
        (None, Some(_)) => Some(BackendRoots::System),
        (Some(source), _) if source == file(SYSTEM_ROOTS) => Some(BackendRoots::System),
        (Some(source), _) => {
            let roots: Roots =
                secret::authorities("inline".to_owned(), source).within("trusted_ca")?;
            Some(BackendRoots::Given(Arc::new(roots)))
        }
    };
    let mut names = Vec::new();
    for (index, matcher) in match_typed_subject_alt_names.into_iter().enumerate() {
        names.push(matched_name(matcher).at("match_typed_subject_alt_names", index)?);
    }
    Ok(Validation { roots, names })
}

fn matched_name(wire: SubjectAltNameMatcher) -> Result<AltName, Refusal> {
    take!(wire => SubjectAltNameMatcher { san_type, matcher } refuse { oid });
    let matcher = matcher.ok_or_else(|| Refusal::missing("matcher"))?;
    let StringMatcher {
        match_pattern: Some(MatchPattern::Exact(exact)),
        ignore_case: false,
    } = matcher
    else {
        return Err(Refusal::new("is not exact, which is what is supported").within("matcher"));
    };
    match SanType::try_from(san_type) {
        Ok(SanType::Dns) => Ok(AltName::Dns(exact.to_ascii_lowercase())),
        Ok(SanType::IpAddress) => Ok(AltName::Dns(exact)),
        Ok(SanType::Uri) => Ok(AltName::Uri(exact)),
        _ => Err(Refusal::unsupported("san_type")),
    }
}
