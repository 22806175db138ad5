//! Windows that slide over an image: how ONNX states their borders, pools, reductions.

use fleetfoot_plan::graph::{Activation as Fused, OpKind, Padding};

use super::{
    layout::NHWC,
    model::Node,
    values::{Activation, Importer, Made, Stop, Value, axis},
    weighted::pending,
};

/// The largest kernel, stride, dilation or border.
const MAX: i64 = u16::MAX as i64;

/// A window over an image; pairs are rows and columns.
pub(super) struct Window {
    pub(super) kernel: [usize; 2],
    pub(super) stride: [usize; 2],
    pub(super) dilation: [usize; 2],
    /// Above, left, below, right.
    pads: [usize; 4],
    pub(super) out: [usize; 2],
}

impl Window {
    /// The window of `node` over an image of `input` rows and columns.
    pub(super) fn of(node: &Node, kernel: [usize; 2], input: [usize; 2]) -> Result<Self, Stop> {
        let (stride, dilation) = (Self::pair(node, "strides", 1)?, Self::pair(node, "dilations", 1)?);
        if stride.contains(&0) || dilation.contains(&0) || kernel.iter().any(|&k| k == 0 || k > MAX as usize) {
            return Err(Stop::Form("a kernel, stride or dilation of 0"));
        }
        let mut pads = Self::pads(node)?;
        let mut out = [0; 2];
        for i in 0..2 {
            let span = (kernel[i] - 1) * dilation[i] + 1;
            match node.text("auto_pad", "NOTSET") {
                "NOTSET" => {}
                "VALID" => (pads[i], pads[2 + i]) = (0, 0),
                lower_or_upper @ ("SAME_UPPER" | "SAME_LOWER") => {
                    let total = ((input[i].div_ceil(stride[i]) - 1) * stride[i] + span).saturating_sub(input[i]);
                    let (small, large) = (total / 2, total.div_ceil(2));
                    let upper = lower_or_upper == "SAME_UPPER";
                    (pads[i], pads[2 + i]) = if upper { (small, large) } else { (large, small) };
                }
                _ => return Err(Stop::Form("an unknown auto_pad")),
            }
            let Some(room) = (input[i] + pads[i] + pads[2 + i]).checked_sub(span) else {
                return Err(Stop::Form("a window that does not fit the image"));
            };
            if node.int("ceil_mode", 0) != 0 && !room.is_multiple_of(stride[i]) {
                return Err(Stop::Form("ceil_mode that adds a window beyond the border"));
            }
            out[i] = room / stride[i] + 1;
        }
        Ok(Self { kernel, stride, dilation, pads, out })
    }

    pub(super) fn pair(node: &Node, name: &str, default: usize) -> Result<[usize; 2], Stop> {
        let number = |v: i64| usize::try_from(v).ok().filter(|&v| v <= MAX as usize);
        match node.ints(name) {
            None => Ok([default; 2]),
            Some(&[a, b]) => match (number(a), number(b)) {
                (Some(a), Some(b)) => Ok([a, b]),
                _ => Err(Stop::Form("a negative or huge attribute")),
            },
            Some(_) => Err(Stop::Form("a window that has not two dimensions")),
        }
    }

    /// Above, left, below, right.
    pub(super) fn pads(node: &Node) -> Result<[usize; 4], Stop> {
        let Some(pads) = node.ints("pads") else { return Ok([0; 4]) };
        let pads: Option<Vec<usize>> =
            pads.iter().map(|&v| usize::try_from(v).ok().filter(|&v| v <= MAX as usize)).collect();
        pads.and_then(|pads| pads.try_into().ok()).ok_or(Stop::Form("borders that are not four numbers"))
    }

    /// As one of our paddings, if it is one.
    fn padding(&self, input: [usize; 2]) -> Option<Padding> {
        let is = |padding: &Padding| {
            (0..2).all(|i| {
                border(*padding, input[i], self.kernel[i], self.stride[i], self.dilation[i])
                    == Some((self.out[i], self.pads[i], self.pads[2 + i]))
            })
        };
        [Padding::Valid, Padding::Same].into_iter().find(is)
    }
}

/// Extent of the result and cells before and behind the image. `Valid` may leave out the last cells of the image.
pub(super) fn border(
    padding: Padding,
    input: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
) -> Option<(usize, usize, usize)> {
    let span = (kernel - 1) * dilation + 1;
    match padding {
        Padding::Valid => input.checked_sub(span).map(|room| (room / stride + 1, 0, 0)),
        Padding::Same => {
            let out = input.div_ceil(stride);
            let total = ((out - 1) * stride + span).saturating_sub(input);
            Some((out, total / 2, total.div_ceil(2)))
        }
    }
}

