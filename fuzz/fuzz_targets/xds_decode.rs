//! Any bytes as resources of a control plane: no panic; and a model that is made of them comes back from what a Weir would be
//! told of it.

#![no_main]

use std::path::Path;
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::{arbitrary, fuzz_target};
use weir_wire::{Audience, Kind, Resource, Resources, check, decode, encode, references};

/// What is bent: a bit of everything.
const BASE: &str = include_str!("../../tests/tests/xds/everything.yaml");

static RESOURCES: LazyLock<[Vec<Arc<Resource>>; 2]> = LazyLock::new(|| {
    let loaded = weir_config::file::parse_with(Path::new("weir.yaml"), BASE, &|_| None);
    let model = weir_config::compile(&[loaded.fragment]).model;
    let all = |audience| encode(&model, audience).resources.iter().cloned().collect();
    [all(Audience::Weir), all(Audience::Other)]
});

#[derive(Debug, arbitrary::Arbitrary)]
struct Input<'a> {
    others: bool,
    edits: Vec<Edit<'a>>,
    more: Vec<(u8, &'a str, &'a [u8])>,
}

/// Puts bytes in the place of others in one of the resources.
#[derive(Debug, arbitrary::Arbitrary)]
struct Edit<'a> {
    which: u16,
    at: u16,
    cut: u8,
    put: &'a [u8],
}

fn kind(number: u8) -> Kind {
    Kind::ALL[usize::from(number) % Kind::ALL.len()]
}

fn bent(resource: &Resource, edit: &Edit<'_>) -> Resource {
    let mut bytes = resource.body.value.clone();
    let from = usize::from(edit.at) % (bytes.len() + 1);
    let to = (from + usize::from(edit.cut)).min(bytes.len());
    bytes.splice(from..to, edit.put.iter().copied());
    Resource::new(resource.kind, resource.name.clone(), bytes)
}

fuzz_target!(|input: Input<'_>| {
    let base = &RESOURCES[usize::from(input.others)];
    let mut resources = Resources::default();
    base.iter()
        .for_each(|resource| resources.insert(Arc::clone(resource)));
    let edited = input.edits.iter().take(16).map(|edit| {
        let which = usize::from(edit.which) % base.len();
        bent(&base[which], edit)
    });
    let more = input.more.iter().take(8);
    let more =
        more.map(|(number, name, bytes)| Resource::new(kind(*number), *name, bytes.to_vec()));
    for resource in edited.chain(more) {
        let _ = references(&resource);
        // A resource that is refused alone is left as it was: all together may still make a model.
        if check(&resource).is_ok() {
            resources.insert(Arc::new(resource));
        }
    }
    let Ok(model) = decode(&resources) else {
        return;
    };
    let encoded = encode(&model, Audience::Weir);
    let again = decode(&encoded.resources);
    assert_eq!(
        again.as_ref(),
        Ok(&model),
        "a model that does not come back"
    );
    let _ = encode(&model, Audience::Other);
});
