//! Where a request goes, or what answers it.

use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::{DataSource, data_source};
use envoy_types::pb::envoy::config::route::v3::redirect_action::{
    PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier,
};
use envoy_types::pb::envoy::config::route::v3::route_action::{
    ClusterNotFoundResponseCode, ClusterSpecifier, HostRewriteSpecifier, RequestMirrorPolicy,
};
use envoy_types::pb::envoy::config::route::v3::weighted_cluster::{
    ClusterWeight, RandomValueSpecifier,
};
use envoy_types::pb::envoy::config::route::v3::{
    DirectResponseAction, HedgePolicy, RedirectAction, RetryPolicy, RouteAction, WeightedCluster,
};
use weir_config::model::{
    BackendRef, Filter, Mirror, PathMatch, PathModifier, Percent, Redirect, Retry, Rewrite, Rule,
    Timeouts, Weight,
};

use super::hash::{self, Keyed};
use super::rewrite::{self, Replaced};
use super::{Context, retry};
use crate::basic::{
    bool_value, bound, duration, is_true, narrow, runtime_fraction, runtime_percent, u32_or,
    u32_value,
};
use crate::names;
use crate::refusal::{Refusal, Within as _, take};

/// Envoy's own default, and ours.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Forwards a request. `None`: there is nobody to forward to.
pub(super) fn forward(
    rule: &Rule,
    matched: &PathMatch,
    context: &Context<'_>,
) -> Option<RouteAction> {
    let weighted = context.clusters(&rule.backends);
    if weighted.iter().all(|(_, weight)| *weight == 0) && !context.notes {
        return None;
    }
    let keyed = hash::encode(rule, context);
    let mut action = RouteAction {
        cluster_specifier: Some(clusters(weighted, keyed.picks_version)),
        cluster_not_found_response_code: ClusterNotFoundResponseCode::InternalServerError.into(),
        timeout: Some(duration(rule.timeouts.request.unwrap_or(Duration::ZERO))),
        retry_policy: Some(retry::encode(rule)),
        hedge_policy: retry::hedge(&rule.retry),
        hash_policy: keyed.policies,
        ..RouteAction::default()
    };
    for filter in &rule.filters {
        match filter {
            Filter::Rewrite(rewrite) => apply(rewrite, matched, &mut action),
            Filter::Mirror(own) => action.request_mirror_policies.push(RequestMirrorPolicy {
                cluster: names::cluster(
                    &own.service,
                    own.version.as_ref().filter(|_| !context.notes),
                ),
                runtime_fraction: runtime_fraction(own.percent),
                disable_shadow_host_suffix_append: true,
                ..RequestMirrorPolicy::default()
            }),
            _ => {}
        }
    }
    Some(action)
}

fn clusters(mut weighted: Vec<(String, u32)>, picks_version: bool) -> ClusterSpecifier {
    if !picks_version && let [(name, 1)] = weighted.as_mut_slice() {
        return ClusterSpecifier::Cluster(std::mem::take(name));
    }
    let one = |(name, weight)| ClusterWeight {
        name,
        weight: u32_value(weight),
        ..ClusterWeight::default()
    };
    ClusterSpecifier::WeightedClusters(WeightedCluster {
        clusters: weighted.into_iter().map(one).collect(),
        random_value_specifier: picks_version
            .then(|| bool_value(true))
            .flatten()
            .map(RandomValueSpecifier::UseHashPolicy),
        ..WeightedCluster::default()
    })
}

fn apply(rewrite: &Rewrite, matched: &PathMatch, action: &mut RouteAction) {
    if let Some(host) = &rewrite.hostname {
        action.host_rewrite_specifier =
            Some(HostRewriteSpecifier::HostRewriteLiteral(host.to_string()));
    }
    match rewrite
        .path
        .as_ref()
        .map(|path| rewrite::encode(path, matched))
    {
        None => {}
        Some(Replaced::Prefix(prefix)) => action.prefix_rewrite = prefix,
        Some(Replaced::Pattern(pattern)) => action.regex_rewrite = Some(pattern),
    }
}

