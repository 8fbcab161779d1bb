//! Changing the configuration of a running process: nobody notices but those it is about.

mod endpoints;
mod files;
mod listeners;
mod load;

use weir_tests::wait::eventually;
use weir_tests::weir::Weir;

fn apply_text(weir: &Weir, yaml: &str) {
    let before = weir.generation();
    weir.rewrite_text(yaml);
    eventually("the new configuration in force", || {
        (weir.generation() > before).then_some(())
    });
}

/// Every stable endpoint with that weight.
fn weighted(yaml: &str, weight: u32) -> String {
    let with_weight = yaml.replace(
        "version: stable }",
        &format!("version: stable, weight: {weight} }}"),
    );
    assert_ne!(with_weight, yaml, "no endpoint to give a weight");
    with_weight
}
