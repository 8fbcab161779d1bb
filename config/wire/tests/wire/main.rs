//! Models and resources: there and back, for ourselves, for others and from others.

mod foreign;
mod generate;
mod golden;
mod incremental;
mod others;
mod property;

use weir_wire::{Audience, decode, encode};

/// There and back for a Weir; what differs is told by part.
fn round_trip(model: &weir_config::model::Model) -> Result<(), String> {
    let encoded = encode(model, Audience::Weir);
    if !encoded.left_out.is_empty() {
        return Err(format!("left out: {:?}", encoded.left_out));
    }
    let again = encode(model, Audience::Weir);
    if again != encoded {
        return Err("the same model has two encodings".to_owned());
    }
    let decoded =
        decode(&encoded.resources).map_err(|rejected| format!("refused: {rejected:#?}"))?;
    let differs = |what: &str, a: String, b: String| match a == b {
        true => Ok(()),
        false => Err(format!("{what}:\n{a}\nbecame\n{b}")),
    };
    differs(
        "tracing",
        format!("{:?}", model.tracing),
        format!("{:?}", decoded.tracing),
    )?;
    for (a, b) in model.listeners.iter().zip(&decoded.listeners) {
        differs("a listener", format!("{a:#?}"), format!("{b:#?}"))?;
    }
    for (a, b) in model.services.iter().zip(&decoded.services) {
        differs("a service", format!("{a:#?}"), format!("{b:#?}"))?;
    }
    for (a, b) in model.routes.iter().zip(&decoded.routes) {
        differs("a route", format!("{a:#?}"), format!("{b:#?}"))?;
    }
    for (a, b) in model.streams.iter().zip(&decoded.streams) {
        differs("a stream", format!("{a:#?}"), format!("{b:#?}"))?;
    }
    match decoded == *model {
        true => Ok(()),
        // Keys and the like do not show.
        false => Err("something that does not show differs".to_owned()),
    }
}
