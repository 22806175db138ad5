//! The steps on an image, put together: since at most one of them resizes, all that is left is a rectangle of the image, a size to bring it to, and
//! a rectangle of that. No picture is ever stored in between.

use fleetfoot_format::{
    limits::MAX_IMAGE_EXTENT,
    preprocess::{Filter, ImageStep},
};

use crate::error::PreprocessError;

/// Where the pixels of the result come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) filter: Filter,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
}

/// One direction: `len` pixels from `start` on are brought to `scaled` pixels, of which `keep` from `skip` on are the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Axis {
    pub(crate) start: u32,
    pub(crate) len: u32,
    pub(crate) scaled: u32,
    pub(crate) skip: u32,
    pub(crate) keep: u32,
}

impl Geometry {
    /// For an image of `width x height`.
    pub(crate) fn new(steps: &[ImageStep], width: u32, height: u32) -> Result<Self, PreprocessError> {
        let known = 1..=MAX_IMAGE_EXTENT;
        if !known.contains(&width) || !known.contains(&height) {
            return Err(PreprocessError::ImageSize { width, height });
        }
        // Nearest at the same size is the image itself.
        let mut this = Self { filter: Filter::Nearest, x: Axis::new(width), y: Axis::new(height) };
        for step in steps {
            let (w, h) = (this.x.keep, this.y.keep);
            match *step {
                ImageStep::Crop { left, top, width, height } => this.crop(left, top, width, height)?,
                ImageStep::CentreCrop { width, height } => {
                    this.crop(w.saturating_sub(width) / 2, h.saturating_sub(height) / 2, width, height)?;
                }
                ImageStep::CentreSquare => {
                    let side = w.min(h);
                    this.crop((w - side) / 2, (h - side) / 2, side, side)?;
                }
                ImageStep::Resize { width, height, filter } => this.resize(width, height, filter)?,
                ImageStep::ResizeShorter { length, filter } => {
                    let other = |longer: u32, shorter: u32| {
                        let scaled = u64::from(longer) * u64::from(length) / u64::from(shorter);
                        u32::try_from(scaled).unwrap_or(u32::MAX)
                    };
                    let (to_w, to_h) = if w <= h { (length, other(h, w)) } else { (other(w, h), length) };
                    this.resize(to_w, to_h, filter)?;
                }
            }
        }
        Ok(this)
    }

    fn crop(&mut self, left: u32, top: u32, width: u32, height: u32) -> Result<(), PreprocessError> {
        let (in_width, in_height) = (self.x.keep, self.y.keep);
        let inside = |from: u32, len: u32, of: u32| from.checked_add(len).is_some_and(|end| len > 0 && end <= of);
        if !inside(left, width, in_width) || !inside(top, height, in_height) {
            return Err(PreprocessError::Crop { left, top, width, height, in_width, in_height });
        }
        self.x.skip += left;
        self.x.keep = width;
        self.y.skip += top;
        self.y.keep = height;
        Ok(())
    }

    /// What was cut before is not seen by the filter.
    fn resize(&mut self, width: u32, height: u32, filter: Filter) -> Result<(), PreprocessError> {
        if width > MAX_IMAGE_EXTENT || height > MAX_IMAGE_EXTENT || width == 0 || height == 0 {
            return Err(PreprocessError::ImageSize { width, height });
        }
        self.filter = filter;
        for (axis, to) in [(&mut self.x, width), (&mut self.y, height)] {
            *axis = Axis { start: axis.start + axis.skip, len: axis.keep, scaled: to, skip: 0, keep: to };
            if filter == Filter::BilinearAntialias && axis.len > MAX_REDUCTION * to {
                return Err(PreprocessError::Reduction { from: axis.len, to });
            }
        }
        Ok(())
    }
}

impl Axis {
    const fn new(len: u32) -> Self {
        Self { start: 0, len, scaled: len, skip: 0, keep: len }
    }
}

/// How much smaller the filter with a table of weights makes an image at most: bounds that table.
pub(crate) const MAX_REDUCTION: u32 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_compose() {
        let filter = Filter::Area;
        let steps = [
            ImageStep::CentreSquare,
            ImageStep::Resize { width: 10, height: 10, filter },
            ImageStep::CentreCrop { width: 7, height: 8 },
            ImageStep::Crop { left: 1, top: 2, width: 3, height: 4 },
        ];
        let geometry = Geometry::new(&steps, 101, 50).unwrap();
        assert_eq!(geometry.x, Axis { start: 25, len: 50, scaled: 10, skip: 2, keep: 3 });
        assert_eq!(geometry.y, Axis { start: 0, len: 50, scaled: 10, skip: 3, keep: 4 });
        let shorter = Geometry::new(&[ImageStep::ResizeShorter { length: 256, filter }], 500, 333).unwrap();
        assert_eq!((shorter.x.keep, shorter.y.keep), (384, 256));
        let upright = Geometry::new(&[ImageStep::ResizeShorter { length: 256, filter }], 333, 500).unwrap();
        assert_eq!((upright.x.keep, upright.y.keep), (256, 384));
    }

    #[test]
    fn what_does_not_fit() {
        let code = |steps: &[ImageStep], w, h| Geometry::new(steps, w, h).unwrap_err().code();
        assert_eq!(code(&[], 0, 4), 343);
        assert_eq!(code(&[], 4, 40_000), 343);
        assert_eq!(code(&[ImageStep::CentreCrop { width: 5, height: 4 }], 4, 4), 344);
        assert_eq!(code(&[ImageStep::Crop { left: u32::MAX, top: 0, width: 2, height: 1 }], 4, 4), 344);
        let filter = Filter::BilinearAntialias;
        assert_eq!(code(&[ImageStep::Resize { width: 1, height: 65, filter }], 65, 65), 346);
        // A strip whose longer side would become longer than any image.
        assert_eq!(code(&[ImageStep::ResizeShorter { length: 2, filter }], 1, 20_000), 343);
    }
}
