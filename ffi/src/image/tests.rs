//! Images against a definition that is slow and obvious, and pixels that one can work out by hand.

use std::ptr;

use fleetfoot::{
    engine::Tensor,
    format::graph::{IoType, Span},
};

use super::{Source, Target, fill, from_yuv};
use crate::layout::{Versioned, ff_image};

fn tensor(dtype: IoType, dims: &[u32], scale: f32, zero_point: i32) -> Tensor {
    let len = dims.iter().product::<u32>() * dtype.size() as u32;
    Tensor { dtype, dims: dims.iter().copied().collect(), scale, zero_point, span: Span { offset: 0, len } }
}

/// `width x height` pixels, each with its own red (10 x + y), green and blue.
fn image(width: u32, height: u32, pixels: &[u8]) -> ff_image {
    ff_image {
        format: 1,
        width,
        height,
        stride: [4 * width + 4, 0],
        plane: [pixels.as_ptr(), ptr::null()],
        ..ff_image::ZERO
    }
}

fn pixels(width: u32, height: u32) -> Vec<u8> {
    let row = |y: u32| {
        let pixel = move |x: u32| [(10 * x + y) as u8, (100 + 10 * y + x) as u8, (200 + x + y) as u8, 255];
        (0..width).flat_map(pixel).chain([9; 4])
    };
    (0..height).flat_map(row).collect()
}

fn filled(image: &ff_image, tensor: &Tensor) -> Vec<u8> {
    let mut to = vec![0xAA; tensor.span.len as usize];
    // SAFETY: the planes are as large as the images of these tests say.
    let source = unsafe { Source::new(image) }.unwrap();
    fill(&source, &Target::new(image, tensor).unwrap(), &mut to);
    to
}

fn reds(image: &ff_image, height: u32, width: u32) -> Vec<u8> {
    let all = filled(image, &tensor(IoType::UInt8, &[1, height, width, 3], 1.0, 0));
    all.iter().step_by(3).copied().collect()
}

#[test]
fn turns() {
    let pixels = pixels(3, 2);
    let mut image = image(3, 2, &pixels);
    // Rows of the image: 0 10 20 / 1 11 21.
    for (degrees, height, width, expected) in [
        (0, 2, 3, [0, 10, 20, 1, 11, 21]),
        (90, 3, 2, [1, 0, 11, 10, 21, 20]),
        (180, 2, 3, [21, 11, 1, 20, 10, 0]),
        (270, 3, 2, [20, 21, 10, 11, 0, 1]),
    ] {
        image.rotation_degrees = degrees;
        for filter in [0, 1] {
            image.filter = filter;
            assert_eq!(reds(&image, height, width), expected, "{degrees} degrees, filter {filter}");
        }
    }
}

#[test]
fn sizes() {
    let pixels = pixels(3, 2);
    let mut image = image(3, 2, &pixels);
    assert_eq!(reds(&image, 1, 1), [11], "the pixel in the middle");
    assert_eq!(reds(&image, 2, 6), [0, 0, 10, 10, 20, 20, 1, 1, 11, 11, 21, 21]);
    image.filter = 1;
    // Twice as wide: a quarter and three quarters between neighbours, and the border repeats.
    assert_eq!(reds(&image, 2, 6)[..6], [0, 3, 8, 13, 18, 20]);
    assert_eq!(reds(&image, 1, 1), [11], "(10 + 11) / 2, half up");
}

