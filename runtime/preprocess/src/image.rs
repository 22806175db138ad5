//! An image becomes the input of a model in one pass.
//!
//! ```text
//! place in the input -> place in the image -> pixel(s) -> channels -> table of 256 per channel -> input
//! ```

use fleetfoot_format::{
    graph::IoType,
    preprocess::{Channels, Image, ImageStep, PixelValues},
};

use crate::{door::Tensor, error::PreprocessError, filter, geometry::Geometry};

/// Pixels from wherever they are: a decoded file, a frame of a camera.
pub trait Pixels {
    /// Columns and rows.
    fn size(&self) -> (u32, u32);

    /// Red, green and blue at a place inside [`size`](Self::size).
    fn rgb(&self, x: u32, y: u32) -> [u8; 3];
}

/// Three bytes per pixel, in rows from the top without anything between.
#[derive(Clone, Copy, Debug)]
pub struct Rgb<'a> {
    width: u32,
    height: u32,
    pixels: &'a [[u8; 3]],
}

impl<'a> Rgb<'a> {
    /// Of `3 * width * height` bytes.
    ///
    /// # Errors
    /// [`PreprocessError::Buffer`].
    pub fn new(width: u32, height: u32, bytes: &'a [u8]) -> Result<Self, PreprocessError> {
        let need = (u64::from(width) * u64::from(height)).saturating_mul(3);
        if need != bytes.len() as u64 {
            let need = usize::try_from(need).unwrap_or(usize::MAX);
            return Err(PreprocessError::Buffer { what: "the image", need, have: bytes.len() });
        }
        Ok(Self { width, height, pixels: bytes.as_chunks().0 })
    }
}

impl Pixels for Rgb<'_> {
    fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    fn rgb(&self, x: u32, y: u32) -> [u8; 3] {
        self.pixels[y as usize * self.width as usize + x as usize]
    }
}

/// Fills `out`, the bytes of the input `tensor`, from `pixels`.
///
/// # Errors
/// [`PreprocessError`] where a crop does not lie in the image, the result has another size than the input, or the input is none for images.
pub fn image(
    settings: &Image,
    tensor: &Tensor<'_>,
    pixels: &impl Pixels,
    out: &mut [u8],
) -> Result<(), PreprocessError> {
    tensor.fits(out)?;
    let (need_height, need_width) = extents(settings, tensor)?;
    let (width, height) = pixels.size();
    let geometry = Geometry::new(&settings.steps, width, height)?;
    let (width, height) = (geometry.x.keep, geometry.y.keep);
    if (width, height) != (need_width, need_height) {
        return Err(PreprocessError::ResultSize { width, height, need_width, need_height });
    }
    if tensor.dtype == IoType::Float32 {
        let mut elements = out.as_chunks_mut::<4>().0.iter_mut();
        filter::each(pixels, &geometry, |rgb| {
            each_channel(settings.channels, rgb, |channel, level| {
                if let Some(element) = elements.next() {
                    *element = value(settings, tensor, channel, level);
                }
            });
        });
    } else {
        let mut tables = [[0; 256]; 3];
        for (channel, table) in tables.iter_mut().enumerate() {
            for (level, place) in (0..=255).zip(table) {
                *place = value(settings, tensor, channel, level)[0];
            }
        }
        let mut elements = out.iter_mut();
        filter::each(pixels, &geometry, |rgb| {
            each_channel(settings.channels, rgb, |channel, level| {
                if let Some(element) = elements.next() {
                    *element = tables[channel][usize::from(level)];
                }
            });
        });
    }
    Ok(())
}

/// What can be said without an image: the shape of the input, and the size of the result where the steps fix it.
pub(crate) fn check(settings: &Image, tensor: &Tensor<'_>) -> Result<(), PreprocessError> {
    let (need_height, need_width) = extents(settings, tensor)?;
    let mut fixed = None;
    for step in &settings.steps {
        fixed = match *step {
            ImageStep::Crop { width, height, .. }
            | ImageStep::CentreCrop { width, height }
            | ImageStep::Resize { width, height, .. } => Some((width, height)),
            ImageStep::CentreSquare => fixed.map(|(w, h): (u32, u32)| (w.min(h), w.min(h))),
            ImageStep::ResizeShorter { .. } => None,
        };
    }
    match fixed {
        Some((width, height)) if (width, height) != (need_width, need_height) => {
            Err(PreprocessError::ResultSize { width, height, need_width, need_height })
        }
        _ => Ok(()),
    }
}

/// Height and width of the input, whose channels must be those of the settings.
fn extents(settings: &Image, tensor: &Tensor<'_>) -> Result<(u32, u32), PreprocessError> {
    let have = settings.channels.count() as u64;
    match *tensor.dims {
        [1, height, width, channels] if u64::from(channels) == have => Ok((height, width)),
        [1, _, _, channels] => Err(PreprocessError::Shape { what: "channels of a pixel", need: channels.into(), have }),
        ref dims => {
            let need = dims.len() as u64;
            Err(PreprocessError::Shape { what: "dimensions: 1, height, width, channels", need, have: 4 })
        }
    }
}

