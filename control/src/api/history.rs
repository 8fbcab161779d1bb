//! The history, who follows it, and the documents in force.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::Deserialize;

use super::error::ApiError;
use super::types::{
    DocumentInfo, DocumentList, FollowerInfo, Following, GenerationDetail, Generations, Reply,
};
use crate::clock::rfc3339;
use crate::control::Control;
use crate::followers::{Follower, Late, State as FollowerState};
use crate::store::records;

/// The longest that one request waits for followers; a client asks again.
const MAX_WAIT: Duration = Duration::from_secs(8);

#[derive(Debug, Deserialize)]
pub(super) struct ListQuery {
    #[serde(default = "all")]
    limit: usize,
}

fn all() -> usize {
    usize::MAX
}

pub(super) async fn list(
    State(control): State<Control>,
    Query(query): Query<ListQuery>,
) -> Json<Reply<Generations>> {
    let history = &control.shared.history;
    Json(Reply::new(Generations {
        generations: history.list(query.limit),
        problem: control.shared.state_problem(),
    }))
}

pub(super) async fn get(
    State(control): State<Control>,
    Path(number): Path<u64>,
) -> Result<Json<Reply<GenerationDetail>>, ApiError> {
    let shared = &control.shared;
    let Some(entry) = shared.history.get(number) else {
        let newest = shared.history.numbers().into_iter().take(10);
        let newest: Vec<String> = newest.map(|number| number.to_string()).collect();
        let message = format!(
            "there is no generation {number} in the history; the newest are: {}",
            newest.join(", ")
        );
        return Err(ApiError::new(StatusCode::NOT_FOUND, "not_found", message));
    };
    let config = records::configuration(&*shared.database, entry.shown.generation).await;
    let config = config.map_err(|error| {
        ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            error.to_string(),
        )
    })?;
    Ok(Json(Reply::new(GenerationDetail {
        generation: entry.shown,
        config,
    })))
}

#[derive(Debug, Deserialize)]
pub(super) struct WaitQuery {
    /// Seconds.
    #[serde(default)]
    wait: u64,
}

pub(super) async fn followers(
    State(control): State<Control>,
    Path(number): Path<u64>,
    Query(query): Query<WaitQuery>,
) -> Json<Reply<Following>> {
    let followers = &control.shared.followers;
    let limit = Duration::from_secs(query.wait).min(MAX_WAIT);
    let late = followers
        .wait(number, limit)
        .await
        .err()
        .unwrap_or_default();
    let known = followers.list().len();
    Json(Reply::new(following(late, known)))
}

fn following(late: Late, known: usize) -> Following {
    let not = late.behind.len() + late.refused.len();
    Following {
        in_force: not == 0,
        followers: known.saturating_sub(not),
        behind: late.behind.into_iter().map(info).collect(),
        refused: late.refused.into_iter().map(info).collect(),
    }
}

fn info(follower: Follower) -> FollowerInfo {
    let (state, reason) = match follower.state {
        FollowerState::Synced => ("synced", None),
        FollowerState::Stale => ("stale", None),
        FollowerState::Refused { reason, .. } => ("refused", Some(reason)),
    };
    FollowerInfo {
        name: follower.name,
        acked: follower.acked,
        state: state.into(),
        reason,
    }
}

pub(super) async fn documents(State(control): State<Control>) -> Json<Reply<DocumentList>> {
    let facts = control.shared.board.lock();
    let documents = facts.documents.iter().map(|(name, of)| DocumentInfo {
        name: name.clone(),
        by: of.by.clone(),
        since: rfc3339(of.since_ms),
        bytes: of.bytes,
        digest: of.digest.clone(),
    });
    Json(Reply::new(DocumentList {
        documents: documents.collect(),
    }))
}
