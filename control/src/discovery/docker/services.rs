//! What the services of a Swarm declare for their tasks.
//!
//! `deploy.labels` of a stack file are the service's: no container carries them, and only an engine that manages the
//! Swarm tells them. They are the declared place for routing, and can change while the tasks run on, so a service's
//! label goes before one of the same name on its containers, which may come from as far as the image. Labels other
//! than Weir's are left where they are.
//!
//! An answer that does not come keeps the labels known before (semantics 36).

use std::collections::BTreeMap;
use std::sync::Arc;

use bollard::models::ContainerSummary;
use weir_config::labels;

use crate::discovery::engine::EngineError;
use crate::discovery::engine::cluster::Service;

/// Set by the engine on each container of a task.
pub(super) const SERVICE_ID: &str = "com.docker.swarm.service.id";

/// Whether one of these containers is a task of a Swarm service.
pub(super) fn any_task(summaries: &[ContainerSummary]) -> bool {
    summaries.iter().any(is_task)
}

/// Whether a container is a task of a Swarm service.
pub(super) fn is_task(summary: &ContainerSummary) -> bool {
    service_of(summary).is_some()
}

fn service_of(summary: &ContainerSummary) -> Option<&String> {
    summary.labels.as_ref()?.get(SERVICE_ID)
}

/// The labels of the services of a Swarm, as far as they are known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Services {
    /// Weir's labels only, by the service's id.
    labels: Arc<BTreeMap<String, BTreeMap<String, String>>>,
    /// Why they may be older than the list, or missing.
    unread: Option<String>,
}

impl Services {
    /// Takes the engine's answer.
    ///
    /// # Errors
    /// When the engine is gone. Any other failure concerns the cluster, not this engine's containers, and keeps what
    /// is known.
    pub(super) fn renewed(
        &self,
        answer: Result<Vec<Service>, EngineError>,
    ) -> Result<Self, EngineError> {
        let unread = match answer {
            Ok(services) => {
                return Ok(Self {
                    labels: Arc::new(services.into_iter().map(declared).collect()),
                    unread: None,
                });
            }
            Err(error @ EngineError::Unreachable(_)) => return Err(error),
            Err(EngineError::Refused {
                status: 401 | 403, ..
            }) => "the way to the engine does not let GET /services through".to_owned(),
            // The engine's own word for a node that is no manager, or not yet one after its start.
            Err(EngineError::NoManager | EngineError::Refused { status: 503, .. }) => {
                "this node is no Swarm manager; run Weir on managers, or write the labels under `labels` instead"
                    .to_owned()
            }
            Err(other) => other.to_string(),
        };
        Ok(Self {
            labels: Arc::clone(&self.labels),
            unread: Some(unread),
        })
    }

    /// Gives each task its service's labels.
    pub(super) fn label(&self, summaries: &mut [ContainerSummary]) {
        for summary in summaries {
            let Some(declared) = service_of(summary).and_then(|id| self.labels.get(id)) else {
                continue;
            };
            let own = summary.labels.get_or_insert_default();
            own.retain(|name, _| !overrides(declared, name));
            own.extend(
                declared
                    .iter()
                    .map(|(name, value)| (name.clone(), value.clone())),
            );
        }
    }

    /// Why the labels of services are not as new as the list, if so.
    pub(super) fn unread(&self) -> Option<&str> {
        self.unread.as_deref()
    }
}

/// Whether a service's labels say something in place of this one of its containers.
pub(in crate::discovery) fn overrides(declared: &BTreeMap<String, String>, name: &str) -> bool {
    declared
        .keys()
        .any(|declared| labels::same_label(name, declared))
}

fn declared(service: Service) -> (String, BTreeMap<String, String>) {
    let all = service.spec.labels.into_iter();
    let ours = all.filter(|(name, _)| labels::is_ours(name) || labels::is_traefik(name));
    (service.id, ours.collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn services(labels: &serde_json::Value) -> Services {
        let service = json!({"ID": "s1", "Spec": {"Name": "shop", "Labels": labels}});
        Services::default()
            .renewed(Ok(vec![serde_json::from_value(service).unwrap()]))
            .unwrap()
    }

    fn task(labels: &serde_json::Value) -> ContainerSummary {
        serde_json::from_value(json!({"Id": "aaaa", "Labels": labels})).unwrap()
    }

    fn labelled(services: &Services, own: &serde_json::Value) -> serde_json::Value {
        let mut summaries = [task(own)];
        services.label(&mut summaries);
        serde_json::to_value(&summaries[0].labels).unwrap()
    }

    #[test]
    fn a_task_has_its_services_labels_before_its_own() {
        let services = services(&json!({
            "weir.enable": "true",
            "weir.pool.connectTimeout": "1s",
            "com.docker.stack.namespace": "shop",
        }));
        let own = json!({
            SERVICE_ID: "s1",
            "weir.port": "80",
            "weir.pool.connect-timeout": "9s",
            "other": "stays",
        });
        assert_eq!(
            labelled(&services, &own),
            json!({
                SERVICE_ID: "s1",
                "weir.enable": "true",
                "weir.port": "80",
                "weir.pool.connectTimeout": "1s",
                "other": "stays",
            })
        );
    }

    #[test]
    fn a_container_of_no_service_or_of_another_one_keeps_its_labels() {
        let services = services(&json!({"weir.enable": "true"}));
        for own in [json!({}), json!({SERVICE_ID: "s2"})] {
            assert_eq!(labelled(&services, &own), own);
        }
        assert!(!any_task(&[task(&json!({"a": "b"}))]));
        assert!(any_task(&[task(&json!({SERVICE_ID: "s2"}))]));
    }

    // semantics 36
    #[test]
    fn a_cluster_that_does_not_answer_keeps_what_is_known() {
        let known = services(&json!({"weir.enable": "true"}));
        for (error, said) in [
            (refused(503), "no Swarm manager"),
            (refused(403), "GET /services"),
            (refused(500), "answered 500"),
            (EngineError::Slow, "did not answer"),
        ] {
            let kept = known.renewed(Err(error)).unwrap();
            assert!(kept.unread().unwrap().contains(said), "{kept:?}");
            let own = json!({SERVICE_ID: "s1"});
            assert_eq!(labelled(&kept, &own)["weir.enable"], "true");
        }
        let gone = EngineError::Unreachable("gone".into());
        assert!(known.renewed(Err(gone)).is_err());
    }

    fn refused(status: u16) -> EngineError {
        EngineError::Refused {
            status,
            message: "no".into(),
        }
    }
}
