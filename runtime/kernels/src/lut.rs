//! Any function of one byte: a table of 256.

use crate::isa::{Isa, Op};

/// A table; all lengths were checked.
pub(crate) struct RunLut<'a> {
    pub(crate) table: &'a [u8; 256],
    pub(crate) input: &'a [u8],
    pub(crate) output: &'a mut [u8],
}

impl Op for RunLut<'_> {
    type Out = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        isa.lut(self.table, self.input, self.output);
    }
}

/// The plain way.
#[inline(always)]
pub(crate) fn one_by_one(table: &[u8; 256], input: &[u8], output: &mut [u8]) {
    for (output, &input) in output.iter_mut().zip(input) {
        *output = table[usize::from(input)];
    }
}
