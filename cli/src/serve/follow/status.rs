//! `/api/v1/status` of a proxy: the same answer as everywhere, with the control plane where discovery stands otherwise.

use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use weir_control::api::types::{
    ConfigState, ConfigStatus, Provider, ProviderState, ProxyCounts, Reply, Status,
};
use weir_control::clock::{now_ms, rfc3339};
use weir_identity::Standing;
use weir_proxy::Handle;
use weir_xds_client::{Follower, Status as Following};

use super::Plan;
use crate::units::age;

/// What the answer is made of.
#[derive(Clone)]
pub(super) struct Shown {
    handle: Handle,
    /// None yet while there is no identity.
    follower: Arc<OnceLock<Arc<Follower>>>,
    /// How it stands with the identity; `None`: it is to have none.
    identity: Option<Arc<weir_identity::Status>>,
    started_ms: u64,
    state_dir: Option<String>,
    /// Why the last good state is not kept at all.
    not_kept: Option<String>,
}

impl Shown {
    pub(super) fn new(handle: Handle, plan: &Plan, not_kept: Option<String>) -> Self {
        let dir = plan.state_dir.as_ref();
        Self {
            handle,
            follower: Arc::default(),
            identity: plan.mesh.as_ref().map(|_| Arc::default()),
            started_ms: now_ms(),
            state_dir: dir.map(|dir| dir.display().to_string()),
            not_kept,
        }
    }

