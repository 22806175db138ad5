//! Strided copy of bytes, six dimensions at most: the innermost runs move as a whole where both sides are dense.
//!
//! Nothing here needs an instruction set: dense runs are `memcpy`, the rest is bound by memory.

use crate::params::Copy;

/// Copies; all places were checked.
pub(crate) fn copy(p: &Copy<'_>, input: &[u8], output: &mut [u8]) {
    if let Some(value) = p.fill {
        output.fill(value);
    }
    let (run, from_step, to_step) = (p.dims[5], p.from_strides[5], p.to_strides[5]);
    let mut index = [0usize; 5];
    let (mut from, mut to) = (p.from as isize, p.to);
    loop {
        match p.table {
            None if from_step == 1 && to_step == 1 => {
                output[to..to + run].copy_from_slice(&input[from as usize..][..run]);
            }
            None => {
                for i in 0..run {
                    output[to + i * to_step] = input[(from + i as isize * from_step) as usize];
                }
            }
            Some(table) => {
                for i in 0..run {
                    output[to + i * to_step] = table[usize::from(input[(from + i as isize * from_step) as usize])];
                }
            }
        }
        // The next index, innermost first.
        let mut d = 5;
        loop {
            if d == 0 {
                return;
            }
            d -= 1;
            index[d] += 1;
            // One beyond the last there may be no place that can be counted; the way back makes it good.
            from = from.wrapping_add(p.from_strides[d]);
            to = to.wrapping_add(p.to_strides[d]);
            if index[d] < p.dims[d] {
                break;
            }
            from = from.wrapping_sub(p.from_strides[d].wrapping_mul(p.dims[d] as isize));
            to = to.wrapping_sub(p.to_strides[d].wrapping_mul(p.dims[d]));
            index[d] = 0;
        }
    }
}
