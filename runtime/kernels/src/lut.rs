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
