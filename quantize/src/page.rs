//! The report as one page of HTML: nothing is loaded from anywhere, it has a dark side, and it can be read on a phone.
//!
//! ```text
//! verdict     what it costs, in one sentence and a few numbers
//! to do       the worst layers: cause and what to do
//! depth       signal to noise from the first layer to the output
//! graph       the layers, coloured by what each loses
//! values      histograms of weights and results, with the ends of the int8 range
//! table       every number
//! ```

mod plots;

use std::fmt::Write as _;

use crate::{float::Quantized, mend::Applied, report::LayerReport, speed::Speed};

/// How many labelled samples both networks get right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accuracy {
    /// Samples.
    pub evaluated: usize,
    /// Right in float.
    pub float: usize,
    /// Right in int8.
    pub int8: usize,
}

impl Accuracy {
    /// Percentage points that int8 is worse.
    #[must_use]
    pub fn drop(&self) -> f64 {
        (self.float as f64 - self.int8 as f64) * 100.0 / self.evaluated.max(1) as f64
    }
}

/// All that the page shows.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// The file that was quantized.
    pub source: &'a str,
    /// Its hash.
    pub source_sha256: [u8; 32],
    /// The program and its version.
    pub tool: &'a str,
    /// The result.
    pub made: &'a Quantized,
    /// Bytes of the int8 file.
    pub int8_len: usize,
    /// On labelled samples, if there were some.
    pub accuracy: Option<Accuracy>,
    /// Times on this machine, if they were measured.
    pub speed: Option<Speed>,
    /// What was tried to mend it.
    pub applied: &'a [Applied],
}

/// Layers with plots and boxes of their own at most: a page has an end.
const MOST_LAYERS: usize = 400;
/// Layers in the list of what to do.
const MOST_CAUSES: usize = 6;