pub(super) fn redirect(own: &Redirect, matched: &PathMatch) -> RedirectAction {
    let path = own
        .path
        .as_ref()
        .map(|path| match (path, rewrite::encode(path, matched)) {
            (PathModifier::Full(path), _) => PathRewriteSpecifier::PathRedirect(path.to_string()),
            (_, Replaced::Prefix(prefix)) => PathRewriteSpecifier::PrefixRewrite(prefix),
            (_, Replaced::Pattern(pattern)) => PathRewriteSpecifier::RegexRewrite(pattern),
        });
    RedirectAction {
        host_redirect: own.hostname.as_deref().unwrap_or_default().to_owned(),
        port_redirect: own.port.unwrap_or(0).into(),
        response_code: match own.status {
            301 => RedirectResponseCode::MovedPermanently,
            303 => RedirectResponseCode::SeeOther,
            307 => RedirectResponseCode::TemporaryRedirect,
            308 => RedirectResponseCode::PermanentRedirect,
            _ => RedirectResponseCode::Found,
        }
        .into(),
        scheme_rewrite_specifier: own
            .scheme
            .as_ref()
            .map(|scheme| SchemeRewriteSpecifier::SchemeRedirect(scheme.to_string())),
        path_rewrite_specifier: path,
        ..RedirectAction::default()
    }
}

pub(super) fn respond(status: u16, body: &str) -> DirectResponseAction {
    DirectResponseAction {
        status: status.into(),
        body: (!body.is_empty()).then(|| DataSource {
            specifier: Some(data_source::Specifier::InlineString(body.to_owned())),
            ..DataSource::default()
        }),
        ..DirectResponseAction::default()
    }
}

/// What a route forwards to, and how.
pub(super) struct Forward {
    pub(super) backends: Vec<BackendRef>,
    pub(super) filters: Vec<Filter>,
    pub(super) timeouts: Timeouts,
    pub(super) retry: Retry,
    pub(super) keyed: Keyed,
}

/// Reads an action; where it says nothing of them, the policies of its virtual host hold.
pub(super) fn decode_forward(
    wire: RouteAction,
    matched: &PathMatch,
    host: (Option<RetryPolicy>, Option<HedgePolicy>),
    known: &dyn Fn(&str) -> bool,
) -> Result<Forward, Refusal> {
    // What answers for a cluster that is not there: 500 in any case. Data that comes with the handshake is not taken.
    take!(wire => RouteAction {
        cluster_not_found_response_code, prefix_rewrite, regex_rewrite, timeout, retry_policy, request_mirror_policies,
        hash_policy, hedge_policy, cluster_specifier, host_rewrite_specifier, include_vh_rate_limits,
    } refuse {
        metadata_match, path_rewrite_policy, path_rewrite, append_x_forwarded_host, idle_timeout, flush_timeout,
        early_data_policy, retry_policy_typed_config, priority, rate_limits, cors, max_grpc_timeout,
        grpc_timeout_offset, upgrade_configs, internal_redirect_policy, internal_redirect_action,
        max_internal_redirects, max_stream_duration,
    });
    let _ = (cluster_not_found_response_code, include_vh_rate_limits);
    let path = match (prefix_rewrite.as_str(), regex_rewrite) {
        ("", None) => None,
        (prefix, None) => Some(rewrite::decode_prefix(prefix, matched).within("prefix_rewrite")?),
        ("", Some(pattern)) => {
            Some(rewrite::decode_pattern(pattern, matched).within("regex_rewrite")?)
        }
        _ => return Err(Refusal::new("stands beside prefix_rewrite").within("regex_rewrite")),
    };
    let hostname = match host_rewrite_specifier {
        None => None,
        Some(HostRewriteSpecifier::HostRewriteLiteral(host)) => Some(Arc::from(host)),
        Some(HostRewriteSpecifier::AutoHostRewrite(yes)) if !yes.value => None,
        Some(HostRewriteSpecifier::AutoHostRewrite(_)) => {
            return Err(Refusal::unsupported("auto_host_rewrite"));
        }
        Some(HostRewriteSpecifier::HostRewriteHeader(_)) => {
            return Err(Refusal::unsupported("host_rewrite_header"));
        }
        Some(HostRewriteSpecifier::HostRewritePathRegex(_)) => {
            return Err(Refusal::unsupported("host_rewrite_path_regex"));
        }
        Some(HostRewriteSpecifier::HostRewrite(_)) => {
            return Err(Refusal::unsupported("host_rewrite"));
        }
    };
    let mut filters = Vec::new();
    if hostname.is_some() || path.is_some() {
        filters.push(Filter::Rewrite(Rewrite { hostname, path }));
    }
    for (index, mirror) in request_mirror_policies.into_iter().enumerate() {
        filters.push(Filter::Mirror(
            decode_mirror(mirror, known).at("request_mirror_policies", index)?,
        ));
    }
    let (backends, picks_version) = decode_clusters(cluster_specifier, known)?;
    let (retry, backend_request) = retry::decode(retry_policy.or(host.0), hedge_policy.or(host.1))?;
    Ok(Forward {
        backends,
        filters,
        timeouts: Timeouts {
            request: timeout
                .map_or(Ok(Some(TIMEOUT)), |wire| bound(&wire))
                .within("timeout")?,
            backend_request,
        },
        retry,
        keyed: hash::decode(hash_policy, picks_version)?,
    })
}

