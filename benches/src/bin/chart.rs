//! `chart RECORD.csv CHART.svg`: what `cargo xtask bench peers` measured with one thread, as a picture.
//!
//! A group of bars for each network, a bar for each peer in its fastest form: how many times as long as ours it takes, on
//! an axis where each line is twice the one below. Bars below the line at 1 are faster than ours.
#![forbid(unsafe_code)]

use std::{error::Error, fs, process::ExitCode};

use plotters::prelude::*;

/// Peers as the record calls them, for people, and their colours.
const PEERS: &[(&str, &str, RGBColor)] = &[
    ("litert", "LiteRT", RGBColor(0xd9, 0x5f, 0x02)),
    ("onnxruntime", "ONNX Runtime", RGBColor(0x1b, 0x9e, 0x77)),
    ("openvino", "OpenVINO", RGBColor(0x75, 0x70, 0xb3)),
    ("ncnn", "ncnn", RGBColor(0xe7, 0x29, 0x8a)),
    ("mnn", "MNN", RGBColor(0x66, 0xa6, 0x1e)),
    ("tract", "tract", RGBColor(0xe6, 0xab, 0x02)),
    ("rten", "RTen", RGBColor(0x66, 0x66, 0x66)),
];
const SIZE: (u32, u32) = (1080, 460);
/// Doublings shown below 1.
const BELOW: f64 = -1.0;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [csv, svg] = &args[..] else {
        eprintln!("usage: chart RECORD.csv CHART.svg");
        return ExitCode::from(2);
    };
    match fs::read_to_string(csv).map_err(Box::from).and_then(|text| draw(&bars(&text)?, svg)) {
        Ok(()) => {
            println!("written: {svg}");
            ExitCode::SUCCESS
        }
        Err(fault) => {
            eprintln!("{csv}: {fault}");
            ExitCode::FAILURE
        }
    }
}

/// A network and, for each of [`PEERS`] that ran it, its time over ours.
struct Group {
    model: String,
    times_ours: Vec<Option<f64>>,
}

/// Reads the record, one thread, the fastest form of each peer.
fn bars(csv: &str) -> Result<Vec<Group>, Box<dyn Error>> {
    let mut lines = csv.lines();
    let header: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
    let column = |name: &str| header.iter().position(|h| *h == name).ok_or_else(|| format!("no column {name}"));
    let (model, peer) = (column("model")?, column("peer")?);
    let (threads, ratio) = (column("threads")?, column("ours_over_it")?);
    let mut groups: Vec<Group> = Vec::new();
    for line in lines {
        let fields: Vec<&str> = line.split(',').collect();
        let field = |at: usize| fields.get(at).copied().unwrap_or_default();
        let Some(at) = PEERS.iter().position(|(name, ..)| *name == field(peer)) else { continue };
        let Some(ratio) = field(ratio).parse().ok().filter(|ratio: &f64| *ratio > 0.0) else { continue };
        if field(threads) != "1" {
            continue;
        }
        if groups.last().is_none_or(|group| group.model != field(model)) {
            groups.push(Group { model: field(model).into(), times_ours: vec![None; PEERS.len()] });
        }
        if let Some(group) = groups.last_mut() {
            let best = group.times_ours[at].map_or(1.0 / ratio, |old| old.min(1.0 / ratio));
            group.times_ours[at] = Some(best);
        }
    }
    if groups.is_empty() { Err("nothing was measured with one thread".into()) } else { Ok(groups) }
}

fn draw(groups: &[Group], svg: &str) -> Result<(), Box<dyn Error>> {
    let all = groups.iter().flat_map(|group| group.times_ours.iter().flatten());
    let top = all.fold(1.0, |top: f64, &times| top.max(times.log2())).ceil();
    let root = SVGBackend::new(svg, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption("Time over that of Fleetfoot, one core, one thread: longer bars are slower", ("sans-serif", 17))
        .margin(10)
        .x_label_area_size(44)
        .y_label_area_size(48)
        .build_cartesian_2d(0.0..groups.len() as f64, BELOW..top)?;
    let doublings = (top - BELOW) as usize + 1;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(0)
        .y_labels(doublings)
        .y_label_formatter(&|v| format!("{}x", v.exp2()))
        .light_line_style(TRANSPARENT)
        .label_style(("sans-serif", 13))
        .draw()?;
    for (at, (_, name, color)) in PEERS.iter().enumerate() {
        let width = 0.8 / PEERS.len() as f64;
        let bars = groups.iter().enumerate().filter_map(|(group, of)| {
            let left = group as f64 + 0.1 + width * at as f64;
            of.times_ours[at].map(|times| {
                let end = times.log2().max(BELOW);
                Rectangle::new([(left, end.min(0.0)), (left + 0.85 * width, end.max(0.0))], color.filled())
            })
        });
        chart
            .draw_series(bars)?
            .label(*name)
            .legend(|(x, y)| Rectangle::new([(x, y - 5), (x + 10, y + 5)], color.filled()));
    }
    chart.draw_series(LineSeries::new([(0.0, 0.0), (groups.len() as f64, 0.0)], BLACK.stroke_width(2)))?;
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE)
        .border_style(BLACK.mix(0.3))
        .label_font(("sans-serif", 13))
        .draw()?;
    // The axis has no names of its own for groups.
    for (group, of) in groups.iter().enumerate() {
        let (x, y) = chart.backend_coord(&(group as f64 + 0.5, BELOW));
        let style = ("sans-serif", 12).into_font().into_text_style(&root);
        let style = style.pos(plotters::style::text_anchor::Pos::new(
            plotters::style::text_anchor::HPos::Center,
            plotters::style::text_anchor::VPos::Top,
        ));
        root.draw(&Text::new(of.model.clone(), (x, y + 8), style))?;
    }
    root.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::bars;

    #[test]
    fn the_fastest_form_with_one_thread_counts() {
        let csv =
            "model,peer,threads,ours_over_it\nad,fleetfoot,1,1.0\nad,tract,1,0.25\nad,tract,1,0.5\nad,litert,2,0.1\n";
        let groups = bars(csv).expect("a record");
        assert_eq!((groups.len(), groups[0].times_ours[0], groups[0].times_ours[5]), (1, None, Some(2.0)));
        assert!(bars("model,peer\n").is_err(), "a column is missing");
        assert!(bars("model,peer,threads,ours_over_it\n").is_err(), "an empty record");
    }
}
