//! Images against what Pillow made of them, and against bilinear interpolation in float64: `vectors.py` says how `vectors.txt` was made.
#![allow(clippy::unwrap_used, reason = "this is a test")]

use fleetfoot_format::{
    graph::IoType,
    preprocess::{Channels, Filter, Image, ImageStep, PixelValues},
};
use fleetfoot_preprocess::{Rgb, Tensor, image};

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

#[test]
fn the_same_as_others() {
    let mut seen = 0;
    for line in include_str!("vectors.txt").lines().filter(|line| line.starts_with("image ")) {
        let fields: Vec<&str> = line.split(' ').collect();
        let [_, name, w, h, width, height, source, expected] = fields[..] else { panic!("{line}") };
        let [w, h, width, height] = [w, h, width, height].map(|n| n.parse::<u32>().unwrap());
        let (source, expected) = (bytes(source), bytes(expected));
        // Pillow is exact; float64 and weights of 1/65536 may fall on both sides of the edge between two bytes.
        let (filter, most) = match name {
            "nearest" => (Filter::Nearest, 0),
            "antialias" => (Filter::BilinearAntialias, 0),
            "area" => (Filter::Area, 0),
            "half" => (Filter::BilinearHalfPixel, 1),
            "corners" => (Filter::BilinearAlignCorners, 1),
            _ => (Filter::Nearest, 0),
        };
        let channels = if name == "grey" { Channels::Grey } else { Channels::Rgb };
        let steps = [ImageStep::Resize { width, height, filter }];
        let settings = Image { steps: steps.into_iter().collect(), channels, values: PixelValues::Levels };
        let dims = [1, height, width, channels.count() as u32];
        let tensor = Tensor { dtype: IoType::UInt8, dims: &dims, scale: 1.0, zero_point: 0 };
        let mut got = vec![0; expected.len()];
        image(&settings, &tensor, &Rgb::new(w, h, &source).unwrap(), &mut got).unwrap();
        if name == "nearest" {
            // Where a centre lies exactly on an edge, Pillow's sum of steps in floating point may fall on either side.
            for (at, place) in got.chunks_exact_mut(3).enumerate() {
                let (x, y) = (at as u32 % width, at as u32 / width);
                if (2 * x + 1) * w % (2 * width) == 0 || (2 * y + 1) * h % (2 * height) == 0 {
                    place.copy_from_slice(&expected[3 * at..][..3]);
                }
            }
        }
        let differing = got.iter().zip(&expected).filter(|(a, b)| a != b).count();
        let far = got.iter().zip(&expected).filter(|&(&a, &b)| a.abs_diff(b) > most).count();
        assert_eq!(far, 0, "{name} {w}x{h} to {width}x{height}: {differing} of {} differ", got.len());
        assert!(
            differing <= 2 + got.len() / 50,
            "{name} {w}x{h} to {width}x{height}: {differing} of {} differ",
            got.len()
        );
        seen += 1;
    }
    assert_eq!(seen, 36);
}
