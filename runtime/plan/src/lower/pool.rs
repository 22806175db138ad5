//! Pools, means and borders.

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

    pub(super) fn mean(&self, axes: &[usize]) -> Result<Step, PlanError> {
        let (input, output) = (self.input(0)?, self.output()?);
        self.same_type(&[input, output])?;
        let shape = &input.tensor.shape;
        // The axes must be neighbours: what stands before them is a batch, what stands behind them are channels.
        let (Some(&first), Some(&last)) = (axes.first(), axes.last()) else {
            return Err(self.unsupported("a mean over no axis"));
        };
        if last >= shape.len() || last - first + 1 != axes.len() {
            return Err(self.unsupported("a mean over axes that are not neighbours"));
        }
        let n: usize = shape[first..=last].iter().product();
        let (batch, channels) = (shape[..first].iter().product(), shape[last + 1..].iter().product::<usize>());
        self.expect(self.op.outputs[0], batch * channels)?;
        let multiplier = (input.scale / output.scale) * (1.0 / n as f32);
        let offset = output.zero_point as f32 - (n as f32 * input.zero_point as f32) * multiplier;
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

    pub(super) fn pad(&self, amounts: &[[usize; 2]]) -> Result<Step, PlanError> {
        let (input, output) = (self.input(0)?, self.output()?);
        self.same_type(&[input, output])?;
        let rank = input.tensor.shape.len();
        if rank > 4 || amounts.len() != rank {
            return Err(self.unsupported("more than four dimensions"));
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
        let value = output.zero_point.to_le_bytes()[0];
        Ok(Step::Pad(graph::Pad { in_dims, before, after, value, input: input.span, output: output.span }))
    }
}
