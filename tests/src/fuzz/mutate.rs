//! Mutations that keep the structure: numbers of steps change, not the bytes of their encoding.
//!
//! A random byte of a postcard stream mostly shifts everything behind it. So a bundle is taken apart, a number, a span or the
//! order of its steps is changed, and it is put together again with all lengths in place. All depends on the seed alone.

use fleetfoot_format::{
    bundle::{Bundle, SectionKind},
    graph::{self, DType, Graph, Record, Step},
};
use fleetfoot_quantize::assemble;
use serde_json::Value;

/// A mutated copy of `bytes`, if they are a bundle with a graph.
#[must_use]
pub fn bundle(bytes: &[u8], seed: u32) -> Option<Vec<u8>> {
    let bundle = Bundle::parse(bytes).ok()?;
    let mut random = Random::new(seed);
    let mut weights = bundle.section(SectionKind::WEIGHTS).ok()?.to_vec();
    let graph = graph(bundle.section(SectionKind::GRAPH).ok()?, &mut weights, &mut random)?;
    let parts = bundle.header().sections.iter().map(|section| {
        let bytes = match section.kind {
            SectionKind::GRAPH => &graph[..],
            SectionKind::WEIGHTS => &weights[..],
            _ => bundle.section_bytes(section),
        };
        (section.kind, bytes)
    });
    let parts: Vec<_> = parts.collect();
    assemble(bundle.header().clone(), &parts, &[[1; 32]]).ok()
}

/// A copy of `bytes`, a byte and JSON, in which some members have another value, another name or another place, or are gone.
#[must_use]
pub fn json(bytes: &[u8], seed: u32) -> Option<Vec<u8>> {
    let (first, text) = bytes.split_first()?;
    let mut document: Value = serde_json::from_slice(text).ok()?;
    let mut random = Random::new(seed);
    for _ in 0..1 + random.below(3) {
        let mut others = Vec::new();
        values_of(&mut document, &mut others);
        let other = others[random.below(others.len())].clone();
        let mut places = Vec::new();
        values_of(&mut document, &mut places);
        let at = random.below(places.len());
        change(places[at], other, &mut random);
    }
    let first = if random.below(8) == 0 { random.below(6) as u8 } else { *first };
    let mut new = vec![first];
    serde_json::to_writer(&mut new, &document).ok()?;
    Some(new)
}

fn change(value: &mut Value, other: Value, random: &mut Random) {
    match (random.below(6), &mut *value) {
        (0, _) => *value = other,
        (1 | 2, Value::Object(map)) if !map.is_empty() => {
            let name = map.keys().nth(random.below(map.len())).cloned().unwrap_or_default();
            let member = map.remove(&name).unwrap_or_default();
            if random.below(2) == 0 {
                let names = ["", "..", "root", "releases-kws", "a/../b", "snapshot.json", "%2e", "x"];
                map.insert(names[random.below(names.len())].into(), member);
            }
        }
        (1 | 2, Value::Array(list)) if !list.is_empty() => {
            let member = list.remove(random.below(list.len()));
            if random.below(2) == 0 {
                list.extend([member.clone(), member]);
            }
        }
        (_, Value::Number(number)) => *value = random.number(number.as_i64().unwrap_or(0)).into(),
        (_, Value::String(text)) => {
            let mut characters: Vec<char> = text.chars().collect();
            let at = random.below(characters.len() + 1);
            match random.below(3) {
                0 => characters.insert(at, ['*', '/', '.', 'A', '\u{e9}', '\0'][random.below(6)]),
                1 => characters.truncate(at),
                _ => characters.extend_from_within(..at),
            }
            *text = characters.into_iter().collect();
        }
        (3, _) => *value = Value::Null,
        (4, _) => *value = Value::Bool(true),
        _ => *value = random.number(1).into(),
    }
}

fn values_of<'v>(value: &'v mut Value, values: &mut Vec<&'v mut Value>) {
    let holds = match value {
        Value::Object(map) => !map.is_empty(),
        Value::Array(list) => !list.is_empty(),
        _ => false,
    };
    // Who has borrowed a member cannot have what holds it: one in three of those is offered as a whole.
    if !holds || values.len() % 3 == 2 {
        values.push(value);
        return;
    }
    match value {
        Value::Object(map) => map.values_mut().for_each(|value| values_of(value, values)),
        Value::Array(list) => list.iter_mut().for_each(|value| values_of(value, values)),
        _ => {}
    }
}

/// A copy of `bytes` with some of them changed, gone, or there twice.
#[must_use]
pub fn bytes(bytes: &[u8], seed: u32) -> Vec<u8> {
    let (mut random, mut new) = (Random::new(seed), bytes.to_vec());
    for _ in 0..1 + random.below(3) {
        let at = random.below(new.len() + 1);
        let end = new.len().min(at + 1 + random.below(8));
        match random.below(5) {
            0 => new.insert(at, random.below(256) as u8),
            1 => drop(new.drain(at..end)),
            2 => {
                let piece = new[at..end].to_vec();
                new.splice(at..at, piece);
            }
            3 if at < new.len() => new[at] = random.number(i64::from(new[at])) as u8,
            _ if at < new.len() => new[at] ^= 1 << random.below(8),
            _ => {}
        }
    }
    new
}

