//! The algorithms that resize, one pixel of the result at a time.
//!
//! | filter | a pixel of the result is |
//! |---|---|
//! | nearest | the pixel under its centre, `floor((2 x + 1) len / (2 scaled))` |
//! | bilinear | between four pixels, weights in 1/65536, rounded half up once |
//! | area | the mean of what it covers, an exact fraction, rounded half up |
//! | antialias | Pillow's: a triangle as wide as the reduction, weights in 1/2^22, rounded after the columns and after the rows |

use fleetfoot_format::preprocess::Filter;

use crate::{
    geometry::{Axis, Geometry, MAX_REDUCTION},
    image::Pixels,
};

/// The pixels of the result from left to right, from top to bottom.
pub(crate) fn each(pixels: &impl Pixels, geometry: &Geometry, mut put: impl FnMut([u8; 3])) {
    let Geometry { filter, x, y } = *geometry;
    match filter {
        Filter::Nearest => {
            for row in y.result().map(|at| nearest(y, at)) {
                x.result().for_each(|at| put(pixels.rgb(nearest(x, at), row)));
            }
        }
        Filter::BilinearHalfPixel | Filter::BilinearAlignCorners => {
            let tap = if filter == Filter::BilinearHalfPixel { Tap::half_pixel } else { Tap::align_corners };
            for row in y.result().map(|at| tap(y, at)) {
                x.result().for_each(|at| put(bilinear(pixels, tap(x, at), row)));
            }
        }
        Filter::Area => {
            for row in y.result() {
                x.result().for_each(|at| put(area(pixels, (x, at), (y, row))));
            }
        }
        Filter::BilinearAntialias => {
            for row in y.result().map(|at| Triangle::new(y, at)) {
                x.result().for_each(|at| put(antialias(pixels, &Triangle::new(x, at), &row)));
            }
        }
    }
}

impl Axis {
    /// Places of the result among the scaled pixels.
    fn result(self) -> core::ops::Range<u32> {
        self.skip..self.skip + self.keep
    }
}

fn nearest(axis: Axis, at: u32) -> u32 {
    let place = (2 * u64::from(at) + 1) * u64::from(axis.len) / (2 * u64::from(axis.scaled));
    axis.start + place as u32
}

/// Where one coordinate is taken from: two neighbours, and how far it is to the second, in 1/65536.
#[derive(Clone, Copy)]
struct Tap {
    first: u32,
    second: u32,
    part: u64,
}

impl Tap {
    /// Half a pixel is the centre: `(at + 1/2) len / scaled - 1/2`, not outside.
    fn half_pixel(axis: Axis, at: u32) -> Self {
        let centre = (2 * u64::from(at) + 1) * u64::from(axis.len) * 32_768 / u64::from(axis.scaled);
        Self::at(axis, centre.saturating_sub(32_768))
    }

    /// The outermost pixels stay the outermost: `at (len - 1) / (scaled - 1)`.
    fn align_corners(axis: Axis, at: u32) -> Self {
        let steps = u64::from(axis.scaled - 1).max(1);
        Self::at(axis, u64::from(at) * u64::from(axis.len - 1) * 65_536 / steps)
    }

    fn at(axis: Axis, place: u64) -> Self {
        let last = axis.len - 1;
        let place = place.min(u64::from(last) << 16);
        let first = (place >> 16) as u32;
        let second = (first + 1).min(last);
        Self { first: axis.start + first, second: axis.start + second, part: place & 0xffff }
    }
}

fn bilinear(pixels: &impl Pixels, x: Tap, y: Tap) -> [u8; 3] {
    let a = pixels.rgb(x.first, y.first);
    if x.part == 0 && y.part == 0 {
        return a;
    }
    let (b, c, d) = (pixels.rgb(x.second, y.first), pixels.rgb(x.first, y.second), pixels.rgb(x.second, y.second));
    let between = |p: u8, q: u8, part: u64| u64::from(p) * (65_536 - part) + u64::from(q) * part;
    core::array::from_fn(|i| {
        let (above, below) = (between(a[i], b[i], x.part), between(c[i], d[i], x.part));
        ((above * (65_536 - y.part) + below * y.part + (1 << 31)) >> 32) as u8
    })
}

