//! A control plane and what tests ask of it.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;
use weir_config::model::{Admission, Model};
use weir_control::{Control, ControlOptions, Published};

/// Nothing that is waited for takes longer than this, on the slowest machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Harness {
    pub(crate) control: Control,
}

impl Harness {
    pub(crate) async fn start(options: ControlOptions) -> Self {
        Self {
            control: Control::start(options)
                .await
                .expect("the control plane starts"),
        }
    }

    /// Waits for a generation of which that is true.
    pub(crate) async fn until(&self, what: &str, fits: impl Fn(&Model) -> bool) -> Published {
        let mut models = self.control.models();
        let wait = models.wait_for(|published| fits(&published.model));
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(published) => published.expect("the control plane runs").clone(),
            Err(_) => panic!(
                "waited in vain until {what}; the model has {:?}",
                endpoints(&self.control.models().borrow().model)
            ),
        }
    }

    pub(crate) fn now(&self) -> Published {
        self.control.models().borrow().clone()
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let app = weir_control::api::router(self.control.clone());
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = app.oneshot(request).await.unwrap();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        serde_json::from_slice(&bytes).unwrap()
    }

    /// Polls a reply until that is true of it.
    pub(crate) async fn until_reply(
        &self,
        path: &str,
        what: &str,
        fits: impl Fn(&Value) -> bool,
    ) -> Value {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let reply = self.get(path).await;
            if fits(&reply) {
                return reply;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "waited in vain until {what}: {reply:#}"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until the provider is in that state, and returns it.
    pub(crate) async fn until_provider(&self, name: &str, state: &str) -> Value {
        let find = |reply: &Value| {
            let all = reply["providers"].as_array().unwrap();
            all.iter()
                .find(|p| p["name"] == name && p["state"] == state)
                .cloned()
        };
        let what = format!("{name} is {state}");
        let reply = self
            .until_reply("/api/v1/status", &what, |reply| find(reply).is_some())
            .await;
        find(&reply).unwrap()
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        self.control.stop();
    }
}

/// `shop/stable 172.18.0.2:80 probe`, by service and id.
pub(crate) fn endpoints(model: &Model) -> Vec<String> {
    let mut out = Vec::new();
    for service in &model.services {
        for endpoint in &service.endpoints {
            let admission = match &endpoint.admission {
                Admission::Ready => "ready",
                Admission::Probe => "probe",
                Admission::NotReady(reason) => reason,
                Admission::Draining => "draining",
            };
            out.push(format!(
                "{}/{} {} {admission}",
                service.name, endpoint.version, endpoint.address
            ));
        }
    }
    out
}

/// The states of one service's endpoints, sorted.
pub(crate) fn states(model: &Model, service: &str) -> Vec<String> {
    let all = endpoints(model);
    let ours = all
        .iter()
        .filter(|text| text.starts_with(&format!("{service}/")));
    let mut states: Vec<String> = ours
        .map(|text| text.rsplit(' ').next().unwrap().to_owned())
        .collect();
    states.sort();
    states
}
