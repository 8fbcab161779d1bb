//! How an endpoint is picked.

use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3::cluster::ring_hash_lb_config::HashFunction;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{
    LbConfig, LbPolicy, LeastRequestLbConfig, MaglevLbConfig, RingHashLbConfig, RoundRobinLbConfig,
    SlowStartConfig,
};
use envoy_types::pb::envoy::config::core::v3::RuntimeDouble;
use weir_config::model::{Balancer, ConsistentHash, HashKey, HashTable, LoadBalancer, Warmup};

use crate::basic::{duration, narrow, real_percent, time, u32_value, u64_value, whole_percent};
use crate::refusal::{Refusal, Within as _, take};

/// A policy and its settings.
pub(super) struct Encoded {
    pub(super) policy: i32,
    pub(super) config: Option<LbConfig>,
}

pub(super) fn encode(lb: &LoadBalancer) -> Encoded {
    let slow_start_config = lb.warmup.as_ref().map(slow_start);
    let (policy, config) = match &lb.balancer {
        // What is nearest to the average of latencies, which Envoy has no balancer for.
        Balancer::LeastRequest | Balancer::PeakEwma => (
            LbPolicy::LeastRequest,
            Some(LbConfig::LeastRequestLbConfig(LeastRequestLbConfig {
                choice_count: u32_value(2),
                active_request_bias: None,
                slow_start_config,
            })),
        ),
        Balancer::RoundRobin => (
            LbPolicy::RoundRobin,
            Some(LbConfig::RoundRobinLbConfig(RoundRobinLbConfig {
                slow_start_config,
            })),
        ),
        Balancer::Random => (LbPolicy::Random, None),
        Balancer::ConsistentHash(hash) => match hash.table {
            HashTable::Ring { min_size } => (
                LbPolicy::RingHash,
                Some(LbConfig::RingHashLbConfig(RingHashLbConfig {
                    minimum_ring_size: u64_value(min_size.into()),
                    hash_function: HashFunction::XxHash.into(),
                    maximum_ring_size: None,
                })),
            ),
            HashTable::Maglev { size } => (
                LbPolicy::Maglev,
                Some(LbConfig::MaglevLbConfig(MaglevLbConfig {
                    table_size: u64_value(size.into()),
                })),
            ),
        },
    };
    Encoded {
        policy: policy.into(),
        config,
    }
}

fn slow_start(warmup: &Warmup) -> SlowStartConfig {
    SlowStartConfig {
        slow_start_window: Some(duration(warmup.duration)),
        aggression: Some(RuntimeDouble {
            default_value: warmup.aggression,
            // Envoy asks for one; nothing is kept under it.
            runtime_key: "weir.slow_start_aggression".to_owned(),
        }),
        min_weight_percent: real_percent(warmup.minimum_percent.into()),
    }
}

/// Without the key of a consistent hash, which routes have ([`crate::route`]): until one is found, the client's address.
pub(super) fn decode(policy: i32, config: Option<LbConfig>) -> Result<LoadBalancer, Refusal> {
    let policy = LbPolicy::try_from(policy).map_err(|_| Refusal::unsupported("lb_policy"))?;
    let (balancer, slow_start) = match (policy, config) {
        (LbPolicy::RoundRobin, None) => (Balancer::RoundRobin, None),
        (LbPolicy::RoundRobin, Some(LbConfig::RoundRobinLbConfig(config))) => {
            take!(config => RoundRobinLbConfig { slow_start_config } refuse {});
            (Balancer::RoundRobin, slow_start_config)
        }
        (LbPolicy::LeastRequest, None) => (Balancer::LeastRequest, None),
        (LbPolicy::LeastRequest, Some(LbConfig::LeastRequestLbConfig(config))) => (
            Balancer::LeastRequest,
            least_request(config).within("least_request_lb_config")?,
        ),
        (LbPolicy::Random, None) => (Balancer::Random, None),
        (LbPolicy::RingHash, None) => (hashed(HashTable::Ring { min_size: 1024 }), None),
        (LbPolicy::RingHash, Some(LbConfig::RingHashLbConfig(config))) => {
            (hashed(ring(config).within("ring_hash_lb_config")?), None)
        }
        (LbPolicy::Maglev, None) => (hashed(HashTable::Maglev { size: 65537 }), None),
        (LbPolicy::Maglev, Some(LbConfig::MaglevLbConfig(config))) => (
            hashed(maglev(&config).within("maglev_lb_config.table_size")?),
            None,
        ),
        (LbPolicy::ClusterProvided | LbPolicy::LoadBalancingPolicyConfig, _) => {
            return Err(Refusal::new(format!(
                "is {}, which is not supported",
                policy.as_str_name()
            ))
            .within("lb_policy"));
        }
        (_, Some(_)) => return Err(Refusal::new("is not that of lb_policy").within("lb_config")),
    };
    Ok(LoadBalancer {
        balancer,
        warmup: slow_start
            .map(warmup)
            .transpose()
            .within("slow_start_config")?,
        locality: None,
    })
}

fn hashed(table: HashTable) -> Balancer {
    Balancer::ConsistentHash(ConsistentHash {
        key: HashKey::SourceIp,
        table,
    })
}

fn least_request(config: LeastRequestLbConfig) -> Result<Option<SlowStartConfig>, Refusal> {
    take!(config => LeastRequestLbConfig { choice_count, slow_start_config } refuse { active_request_bias });
    match choice_count {
        Some(count) if count.value != 2 => {
            Err(Refusal::new("is not 2, which is what is drawn").within("choice_count"))
        }
        _ => Ok(slow_start_config),
    }
}

fn ring(config: RingHashLbConfig) -> Result<HashTable, Refusal> {
    // The ring grows no further than it must, whatever the most it might have.
    take!(config => RingHashLbConfig { minimum_ring_size, maximum_ring_size, hash_function } refuse {});
    let _ = maximum_ring_size;
    if hash_function != HashFunction::XxHash as i32 {
        return Err(Refusal::unsupported("hash_function"));
    }
    let min_size = minimum_ring_size
        .map_or(Ok(1024), |size| narrow(size.value))
        .within("minimum_ring_size")?;
    Ok(HashTable::Ring { min_size })
}

fn maglev(config: &MaglevLbConfig) -> Result<HashTable, Refusal> {
    let size = config
        .table_size
        .as_ref()
        .map_or(Ok(65537), |size| narrow(size.value))?;
    Ok(HashTable::Maglev { size })
}

fn warmup(config: SlowStartConfig) -> Result<Warmup, Refusal> {
    take!(config => SlowStartConfig { slow_start_window, aggression, min_weight_percent } refuse {});
    let window = slow_start_window.ok_or_else(|| Refusal::missing("slow_start_window"))?;
    let aggression = aggression.map_or(1.0, |aggression| aggression.default_value);
    if !aggression.is_finite() || aggression < 1.0 {
        return Err(Refusal::new("is not at least 1").within("aggression"));
    }
    Ok(Warmup {
        duration: time(&window)
            .and_then(longer_than_nothing)
            .within("slow_start_window")?,
        minimum_percent: min_weight_percent
            .map_or(Ok(10), |percent| whole_percent(&percent))
            .within("min_weight_percent")?,
        aggression,
    })
}

fn longer_than_nothing(time: Duration) -> Result<Duration, Refusal> {
    match time.is_zero() {
        true => Err(Refusal::new("is zero")),
        false => Ok(time),
    }
}
