//! The plots of the page, as SVG: sizes in CSS pixels, colours from the style sheet.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use super::{class_of, escape, short};
use crate::{histogram::Bars, report::LayerReport};

/// A signal to noise of a layer.
type Db = fn(&LayerReport) -> f64;

/// Signal to noise of each layer, alone and with all before it, from the first to the last.
pub(super) fn depth(layers: &[LayerReport]) -> String {
    let (width, height, left, below, top) = (1020.0, 270.0, 44.0, 34.0, 12.0);
    let lowest = layers.iter().map(|l| l.accumulated_db.min(l.isolated_db)).fold(30.0, f64::min);
    let highest = layers.iter().map(|l| l.accumulated_db.max(l.isolated_db).min(60.0)).fold(40.0, f64::max);
    let (low, high) = ((lowest / 10.0).floor() * 10.0, (highest / 10.0).ceil() * 10.0);
    let steps = layers.len().saturating_sub(1).max(1) as f64;
    let x = |i: usize| left + (width - left - 14.0) * i as f64 / steps;
    let y = |db: f64| top + (height - below - top) * (high - db.clamp(low, high)) / (high - low);
    let mut svg = open(width, height, "Signal to noise by depth");
    let mut line = low;
    while line <= high {
        let at = y(line);
        let _ = write!(svg, r#"<line class="grid" x1="{left}" x2="{}" y1="{at:.1}" y2="{at:.1}"/>"#, width - 14.0);
        let _ = write!(svg, r#"<text x="{}" y="{:.1}" text-anchor="end">{line:.0}</text>"#, left - 8.0, at + 4.0);
        line += 10.0;
    }
    let _ = write!(svg, r#"<text x="{left}" y="{}">first layer</text>"#, height - 10.0);
    let _ = write!(svg, r#"<text x="{}" y="{}" text-anchor="end">output</text>"#, width - 14.0, height - 10.0);
    let lines: [(&str, &str, Db); 2] = [("la", "da", |l| l.isolated_db), ("lb", "db", |l| l.accumulated_db)];
    for (line, dot, db) in lines {
        let points: Vec<String> =
            layers.iter().enumerate().map(|(i, l)| format!("{:.1},{:.1}", x(i), y(db(l)))).collect();
        let _ = write!(svg, r#"<polyline class="{line}" points="{}"/>"#, points.join(" "));
        let radius = if layers.len() > 80 { 2.0 } else { 3.5 };
        for (i, layer) in layers.iter().enumerate() {
            let (cx, cy) = (x(i), y(db(layer)));
            let (value, name) = (db(layer), escape(&layer.name));
            let _ = write!(
                svg,
                r#"<circle class="{dot}" cx="{cx:.1}" cy="{cy:.1}" r="{radius}"><title>{} {name}: {value:.1} dB</title></circle>"#,
                escape(&layer.op)
            );
        }
    }
    // The worst layer has its name beside it.
    if let Some((i, worst)) = layers.iter().enumerate().find(|(_, l)| l.rank == 1) {
        let anchor = if x(i) > width / 2.0 { ("end", -8.0) } else { ("start", 8.0) };
        let _ = write!(
            svg,
            r#"<text class="strong" x="{:.1}" y="{:.1}" text-anchor="{}">{} {:.1} dB</text>"#,
            x(i) + anchor.1,
            (y(worst.isolated_db) + 18.0).min(height - below + 14.0),
            anchor.0,
            escape(&short(&worst.op, &worst.name, 28)),
            worst.isolated_db
        );
    }
    svg + "</svg>"
}

/// A histogram; `range` are the ends of what int8 can hold.
pub(super) fn histogram(bars: &Bars, range: Option<[f64; 2]>, class: &str, what: &str) -> String {
    let (width, height, below) = (240.0, 84.0, 16.0);
    let mut svg = open(width, height, what);
    let most = bars.counts.iter().copied().max().unwrap_or(0).max(1) as f64;
    let step = width / bars.counts.len().max(1) as f64;
    let mut outline = String::new();
    for (i, &count) in bars.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        // Square roots: rare values are what a range is about.
        let tall = ((height - below) * (count as f64 / most).sqrt()).max(1.0);
        let (x, base, wide) = (i as f64 * step, height - below, (step - 0.6).max(0.6));
        let _ = write!(outline, "M{x:.1} {base}v-{tall:.1}h{wide:.1}v{tall:.1}z");
    }
    let _ = write!(svg, r#"<path class="{class}" d="{outline}"/>"#);
    let span = (bars.high - bars.low).max(f64::MIN_POSITIVE);
    for end in range.into_iter().flatten() {
        let x = (end - bars.low) / span * width;
        // An end outside of the plot cuts nothing off.
        if (0.5..width - 0.5).contains(&x) {
            let _ = write!(svg, r#"<line class="cut" x1="{x:.1}" x2="{x:.1}" y1="0" y2="{}"/>"#, height - below);
        }
    }
    let _ = write!(svg, r#"<text x="0" y="{}">{}</text>"#, height - 3.0, number(bars.low));
    let _ = write!(svg, r#"<text x="{width}" y="{}" text-anchor="end">{}</text>"#, height - 3.0, number(bars.high));
    svg + "</svg>"
}

/// The layers from top to bottom, each below all that it reads.
pub(super) fn graph(layers: &[LayerReport]) -> String {
    const BOX: [f64; 2] = [196.0, 40.0];
    const GAP: [f64; 2] = [22.0, 26.0];
    let names: BTreeMap<&str, usize> = layers.iter().enumerate().map(|(i, l)| (&l.name[..], i + 1)).collect();
    // Node 0 is the input.
    let reads = |layer: &LayerReport| -> Vec<usize> {
        let found: BTreeSet<usize> = layer.reads.iter().map(|n| names.get(&n[..]).copied().unwrap_or(0)).collect();
        found.into_iter().collect()
    };
    let mut rows = vec![0usize];
    for layer in layers {
        let row = reads(layer).iter().filter_map(|&i| rows.get(i)).max().map_or(1, |row| row + 1);
        rows.push(row);
    }
    let n_rows = rows.iter().max().map_or(1, |row| row + 1);
    let mut filled = vec![0usize; n_rows];
    let mut places: Vec<(usize, usize)> = Vec::new();
    for &row in &rows {
        places.push((filled[row], row));
        filled[row] += 1;
    }
    let widest = filled.iter().copied().max().unwrap_or(1);
    // Long chains go on in a next column: a page is wider than one box.
    let per_column =
        if widest == 1 { n_rows.div_ceil(columns(n_rows)) } else { n_rows.div_ceil(columns(n_rows).min(2)) };
    let column_width = widest as f64 * (BOX[0] + GAP[0]) + 40.0;
    let at = |i: usize| {
        let (slot, row) = places[i];
        let (column, row) = (row / per_column, row % per_column);
        let inset = (widest - filled[places[i].1]) as f64 * (BOX[0] + GAP[0]) / 2.0;
        let x = column as f64 * column_width + inset + slot as f64 * (BOX[0] + GAP[0]) + 10.0;
        (x, row as f64 * (BOX[1] + GAP[1]) + 10.0)
    };
    let n_columns = n_rows.div_ceil(per_column);
    let (width, height) = (n_columns as f64 * column_width, per_column as f64 * (BOX[1] + GAP[1]) + 10.0);
    let mut svg = open(width, height, "The layers of the network");
    for (i, layer) in layers.iter().enumerate() {
        for from in reads(layer) {
            svg += &edge(at(from), at(i + 1), BOX);
        }
    }
    let mut node = |i: usize, class: &str, name: &str, detail: &str, title: &str| {
        let (x, y) = at(i);
        let _ = write!(
            svg,
            r#"<g><title>{}</title><rect class="node {class}" x="{x:.0}" y="{y:.0}" width="{}" height="{}" rx="7"/><text class="strong" x="{:.0}" y="{:.0}">{}</text><text x="{:.0}" y="{:.0}">{}</text></g>"#,
            escape(title),
            BOX[0],
            BOX[1],
            x + 10.0,
            y + 17.0,
            escape(name),
            x + 10.0,
            y + 33.0,
            escape(detail)
        );
    };
    node(0, "door", "input", "as the model reads it", "input");
    for (i, layer) in layers.iter().enumerate() {
        let detail = format!("{:.1} dB alone, {:.1} so far", layer.isolated_db, layer.accumulated_db);
        let title = format!("{} {}: {} MACs", layer.op, layer.name, layer.macs);
        node(i + 1, class_of(layer.isolated_db), &short(&layer.op, &layer.name, 26), &detail, &title);
    }
    svg + "</svg>"
}

/// Columns that a chain of layers is shown in.
fn columns(rows: usize) -> usize {
    rows.div_ceil(9).clamp(1, 4)
}

/// A line from below one box to above another; to another column it goes around.
fn edge(from: (f64, f64), to: (f64, f64), size: [f64; 2]) -> String {
    let (x1, y1, x2, y2) = (from.0 + size[0] / 2.0, from.1 + size[1], to.0 + size[0] / 2.0, to.1);
    if y2 > y1 && y2 - y1 < size[1] {
        return format!(
            r#"<path class="edge" d="M{x1:.0} {y1:.0}C{x1:.0} {:.0} {x2:.0} {:.0} {x2:.0} {y2:.0}"/>"#,
            y1 + 13.0,
            y2 - 13.0
        );
    }
    if y2 > y1 {
        // Past other boxes: along their right side.
        let (right, y1, y2) = (from.0.max(to.0) + size[0] + 12.0, y1 - size[1] / 2.0, y2 + size[1] / 2.0);
        let (x1, x2) = (from.0 + size[0], to.0 + size[0]);
        return format!(
            r#"<path class="edge" d="M{x1:.0} {y1:.0}Q{right:.0} {y1:.0} {right:.0} {:.0}L{right:.0} {:.0}Q{right:.0} {y2:.0} {x2:.0} {y2:.0}"/>"#,
            y1 + 14.0,
            y2 - 14.0
        );
    }
    let middle = (from.0 + size[0] + to.0) / 2.0;
    let (x1, y1, x2, y2) = (from.0 + size[0], from.1 + size[1] / 2.0, to.0, to.1 + size[1] / 2.0);
    format!(r#"<path class="edge" d="M{x1:.0} {y1:.0}C{middle:.0} {y1:.0} {middle:.0} {y2:.0} {x2:.0} {y2:.0}"/>"#)
}

fn open(width: f64, height: f64, label: &str) -> String {
    format!(
        r#"<svg viewBox="0 0 {width:.0} {height:.0}" width="{width:.0}" height="{height:.0}" role="img" aria-label="{}">"#,
        escape(label)
    )
}

/// Three digits of a number.
fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        v if (0.01..10_000.0).contains(&v) => {
            let digits = if v < 1.0 {
                3
            } else if v < 10.0 {
                2
            } else if v < 100.0 {
                1
            } else {
                0
            };
            format!("{value:.digits$}")
        }
        _ => format!("{value:.1e}"),
    }
}
