//! A border of zeros around rows and columns goes into the convolution behind it.

use fleetfoot_import::onnx::model::{Attribute, Model};

pub(super) fn fold(model: &mut Model) {
    let mut at = 0;
    while at < model.nodes.len() {
        if model.nodes[at].is("Conv") && folded(model, at).is_some() {
            continue;
        }
        at += 1;
    }
}

/// The node is gone, and the convolution has moved one place to the front.
fn folded(model: &mut Model, at: usize) -> Option<()> {
    let uses = super::uses(model);
    let conv = &model.nodes[at];
    let before = super::only_source(model, &uses, &conv.inputs[0])?;
    let pad = &model.nodes[before];
    if !pad.is("Pad") || pad.text("mode", "constant") != "constant" || pad.input(3).is_some() {
        return None;
    }
    if conv.text("auto_pad", "NOTSET") != "NOTSET" {
        return None;
    }
    let value = match pad.input(2) {
        Some(name) => *model.constants.get(name)?.to_floats()?.first()?,
        None => pad.float("value", 0.0),
    };
    let amounts = match pad.ints("pads") {
        Some(pads) => pads.to_vec(),
        None => model.constants.get(pad.input(1)?)?.to_ints()?,
    };
    let &[0, 0, top, left, 0, 0, below, right] = &amounts[..] else { return None };
    if value != 0.0 || amounts.iter().any(|&a| a < 0) {
        return None;
    }
    let own = conv.ints("pads").map_or_else(|| vec![0; 4], <[i64]>::to_vec);
    let sum: Vec<i64> = own.iter().zip([top, left, below, right]).map(|(a, b)| a.saturating_add(b)).collect();
    let input = pad.inputs[0].clone();
    let conv = &mut model.nodes[at];
    conv.attributes.insert("pads".into(), Attribute::Ints(sum));
    conv.inputs[0] = input;
    model.nodes.remove(before);
    Some(())
}