/// Changes some aligned words of a flatbuffer: offsets, counts and numbers all lie in such words.
pub fn words(bytes: &mut [u8], seed: u32) {
    let mut random = Random::new(seed);
    let n_words = bytes.len() / 4;
    if n_words == 0 {
        return;
    }
    for _ in 0..1 + random.below(3) {
        let at = 4 * random.below(n_words);
        let old = u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let from = 4 * random.below(n_words);
        let new = match random.below(6) {
            0 => u32::from_le_bytes([bytes[from], bytes[from + 1], bytes[from + 2], bytes[from + 3]]),
            1 => old ^ 1 << random.below(32),
            _ => random.number(i64::from(old)) as u32,
        };
        bytes[at..at + 4].copy_from_slice(&new.to_le_bytes());
    }
}

fn graph(bytes: &[u8], weights: &mut Vec<u8>, random: &mut Random) -> Option<Vec<u8>> {
    let graph = Graph::parse(bytes).ok()?;
    let (mut inputs, mut outputs) = (graph.inputs().to_vec(), graph.outputs().to_vec());
    let mut arena_len = graph.arena_len();
    let mut steps: Vec<Record<'_>> = graph.steps().collect::<Result<_, _>>().ok()?;
    for _ in 0..1 + random.below(3) {
        match random.below(12) {
            0 => arena_len = random.number(i64::from(arena_len)) as u32,
            1 if !weights.is_empty() => {
                let at = random.below(weights.len());
                weights[at] = random.number(i64::from(weights[at])) as u8;
            }
            2 if steps.len() > 1 => {
                let (a, b) = (random.below(steps.len()), random.below(steps.len()));
                steps.swap(a, b);
            }
            3 if !steps.is_empty() => {
                let (from, to) = (random.below(steps.len()), random.below(steps.len()));
                steps.insert(to, steps[from]);
            }
            4 if steps.len() > 1 => {
                steps.remove(random.below(steps.len()));
            }
            5 => {
                let n = random.below(inputs.len() + outputs.len());
                let io = if n < inputs.len() { &mut inputs[n] } else { &mut outputs[n - graph.inputs().len()] };
                match random.below(5) {
                    0 => io.span.offset = random.number(i64::from(io.span.offset)) as u32,
                    1 => io.span.len = random.number(i64::from(io.span.len)) as u32,
                    2 => io.zero_point = random.number(i64::from(io.zero_point)) as i32,
                    3 => io.scale = f32::from_bits(random.number(i64::from(io.scale.to_bits())) as u32),
                    _ => {
                        let extent = io.dims.first().copied().unwrap_or(1);
                        let _full = io.dims.push(random.number(i64::from(extent)) as u32);
                    }
                }
            }
            6 | 7 if !steps.is_empty() => {
                // A span of one step in place of a span of another.
                let (from, to) = (random.below(steps.len()), random.below(steps.len()));
                copy_span(&steps[from].step.clone(), &mut steps[to].step, random);
            }
            8 if !steps.is_empty() => {
                let at = random.below(steps.len());
                resize(&mut steps[at].step, weights, random);
            }
            _ if !steps.is_empty() => {
                let at = random.below(steps.len());
                number(&mut steps[at].step, random);
            }
            _ => {}
        }
    }
    graph::write(&inputs, &outputs, arena_len, u32::try_from(weights.len()).ok()?, &steps).ok()
}

/// One number of a step, whatever kinds of steps there are: they pass through JSON.
fn number(step: &mut Step, random: &mut Random) {
    let Ok(mut value) = serde_json::to_value(*step) else { return };
    let mut leaves = Vec::new();
    leaves_of(&mut value, &mut leaves);
    let others: Vec<Value> = leaves.iter().map(|leaf| (*leaf).clone()).collect();
    if leaves.is_empty() {
        return;
    }
    let at = random.below(leaves.len());
    *leaves[at] = match &others[at] {
        Value::String(name) => Value::from(match &name[..] {
            "Int8" => "UInt8",
            "UInt8" => "Int8",
            "Max" => "Average",
            _ => "Max",
        }),
        _ if random.below(4) == 0 => others[random.below(others.len())].clone(),
        old => match old.as_i64() {
            Some(old) => Value::from(random.number(old)),
            None => Value::from(f64::from(f32::from_bits(random.number(0) as u32))),
        },
    };
    if let Ok(new) = serde_json::from_value(value) {
        *step = new;
    }
}

fn leaves_of<'v>(value: &'v mut Value, leaves: &mut Vec<&'v mut Value>) {
    match value {
        Value::Object(map) => map.values_mut().for_each(|value| leaves_of(value, leaves)),
        Value::Array(list) => list.iter_mut().for_each(|value| leaves_of(value, leaves)),
        Value::Null => {}
        leaf => leaves.push(leaf),
    }
}

