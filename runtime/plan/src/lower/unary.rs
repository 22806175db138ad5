//! Functions of one variable as tables, and softmax.

use fleetfoot_format::graph::{self, DType, Step};

use super::Lower;
use crate::{error::PlanError, graph::OpKind, pack::Packer, tables};

impl Lower<'_> {
    pub(super) fn softmax(&self, packer: &mut Packer, beta: f32) -> Result<Step, PlanError> {
        let (input, output) = (self.input(0)?, self.output()?);
        self.same_type(&[input, output])?;
        self.expect(self.op.outputs[0], input.tensor.elements())?;
        if output.dtype == DType::Int8
            && (output.scale.to_bits(), output.zero_point) != ((1f32 / 256.0).to_bits(), -128)
        {
            return Err(self.unsupported("an int8 softmax whose output is not scale 1/256, zero point -128"));
        }
        if !(1.0 / 65536.0..=1.0).contains(&output.scale) {
            return Err(self.unsupported("a softmax whose output scale is outside 2^-16 .. 1"));
        }
        Ok(Step::Softmax(graph::Softmax {
            input: input.span,
            output: output.span,
            table: packer.push_f32(&tables::softmax_table(input.scale, beta)),
            row: self.u32(*input.tensor.shape.last().unwrap_or(&1))?,
            dtype: input.dtype,
            out_scale: output.scale,
            out_zero_point: output.zero_point,
        }))
    }

    pub(super) fn lut(&self, packer: &mut Packer) -> Result<Step, PlanError> {
        let (input, output) = (self.input(0)?, self.output()?);
        self.expect(self.op.outputs[0], input.tensor.elements())?;
        if self.op.kind != OpKind::Quantize {
            self.same_type(&[input, output])?;
        }
        let (dtype, si, zi, so, zo) = (input.dtype, input.scale, input.zero_point, output.scale, output.zero_point);
        let table = match self.op.kind {
            OpKind::Logistic => tables::logistic_table(dtype, si, zi, so, zo),
            OpKind::Tanh => tables::tanh_table(dtype, si, zi, so, zo),
            OpKind::HardSwish => tables::hard_swish_table(dtype, si, zi, so, zo)
                .map_err(|_| self.unsupported("a hard swish whose output scale is too small or too large"))?,
            OpKind::Unary(unary) => tables::unary_table(unary, dtype, si, zi, so, zo),
            _ => tables::requantize_table(dtype, si, zi, output.dtype, so, zo),
        };
        Ok(Step::Lut(graph::Lut { input: input.span, output: output.span, table: packer.push(&table) }))
    }
}
