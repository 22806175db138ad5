//! Filters against definitions that are slow and obvious, and against what Pillow and NumPy gave.

use std::vec::Vec;

use fleetfoot_format::preprocess::{Filter, ImageStep};

use super::each;
use crate::{
    geometry::Geometry,
    image::{Pixels, Rgb},
};

struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: u32) -> u32 {
        // xorshift64* (Vigna, arXiv 1402.6246).
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % u64::from(n)) as u32
    }
}

fn resized(pixels: &impl Pixels, steps: &[ImageStep]) -> Vec<[u8; 3]> {
    let (w, h) = pixels.size();
    let mut out = Vec::new();
    each(pixels, &Geometry::new(steps, w, h).unwrap(), |rgb| out.push(rgb));
    out
}

/// Real numbers, straight from the definition; which place of the source a pixel is at, and weights there.
fn slow(pixels: &impl Pixels, width: u32, height: u32, filter: Filter) -> Vec<[f64; 3]> {
    let (w, h) = pixels.size();
    let weights = |at: u32, to: u32, from: u32| -> Vec<f64> {
        let (scale, last) = (f64::from(from) / f64::from(to), f64::from(from - 1));
        let place = match filter {
            Filter::BilinearAlignCorners if to == 1 => 0.0,
            Filter::BilinearAlignCorners => f64::from(at) * last / f64::from(to - 1),
            _ => ((f64::from(at) + 0.5) * scale - 0.5).clamp(0.0, last),
        };
        let covers = |i: f64| {
            let (a, b) = (f64::from(at) * scale, f64::from(at + 1) * scale);
            (b.min(i + 1.0) - a.max(i)).max(0.0) / scale
        };
        let weight = |i: u32| match filter {
            Filter::Area => covers(f64::from(i)),
            _ => (1.0 - (f64::from(i) - place).abs()).max(0.0),
        };
        (0..from).map(weight).collect()
    };
    let mut out = Vec::new();
    for y in 0..height {
        for x in 0..width {
            let (across, down) = (weights(x, width, w), weights(y, height, h));
            let mut sums = [0.0; 3];
            for (row, a) in (0..).zip(&down) {
                for (column, b) in (0..).zip(&across) {
                    let rgb = pixels.rgb(column, row);
                    (0..3).for_each(|c| sums[c] += a * b * f64::from(rgb[c]));
                }
            }
            out.push(sums);
        }
    }
    out
}

#[test]
fn within_rounding_of_the_definition() {
    let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15);
    for _ in 0..300 {
        let (w, h) = (1 + numbers.below(20), 1 + numbers.below(20));
        let (width, height) = (1 + numbers.below(24), 1 + numbers.below(24));
        let bytes: Vec<u8> = (0..3 * w * h).map(|_| numbers.below(256) as u8).collect();
        let pixels = Rgb::new(w, h, &bytes).unwrap();
        for filter in [Filter::BilinearHalfPixel, Filter::BilinearAlignCorners, Filter::Area] {
            let got = resized(&pixels, &[ImageStep::Resize { width, height, filter }]);
            let exact = slow(&pixels, width, height, filter);
            assert_eq!(got.len(), exact.len());
            for (at, (got, exact)) in got.iter().zip(&exact).enumerate() {
                for c in 0..3 {
                    let error = (f64::from(got[c]) - exact[c]).abs();
                    assert!(error <= 0.508, "{filter:?} {w}x{h} to {width}x{height}, pixel {at}: {got:?} {exact:?}");
                }
            }
        }
    }
}

#[test]
fn nearest_takes_the_pixel_under_the_centre() {
    let bytes: Vec<u8> = (0..7).flat_map(|v| [v; 3]).collect();
    let pixels = Rgb::new(7, 1, &bytes).unwrap();
    let of = |width| {
        let steps = [ImageStep::Resize { width, height: 1, filter: Filter::Nearest }];
        resized(&pixels, &steps).iter().map(|rgb| rgb[0]).collect::<Vec<_>>()
    };
    assert_eq!(of(3), [1, 3, 5]);
    assert_eq!(of(4), [0, 2, 4, 6]);
    assert_eq!(of(7), [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(of(9), [0, 1, 1, 2, 3, 4, 5, 5, 6]);
}

#[test]
fn a_window_of_a_resized_image_is_that_of_the_whole() {
    let mut numbers = Numbers(99);
    let bytes: Vec<u8> = (0..3 * 31 * 17).map(|_| numbers.below(256) as u8).collect();
    let pixels = Rgb::new(31, 17, &bytes).unwrap();
    for filter in [
        Filter::Nearest,
        Filter::BilinearHalfPixel,
        Filter::BilinearAlignCorners,
        Filter::Area,
        Filter::BilinearAntialias,
    ] {
        let resize = ImageStep::Resize { width: 13, height: 11, filter };
        let all = resized(&pixels, &[resize]);
        let part = resized(&pixels, &[resize, ImageStep::Crop { left: 2, top: 3, width: 5, height: 4 }]);
        let expected: Vec<[u8; 3]> =
            (3..7).flat_map(|y| (2..7).map(move |x| (y, x))).map(|(y, x)| all[y * 13 + x]).collect();
        assert_eq!(part, expected, "{filter:?}");
        // A crop before it is the same as an image that ends there.
        let crop = ImageStep::Crop { left: 4, top: 5, width: 20, height: 9 };
        let cut: Vec<u8> = (5..14).flat_map(|y| bytes[3 * (31 * y + 4)..][..60].iter().copied()).collect();
        assert_eq!(resized(&pixels, &[crop, resize]), resized(&Rgb::new(20, 9, &cut).unwrap(), &[resize]));
    }
}
