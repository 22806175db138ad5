//! Steps that another step can do on the way, to the byte.
//!
//! ```text
//! identity   a table that changes nothing, a border of no cells: gone, the result is the operand
//! table      conv -> table      where the table is a shift and a clamp of what the step before can give: into zero point and bounds
//!            table -> table     one table, the second of the first
//! border     pad -> conv        outside the image stands the zero point, which is what PAD writes: into the padding of the window
//!            pad -> max pool    the same where PAD writes the lowest value of the type, which is the maximum of nothing
//! ```
//! Standalone activations and requantizations are tables, so RELU behind a convolution is a clamp and QUANTIZE from uint8 to int8 of one
//! scale is a shift; a QUANTIZE that rounds anew is neither, and stays: two roundings are not one.
//!
//! Nothing is rewritten. A step that goes shares the place of its operand (as a reshape does), and the step that takes it over is adjusted
//! after it was lowered. A step goes only if nobody else reads what lies between the two.

use alloc::{boxed::Box, vec, vec::Vec};

use fleetfoot_format::{
    graph::{self, DType, PoolKind, Step, Window},
    limits::MAX_STEPS,
};

use crate::{
    error::PlanError,
    graph::{Graph, Op, OpKind, TensorId},
    lower::Lower,
    pack::Packer,
};

type Table = [u8; 256];

/// What each operator takes over, and who shares whose place.
#[derive(Debug)]
pub(crate) struct Fusion {
    /// For each tensor the one whose bytes it shares.
    pub(crate) roots: Vec<usize>,
    /// For each operator what it does of those behind it.
    taken: Vec<Taken>,
    /// For each operator the border before it.
    borders: Vec<Option<Border>>,
    /// Steps that went.
    pub(crate) steps: usize,
}

#[derive(Clone, Debug)]
enum Taken {
    /// `clamp(q + by, lo, hi)`, one after the other.
    Shifts(Vec<Shift>),
    /// The whole table, where the operator is one.
    Table(Box<Table>),
}

/// `clamp(q + by, lo, hi)`, of type `dtype`.
#[derive(Clone, Copy, Debug)]
struct Shift {
    by: i32,
    lo: i32,
    hi: i32,
    dtype: DType,
}

/// A border around an image of `in_h` rows and `in_w` columns, in cells.
#[derive(Clone, Copy, Debug)]
struct Border {
    top: u32,
    left: u32,
    in_h: u32,
    in_w: u32,
}

impl Fusion {
    /// Every operator on its own, for tensors that share places as `roots` says.
    pub(crate) fn none(graph: &Graph, roots: Vec<usize>) -> Self {
        let n = graph.ops.len();
        Self { roots, taken: vec![Taken::Shifts(Vec::new()); n], borders: vec![None; n], steps: 0 }
    }

    /// Everything that can be taken over. Operators that cannot be lowered are left to the one who lowers them.
    pub(crate) fn of(graph: &Graph, roots: Vec<usize>) -> Self {
        let mut this = Self::none(graph, roots);
        if graph.ops.len() > MAX_STEPS {
            // Each step looks at all others; so many have no plan anyway.
            return this;
        }
        for (at, op) in graph.ops.iter().enumerate() {
            if this.is_gone(op) {
                continue;
            }
            let went = match op.kind {
                OpKind::Pad { .. } => this.border(graph, op),
                OpKind::Conv2d { .. }
                | OpKind::DepthwiseConv2d { .. }
                | OpKind::FullyConnected { .. }
                | OpKind::Softmax { .. }
                | OpKind::Reshape => None,
                _ => this.table(graph, at),
            };
            this.steps += usize::from(went.is_some());
        }
        this
    }

    /// Whether `op` has no step: its result lies where its operand lies.
    pub(crate) fn is_gone(&self, op: &Op) -> bool {
        match (op.inputs.first(), op.outputs.first()) {
            (Some(&Some(input)), Some(&output)) => self.roots[input.0] == self.roots[output.0],
            _ => false,
        }
    }

    /// The steps of operator `at` with all that it takes over.
    pub(crate) fn steps(&self, at: usize, lower: &Lower<'_>, packer: &mut Packer) -> Result<Vec<Step>, PlanError> {
        match &self.taken[at] {
            Taken::Shifts(shifts) if shifts.is_empty() && self.borders[at].is_none() => lower.steps(packer),
            _ => Ok(vec![self.step(at, lower, packer)?]),
        }
    }

    fn step(&self, at: usize, lower: &Lower<'_>, packer: &mut Packer) -> Result<Step, PlanError> {
        let mut step = match &self.taken[at] {
            Taken::Table(table) => {
                let mut step = lower.step(&mut Packer::default())?;
                if let Step::Lut(lut) = &mut step {
                    lut.table = packer.push(&table[..]);
                }
                step
            }
            Taken::Shifts(shifts) => {
                let mut step = lower.step(packer)?;
                shifts.iter().for_each(|shift| shift.apply(&mut step));
                step
            }
        };
        if let Some(border) = self.borders[at]
            && let Some(window) = window(&mut step)
            && let Some(around) = border.around(window)
        {
            *window = around;
        }
        Ok(step)
    }

