//! From what the control plane was asked to what the data plane does.

use std::sync::Arc;

use weir_control::api::types::EndpointAction;
use weir_control::operate::{EndpointOperation, EndpointOps, EndpointOutcome, EndpointRefused};
use weir_proxy::{Action, Handle, OperateError, Operated, Operation};

/// The hook that carries wishes out on this data plane.
pub(super) fn by(handle: Handle) -> EndpointOps {
    Arc::new(move |asked| {
        let operated = handle.operate(&asked.service, &asked.id, &operation(asked));
        operated.map(outcome).map_err(refused)
    })
}

fn operation(asked: &EndpointOperation) -> Operation {
    Operation {
        action: match asked.action {
            EndpointAction::Drain => Action::Drain,
            EndpointAction::Maint => Action::Maintenance,
            EndpointAction::Ready => Action::Ready,
            EndpointAction::Eject => Action::Eject,
            EndpointAction::Uneject => Action::Uneject,
        },
        time: asked.time,
        by: asked.by.clone(),
        force: asked.force,
    }
}

fn outcome(operated: Operated) -> EndpointOutcome {
    let standing = operated.standing;
    EndpointOutcome {
        changed: operated.changed,
        state: standing.state.to_owned(),
        reason: standing.reason.to_string(),
        since: standing.since,
        until: standing.until,
        available: standing.available,
        in_flight: operated.in_flight,
        left: operated.left,
        panic: operated.panic,
    }
}

fn refused(error: OperateError) -> EndpointRefused {
    match error {
        OperateError::NoService(_) | OperateError::NoEndpoint { .. } => {
            EndpointRefused::Unknown(error.to_string())
        }
        OperateError::LastOne => {
            EndpointRefused::Harmful(format!("{error}; `force` (--force) ejects it all the same"))
        }
    }
}
