//! Pools, reductions and borders.

use fleetfoot_format::graph::{self, PoolKind, Step, Window};

use super::Lower;
use crate::error::PlanError;

impl Lower<'_> {
    pub(super) fn pool(&self, kind: PoolKind, window: Window, (lo, hi): (i32, i32)) -> Result<Step, PlanError> {
        let (input, output) = (self.input(0)?, self.output()?);
        self.same_type(&[input, output])?;
        if (input.scale.to_bits(), input.zero_point) != (output.scale.to_bits(), output.zero_point) {
            return Err(self.unsupported("a pool whose output is quantized unlike its input"));
        }
        let [batch, .., channels] = self.dims4(input.tensor)?;
        self.expect(self.op.outputs[0], batch * window.out_h as usize * window.out_w as usize * channels)?;
        Ok(Step::Pool(graph::Pool {
            kind,
            batch: self.u32(batch)?,
            window,
            channels: self.u32(channels)?,
            dtype: input.dtype,
            input: input.span,
            output: output.span,
            lo,
            hi,
        }))
    }

    pub(super) fn reduce(&self, axes: &[usize], mean: bool) -> Result<Step, PlanError> {
        let (input, output) = (self.input(0)?, self.output()?);
        self.same_type(&[input, output])?;
        let [batch, n, channels] = self.around(axes)?;
        let ratio = input.scale / output.scale;
        let multiplier = if mean { ratio * (1.0 / n as f32) } else { ratio };
        let offset = output.zero_point as f32 - (n as f32 * input.zero_point as f32) * multiplier;
        if !(multiplier > 0.0 && multiplier < 256.0 && offset.is_finite()) {
            return Err(self.unsupported("a ratio of input to output scale that is 0 or over 2^8"));
        }
        if n > 1 << 23 {
            return Err(self.unsupported("a reduction of more than 2^23 elements"));
        }
        Ok(Step::Mean(graph::Mean {
            batch: self.u32(batch)?,
            pixels: self.u32(n)?,
            channels: self.u32(channels)?,
            dtype: input.dtype,
            input: input.span,
            output: output.span,
            multiplier,
            offset,
        }))
    }

    /// The largest is a pool whose window is as long as the axes.
    pub(super) fn reduce_max(&self, axes: &[usize]) -> Result<Step, PlanError> {
        let (input, output) = (self.input(0)?, self.output()?);
        self.alike(&[input, output])?;
        let [batch, n, channels] = self.around(axes)?;
        let (lo, hi) = input.dtype.range();
        let one = Window {
            in_h: 1,
            in_w: 1,
            out_h: 1,
            out_w: 1,
            kernel_h: 1,
            kernel_w: 1,
            stride_h: 1,
            stride_w: 1,
            dilation_h: 1,
            dilation_w: 1,
            pad_top: 0,
            pad_left: 0,
        };
        Ok(Step::Pool(graph::Pool {
            kind: PoolKind::Max,
            batch: self.u32(batch)?,
            window: Window { in_h: self.u32(n)?, kernel_h: self.u32(n)?, ..one },
            channels: self.u32(channels)?,
            dtype: input.dtype,
            input: input.span,
            output: output.span,
            lo,
            hi,
        }))
    }

    /// Elements before the axes, along them and behind them. The axes are neighbours, see `expand.rs`.
    fn around(&self, axes: &[usize]) -> Result<[usize; 3], PlanError> {
        let shape = &self.input(0)?.tensor.shape;
        let (Some(&first), Some(&last)) = (axes.first(), axes.last()) else {
            return Err(self.unsupported("a reduction over no axis"));
        };
        if last >= shape.len() || last - first + 1 != axes.len() {
            return Err(self.unsupported("a reduction over axes that are not neighbours"));
        }
        let of = |dims: &[usize]| dims.iter().product::<usize>();
        let (batch, n, channels) = (of(&shape[..first]), of(&shape[first..=last]), of(&shape[last + 1..]));
        self.expect(self.op.outputs[0], batch * channels)?;
        Ok([batch, n, channels])
    }

    pub(super) fn pad(&self, amounts: &[[usize; 2]], value: u8) -> Result<Step, PlanError> {
        let (input, output) = (self.input(0)?, self.output()?);
        self.alike(&[input, output])?;
        let rank = input.tensor.shape.len();
        if amounts.len() != rank {
            return Err(self.unsupported("a border that is not two numbers per dimension"));
        }
        if rank > 4 {
            let padded = input.tensor.shape.iter().zip(amounts).map(|(d, [b, a])| d + b + a);
            self.expect(self.op.outputs[0], padded.product())?;
            return self.pad_by_copy(amounts, value);
        }
        // Lower ranks are padded at the front with dimensions of one.
        let (mut in_dims, mut before, mut after) = ([1u32; 4], [0u32; 4], [0u32; 4]);
        let mut total = 1;
        for (i, (&extent, &[b, a])) in input.tensor.shape.iter().zip(amounts).enumerate() {
            let at = 4 - rank + i;
            (in_dims[at], before[at], after[at]) = (self.u32(extent)?, self.u32(b)?, self.u32(a)?);
            total *= extent + b + a;
        }
        self.expect(self.op.outputs[0], total)?;
        Ok(Step::Pad(graph::Pad { in_dims, before, after, value, input: input.span, output: output.span }))
    }
}