    /// A step that is a table: gone if it changes nothing, or if the step before can do it.
    fn table(&mut self, graph: &Graph, at: usize) -> Option<()> {
        let op = &graph.ops[at];
        let (&Some(input), &[output]) = (op.inputs.first()?, &op.outputs[..]) else { return None };
        let mut packer = Packer::default();
        let Step::Lut(lut) = lowered(graph, op, &mut packer)? else { return None };
        if graph.tensor(input).data.is_some() {
            return None;
        }
        let table: Table = packer.bytes().get(lut.table.range())?.try_into().ok()?;
        let dtype = graph.tensor(output).dtype.activation()?;
        let root = self.roots[input.0];
        let before = (0..at).rev().find(|&i| {
            let writes = graph.ops[i].outputs.iter().any(|id| self.roots[id.0] == root);
            writes && !self.is_gone(&graph.ops[i])
        });
        let mut own = Packer::default();
        let step = before.and_then(|i| Some((i, self.so_far(graph, i, &mut own)?)));
        let given = step.as_ref().and_then(|(_, step)| values(step)).unwrap_or(Values::ANY);
        if given.bytes().all(|byte| table[usize::from(byte)] == byte) {
            self.share(output, root);
            return Some(());
        }
        let (before, step) = step?;
        if self.readers(graph, root).any(|i| i != at) || self.is_output(graph, root) {
            return None;
        }
        match (&step, &mut self.taken[before]) {
            (Step::Lut(first), taken) => {
                let first: Table = own.bytes().get(first.table.range())?.try_into().ok()?;
                *taken = Taken::Table(Box::new(first.map(|byte| table[usize::from(byte)])));
            }
            (step, Taken::Shifts(shifts)) => shifts.push(Shift::of(step, &table, dtype)?),
            _ => return None,
        }
        self.share(output, root);
        Some(())
    }

    /// Operator `i` with what it has taken over so far, borders aside.
    fn so_far(&self, graph: &Graph, i: usize, packer: &mut Packer) -> Option<Step> {
        let nowhere = |_| graph::Span::default();
        let lower = Lower { graph, op: &graph.ops[i], span: &nowhere };
        self.step(i, &lower, packer).ok()
    }

    /// A step that writes a border: gone if it writes none, or if every reader takes it for its own padding.
    fn border(&mut self, graph: &Graph, op: &Op) -> Option<()> {
        let (&Some(input), &[output]) = (op.inputs.first()?, &op.outputs[..]) else { return None };
        let Step::Pad(pad) = lowered(graph, op, &mut Packer::default())? else { return None };
        if pad.before == [0; 4] && pad.after == [0; 4] {
            self.share(output, self.roots[input.0]);
            return Some(());
        }
        let ([_, in_h, in_w, _], [0, top, left, 0], [0, .., 0]) = (pad.in_dims, pad.before, pad.after) else {
            return None;
        };
        let border = Border { top, left, in_h, in_w };
        let root = self.roots[output.0];
        let readers: Vec<usize> = self.readers(graph, root).collect();
        if readers.is_empty() || self.is_output(graph, root) {
            return None;
        }
        for &reader in &readers {
            let op = &graph.ops[reader];
            let operands = op.inputs.iter().flatten().filter(|id| self.roots[id.0] == root).count();
            if op.inputs.first() != Some(&Some(output)) || operands != 1 {
                return None;
            }
            let mut step = lowered(graph, op, &mut Packer::default())?;
            let same = match &step {
                Step::Conv(c) | Step::Depthwise(c) => c.in_zero_point.to_le_bytes()[0] == pad.value,
                Step::Pool(p) => p.kind == PoolKind::Max && p.dtype.range().0.to_le_bytes()[0] == pad.value,
                _ => false,
            };
            if !same || border.around(window(&mut step)?).is_none() {
                return None;
            }
        }
        readers.into_iter().for_each(|reader| self.borders[reader] = Some(border));
        self.share(output, self.roots[input.0]);
        Some(())
    }

    /// Operators that have a step and read a tensor at the place of `root`.
    fn readers<'a>(&'a self, graph: &'a Graph, root: usize) -> impl Iterator<Item = usize> + 'a {
        let reads = move |op: &Op| op.inputs.iter().flatten().any(|id| self.roots[id.0] == root);
        (0..graph.ops.len()).filter(move |&i| reads(&graph.ops[i]) && !self.is_gone(&graph.ops[i]))
    }

    fn is_output(&self, graph: &Graph, root: usize) -> bool {
        graph.outputs.iter().any(|id| self.roots[id.0] == root)
    }

