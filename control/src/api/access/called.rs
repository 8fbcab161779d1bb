//! What a question is about, as the proxy has it that would take the call: a listener, or the sidecars of a service.

use std::sync::Arc;

use weir_config::model::{Authorization, Listener, MeshMode, Model, SpiffeId};
use weir_plan::mesh;

use super::Question;
use crate::api::error::ApiError;

/// What is called, as the proxy has it that takes the call.
pub(super) struct Called {
    pub(super) title: String,
    /// `None`: of a service that is not there only the rules are known.
    pub(super) listener: Option<Arc<Listener>>,
    pub(super) authorization: Arc<Authorization>,
    /// The host that is asked for where nothing is said of it.
    host: String,
    /// Whether a client of TLS says which host it means. Sidecars call each other by address.
    pub(super) names_host: bool,
}

/// Who takes it.
///
/// # Errors
/// When there is nothing of that name.
pub(super) fn find(model: &Model, question: &Question) -> Result<Called, ApiError> {
    match (&question.service, &question.listener) {
        (Some(service), None) => service_called(model, service),
        (None, Some(name)) => match model.listener(name) {
            Some(listener) => Ok(Called {
                title: format!("the listener {name}"),
                authorization: listener.authorization.clone().unwrap_or_default(),
                listener: Some(Arc::clone(listener)),
                host: String::new(),
                names_host: true,
            }),
            None => Err(ApiError::invalid(format!("there is no listener {name}"))),
        },
        _ => Err(ApiError::invalid(
            "say what is called: service, or listener",
        )),
    }
}

/// A service is called at its sidecars, and these decide.
fn service_called(model: &Model, name: &str) -> Result<Called, ApiError> {
    let access = model.access.of(name);
    let service = model.service(name);
    if service.is_none() && access == &model.access.others {
        let known: Vec<&str> = model.services.iter().map(|s| s.name.as_str()).collect();
        let message = format!(
            "there is no service {name}; known services: {}",
            known.join(", ")
        );
        return Err(ApiError::invalid(message));
    }
    let listener = service.map(|service| mesh::inbound(model, service));
    let authorization = match &listener {
        Some(listener) => listener.authorization.clone(),
        None => access.authorization.clone(),
    };
    Ok(Called {
        title: format!("the service {name}"),
        listener: listener.map(Arc::new),
        authorization: authorization.unwrap_or_default(),
        host: name.to_ascii_lowercase(),
        names_host: false,
    })
}

impl Called {
    /// The port that rules mean, as where the call is taken.
    pub(super) fn port(&self) -> u16 {
        let bound = || self.listener.as_ref().map(|it| it.bind.port());
        self.authorization.port.or_else(bound).unwrap_or_default()
    }

    /// What is judged: where connections are taken, nothing is known of what they carry.
    pub(super) fn method<'q>(&self, question: &'q Question) -> Option<&'q str> {
        let reads = |listener: &Arc<Listener>| listener.protocol.is_http();
        let method = question.method.as_deref();
        method.filter(|_| self.listener.as_ref().is_none_or(reads))
    }

    pub(super) fn host(&self, question: &Question) -> String {
        match question.host.as_str() {
            "" => self.host.clone(),
            said => without_port(said).to_ascii_lowercase(),
        }
    }

    /// Whether the call ends before any rule is asked.
    pub(super) fn is_shut(&self, identity: Option<&SpiffeId>) -> bool {
        let mode = self.listener.as_ref().and_then(|listener| listener.mesh);
        mode == Some(MeshMode::Strict) && identity.is_none()
    }
}

/// `shop` of `shop:8080`, and `[::1]` of `[::1]:8080`.
fn without_port(authority: &str) -> &str {
    let end = match authority.starts_with('[') {
        true => authority.find(']').map(|at| at + 1),
        false => authority.find(':'),
    };
    end.map_or(authority, |end| &authority[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_no_part_of_a_host() {
        for (authority, host) in [
            ("shop", "shop"),
            ("shop:8080", "shop"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
            ("[::1", "[::1"),
        ] {
            assert_eq!(without_port(authority), host);
        }
    }
}