impl Page<'_> {
    /// The bytes of the file.
    #[must_use]
    pub fn to_html(&self) -> String {
        let title = escape(self.source);
        let mut html = format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
             content=\"width=device-width,initial-scale=1\"><title>{title} in int8</title><style>\n{}</style></head><body><main>\n",
            include_str!("page/style.css")
        );
        let _ = write!(
            html,
            "<p class=\"soft\">quantization report</p><h1>{title}</h1>\n<p class=\"lead\">{}</p>\n",
            self.verdict()
        );
        html += &self.tiles();
        html += &self.causes();
        html += &self.depth();
        html += &self.graph();
        html += &self.plots();
        html += &self.table();
        html += &self.provenance();
        html + "</main></body></html>\n"
    }

    fn layers(&self) -> &[LayerReport] {
        let layers = &self.made.layers;
        &layers[..layers.len().min(MOST_LAYERS)]
    }

    fn size_ratio(&self) -> f64 {
        self.int8_len as f64 / self.made.float_len.max(1) as f64
    }

    fn verdict(&self) -> String {
        let size = format!("{:.1} times smaller", 1.0 / self.size_ratio().max(1e-9));
        let mut text = match self.accuracy {
            Some(a) if a.int8 >= a.float => {
                format!("Nothing is lost: int8 gets {} of {} right, float {}. ", a.int8, a.evaluated, a.float)
            }
            Some(a) => format!(
                "int8 gets {} of {} right, float {}: {:.2} percentage points are lost. ",
                a.int8,
                a.evaluated,
                a.float,
                a.drop()
            ),
            None => format!("The output keeps {:.1} dB of signal over noise. ", self.made.sqnr_db),
        };
        let _ = match self.speed {
            Some(speed) => {
                write!(text, "The model is {size} and {:.1} times faster here than in float.", speed.ratio())
            }
            None => write!(text, "The model is {size}."),
        };
        text
    }

    fn tiles(&self) -> String {
        let share = |n: usize, of: usize| n as f64 * 100.0 / of.max(1) as f64;
        let mut tiles = Vec::new();
        if let Some(a) = self.accuracy {
            let class = if a.drop() <= 0.5 {
                "good"
            } else if a.drop() <= 2.0 {
                "fair"
            } else {
                "bad"
            };
            tiles.push((
                class,
                format!("{:.2}%", share(a.int8, a.evaluated)),
                format!("right in int8; float {:.2}%", share(a.float, a.evaluated)),
            ));
        }
        tiles.push((
            class_of(self.made.sqnr_db),
            format!("{:.1} dB", self.made.sqnr_db),
            "signal over noise at the output".into(),
        ));
        let ratio = self.size_ratio();
        let class = if ratio <= 0.27 { "good" } else { "fair" };
        tiles.push((
            class,
            format!("{ratio:.3}"),
            format!("of the size in float: {} bytes", grouped(self.int8_len as u64)),
        ));
        if let Some(speed) = self.speed {
            let class = if speed.ratio() >= 2.0 { "good" } else { "fair" };
            let text = format!(
                "as fast: {:.0} us, float {:.0} us; {:.1}x predicted",
                speed.int8_us, speed.float_us, speed.predicted
            );
            tiles.push((class, format!("{:.1}x", speed.ratio()), text));
        }
        let islands = self.made.islands.len();
        let class = if islands == 0 { "good" } else { "fair" };
        tiles.push((class, islands.to_string(), "float islands".into()));
        let macs: u64 = self.made.layers.iter().map(|l| l.macs).sum();
        tiles.push(("", rounded(macs), format!("multiply-accumulates in {} layers", self.made.layers.len())));
        let tile = |(class, value, text): (&str, String, String)| {
            format!("<div class=\"tile\"><b class=\"{class}\">{value}</b><span>{text}</span></div>")
        };
        format!("<section class=\"tiles\">{}</section>\n", tiles.into_iter().map(tile).collect::<String>())
    }

    fn causes(&self) -> String {
        let mut worst: Vec<&LayerReport> = self.made.layers.iter().filter(|l| !l.causes.is_empty()).collect();
        worst.sort_by_key(|layer| layer.rank);
        let mut html = String::from("<h2>What costs most, and what to do</h2>\n<ol class=\"todo\">");
        if worst.is_empty() {
            html +=
                "<li style=\"border-left-color:var(--good)\"><p>No layer loses enough to be worth a change.</p></li>";
        }
        for layer in worst.iter().take(MOST_CAUSES) {
            let class = if layer.isolated_db < 20.0 { "bad" } else { "" };
            let _ = write!(
                html,
                "<li class=\"{class}\"><p><b>{}</b> <code>{}</code> <span class=\"soft\">{:.1} dB alone</span></p>",
                escape(&layer.op),
                escape(&layer.name),
                layer.isolated_db
            );
            for cause in &layer.causes {
                let _ = write!(html, "<p>{}: {}</p>", escape(&cause.to_string()), escape(cause.advice()));
            }
            html += "</li>";
        }
        for name in &self.made.islands {
            let _ = write!(
                html,
                "<li><p><b>float island</b> <code>{}</code></p><p>it was cut off: the application computes it from the outputs of the model</p></li>",
                escape(name)
            );
        }
        for applied in self.applied {
            let (verb, color) = if applied.kept { ("kept", "good") } else { ("tried and left out", "line") };
            let _ = write!(
                html,
                "<li style=\"border-left-color:var(--{color})\"><p><b>{verb}</b> <code>{}</code>: {:.1} dB before, {:.1} dB with it</p></li>",
                escape(&applied.fix.to_string()),
                applied.before_db,
                applied.after_db
            );
        }
        html + "</ol>\n"
    }

    fn depth(&self) -> String {
        format!(
            "<h2>Signal to noise by depth</h2>\n<figure class=\"card\"><div class=\"scroll\">{}</div><figcaption><span class=\"key\" \
             style=\"background:var(--a)\"></span>the layer alone, on exact operands<span class=\"key\" \
             style=\"background:var(--b)\"></span>with all before it in int8. dB, more is truer; 6 dB are one bit.</figcaption></figure>\n",
            plots::depth(self.layers())
        )
    }

    fn graph(&self) -> String {
        format!(
            "<h2>The network</h2>\n<figure class=\"card\"><div class=\"scroll\">{}</div><figcaption><span class=\"key\" \
             style=\"background:var(--good)\"></span>30 dB or more alone<span class=\"key\" style=\"background:var(--fair)\"></span>20 to \
             30<span class=\"key\" style=\"background:var(--bad)\"></span>less</figcaption></figure>\n",
            plots::graph(self.layers())
        )
    }

    fn plots(&self) -> String {
        let mut html = String::from(
            "<h2>Weights and results</h2>\n<p class=\"soft\">Values in float over all samples, heights as square roots of counts. \
             Dashed: the ends of the int8 range, where they cut something off.</p>\n<div class=\"plots\">",
        );
        for layer in self.layers() {
            let results = plots::histogram(&layer.values, Some(layer.range), "bars", "Results");
            let weights = layer.weights.as_ref().map(|bars| plots::histogram(bars, None, "wbars", "Weights"));
            let title = escape(&short(&layer.op, &layer.name, 40));
            let _ = match weights {
                Some(weights) => write!(
                    html,
                    "<div class=\"card\"><h3>{title}</h3><div class=\"pair\"><figure>{weights}<figcaption>weights</figcaption></figure>\
                     <figure>{results}<figcaption>results</figcaption></figure></div></div>"
                ),
                None => write!(
                    html,
                    "<div class=\"card\"><h3>{title}</h3><div class=\"pair\"><figure>{results}<figcaption>results</figcaption></figure></div></div>"
                ),
            };
        }
        html + "</div>\n"
    }

    fn table(&self) -> String {
        let mut html = String::from(
            "<h2>All layers</h2>\n<div class=\"card scroll\"><table><thead><tr><th>rank</th><th class=\"l\">operator</th><th>alone \
             dB</th><th>so far dB</th><th>cut off</th><th>shifted</th><th>channel ratio</th><th>MACs</th><th>bytes</th><th \
             class=\"l\">cause</th><th class=\"l\">value</th></tr></thead><tbody>",
        );
        for layer in &self.made.layers {
            let causes: Vec<&str> = layer.causes.iter().map(|cause| cause.name()).collect();
            let _ = write!(
                html,
                "<tr><td>{}</td><td class=\"l\">{}</td><td class=\"{}\">{:.1}</td><td>{:.1}</td><td>{:.2}%</td><td>{:.0}%</td><td>{:.1}</td><td>{}</td><td>{}</td><td class=\"l\">{}</td><td class=\"l\"><code>{}</code></td></tr>",
                layer.rank,
                escape(&layer.op),
                class_of(layer.isolated_db),
                layer.isolated_db,
                layer.accumulated_db,
                layer.saturated * 100.0,
                layer.shifted * 100.0,
                layer.channel_ratio,
                grouped(layer.macs),
                grouped(layer.bytes),
                causes.join(", "),
                escape(&layer.name)
            );
        }
        html + "</tbody></table></div>\n"
    }

    fn provenance(&self) -> String {
        let hex = |hash: &[u8; 32]| hash.iter().map(|b| format!("{b:02x}")).collect::<String>();
        format!(
            "<h2>Where it comes from</h2>\n<dl class=\"card\"><dt>float model</dt><dd><code>sha256 {}</code></dd><dt>samples</dt><dd>{} \
             <code>sha256 {}</code> (float32, one after another)</dd><dt>configuration</dt><dd><code>{}</code></dd><dt>made \
             by</dt><dd>{}</dd></dl>\n",
            hex(&self.source_sha256),
            self.made.samples,
            hex(&self.made.data_sha256),
            escape(&self.made.options.text()),
            escape(self.tool)
        )
    }
}

