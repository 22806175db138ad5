//! The entry: every operation on the chosen instruction set, lengths checked first.

use core::fmt;

use crate::{
    add::RunAdd,
    broadcast,
    conv::{ConvScratch, RunConv},
    copy,
    depthwise::{DepthwiseScratch, RunDepthwise},
    doors::{RunFromFloat, RunToFloat},
    isa::{Isa, Op, Scalar, Selected},
    lut::RunLut,
    mean::RunMean,
    mul::RunMul,
    pad::RunPad,
    params::{Add, ArgExtreme, Broadcast, Conv, Copy, Door, Mean, Mul, Pad, Pool, Resample, Softmax, Window},
    pool::RunPool,
    reference, resample,
    softmax::RunSoftmax,
};

/// The kernels of one instruction set. Choose once, keep for the life of a session; all give the same bytes.
///
/// Activations must be exactly as long as the parameters say; weights, biases, multipliers and scratch may be longer.
///
/// ```
/// use fleetfoot_kernels::{Add, DType, Kernels};
///
/// let half = 1 << 19;
/// let add = Add {
///     dtype: DType::Int8,
///     a_multiplier: half,
///     b_multiplier: half,
///     bias: half,
///     shift: 20,
///     out_zero_point: 0,
///     lo: -128,
///     hi: 127,
/// };
/// let mut output = [0; 2];
/// Kernels::detect().add(&add, &[10, 127], &[21, 127], &mut output);
/// assert_eq!(output, [16, 127]);
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Kernels(Selected);

impl Kernels {
    /// The portable kernels, which every CPU runs.
    #[must_use]
    pub const fn scalar() -> Self {
        Self(Selected::Scalar(Scalar))
    }

    /// The fastest kernels that this CPU runs. Without the feature `std`: that the program was compiled for.
    #[must_use]
    pub fn detect() -> Self {
        Self::available().next().unwrap_or(Self::scalar())
    }

