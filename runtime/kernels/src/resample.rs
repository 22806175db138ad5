//! Resizing of images and gathering of rows. Where both weights are 0 a pixel is copied.

use crate::{
    params::Resample,
    reference::{blend, value},
};

/// A resampling; all lengths and places were checked.
pub(crate) fn resample(p: &Resample<'_>, input: &[u8], output: &mut [u8]) {
    let images = input.chunks_exact(p.in_h * p.in_w * p.channels);
    for (input, output) in images.zip(output.chunks_exact_mut(p.rows.len() * p.columns.len() * p.channels)) {
        let lines = output.chunks_exact_mut(p.columns.len() * p.channels);
        for (output, &[y, wy]) in lines.zip(p.rows) {
            let line = |y: usize| &input[y * p.in_w * p.channels..][..p.in_w * p.channels];
            let (top, bottom) = (line(y as usize), line((y as usize + 1).min(p.in_h - 1)));
            for (output, &[x, wx]) in output.chunks_exact_mut(p.channels).zip(p.columns) {
                let (left, right) = (x as usize * p.channels, (x as usize + 1).min(p.in_w - 1) * p.channels);
                if wy == 0 && wx == 0 {
                    output.copy_from_slice(&top[left..][..p.channels]);
                    continue;
                }
                let corners = (top[left..].iter().zip(&top[right..])).zip(bottom[left..].iter().zip(&bottom[right..]));
                for (output, ((&tl, &tr), (&bl, &br))) in output.iter_mut().zip(corners) {
                    let [tl, tr, bl, br] = [tl, tr, bl, br].map(|x| value(p.dtype, x));
                    *output = blend([tl, tr, bl, br], wx as i32, wy as i32) as u8;
                }
            }
        }
    }
}