fn decode_mirror(
    wire: RequestMirrorPolicy,
    known: &dyn Fn(&str) -> bool,
) -> Result<Mirror, Refusal> {
    // The host stays as it is either way: what Envoy appends to it is for those who look at it.
    take!(wire => RequestMirrorPolicy { cluster, runtime_fraction, disable_shadow_host_suffix_append, trace_sampled } refuse {
        cluster_header, request_headers_mutations, host_rewrite_literal,
    });
    let _ = (disable_shadow_host_suffix_append, trace_sampled);
    let (service, version) = names::reference(&cluster, known).within("cluster")?;
    let percent = runtime_fraction
        .map_or(Ok(Percent::ALL), runtime_percent)
        .within("runtime_fraction")?;
    Ok(Mirror {
        service,
        version,
        percent,
    })
}

fn decode_clusters(
    wire: Option<ClusterSpecifier>,
    known: &dyn Fn(&str) -> bool,
) -> Result<(Vec<BackendRef>, bool), Refusal> {
    match wire {
        None => Err(Refusal::missing("cluster")),
        Some(ClusterSpecifier::Cluster(name)) => {
            let (service, version) = names::reference(&name, known).within("cluster")?;
            let weight = Weight::ONE;
            Ok((
                vec![BackendRef {
                    service,
                    version,
                    weight,
                }],
                false,
            ))
        }
        Some(ClusterSpecifier::WeightedClusters(wire)) => {
            weighted(wire, known).within("weighted_clusters")
        }
        Some(ClusterSpecifier::ClusterHeader(_)) => Err(Refusal::unsupported("cluster_header")),
        Some(ClusterSpecifier::ClusterSpecifierPlugin(_)) => {
            Err(Refusal::unsupported("cluster_specifier_plugin"))
        }
        Some(ClusterSpecifier::InlineClusterSpecifierPlugin(_)) => {
            Err(Refusal::unsupported("inline_cluster_specifier_plugin"))
        }
    }
}

fn weighted(
    wire: WeightedCluster,
    known: &dyn Fn(&str) -> bool,
) -> Result<(Vec<BackendRef>, bool), Refusal> {
    // The sum is that of the weights; nothing is kept in a runtime.
    take!(wire => WeightedCluster { clusters, total_weight, random_value_specifier, runtime_key_prefix } refuse {});
    let _ = (total_weight, runtime_key_prefix);
    let picks_version = match random_value_specifier {
        None => false,
        Some(RandomValueSpecifier::UseHashPolicy(yes)) => is_true(Some(&yes)),
        Some(RandomValueSpecifier::HeaderName(_)) => {
            return Err(Refusal::unsupported("header_name"));
        }
    };
    let mut backends = Vec::new();
    for (index, cluster) in clusters.into_iter().enumerate() {
        backends.push(cluster_weight(cluster, known).at("clusters", index)?);
    }
    Ok((backends, picks_version))
}