    /// The kernels called `name`, if this CPU runs them.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::available().find(|kernels| kernels.name() == name)
    }

    /// The name of the instruction set: `scalar`, `avx2`, ...
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.0.name()
    }

    /// All kernels that this CPU runs, fastest first.
    pub fn available() -> impl Iterator<Item = Self> {
        Selected::fastest_first().map(Self)
    }

    /// Bytes of scratch that [`conv`](Self::conv) needs; `usize::MAX` if that cannot be counted.
    #[must_use]
    pub fn conv_scratch_len(self, c: &Conv<'_>) -> usize {
        self.0.run(ConvScratch(c))
    }

    /// Bytes of scratch that [`depthwise`](Self::depthwise) needs; `usize::MAX` if that cannot be counted.
    #[must_use]
    pub fn depthwise_scratch_len(self, c: &Conv<'_>) -> usize {
        self.0.run(DepthwiseScratch(c))
    }

    /// Multiply-accumulates on registers alone, with the instruction of the inner loops and none waiting for another, `steps`
    /// times round. Returns how many were done: over the time that took it is the most that a layer could reach on this
    /// core. 0 where no such instruction stands out (`scalar`: the compiler chooses).
    #[must_use]
    pub fn peak(self, steps: u32) -> u64 {
        self.0.run(RunPeak { steps })
    }

    /// Convolution, also fully connected.
    ///
    /// # Panics
    /// If a slice has the wrong length or a parameter is out of its range.
    pub fn conv(self, c: &Conv<'_>, input: &[u8], output: &mut [u8], scratch: &mut [u8]) {
        check_conv(c, input, output);
        at_least(
            "weights",
            c.weights.len(),
            product([c.c16(), product([c.window.taps(), c.in_c]).next_multiple_of(4)]),
        );
        at_least("scratch", scratch.len(), self.conv_scratch_len(c));
        self.0.run(RunConv { conv: c, input, output, scratch });
    }

    /// Depthwise convolution.
    ///
    /// # Panics
    /// If a slice has the wrong length or a parameter is out of its range.
    pub fn depthwise(self, c: &Conv<'_>, input: &[u8], output: &mut [u8], scratch: &mut [u8]) {
        check_conv(c, input, output);
        at_least("weights", c.weights.len(), product([c.c16(), c.window.taps()]));
        at_least("scratch", scratch.len(), self.depthwise_scratch_len(c));
        assert!(c.out_c.is_multiple_of(c.in_c), "out_c: {} is no multiple of {}", c.out_c, c.in_c);
        self.0.run(RunDepthwise { conv: c, input, output, scratch });
    }

    /// Sum or difference of two tensors of one shape.
    ///
    /// # Panics
    /// If a slice has the wrong length.
    pub fn add(self, p: &Add, a: &[u8], b: &[u8], output: &mut [u8]) {
        exactly("a", a.len(), output.len());
        exactly("b", b.len(), output.len());
        self.0.run(RunAdd { params: p, a, b, output });
    }

    /// Product of two tensors, or of a tensor and one row of channels for each image.
    ///
    /// # Panics
    /// If a slice has the wrong length.
    pub fn mul(self, p: &Mul, a: &[u8], b: &[u8], output: &mut [u8]) {
        exactly("a", a.len(), output.len());
        let rows = product([p.batch, p.channels]);
        assert!(rows > 0 && a.len().is_multiple_of(rows), "a: {} is no multiple of {rows}", a.len());
        if b.len() != rows {
            exactly("b", b.len(), a.len());
        }
        in_range(&[p.a_zero_point, p.b_zero_point, p.out_zero_point, p.lo, p.hi]);
        self.0.run(RunMul { params: p, a, b, output });
    }

    /// Average or maximum pool.
    ///
    /// # Panics
    /// If a slice has the wrong length or a window holds no cell of the image.
    pub fn pool(self, p: &Pool, input: &[u8], output: &mut [u8]) {
        let w = &p.window;
        check_window(w);
        exactly("input", input.len(), product([p.batch, w.in_h, w.in_w, p.channels]));
        exactly("output", output.len(), product([p.batch, w.out_h, w.out_w, p.channels]));
        // The first window does not end before the image, the last does not begin behind it.
        let meets = |out: usize, stride: usize, pad: usize, kernel: usize, extent: usize| {
            pad < kernel && product([out.saturating_sub(1), stride]).saturating_sub(pad) < extent
        };
        assert!(
            meets(w.out_h, w.stride_h, w.pad_top, w.kernel_h, w.in_h)
                && meets(w.out_w, w.stride_w, w.pad_left, w.kernel_w, w.in_w),
            "window: no cell of the image in {w:?}"
        );
        assert!(p.channels > 0 && w.dilation_h == 1 && w.dilation_w == 1, "pool: {p:?}");
        self.0.run(RunPool { params: p, input, output });
    }

    /// Mean over the pixels of each image.
    ///
    /// # Panics
    /// If a slice has the wrong length.
    pub fn mean(self, p: &Mean, input: &[u8], output: &mut [u8]) {
        exactly("input", input.len(), product([p.batch, p.pixels, p.channels]));
        exactly("output", output.len(), product([p.batch, p.channels]));
        // Not `{p:?}`: formatting floats would be 25 kB of every program.
        assert!(p.pixels > 0 && p.channels > 0, "mean: {} pixels of {} channels", p.pixels, p.channels);
        self.0.run(RunMean { params: p, input, output });
    }

    /// A border around a tensor.
    ///
    /// # Panics
    /// If a slice has the wrong length.
    pub fn pad(self, p: &Pad, input: &[u8], output: &mut [u8]) {
        let out = core::array::from_fn(|d| sum([p.before[d], p.in_dims[d], p.after[d]]));
        exactly("input", input.len(), product(p.in_dims));
        exactly("output", output.len(), product::<4>(out));
        self.0.run(RunPad { params: p, input, output });
    }

    /// `output[i] = table[input[i]]`.
    ///
    /// # Panics
    /// If the slices have different lengths.
    pub fn lut(self, table: &[u8; 256], input: &[u8], output: &mut [u8]) {
        exactly("output", output.len(), input.len());
        self.0.run(RunLut { table, input, output });
    }

    /// Softmax over rows.
    ///
    /// # Panics
    /// If a slice has the wrong length.
    pub fn softmax(self, p: &Softmax<'_>, input: &[u8], output: &mut [u8]) {
        exactly("output", output.len(), input.len());
        assert!(p.row > 0 && input.len().is_multiple_of(p.row), "input: {} is no multiple of {}", input.len(), p.row);
        in_range(&[p.out_zero_point]);
        let Some(table) = p.table.first_chunk() else { panic!("table: {} elements, needs 256", p.table.len()) };
        self.0.run(RunSoftmax { params: p, table, input, output });
    }
}

struct RunPeak {
    steps: u32,
}

impl Op for RunPeak {
    type Out = u64;
    const DOTS: bool = true;

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) -> u64 {
        isa.peak(self.steps)
    }
}

/// Movement of bytes, operands of different shapes, doors.
impl Kernels {
    /// A strided copy.
    ///
    /// # Panics
    /// If an element lies outside its slice.
    pub fn copy(self, p: &Copy<'_>, input: &[u8], output: &mut [u8]) {
        assert!(p.dims.iter().all(|&d| d > 0), "extents: {:?}", p.dims);
        copy::copy(p, input, output);
    }

    /// An element-wise operation with operands that may repeat.
    ///
    /// # Panics
    /// If a slice has the wrong length.
    pub fn broadcast(self, p: &Broadcast, a: &[u8], b: &[u8], output: &mut [u8]) {
        exactly("output", output.len(), product(p.dims));
        assert!(!output.is_empty(), "extents: {:?}", p.dims);
        let last = |strides: [usize; 6]| sum::<6>(core::array::from_fn(|d| product([p.dims[d] - 1, strides[d]])));
        assert!(last(p.a_strides) < a.len(), "a: {} elements for {:?}, {:?}", a.len(), p.dims, p.a_strides);
        assert!(last(p.b_strides) < b.len(), "b: {} elements for {:?}, {:?}", b.len(), p.dims, p.b_strides);
        broadcast::broadcast(p, a, b, output);
    }

