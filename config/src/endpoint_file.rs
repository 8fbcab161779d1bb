//! Endpoint files: what `discovery.files` finds in its directory.
//!
//! Such a file is data of another program, YAML or JSON, and holds as a whole or not at all: a list of which half was
//! understood would look as if the other half had stopped. Variables are not filled in.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use crate::compile::{locality, report::Report};
use crate::model::{EndpointId, Invalid, Locality, ServiceName, Source, VersionName, Weight};
use crate::raw::read::{Read, Reader};
use crate::raw::{self, At};
use crate::{Diagnostic, Place, diagnostic, file, yaml};

/// The endpoints of one service in one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointFile {
    pub service: ServiceName,
    pub endpoints: Vec<ListedEndpoint>,
    pub place: Place,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedEndpoint {
    pub address: SocketAddr,
    pub version: VersionName,
    pub weight: Weight,
    pub priority: u8,
    pub locality: Option<At<Locality>>,
    /// It is about to stop.
    pub draining: bool,
    pub place: Place,
}

/// Reads a file: one service for each of its YAML documents.
///
/// # Errors
/// Everything that is wrong with it, each with its place.
pub fn load(path: &Path) -> Result<Vec<EndpointFile>, Vec<Diagnostic>> {
    let text = file::read_bounded(path).map_err(|error| {
        let place = Place::of(Source::Other(path.display().to_string().into()));
        vec![Diagnostic::error(
            &place,
            format!("it cannot be read: {error}"),
        )]
    })?;
    parse(path, &text)
}

/// Reads a text as if it stood in that file.
///
/// # Errors
/// As [`load()`].
pub fn parse(path: &Path, text: &str) -> Result<Vec<EndpointFile>, Vec<Diagnostic>> {
    let name: Arc<str> = path.display().to_string().into();
    let parsed = yaml::parse(&name, text, &|_| None);
    let mut found = parsed.diagnostics;
    let mut files = Vec::new();
    for node in &parsed.documents {
        let raw = raw::EndpointFile::read(node, &mut Reader::new(Arc::clone(&name), &mut found));
        files.extend(raw.and_then(|raw| whole(&raw, &mut found)));
    }
    if files.is_empty() && !diagnostic::has_errors(&found) {
        let place = Place::of(Source::Other(name));
        let help =
            "a file that is being written looks so; write another and rename it over this one";
        found.push(Diagnostic::error(&place, "the file holds nothing").help(help));
    }
    match diagnostic::has_errors(&found) {
        true => Err(found),
        false => Ok(files),
    }
}

fn whole(raw: &raw::EndpointFile, found: &mut Vec<Diagnostic>) -> Option<EndpointFile> {
    let missing = |what: &str| Diagnostic::error(&raw.meta.place, format!("{what} missing"));
    if raw.meta.broken {
        return None;
    }
    let Some(service) = &raw.service else {
        found.push(missing("the service of the endpoints is"));
        return None;
    };
    let Some(listed) = &raw.endpoints else {
        found
            .push(missing("the list of endpoints is").help("write endpoints: [] if there is none"));
        return None;
    };
    let name = valid(ServiceName::new(&service.value), &service.place, found)?;
    let version = match &raw.version {
        Some(version) => valid(VersionName::new(&version.value), &version.place, found)?,
        None => VersionName::stable(),
    };
    let endpoints = listed
        .iter()
        .filter_map(|raw| endpoint(raw, &name, &version, found));
    Some(EndpointFile {
        endpoints: endpoints.collect(),
        service: name,
        place: Place::of(raw.meta.place.source.clone()),
    })
}