/// Pixels and how much of each is covered, in 1/scaled of a pixel; the weights are `len` in all.
fn covered(axis: Axis, at: u32) -> impl Iterator<Item = (u32, u64)> {
    let (len, scaled) = (u64::from(axis.len), u64::from(axis.scaled));
    let (from, to) = (u64::from(at) * len, (u64::from(at) + 1) * len);
    (from / scaled..to.div_ceil(scaled)).map(move |pixel| {
        let weight = to.min((pixel + 1) * scaled) - from.max(pixel * scaled);
        (axis.start + pixel as u32, weight)
    })
}

fn area(pixels: &impl Pixels, x: (Axis, u32), y: (Axis, u32)) -> [u8; 3] {
    let mut sums = [0u64; 3];
    for (row, row_weight) in covered(y.0, y.1) {
        let mut of_row = [0u64; 3];
        for (column, weight) in covered(x.0, x.1) {
            let rgb = pixels.rgb(column, row);
            (0..3).for_each(|c| of_row[c] += u64::from(rgb[c]) * weight);
        }
        (0..3).for_each(|c| sums[c] += of_row[c] * row_weight);
    }
    let all = u64::from(x.0.len) * u64::from(y.0.len);
    sums.map(|sum| ((sum + all / 2) / all) as u8)
}

/// Weights of `first ..` in 1/2^22; from `Resample.c` of Pillow (12.0), whose numbers these are.
struct Triangle {
    first: u32,
    count: usize,
    weights: [i32; MAX_TAPS],
}

impl Triangle {
    fn new(axis: Axis, at: u32) -> Self {
        let scale = f64::from(axis.len) / f64::from(axis.scaled);
        let support = if scale < 1.0 { 1.0 } else { scale };
        let centre = (f64::from(at) + 0.5) * scale;
        let step = 1.0 / support;
        // Conversions cut towards zero, and what is below zero is zero.
        let from = (centre - support + 0.5) as u32;
        let to = ((centre + support + 0.5) as u32).min(axis.len);
        let weight = |i: u32| {
            let away = (f64::from(from + i) - centre + 0.5) * step;
            let away = if away < 0.0 { -away } else { away };
            if away < 1.0 { 1.0 - away } else { 0.0 }
        };
        let count = to.saturating_sub(from).min(MAX_TAPS as u32);
        let mut all = 0.0;
        (0..count).for_each(|i| all += weight(i));
        let mut weights = [0; MAX_TAPS];
        for (i, place) in (0..count).zip(&mut weights) {
            let share = if all == 0.0 { weight(i) } else { weight(i) / all };
            *place = (0.5 + share * 4_194_304.0) as i32;
        }
        Self { first: axis.start + from, count: count as usize, weights }
    }

    fn taps(&self) -> impl Iterator<Item = (u32, i32)> {
        (self.first..).zip(self.weights.iter().copied().take(self.count))
    }
}

fn antialias(pixels: &impl Pixels, x: &Triangle, y: &Triangle) -> [u8; 3] {
    let clip = |sum: i32| (sum >> 22).clamp(0, 255) as u8;
    let mut sums = [1 << 21; 3];
    for (row, row_weight) in y.taps() {
        let mut of_row = [1 << 21; 3];
        for (column, weight) in x.taps() {
            let rgb = pixels.rgb(column, row);
            (0..3).for_each(|c| of_row[c] += i32::from(rgb[c]) * weight);
        }
        (0..3).for_each(|c| sums[c] += i32::from(clip(of_row[c])) * row_weight);
    }
    sums.map(clip)
}

/// Pixels that a triangle covers at most.
const MAX_TAPS: usize = 2 * MAX_REDUCTION as usize + 2;

#[cfg(test)]
mod tests;