    /// `tensor` and all that share its place move to that of `root`.
    fn share(&mut self, tensor: TensorId, root: usize) {
        let old = self.roots[tensor.0];
        self.roots.iter_mut().filter(|r| **r == old).for_each(|r| *r = root);
    }
}

fn lowered(graph: &Graph, op: &Op, packer: &mut Packer) -> Option<Step> {
    let nowhere = |_| graph::Span::default();
    Lower { graph, op, span: &nowhere }.step(packer).ok()
}

const fn window(step: &mut Step) -> Option<&mut Window> {
    match step {
        Step::Conv(c) | Step::Depthwise(c) => Some(&mut c.window),
        Step::Pool(p) => Some(&mut p.window),
        _ => None,
    }
}

impl Border {
    /// The window over the image without this border. `None` if the engine would not take it: some window lies wholly outside.
    fn around(&self, window: &Window) -> Option<Window> {
        let along = |input: u32, before: u32, pad: u32, kernel: u32, dilation: u32, stride: u32, out: u32| {
            let pad = pad.checked_add(before)?;
            let reach = u64::from(kernel - 1) * u64::from(dilation);
            let last = u64::from(out - 1) * u64::from(stride);
            (u64::from(pad) <= reach && last < u64::from(input) + u64::from(pad)).then_some(pad)
        };
        let w = window;
        Some(Window {
            in_h: self.in_h,
            in_w: self.in_w,
            pad_top: along(self.in_h, self.top, w.pad_top, w.kernel_h, w.dilation_h, w.stride_h, w.out_h)?,
            pad_left: along(self.in_w, self.left, w.pad_left, w.kernel_w, w.dilation_w, w.stride_w, w.out_w)?,
            ..*w
        })
    }
}

/// What a step can give, as values of its type.
#[derive(Clone, Copy)]
struct Values {
    lo: i32,
    hi: i32,
}

impl Values {
    /// Any byte.
    const ANY: Self = Self { lo: 0, hi: 255 };

    fn bytes(self) -> impl Iterator<Item = u8> {
        (self.lo..=self.hi).map(|q| q.to_le_bytes()[0])
    }
}

/// `None` for steps that have no bounds.
const fn values(step: &Step) -> Option<Values> {
    match step {
        Step::Conv(c) | Step::Depthwise(c) | Step::FullyConnected(c) => Some(Values { lo: c.lo, hi: c.hi }),
        Step::Add(p) => Some(Values { lo: p.lo, hi: p.hi }),
        Step::Mul(p) => Some(Values { lo: p.lo, hi: p.hi }),
        Step::Pool(p) => Some(Values { lo: p.lo, hi: p.hi }),
        _ => None,
    }
}

impl Shift {
    /// `table` on all that `step` gives, if that is a shift and a clamp which the step can do.
    fn of(step: &Step, table: &Table, dtype: DType) -> Option<Self> {
        let given = values(step)?;
        let read = |byte: u8| if dtype == DType::UInt8 { i32::from(byte) } else { i32::from(byte.cast_signed()) };
        let after: Vec<i32> = given.bytes().map(|byte| read(table[usize::from(byte)])).collect();
        let (&lo, &hi) = (after.first()?, after.last()?);
        // Where it rises, it is neither at its lower end nor at its upper.
        let rises = (given.lo..).zip(after.windows(2)).find(|(_, pair)| pair[0] < pair[1]);
        let by = rises.map_or(lo - given.lo, |(q, pair)| pair[1] - (q + 1));
        let equal = (given.lo..).zip(&after).all(|(q, &value)| value == (q + by).clamp(lo.min(hi), hi));
        let (least, most) = dtype.range();
        let zero_point = |z: i32| (least..=most).contains(&(z + by));
        let can = match step {
            Step::Conv(c) | Step::Depthwise(c) | Step::FullyConnected(c) => zero_point(c.out_zero_point),
            Step::Add(p) => p.dtype == dtype && zero_point(p.out_zero_point),
            Step::Mul(p) => p.dtype == dtype && zero_point(p.out_zero_point),
            Step::Pool(p) => p.dtype == dtype && by == 0,
            _ => false,
        };
        (lo <= hi && equal && can).then_some(Self { by, lo, hi, dtype })
    }

    const fn apply(&self, step: &mut Step) {
        match step {
            Step::Conv(c) | Step::Depthwise(c) | Step::FullyConnected(c) => {
                (c.out_dtype, c.lo, c.hi) = (self.dtype, self.lo, self.hi);
                c.out_zero_point += self.by;
            }
            Step::Add(p) => {
                (p.lo, p.hi) = (self.lo, self.hi);
                p.out_zero_point += self.by;
            }
            Step::Mul(p) => {
                (p.lo, p.hi) = (self.lo, self.hi);
                p.out_zero_point += self.by;
            }
            Step::Pool(p) => (p.lo, p.hi) = (self.lo, self.hi),
            _ => {}
        }
    }
}