/// Colour of a signal to noise.
fn class_of(db: f64) -> &'static str {
    match db {
        db if db >= 30.0 => "good",
        db if db >= 20.0 => "fair",
        _ => "bad",
    }
}

/// Operator and the end of the name, which tells more than its beginning, in `most` characters about.
fn short(op: &str, name: &str, most: usize) -> String {
    let room = most.saturating_sub(op.len() + 1);
    match name.len().checked_sub(room) {
        Some(over) if over > 0 => format!("{op} ..{}", &name[name.ceil_char_boundary(over + 2)..]),
        _ => format!("{op} {name}"),
    }
}

/// Three digits and a unit.
fn rounded(number: u64) -> String {
    let (value, unit) = match number {
        n if n >= 1_000_000_000 => (n as f64 / 1e9, " G"),
        n if n >= 1_000_000 => (n as f64 / 1e6, " M"),
        n if n >= 10_000 => (n as f64 / 1e3, " k"),
        n => return n.to_string(),
    };
    let digits = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.digits$}{unit}")
}

/// Digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|g| std::str::from_utf8(g).unwrap_or_default()).collect();
    groups.join("\u{202f}")
}

/// Names come from files of anybody.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            c if c.is_control() => out.push(char::REPLACEMENT_CHARACTER),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{escape, grouped, rounded, short};

    #[test]
    fn names_and_numbers_for_people() {
        assert_eq!(escape("<script>\"a\"&'b'"), "&lt;script&gt;&quot;a&quot;&amp;&#39;b&#39;");
        assert_eq!(grouped(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(grouped(12), "12");
        assert_eq!([rounded(9_999), rounded(12_345), rounded(1_234_567)], ["9999", "12.3 k", "1.23 M"]);
        assert_eq!(short("Conv", "a", 20), "Conv a");
        assert_eq!(short("Conv", "model/stack/block/ü/relu", 16), "Conv ..k/ü/relu");
    }
}