fn each_channel(channels: Channels, [r, g, b]: [u8; 3], mut put: impl FnMut(usize, u8)) {
    match channels {
        Channels::Rgb => [r, g, b].into_iter().enumerate().for_each(|(c, v)| put(c, v)),
        Channels::Bgr => [b, g, r].into_iter().enumerate().for_each(|(c, v)| put(c, v)),
        Channels::Grey => put(0, luma([r, g, b])),
    }
}

/// ITU-R 601 in 1/65536, rounded half up: the `L` of Pillow.
fn luma(rgb: [u8; 3]) -> u8 {
    let [r, g, b] = rgb.map(u32::from);
    ((19_595 * r + 38_470 * g + 7_471 * b + 32_768) >> 16) as u8
}

/// The bytes of the element for a level of a channel.
fn value(settings: &Image, tensor: &Tensor<'_>, channel: usize, level: u8) -> [u8; 4] {
    match settings.values {
        PixelValues::Levels => tensor.level(level),
        PixelValues::Real { divide, mean, std } => {
            tensor.element((f32::from(level) / divide - mean[channel]) / std[channel])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIMS: [u32; 4] = [1, 1, 2, 3];

    fn settings(channels: Channels, values: PixelValues) -> Image {
        Image { steps: [].into_iter().collect(), channels, values }
    }

    fn filled(settings: &Image, dtype: IoType, dims: &[u32]) -> Result<std::vec::Vec<u8>, PreprocessError> {
        let tensor = Tensor { dtype, dims, scale: 1.0 / 128.0, zero_point: -1 };
        let mut out = std::vec![0xAA; tensor.elements() as usize * dtype.size()];
        check(settings, &tensor)?;
        image(settings, &tensor, &Rgb::new(2, 1, &[0, 1, 2, 253, 254, 255])?, &mut out)?;
        Ok(out)
    }

    #[test]
    fn channels_and_values() {
        let of = |channels, values, dtype| filled(&settings(channels, values), dtype, &DIMS).unwrap();
        assert_eq!(of(Channels::Rgb, PixelValues::Levels, IoType::UInt8), [0, 1, 2, 253, 254, 255]);
        assert_eq!(of(Channels::Bgr, PixelValues::Levels, IoType::Int8), [130, 129, 128, 127, 126, 125]);
        let real = PixelValues::Real { divide: 127.5, mean: [1.0; 3], std: [1.0, 1.0, 2.0] };
        // -1, about -0.992 and about -0.492 in steps of 1/128 around -1.
        assert_eq!(
            of(Channels::Rgb, real, IoType::Int8)[..3].iter().map(|b| b.cast_signed()).collect::<std::vec::Vec<_>>(),
            [-128, -128, -64]
        );
        let floats = of(Channels::Rgb, real, IoType::Float32);
        let first: std::vec::Vec<f32> = floats.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
        assert_eq!(first[..3], [-1.0, 1.0 / 127.5 - 1.0, (2.0 / 127.5 - 1.0) / 2.0]);
        let grey = settings(Channels::Grey, PixelValues::Levels);
        assert_eq!(filled(&grey, IoType::UInt8, &[1, 1, 2, 1]).unwrap(), [1, 254]);
    }

    #[test]
    fn what_does_not_fit() {
        let rgb = settings(Channels::Rgb, PixelValues::Levels);
        let code = |dtype, dims: &[u32]| filled(&rgb, dtype, dims).unwrap_err().code();
        assert_eq!(code(IoType::UInt8, &[1, 1, 2, 1]), 341);
        assert_eq!(code(IoType::UInt8, &[1, 2, 3]), 341);
        assert_eq!(code(IoType::UInt8, &[1, 2, 2, 3]), 345);
        assert_eq!(code(IoType::Int32, &DIMS), 342);
        let tensor = Tensor { dtype: IoType::UInt8, dims: &DIMS, scale: 1.0, zero_point: 0 };
        assert_eq!(image(&rgb, &tensor, &Rgb::new(1, 1, &[0; 3]).unwrap(), &mut [0; 5]).unwrap_err().code(), 347);
        assert_eq!(Rgb::new(1, 2, &[0; 5]).unwrap_err().code(), 347);
        assert_eq!(Rgb::new(u32::MAX, u32::MAX, &[0; 5]).unwrap_err().code(), 347);
        let steps = [ImageStep::CentreCrop { width: 3, height: 1 }];
        let wrong = Image { steps: steps.into_iter().collect(), ..rgb };
        assert_eq!(check(&wrong, &tensor).unwrap_err().code(), 345);
    }
}