#[test]
fn channels_and_numbers() {
    let pixels = pixels(1, 1);
    let mut image = image(1, 1, &pixels);
    let of = |image: &ff_image, dtype, c, scale, zero| filled(image, &tensor(dtype, &[1, 1, 1, c], scale, zero));
    assert_eq!(of(&image, IoType::UInt8, 3, 1.0, 0), [0, 100, 200]);
    assert_eq!(of(&image, IoType::Int8, 3, 1.0, 0), [0x80, (-28_i8).cast_unsigned(), 72]);
    assert_eq!(of(&image, IoType::UInt8, 1, 1.0, 0), [((150 * 100 + 29 * 200 + 128) >> 8) as u8]);
    let floats = of(&image, IoType::Float32, 3, 1.0, 0);
    assert_eq!(floats, [0.0_f32, 100.0, 200.0].map(f32::to_le_bytes).concat());
    image.mean = [127.5; 3];
    image.std = [127.5; 3];
    let floats = of(&image, IoType::Float32, 3, 1.0, 0);
    assert_eq!(floats[..4], (-1.0_f32).to_le_bytes());
    // (100 - 127.5) / 127.5 / (1 / 64) = -13.8; (200 - 127.5) / 127.5 * 64 = 36.4.
    assert_eq!(of(&image, IoType::Int8, 3, 1.0 / 64.0, 5).map(u8::cast_signed), [-59, -9, 41]);
    assert_eq!(of(&image, IoType::UInt8, 3, 1.0 / 1024.0, 5), [0, 0, 255], "saturates");
    image.format = 2;
    image.std = [0.0; 3];
    assert_eq!(of(&image, IoType::UInt8, 3, 1.0, 0), [200, 100, 0]);
}

trait MapVec<T> {
    fn map<U>(self, f: impl Fn(T) -> U) -> Vec<U>;
}

impl<T> MapVec<T> for Vec<T> {
    fn map<U>(self, f: impl Fn(T) -> U) -> Vec<U> {
        self.into_iter().map(f).collect()
    }
}

#[test]
fn luma_and_chroma() {
    // 3 x 2 pixels: two pairs of chroma, and rows with something behind them.
    let luma = [16, 235, 81, 0, 145, 41, 128, 0];
    let pairs = [128, 128, 90, 240, 77];
    for (format, swapped) in [(3, false), (4, true)] {
        let mut chroma = pairs;
        if swapped {
            chroma.swap(2, 3);
        }
        let image = ff_image {
            format,
            width: 3,
            height: 2,
            stride: [4, 5],
            plane: [luma.as_ptr(), chroma.as_ptr()],
            ..ff_image::ZERO
        };
        let all = filled(&image, &tensor(IoType::UInt8, &[1, 2, 3, 3], 1.0, 0));
        assert_eq!(all[..6], [0, 0, 0, 255, 255, 255], "black and white of video");
        assert_eq!(all[6..9], [255, 0, 0], "81, 90, 240 is red");
    }
    assert_eq!(from_yuv(true, 0, 128, 128), [0; 3]);
    assert_eq!(from_yuv(true, 255, 128, 128), [255; 3]);
    assert_eq!(from_yuv(true, 76, 85, 255), [254, 0, 0]);
}

#[test]
fn what_is_no_image_is_refused() {
    let pixels = pixels(3, 2);
    let good = image(3, 2, &pixels);
    let refused = |change: fn(&mut ff_image), status: i32| {
        let mut image = good;
        change(&mut image);
        // SAFETY: as in `filled`; what is refused is not read.
        let fault = unsafe { Source::new(&image) }.err().map(|fault| fault.status);
        assert_eq!(fault, Some(status), "{image:?}");
    };
    refused(|image| image.format = 0, 613);
    refused(|image| image.format = 5, 613);
    refused(|image| image.width = 0, 613);
    refused(|image| image.height = 1 << 20, 613);
    refused(|image| image.rotation_degrees = 45, 613);
    refused(|image| image.filter = 2, 613);
    refused(|image| image.stride[0] = 11, 613);
    refused(|image| image.plane[0] = ptr::null(), 600);
    let takes = |image: &ff_image, dtype, dims: &[u32]| Target::new(image, &tensor(dtype, dims, 1.0, 0)).is_ok();
    assert!(takes(&good, IoType::Int8, &[1, 2, 2, 3]));
    assert!(!takes(&good, IoType::Int8, &[1, 2, 2, 4]));
    assert!(!takes(&good, IoType::Int8, &[2, 2, 2, 3]));
    assert!(!takes(&good, IoType::Int8, &[1, 490]));
    assert!(!takes(&good, IoType::Int64, &[1, 2, 2, 3]));
    for std in [[1.0, 0.0, 1.0], [f32::NAN; 3], [1.0, f32::INFINITY, 1.0]] {
        assert!(!takes(&ff_image { std, ..good }, IoType::Int8, &[1, 2, 2, 3]), "{std:?}");
    }
}
