//! An image becomes the input of a model in one pass: turned, resized, converted to RGB or grey, normalised, quantized.
//!
//! ```text
//! output (x, y) -> place in the turned image, half a pixel is the centre -> place in the image -> pixel(s) -> table of 256 -> input
//! ```
//! All of it is integer arithmetic but the tables, so every device gets the same bytes.
//!
//! Where the bundle says itself how an image becomes its input, that is what is done: turned, then cropped, resized and normalised as the bundle says, by
//! the crate `fleetfoot-preprocess`. Filter, mean and std of the call are not looked at then.

use fleetfoot::{engine, format::graph::IoType, preprocess::Pixels};

use crate::{
    door::{bytes, door, null, read},
    layout::{ff_error, ff_image, ff_session},
    session::session,
    status::{Fault, Status},
};

/// Makes `image` the content of input `index`.
///
/// # Safety
/// As the header says of all functions.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ff_session_set_image(
    handle: *mut ff_session,
    index: u32,
    image: *const ff_image,
    error: *mut ff_error,
) -> i32 {
    let body = || {
        let mut bound = session(handle)?;
        bound.sound()?;
        // SAFETY: the header's contract of `image`.
        let image = unsafe { read(image)? };
        // SAFETY: the header wants the planes to be as large as format, height and stride say.
        let source = unsafe { Source::new(&image)? };
        if bound.prepare(index, &source)? {
            bound.unbind_input(index);
            return Ok(());
        }
        let (tensor, to) = bound.input_mut(index)?;
        fill(&source, &Target::new(&image, &tensor).map_err(|fault| fault.at(index))?, to);
        bound.unbind_input(index);
        Ok(())
    };
    // SAFETY: the header's contract of `error`.
    unsafe { door(error, body) }
}

/// The image of a caller, its numbers checked.
struct Source<'a> {
    format: Format,
    width: u32,
    height: u32,
    rotation: u32,
    bilinear: bool,
    full_range: bool,
    planes: [&'a [u8]; 2],
    strides: [usize; 2],
}

#[derive(Clone, Copy, PartialEq)]
enum Format {
    Rgba,
    Bgra,
    Nv12,
    Nv21,
}

impl Source<'_> {
    /// # Safety
    /// Planes that the format has are NULL or have as many bytes as height and stride say.
    unsafe fn new(image: &ff_image) -> Result<Self, Fault> {
        let fault = |what: &str, value: u32| Fault::new(Status::Image, format!("the image's {what} is {value}"));
        let format = match image.format {
            1 => Format::Rgba,
            2 => Format::Bgra,
            3 => Format::Nv12,
            4 => Format::Nv21,
            other => return Err(fault("format", other.cast_unsigned())),
        };
        let (width, height) = (image.width, image.height);
        for (what, extent) in [("width", width), ("height", height)] {
            if !(1..=MAX_EXTENT).contains(&extent) {
                return Err(fault(what, extent));
            }
        }
        if !matches!(image.rotation_degrees, 0 | 90 | 180 | 270) {
            return Err(fault("rotation", image.rotation_degrees));
        }
        let bilinear = match image.filter {
            0 => false,
            1 => true,
            other => return Err(fault("filter", other.cast_unsigned())),
        };
        // Bytes of a row and rows, of both planes.
        let shapes = match format {
            Format::Rgba | Format::Bgra => [(4 * width, height), (0, 0)],
            Format::Nv12 | Format::Nv21 => [(width, height), (2 * width.div_ceil(2), height.div_ceil(2))],
        };
        let mut planes: [&[u8]; 2] = [&[]; 2];
        for (at, &(row, rows)) in shapes.iter().enumerate().filter(|(_, (_, rows))| *rows > 0) {
            let stride = image.stride[at];
            if stride < row {
                return Err(fault("stride", stride));
            }
            if image.plane[at].is_null() {
                return Err(null("a plane of the image"));
            }
            let len = u64::from(rows - 1) * u64::from(stride) + u64::from(row);
            let len = usize::try_from(len).map_err(|_| fault("stride", stride))?;
            // SAFETY: by the contract of this function.
            planes[at] = unsafe { bytes(image.plane[at], len, "a plane of the image")? };
        }
        let strides = image.stride.map(|stride| stride as usize);
        let (rotation, full_range) = (image.rotation_degrees, image.full_range != 0);
        Ok(Self { format, width, height, rotation, bilinear, full_range, planes, strides })
    }

    /// Columns and rows once it is turned.
    const fn turned(&self) -> (u32, u32) {
        if self.rotation.is_multiple_of(180) { (self.width, self.height) } else { (self.height, self.width) }
    }

    /// Red, green and blue at a place of the turned image.
    fn rgb(&self, x: u32, y: u32) -> [u8; 3] {
        let (x, y) = match self.rotation {
            0 => (x, y),
            90 => (y, self.height - 1 - x),
            180 => (self.width - 1 - x, self.height - 1 - y),
            _ => (self.width - 1 - y, x),
        };
        let (x, y) = (x as usize, y as usize);
        if matches!(self.format, Format::Rgba | Format::Bgra) {
            let at = y * self.strides[0] + 4 * x;
            let [a, b, c] = [self.planes[0][at], self.planes[0][at + 1], self.planes[0][at + 2]];
            return if self.format == Format::Rgba { [a, b, c] } else { [c, b, a] };
        }
        let luma = self.planes[0][y * self.strides[0] + x];
        let at = y / 2 * self.strides[1] + x / 2 * 2;
        let (first, second) = (self.planes[1][at], self.planes[1][at + 1]);
        let (u, v) = if self.format == Format::Nv12 { (first, second) } else { (second, first) };
        from_yuv(self.full_range, luma, u, v)
    }
}