fn copy_span(from: &Step, to: &mut Step, random: &mut Random) {
    let (Ok(mut source), Ok(mut target)) = (serde_json::to_value(*from), serde_json::to_value(*to)) else { return };
    let (mut sources, mut targets) = (Vec::new(), Vec::new());
    spans_of(&mut source, &mut sources);
    spans_of(&mut target, &mut targets);
    if sources.is_empty() || targets.is_empty() {
        return;
    }
    let (a, b) = (random.below(sources.len()), random.below(targets.len()));
    let whole = random.below(2) == 0;
    if whole {
        *targets[b] = sources[a].clone();
    } else {
        targets[b]["offset"] = sources[a]["offset"].clone();
    }
    if let Ok(new) = serde_json::from_value(target) {
        *to = new;
    }
}

fn spans_of<'v>(value: &'v mut Value, spans: &mut Vec<&'v mut Value>) {
    match value {
        Value::Object(map) if map.contains_key("offset") => spans.push(value),
        Value::Object(map) => map.values_mut().for_each(|value| spans_of(value, spans)),
        _ => {}
    }
}

/// Another geometry for a convolution or a pool, with lengths and weights that fit: what a checker lets through.
fn resize(step: &mut Step, weights: &mut Vec<u8>, random: &mut Random) {
    let dense = matches!(step, Step::Conv(_));
    let mut window = match step {
        Step::Conv(c) | Step::Depthwise(c) => c.window,
        Step::Pool(p) => p.window,
        _ => return,
    };
    for (input, out, kernel, stride, dilation, pad) in [
        (
            &window.in_h,
            &mut window.out_h,
            &mut window.kernel_h,
            &mut window.stride_h,
            &mut window.dilation_h,
            &mut window.pad_top,
        ),
        (
            &window.in_w,
            &mut window.out_w,
            &mut window.kernel_w,
            &mut window.stride_w,
            &mut window.dilation_w,
            &mut window.pad_left,
        ),
    ] {
        (*kernel, *stride) = (1 + random.below(6) as u32, 1 + random.below(4) as u32);
        *dilation = if matches!(step, Step::Pool(_)) { 1 } else { 1 + random.below(3) as u32 };
        *pad = random.below(((*kernel - 1) * *dilation + 1) as usize) as u32;
        *out = 1 + input.saturating_add(*pad).saturating_sub(1).min(30) / *stride;
    }
    let mut new_weights = |len: usize| {
        weights.resize(weights.len().next_multiple_of(16), 0);
        let offset = weights.len() as u32;
        weights.extend((0..len).map(|_| random.below(256) as u8));
        graph::Span { offset, len: len as u32 }
    };
    match step {
        Step::Pool(p) => {
            p.window = window;
            p.output.len = p.batch.saturating_mul(window.out_h * window.out_w).saturating_mul(p.channels);
        }
        Step::Conv(c) | Step::Depthwise(c) if c.in_c <= 64 && c.out_c <= 64 => {
            c.window = window;
            c.output.len = c.batch.saturating_mul(window.out_h * window.out_w).saturating_mul(c.out_c);
            let (taps, c16) = ((window.kernel_h * window.kernel_w) as usize, c.out_c.next_multiple_of(16) as usize);
            // Whole multiples of 4 inputs need no padding; others are refused unless the bytes happen to be zero.
            let len = if dense { c16 * (taps * c.in_c as usize).next_multiple_of(4) } else { c16 * taps };
            c.weights = new_weights(len);
            c.sums = new_weights(4 * c16);
            c.in_dtype = if c.in_zero_point < 0 { DType::Int8 } else { c.in_dtype };
            let (from, to) = (c.weights.range(), c.sums.range());
            let mut sums = vec![0i32; c16];
            for (at, &w) in weights[from].iter().enumerate() {
                let k4 = (taps * c.in_c as usize).next_multiple_of(4);
                let n = if dense { at / (16 * k4) * 16 + at / 4 % 16 } else { at % c16 };
                sums[n] += i32::from(w.cast_signed());
            }
            let bytes: Vec<u8> = sums.iter().flat_map(|sum| sum.to_le_bytes()).collect();
            weights[to].copy_from_slice(&bytes);
        }
        _ => {}
    }
}

/// xorshift64*.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn new(seed: u32) -> Self {
        Self((u64::from(seed) << 1 | 1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % limit.max(1)
    }

    /// Near `old`, small, or where something ends.
    fn number(&mut self, old: i64) -> i64 {
        const ENDS: [i64; 24] = [
            0,
            1,
            2,
            3,
            4,
            7,
            8,
            15,
            16,
            17,
            31,
            32,
            64,
            127,
            128,
            255,
            256,
            65535,
            1 << 16,
            1 << 24,
            (1 << 24) + 1,
            1 << 30,
            i32::MAX as i64,
            u32::MAX as i64,
        ];
        match self.below(6) {
            0 => old + 1,
            1 => old - 1,
            2 => old.wrapping_mul(2),
            3 => old / 2,
            4 => -ENDS[self.below(ENDS.len())],
            _ => ENDS[self.below(ENDS.len())],
        }
    }
}