fn cluster_weight(
    wire: ClusterWeight,
    known: &dyn Fn(&str) -> bool,
) -> Result<BackendRef, Refusal> {
    take!(wire => ClusterWeight { name, weight } refuse {
        cluster_header, metadata_match, request_headers_to_add, request_headers_to_remove, response_headers_to_add,
        response_headers_to_remove, typed_per_filter_config, host_rewrite_specifier,
    });
    let (service, version) = names::reference(&name, known).within("name")?;
    let tenths = u32_or(weight.as_ref(), 0).checked_mul(10);
    let weight = tenths.and_then(|tenths| Weight::from_tenths(tenths).ok());
    Ok(BackendRef {
        service,
        version,
        weight: weight.ok_or_else(|| Refusal::new("is more than 1000000").within("weight"))?,
    })
}

pub(super) fn decode_redirect(
    wire: RedirectAction,
    matched: &PathMatch,
) -> Result<Redirect, Refusal> {
    take!(wire => RedirectAction {
        host_redirect, port_redirect, response_code, scheme_rewrite_specifier, path_rewrite_specifier,
    } refuse { strip_query });
    let path = match path_rewrite_specifier {
        None => None,
        Some(PathRewriteSpecifier::PathRedirect(path)) if rewrite::is_path(&path) => {
            Some(PathModifier::Full(Arc::from(path)))
        }
        Some(PathRewriteSpecifier::PathRedirect(_)) => {
            return Err(Refusal::new("is not a path").within("path_redirect"));
        }
        Some(PathRewriteSpecifier::PrefixRewrite(prefix)) => {
            Some(rewrite::decode_prefix(&prefix, matched).within("prefix_rewrite")?)
        }
        Some(PathRewriteSpecifier::RegexRewrite(pattern)) => {
            Some(rewrite::decode_pattern(pattern, matched).within("regex_rewrite")?)
        }
        Some(PathRewriteSpecifier::PathRewrite(_)) => {
            return Err(Refusal::unsupported("path_rewrite"));
        }
    };
    Ok(Redirect {
        scheme: match scheme_rewrite_specifier {
            None | Some(SchemeRewriteSpecifier::HttpsRedirect(false)) => None,
            Some(SchemeRewriteSpecifier::HttpsRedirect(true)) => Some(Arc::from("https")),
            Some(SchemeRewriteSpecifier::SchemeRedirect(scheme)) => {
                Some(Arc::from(scheme.to_ascii_lowercase()))
            }
        },
        hostname: (!host_redirect.is_empty()).then(|| Arc::from(host_redirect)),
        path,
        port: match port_redirect {
            0 => None,
            port => Some(narrow(port).within("port_redirect")?),
        },
        status: match RedirectResponseCode::try_from(response_code) {
            Ok(RedirectResponseCode::MovedPermanently) => 301,
            Ok(RedirectResponseCode::Found) => 302,
            Ok(RedirectResponseCode::SeeOther) => 303,
            Ok(RedirectResponseCode::TemporaryRedirect) => 307,
            Ok(RedirectResponseCode::PermanentRedirect) => 308,
            Err(_) => return Err(Refusal::unsupported("response_code")),
        },
    })
}

/// A status and a body.
pub(super) fn decode_respond(wire: DirectResponseAction) -> Result<(u16, String), Refusal> {
    take!(wire => DirectResponseAction { status, body } refuse { body_format });
    let status = u16::try_from(status)
        .ok()
        .filter(|status| (200..=599).contains(status));
    let status =
        status.ok_or_else(|| Refusal::new("is no status from 200 to 599").within("status"))?;
    let Some(body) = body else {
        return Ok((status, String::new()));
    };
    take!(body => DataSource { specifier } refuse { watched_directory });
    let text = match specifier {
        None => String::new(),
        Some(data_source::Specifier::InlineString(text)) => text,
        Some(data_source::Specifier::InlineBytes(bytes)) => {
            String::from_utf8(bytes).map_err(|_| {
                Refusal::new("is no text")
                    .within("inline_bytes")
                    .within("body")
            })?
        }
        Some(data_source::Specifier::Filename(_)) => {
            return Err(Refusal::unsupported("filename").within("body"));
        }
        Some(data_source::Specifier::EnvironmentVariable(_)) => {
            return Err(Refusal::unsupported("environment_variable").within("body"));
        }
    };
    Ok((status, text))
}