impl Pixels for Source<'_> {
    fn size(&self) -> (u32, u32) {
        self.turned()
    }

    fn rgb(&self, x: u32, y: u32) -> [u8; 3] {
        self.rgb(x, y)
    }
}

/// BT.601 in steps of 1/256.
fn from_yuv(full_range: bool, y: u8, u: u8, v: u8) -> [u8; 3] {
    let (y, u, v) = (i32::from(y), i32::from(u) - 128, i32::from(v) - 128);
    let (y, [rv, gu, gv, bu]) =
        if full_range { (256 * y, [359, 88, 183, 454]) } else { (298 * (y - 16), [409, 100, 208, 516]) };
    let channel = |sum: i32| ((y + sum + 128) >> 8).clamp(0, 255) as u8;
    [channel(rv * v), channel(-gu * u - gv * v), channel(bu * u)]
}

/// What the model wants of a pixel.
struct Target {
    height: u32,
    width: u32,
    grey: bool,
    element: IoType,
    /// The bytes of an element for each value of each channel.
    tables: [[[u8; 4]; 256]; 3],
}

impl Target {
    fn new(image: &ff_image, tensor: &engine::Tensor) -> Result<Self, Fault> {
        let refuse = |why: String| Err(Fault::new(Status::Image, why));
        let &[1, height, width, channels @ (1 | 3)] = &tensor.dims[..] else {
            return refuse(format!("an input of {:?} takes no image: it is [1, height, width, 1 or 3]", tensor.dims));
        };
        let raw = image.std.iter().all(|&std| std == 0.0);
        for (what, values) in [("mean", &image.mean), ("std", &image.std)] {
            if let Some(channel) = values.iter().position(|value| !value.is_finite()) {
                return refuse(format!("{what} of channel {channel} is not a finite number"));
            }
        }
        if let Some(channel) = image.std.iter().position(|&std| std == 0.0).filter(|_| !raw) {
            return refuse(format!("std of channel {channel} is 0, and that of another is not"));
        }
        let (low, high) = match tensor.dtype {
            IoType::Int8 => (-128, 127),
            IoType::UInt8 => (0, 255),
            IoType::Float32 => (0, 0),
            other => return refuse(format!("an input of {} takes no image", other.name())),
        };
        let mut tables = [[[0; 4]; 256]; 3];
        for (channel, table) in tables.iter_mut().enumerate() {
            for (value, bytes) in table.iter_mut().enumerate() {
                let value = value as f32;
                let real = if raw { value } else { (value - image.mean[channel]) / image.std[channel] };
                *bytes = match tensor.dtype {
                    IoType::Float32 => real.to_le_bytes(),
                    // Pixels as they are: the lowest is the lowest that the type has.
                    _ if raw => (value as i32 + low).to_le_bytes(),
                    _ => {
                        let steps = (real / tensor.scale).round_ties_even() + tensor.zero_point as f32;
                        // Not `clamp`, whose panic would print floats.
                        (steps.max(low as f32).min(high as f32) as i32).to_le_bytes()
                    }
                };
            }
        }
        Ok(Self { height, width, grey: channels == 1, element: tensor.dtype, tables })
    }
}

fn fill(source: &Source<'_>, target: &Target, to: &mut [u8]) {
    let (turned_w, turned_h) = source.turned();
    let columns: Vec<Tap> = (0..target.width).map(|x| Tap::new(source.bilinear, x, target.width, turned_w)).collect();
    let size = target.element.size();
    let mut elements = to.chunks_exact_mut(size);
    let mut put = |channel: usize, value: u8| {
        if let Some(element) = elements.next() {
            element.copy_from_slice(&target.tables[channel][usize::from(value)][..size]);
        }
    };
    for y in 0..target.height {
        let row = Tap::new(source.bilinear, y, target.height, turned_h);
        for column in &columns {
            let rgb = sample(source, column, &row);
            if target.grey {
                let [r, g, b] = rgb.map(u32::from);
                put(0, ((77 * r + 150 * g + 29 * b + 128) >> 8) as u8);
            } else {
                (0..3).for_each(|channel| put(channel, rgb[channel]));
            }
        }
    }
}

/// Where one coordinate is taken from: two neighbours, and how far it is to the second, in 1/65536.
struct Tap {
    first: u32,
    second: u32,
    part: u64,
}

impl Tap {
    fn new(bilinear: bool, at: u32, of: u32, from: u32) -> Self {
        // The centre of the pixel, in 1/65536 of a pixel of the source.
        let centre = (2 * u64::from(at) + 1) * u64::from(from) * 32_768 / u64::from(of);
        if !bilinear {
            let first = ((centre >> 16) as u32).min(from - 1);
            return Self { first, second: first, part: 0 };
        }
        let place = centre.saturating_sub(32_768).min(u64::from(from - 1) << 16);
        let first = (place >> 16) as u32;
        Self { first, second: (first + 1).min(from - 1), part: place & 0xffff }
    }
}

fn sample(source: &Source<'_>, x: &Tap, y: &Tap) -> [u8; 3] {
    let a = source.rgb(x.first, y.first);
    if x.part == 0 && y.part == 0 {
        return a;
    }
    let (b, c, d) = (source.rgb(x.second, y.first), source.rgb(x.first, y.second), source.rgb(x.second, y.second));
    let between = |p: u8, q: u8, part: u64| u64::from(p) * (65_536 - part) + u64::from(q) * part;
    std::array::from_fn(|i| {
        let (above, below) = (between(a[i], b[i], x.part), between(c[i], d[i], x.part));
        ((above * (65_536 - y.part) + below * y.part + (1 << 31)) >> 32) as u8
    })
}

/// Larger images than any camera's, and all products above stay in 64 bits.
const MAX_EXTENT: u32 = 1 << 15;

#[cfg(test)]
mod tests;