    /// From now on there is one.
    pub(super) fn follows(&self, follower: Arc<Follower>) {
        // It is called once.
        let _ = self.follower.set(follower);
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Where the identity is to show how it stands.
    pub(super) fn standing(&self) -> Arc<weir_identity::Status> {
        self.identity.clone().unwrap_or_default()
    }

    /// Metric families in the exposition format, beside the data plane's own.
    pub(super) fn metrics_text(&self) -> String {
        let following = self.follower.get().map(|follower| follower.metrics_text());
        let identity = self.identity.as_ref().map(|status| status.metrics_text());
        following.unwrap_or_default() + &identity.unwrap_or_default()
    }
}

pub(super) fn router(shown: Shown) -> Router {
    Router::new()
        .route("/api/v1/status", get(status))
        .with_state(shown)
}

async fn status(State(shown): State<Shown>) -> Json<Reply<Status>> {
    let follower = shown.follower.get();
    let mut following = follower.map_or_else(Following::default, |follower| follower.status());
    if let Some(why) = shown.not_kept {
        following.not_written = Some((why, shown.started_ms));
    }
    let readiness = shown.handle.ready();
    let now = now_ms();
    Json(Reply::new(Status {
        version: env!("CARGO_PKG_VERSION").into(),
        started: rfc3339(shown.started_ms),
        uptime_seconds: now.saturating_sub(shown.started_ms) / 1000,
        generation: following.told,
        applied_generation: following.generation,
        apply_errors: Vec::new(),
        ready: readiness.ready,
        ready_reason: readiness.reason,
        config: config(&following, shown.started_ms),
        providers: providers(&following, shown.identity.as_deref(), shown.started_ms),
        warnings: following.awaited.len(),
        // What is decided is decided by the control plane, and followed by nobody else from here.
        overrides: 0,
        documents: 0,
        pinned: None,
        proxies: ProxyCounts::default(),
        state_dir: shown.state_dir,
        state_problem: None,
    }))
}

fn config(following: &Following, started_ms: u64) -> ConfigStatus {
    let mut rendered = String::new();
    for trouble in &following.troubles {
        let _ = writeln!(rendered, "not in force: {trouble}");
    }
    for awaited in &following.awaited {
        let _ = writeln!(rendered, "named, and not there yet: {awaited}");
    }
    ConfigStatus {
        state: match following.troubles.is_empty() {
            true => ConfigState::Ok,
            false => ConfigState::Partial,
        },
        since: rfc3339(
            match following.updated_ms.max(following.restored_ms.unwrap_or(0)) {
                0 => started_ms,
                heard => heard,
            },
        ),
        errors: following.troubles.len(),
        warnings: following.awaited.len(),
        diagnostics: Vec::new(),
        rendered,
    }
}

fn providers(
    following: &Following,
    standing: Option<&weir_identity::Status>,
    started_ms: u64,
) -> Vec<Provider> {
    let now = now_ms();
    let mut providers = Vec::new();
    if let Some(status) = standing {
        providers.push(identity(&status.standing(), started_ms));
    }
    if !following.address.is_empty() {
        providers.push(control(following, now));
    }
    if let Some((error, since)) = &following.not_written {
        providers.push(Provider {
            name: "last good".into(),
            state: ProviderState::Down,
            since: rfc3339(*since),
            error: Some(error.clone()),
            detail: "a restart without a control plane would find an older state, or none".into(),
        });
    }
    providers
}

/// Who it is in the mesh, and until when.
fn identity(standing: &Standing, started_ms: u64) -> Provider {
    let since = standing.since.and_then(|since| {
        let since = since.duration_since(std::time::UNIX_EPOCH).ok()?;
        u64::try_from(since.as_millis()).ok()
    });
    let detail = match (&standing.id, standing.not_after) {
        (Some(id), Some(end)) => {
            let end = u64::try_from(end).unwrap_or(0).saturating_mul(1000);
            format!("{id} until {}", rfc3339(end))
        }
        _ => "none yet; until there is one nothing is asked for and nothing served".to_owned(),
    };
    Provider {
        name: "identity".into(),
        state: match (&standing.problem, &standing.id) {
            (Some(_), _) => ProviderState::Down,
            (None, Some(_)) => ProviderState::Up,
            (None, None) => ProviderState::Connecting,
        },
        since: rfc3339(since.unwrap_or(started_ms)),
        error: standing.problem.clone(),
        detail,
    }
}

/// Where the configuration is from, and how old it is.
fn control(following: &Following, now: u64) -> Provider {
    let address = &following.address;
    let ago = |ms: u64| age(now.saturating_sub(ms) / 1000);
    let heard = match following.updated_ms {
        0 => "never heard".to_owned(),
        at => format!("last heard {} ago", ago(at)),
    };
    let (state, detail) = match (following.connected, following.generation) {
        (true, _) => (
            ProviderState::Up,
            format!("connected to {address}, {heard}"),
        ),
        (false, 0) => (
            ProviderState::Down,
            format!("not connected to {address}, {heard}, and nothing is in force"),
        ),
        (false, generation) => {
            let saved = following.restored_ms.filter(|_| following.updated_ms == 0);
            let from = saved.map_or(String::new(), |at| {
                format!(" as it was saved {} ago", ago(at))
            });
            let detail = format!(
                "not connected to {address}, {heard}; generation {generation} stays in force{from}"
            );
            (ProviderState::Down, detail)
        }
    };
    Provider {
        name: "control".into(),
        state,
        since: rfc3339(following.since_ms),
        error: following.error.clone(),
        detail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn following() -> Following {
        Following {
            address: "https://control:9902".into(),
            generation: 7,
            told: 8,
            ..Following::default()
        }
    }

    #[test]
    fn it_says_how_old_what_is_served_is() {
        let now = 1_700_000_600_000;
        let restored = Following {
            restored_ms: Some(now - 300_000),
            ..following()
        };
        let shown = control(&restored, now);
        assert_eq!(shown.state, ProviderState::Down);
        assert!(
            shown
                .detail
                .contains("generation 7 stays in force as it was saved 5m 0s ago"),
            "{}",
            shown.detail
        );
        let connected = Following {
            connected: true,
            updated_ms: now - 2000,
            ..following()
        };
        let shown = control(&connected, now);
        assert_eq!(shown.state, ProviderState::Up);
        assert!(
            shown.detail.ends_with("last heard 2s ago"),
            "{}",
            shown.detail
        );
        let nothing = Following {
            generation: 0,
            ..following()
        };
        assert!(
            control(&nothing, now)
                .detail
                .contains("nothing is in force")
        );
    }

    #[test]
    fn it_says_who_it_is_and_what_it_waits_for() {
        let none = identity(&Standing::default(), 1_700_000_000_000);
        assert_eq!(none.state, ProviderState::Connecting);
        assert!(none.detail.starts_with("none yet"), "{}", none.detail);
        assert_eq!(none.since, "2023-11-14T22:13:20Z");
        let refused = Standing {
            problem: Some("no answer within 15s".into()),
            ..Standing::default()
        };
        let shown = identity(&refused, 0);
        assert_eq!(shown.state, ProviderState::Down);
        assert_eq!(shown.error.as_deref(), Some("no answer within 15s"));
        let held = Standing {
            id: Some("spiffe://weir.local/svc/shop".into()),
            not_after: Some(1_700_000_000),
            ..Standing::default()
        };
        let shown = identity(&held, 0);
        assert_eq!(shown.state, ProviderState::Up);
        assert_eq!(
            shown.detail,
            "spiffe://weir.local/svc/shop until 2023-11-14T22:13:20Z"
        );
    }

    #[test]
    fn what_is_not_in_force_makes_the_configuration_partial() {
        let troubled = Following {
            troubles: vec!["Listener web: 0.0.0.0:80 is taken".into()],
            ..following()
        };
        let shown = config(&troubled, 0);
        assert_eq!((shown.state, shown.errors), (ConfigState::Partial, 1));
        assert!(
            shown.rendered.contains("not in force: Listener web"),
            "{}",
            shown.rendered
        );
        assert_eq!(config(&following(), 0).state, ConfigState::Ok);
    }
}