impl<'m> Importer<'m, '_> {
    /// The image with a border that our paddings do not have, of `value` or else of zero points.
    pub(super) fn bordered(
        &mut self,
        position: usize,
        x: Activation,
        window: &Window,
        value: Option<u8>,
    ) -> Result<(Activation, Padding), Stop> {
        if let Some(padding) = window.padding([x.shape[2], x.shape[3]]) {
            return Ok((x, padding));
        }
        self.padded(position, &x, window.pads, value).map(|padded| (padded, Padding::Valid))
    }

    /// The image with a border of `value`, or else of zero points.
    fn padded(
        &mut self,
        position: usize,
        x: &Activation,
        [top, left, below, right]: [usize; 4],
        value: Option<u8>,
    ) -> Result<Activation, Stop> {
        let amounts = vec![[0, 0], [top, below], [left, right], [0, 0]];
        let shape = vec![x.shape[0], x.shape[1], x.shape[2] + top + below, x.shape[3] + left + right];
        super::values::product(&shape)?;
        let kind = match value {
            Some(value) => OpKind::PadV2 { amounts, value },
            None => OpKind::Pad { amounts },
        };
        let name = self.graph.tensor(x.id).name.clone();
        let made = Made { inputs: vec![x.id], shape, order: NHWC.to_vec() };
        match self.alike(position, kind, x, &name, made) {
            Value::Activation(padded) => Ok(padded),
            _ => Err(Stop::Listed),
        }
    }

    pub(super) fn pool(&mut self, position: usize, node: &'m Node) -> Result<Value, Stop> {
        let x = self.activation(node, 0)?;
        let x = if node.int("channels_last", 0) == 0 {
            self.image(position, &x)?
        } else {
            return Err(Stop::Form("channels_last"));
        };
        let global = node.op.starts_with("Global");
        let kernel = if global { [x.shape[2], x.shape[3]] } else { Window::pair(node, "kernel_shape", 0)? };
        let window = if global {
            Window { kernel, stride: kernel, dilation: [1, 1], pads: [0; 4], out: [1, 1] }
        } else {
            Window::of(node, kernel, [x.shape[2], x.shape[3]])?
        };
        if window.dilation != [1, 1] || node.outputs.len() > 1 {
            return Err(Stop::Form("a pool with dilation or with indices"));
        }
        let shape = vec![x.shape[0], x.shape[1], window.out[0], window.out[1]];
        let (stride, activation) = (window.stride, Fused::None);
        if node.op.ends_with("MaxPool") {
            // The smallest value: no maximum sees the border.
            let (x, padding) = self.bordered(position, x, &window, Some(0x80))?;
            let kind = OpKind::MaxPool2d { kernel, stride, padding, activation };
            let made = Made { inputs: vec![x.id], shape, order: NHWC.to_vec() };
            return Ok(self.alike(position, kind, &x, node.output(0), made));
        }
        if !x.real {
            return Err(Stop::Form("it computes with integers, not with what they stand for"));
        }
        let counts_border = node.int("count_include_pad", 0) != 0;
        let (x, padding) = if counts_border && window.pads != [0; 4] {
            (self.padded(position, &x, window.pads, None)?, Padding::Valid)
        } else {
            let padding = window.padding([x.shape[2], x.shape[3]]);
            let what = "a border that is neither SAME nor VALID; set count_include_pad or pad before";
            (x, padding.ok_or(Stop::Form(what))?)
        };
        let kind = OpKind::AveragePool2d { kernel, stride, padding, activation };
        Ok(pending(position, node, kind, vec![Some(x.id)], shape, NHWC.to_vec()))
    }

    pub(super) fn reduce(&mut self, position: usize, node: &'m Node) -> Result<Value, Stop> {
        let x = self.real(node, 0)?;
        let axes = self.attribute_or_operand(node, "axes", 1)?;
        let rank = x.shape.len();
        let mut axes = match axes {
            Some(axes) if !axes.is_empty() => axes.iter().map(|&a| axis(a, rank)).collect::<Result<Vec<_>, _>>()?,
            _ if node.int("noop_with_empty_axes", 0) != 0 => return Err(Stop::Form("a reduction over no axis")),
            _ => (0..rank).collect(),
        };
        axes.sort_unstable();
        axes.dedup();
        // Over rows and columns the image can stay as it is stored.
        let spatial = rank == 4 && axes == [2, 3];
        let keep = node.int("keepdims", 1) != 0;
        let (x, stored_axes) =
            if spatial { (self.image(position, &x)?, vec![1, 2]) } else { (self.plain(position, &x), axes.clone()) };
        let (mut shape, mut order) = (x.shape.clone(), x.order.clone());
        axes.iter().for_each(|&a| shape[a] = 1);
        if !keep {
            shape = (0..rank).filter(|d| !axes.contains(d)).map(|d| x.shape[d]).collect();
            order = (0..shape.len()).collect();
        }
        let kind = match &node.op[..] {
            "ReduceMean" => OpKind::Mean { axes: stored_axes },
            "ReduceSum" => OpKind::Sum { axes: stored_axes },
            _ => {
                let made = Made { inputs: vec![x.id], shape, order };
                return Ok(self.alike(position, OpKind::ReduceMax { axes: stored_axes }, &x, node.output(0), made));
            }
        };
        Ok(pending(position, node, kind, vec![Some(x.id)], shape, order))
    }
}