    /// Resizing of images, gathering of rows.
    ///
    /// # Panics
    /// If a slice has the wrong length or a row or column looks outside the image.
    pub fn resample(self, p: &Resample<'_>, input: &[u8], output: &mut [u8]) {
        exactly("input", input.len(), product([p.batch, p.in_h, p.in_w, p.channels]));
        exactly("output", output.len(), product([p.batch, p.rows.len(), p.columns.len(), p.channels]));
        assert!(!input.is_empty() && !output.is_empty(), "extents: none may be 0");
        resample::resample(p, input, output);
    }

    /// The index of the first largest or smallest element.
    ///
    /// # Panics
    /// If a slice has the wrong length.
    pub fn arg_extreme(self, p: &ArgExtreme, input: &[u8], output: &mut [u8]) {
        exactly("input", input.len(), product([p.outer, p.n, p.inner]));
        exactly("output", output.len(), product([p.outer, p.inner, if p.wide { 8 } else { 4 }]));
        reference::arg_extreme(p, input, output);
    }

    /// float32, little-endian, to a quantized type.
    ///
    /// # Panics
    /// If a slice has the wrong length.
    pub fn from_float(self, p: &Door, input: &[u8], output: &mut [u8]) {
        exactly("input", input.len(), product([output.len(), 4]));
        in_range(&[p.zero_point]);
        self.0.run(RunFromFloat { params: p, input, output });
    }

    /// A quantized type to float32, little-endian.
    ///
    /// # Panics
    /// If a slice has the wrong length.
    pub fn to_float(self, p: &Door, input: &[u8], output: &mut [u8]) {
        exactly("output", output.len(), product([input.len(), 4]));
        in_range(&[p.zero_point]);
        self.0.run(RunToFloat { params: p, input, output });
    }
}

impl fmt::Debug for Kernels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Kernels").field(&self.name()).finish()
    }
}

#[track_caller]
fn check_conv(c: &Conv<'_>, input: &[u8], output: &[u8]) {
    let w = &c.window;
    check_window(w);
    exactly("input", input.len(), product([c.batch, w.in_h, w.in_w, c.in_c]));
    exactly("output", output.len(), product([c.batch, w.out_h, w.out_w, c.out_c]));
    at_least("bias", c.bias.len(), c.c16());
    at_least("sums", c.sums.len(), c.c16());
    at_least("multipliers", c.multipliers.len(), c.c16());
    assert!(!input.is_empty() && !output.is_empty(), "extents: none may be 0 in {w:?}");
    in_range(&[c.in_zero_point, c.out_zero_point, c.lo, c.hi]);
    assert!((-128..=127).contains(&c.weight_zero_point), "weight_zero_point: {}", c.weight_zero_point);
    let (lo, hi) = c.in_dtype.range();
    assert!((lo..=hi).contains(&c.in_zero_point), "in_zero_point: {}", c.in_zero_point);
}

/// Nothing is 0, and the last cell of the last window has coordinates that can be counted.
#[track_caller]
fn check_window(w: &Window) {
    let extents = [w.in_h, w.in_w, w.out_h, w.out_w, w.kernel_h, w.kernel_w];
    let steps = [w.stride_h, w.stride_w, w.dilation_h, w.dilation_w];
    assert!(extents.iter().chain(&steps).all(|&extent| extent > 0), "window: a 0 in {w:?}");
    let _rows = sum([product([w.out_h, w.stride_h]), product([w.kernel_h, w.dilation_h]), w.in_h, w.pad_top]);
    let _columns = sum([product([w.out_w, w.stride_w]), product([w.kernel_w, w.dilation_w]), w.in_w, w.pad_left]);
}

#[track_caller]
fn in_range(values: &[i32]) {
    assert!(values.iter().all(|value| (-128..=255).contains(value)), "bounds and zero points: {values:?}");
}

#[track_caller]
fn exactly(what: &str, have: usize, need: usize) {
    assert!(have == need, "{what}: {have} elements, needs {need}");
}

#[track_caller]
fn at_least(what: &str, have: usize, need: usize) {
    assert!(have >= need, "{what}: {have} elements, needs {need}");
}

#[track_caller]
fn product<const N: usize>(factors: [usize; N]) -> usize {
    match factors.iter().try_fold(1usize, |product, &factor| product.checked_mul(factor)) {
        Some(product) => product,
        None => panic!("extents: {factors:?} have no product"),
    }
}

#[track_caller]
fn sum<const N: usize>(terms: [usize; N]) -> usize {
    match terms.iter().try_fold(0usize, |sum, &term| sum.checked_add(term)) {
        Some(sum) => sum,
        None => panic!("extents: {terms:?} have no sum"),
    }
}