fn endpoint(
    raw: &raw::ListedEndpoint,
    service: &ServiceName,
    version: &VersionName,
    found: &mut Vec<Diagnostic>,
) -> Option<ListedEndpoint> {
    let place = &raw.meta.place;
    let Some(address) = &raw.address else {
        found.push(Diagnostic::error(
            place,
            "the address of the endpoint is missing",
        ));
        return None;
    };
    let ip = address.value.ip();
    if address.value.port() == 0 || ip.is_unspecified() || ip.is_multicast() {
        let message = format!("{} is not an address that can be called", address.value);
        found.push(Diagnostic::error(&address.place, message));
        return None;
    }
    // The compiler makes this one and must not find it too long.
    valid(
        EndpointId::new(&format!("{service}@{ip}:{}", address.value.port())),
        place,
        found,
    )?;
    let locality = match &raw.locality {
        Some(at) => {
            let mut report = Report::default();
            let place = locality::place(at, &mut report);
            found.append(&mut report.found);
            place.map(|_| at.clone())
        }
        None => None,
    };
    Some(ListedEndpoint {
        address: address.value,
        version: match &raw.version {
            Some(version) => valid(VersionName::new(&version.value), &version.place, found)?,
            None => version.clone(),
        },
        weight: raw.weight.as_ref().map_or(Weight::ONE, |at| at.value),
        priority: raw.priority.as_ref().map_or(0, |at| at.value),
        locality,
        draining: raw.draining.as_ref().is_some_and(|at| at.value),
        // Without its span: the text that it points into is not kept.
        place: Place::of(place.source.clone()),
    })
}

fn valid<T>(parsed: Result<T, Invalid>, place: &Place, found: &mut Vec<Diagnostic>) -> Option<T> {
    parsed
        .map_err(|invalid| found.push(Diagnostic::error(place, invalid.to_string())))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<EndpointFile>, String> {
        parse(Path::new("web.yaml"), text).map_err(|found| {
            let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
            lines.join("\n")
        })
    }

    #[test]
    fn yaml_and_json_say_the_same() {
        let yaml = "service: web\nversion: blue\nendpoints:\n  - { address: 10.0.0.1:80 }\n  \
                    - { address: \"[2001:db8::1]:80\", version: green, weight: 2.5, priority: 1, draining: true }\n";
        let json = r#"{"service": "web", "version": "blue", "endpoints": [{"address": "10.0.0.1:80"},
            {"address": "[2001:db8::1]:80", "version": "green", "weight": 2.5, "priority": 1, "draining": true}]}"#;
        for text in [yaml, json] {
            let files = read(text).unwrap();
            let [file] = files.as_slice() else {
                panic!("{files:?}")
            };
            let shown: Vec<String> = file
                .endpoints
                .iter()
                .map(|e| {
                    format!(
                        "{}/{} {} {} {} {}",
                        file.service, e.version, e.address, e.weight, e.priority, e.draining
                    )
                })
                .collect();
            assert_eq!(
                shown,
                [
                    "web/blue 10.0.0.1:80 1 0 false",
                    "web/green [2001:db8::1]:80 2.5 1 true"
                ]
            );
        }
    }

    #[test]
    fn each_document_is_a_service() {
        let text =
            "service: a\nendpoints: []\n---\nservice: b\nendpoints: [{ address: 10.0.0.1:80 }]\n";
        assert_eq!(read(text).unwrap().len(), 2);
    }

    #[test]
    fn a_file_holds_as_a_whole_or_not_at_all() {
        let good = "{ address: 10.0.0.1:80 }";
        for (text, says) in [
            ("", "the file holds nothing"),
            (
                "service: web\n",
                "web.yaml:1:1: the list of endpoints is missing",
            ),
            ("endpoints: []\n", "the service of the endpoints is missing"),
            (
                "service: web\nendpoints: [{ address: web:80 }]",
                "not an address",
            ),
            (
                &format!("service: web\nendpoints: [{good}, {{ adress: 10.0.0.2:80 }}]"),
                "did you mean \"address\"",
            ),
            (
                &format!("service: web\nendpoints: [{good}, {{ address: 0.0.0.0:80 }}]"),
                "that can be called",
            ),
            (
                &format!(
                    "service: web\nendpoints: [{good}, {{ address: 10.0.0.2:80, version: a b }}]"
                ),
                "version name",
            ),
            (
                &format!("service: \"a b\"\nendpoints: [{good}]"),
                "service name",
            ),
            (
                &format!("service: web\nendpoints: [{good}, {{ addr"),
                "web.yaml:2",
            ),
            ("service: ${HOME}\nendpoints: []\n", "HOME"),
        ] {
            let said = read(text).unwrap_err();
            assert!(said.contains(says), "{text:?}: {said}");
        }
    }
}
