//! What an operation works on. One structure per operation, filled by the caller, the same for every instruction set.

/// How a byte of an activation is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DType {
    /// Two's complement.
    Int8,
    /// Unsigned.
    UInt8,
}

impl DType {
    /// Smallest and largest value.
    #[must_use]
    pub const fn range(self) -> (i32, i32) {
        match self {
            Self::Int8 => (-128, 127),
            Self::UInt8 => (0, 255),
        }
    }
}

/// A window that slides over an image, in elements. Cells outside the image count as the zero point (convolutions) or do
/// not count at all (pools).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Input rows.
    pub in_h: usize,
    /// Input columns.
    pub in_w: usize,
    /// Output rows.
    pub out_h: usize,
    /// Output columns.
    pub out_w: usize,
    /// Kernel rows.
    pub kernel_h: usize,
    /// Kernel columns.
    pub kernel_w: usize,
    /// Row stride, at least 1.
    pub stride_h: usize,
    /// Column stride, at least 1.
    pub stride_w: usize,
    /// Row dilation, at least 1.
    pub dilation_h: usize,
    /// Column dilation, at least 1.
    pub dilation_w: usize,
    /// Rows of padding above the image.
    pub pad_top: usize,
    /// Columns of padding left of the image.
    pub pad_left: usize,
}

impl Window {
    /// A window of one cell over `pixels` rows of one column: what a fully connected layer slides.
    #[must_use]
    pub const fn pointwise(pixels: usize) -> Self {
        Self {
            in_h: pixels,
            in_w: 1,
            out_h: pixels,
            out_w: 1,
            kernel_h: 1,
            kernel_w: 1,
            stride_h: 1,
            stride_w: 1,
            dilation_h: 1,
            dilation_w: 1,
            pad_top: 0,
            pad_left: 0,
        }
    }

    /// Input pixels of one image.
    #[must_use]
    pub const fn in_pixels(&self) -> usize {
        self.in_h * self.in_w
    }

    /// Output pixels of one image.
    #[must_use]
    pub const fn out_pixels(&self) -> usize {
        self.out_h * self.out_w
    }

    /// Cells of the kernel.
    #[must_use]
    pub const fn taps(&self) -> usize {
        self.kernel_h * self.kernel_w
    }
}

/// Convolution (also fully connected) or depthwise convolution: everything but the data.
///
/// Weights of a convolution have the layout `n16k4`, `[ceil(out_c/16)][ceil(k/4)][16][4]` with `k` over (kernel row, kernel
/// column, input channel); of a depthwise convolution `[kernel row][kernel column][c16]`. `bias`, `sums` and `multipliers`
/// are `[c16]`. Here `c16` is `out_c` rounded up to 16 and everything beyond `out_c` (and beyond `k`) is zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conv<'a> {
    /// Images.
    pub batch: usize,
    /// Geometry of one image.
    pub window: Window,
    /// Input channels.
    pub in_c: usize,
    /// Output channels; of a depthwise convolution a multiple of `in_c`: channel `c` reads input channel `c / (out_c / in_c)`.
    pub out_c: usize,
    /// Type of the input.
    pub in_dtype: DType,
    /// Zero point of the input.
    pub in_zero_point: i32,
    /// Weights, see above.
    pub weights: &'a [i8],
    /// Zero point of the stored weights, -128..=127.
    pub weight_zero_point: i32,
    /// Bias in units of the accumulator.
    pub bias: &'a [i32],
    /// The sum of the stored weights of each channel, so that a zero point can be taken off without reading them.
    pub sums: &'a [i32],
    /// Scale from accumulator to output.
    pub multipliers: &'a [f32],
    /// Whether every multiplier is below 1, so that no product with a sum leaves 32 bits: faster kernels may be taken.
    /// [`below_one`](Self::below_one) tells; to say `false` is never wrong.
    pub below_one: bool,
    /// Zero point of the output.
    pub out_zero_point: i32,
    /// Lowest output value; in the range of the output type.
    pub lo: i32,
    /// Highest output value. The low byte of the result is stored, so int8 and uint8 outputs need no type here.
    pub hi: i32,
}

impl Conv<'_> {
    /// Whether every one of `multipliers` is below 1. Worth asking once, not for every inference.
    #[must_use]
    pub fn below_one(multipliers: &[f32]) -> bool {
        // Numbers from 0 on are in the order of their bits; all others are above them.
        multipliers.iter().fold(0, |most, &m| m.to_bits().max(most)) < 1.0f32.to_bits()
    }

    /// Length of the dot product of one output of a convolution (not depthwise).
    #[must_use]
    pub const fn k(&self) -> usize {
        self.window.taps() * self.in_c
    }

    /// Output channels rounded up to 16.
    #[must_use]
    pub const fn c16(&self) -> usize {
        self.out_c.next_multiple_of(16)
    }

    /// Bytes of weights that a convolution needs.
    #[must_use]
    pub const fn conv_weights_len(&self) -> usize {
        self.c16() * self.k().next_multiple_of(4)
    }

    /// Bytes of weights that a depthwise convolution needs.
    #[must_use]
    pub const fn depthwise_weights_len(&self) -> usize {
        self.c16() * self.window.taps()
    }

    /// Bytes of input.
    #[must_use]
    pub const fn input_len(&self) -> usize {
        self.batch * self.window.in_pixels() * self.in_c
    }

    /// Bytes of output.
    #[must_use]
    pub const fn output_len(&self) -> usize {
        self.batch * self.window.out_pixels() * self.out_c
    }
}

/// `(bias + a_multiplier * a + b_multiplier * b >> shift) + out_zero_point`, clamped, in int32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Add {
    /// Type of both operands and the result.
    pub dtype: DType,
    /// Multiplier of `a`.
    pub a_multiplier: i32,
    /// Multiplier of `b`.
    pub b_multiplier: i32,
    /// Rounding term and zero points of the operands.
    pub bias: i32,
    /// Arithmetic right shift, 1..=31.
    pub shift: u32,
    /// Zero point of the output.
    pub out_zero_point: i32,
    /// Lowest output value.
    pub lo: i32,
    /// Highest output value.
    pub hi: i32,
}

/// `rne(f32((a - z_a) * (b - z_b)) * multiplier) + out_zero_point`, clamped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mul {
    /// Images.
    pub batch: usize,
    /// Channels; `a` and the output are `[batch, pixels, channels]`, `b` is the same or `[batch, 1, channels]`.
    pub channels: usize,
    /// Type of both operands and the result.
    pub dtype: DType,
    /// Zero point of `a`.
    pub a_zero_point: i32,
    /// Zero point of `b`.
    pub b_zero_point: i32,
    /// Scale of the product.
    pub multiplier: f32,
    /// Zero point of the output.
    pub out_zero_point: i32,
    /// Lowest output value.
    pub lo: i32,
    /// Highest output value.
    pub hi: i32,
}

/// Which pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolKind {
    /// Average of the cells inside the image; half away from zero.
    Average,
    /// Maximum of the cells inside the image.
    Max,
}

/// Average or maximum pool. Every window must hold at least one cell of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Which.
    pub kind: PoolKind,
    /// Images.
    pub batch: usize,
    /// Geometry of one image; dilation is 1.
    pub window: Window,
    /// Channels.
    pub channels: usize,
    /// Type of input and output.
    pub dtype: DType,
    /// Lowest output value.
    pub lo: i32,
    /// Highest output value.
    pub hi: i32,
}

/// `rne(f32(f32(f32(sum) * multiplier) + offset))`, clamped to the type; the sum is of raw values over the pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mean {
    /// Images.
    pub batch: usize,
    /// Pixels of one image.
    pub pixels: usize,
    /// Channels.
    pub channels: usize,
    /// Type of input and output.
    pub dtype: DType,
    /// Scale of the sum.
    pub multiplier: f32,
    /// Zero point term.
    pub offset: f32,
}

/// A border of `value` around a tensor of four dimensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pad {
    /// Extents of the input.
    pub in_dims: [usize; 4],
    /// Cells before.
    pub before: [usize; 4],
    /// Cells after.
    pub after: [usize; 4],
    /// The byte that fills.
    pub value: u8,
}

/// Softmax over rows of `row` elements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Softmax<'a> {
    /// Elements of a row.
    pub row: usize,
    /// Type of input and output.
    pub dtype: DType,
    /// `exp(-scale * beta * d)` for `d = max - q` in 0..=255.
    pub table: &'a [f32],
    /// Scale of the output.
    pub out_scale: f32,
    /// Zero point of the output; int8 only, uint8 takes none.
    pub out_zero_point: i32,
}

/// `output[to + i . to_strides] = input[from + i . from_strides]` for all `i` below `dims`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Copy<'a> {
    /// Extents of what is copied, outermost first.
    pub dims: [usize; 6],
    /// First byte that is read.
    pub from: usize,
    /// Bytes from one element to the next; negative to go backwards.
    pub from_strides: [isize; 6],
    /// First byte that is written.
    pub to: usize,
    /// Bytes from one element to the next.
    pub to_strides: [usize; 6],
    /// What every byte goes through.
    pub table: Option<&'a [u8; 256]>,
    /// The byte that fills the output first.
    pub fill: Option<u8>,
}

/// A number as `multiplier * 2^(exponent - 31)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fixed {
    /// 0 or more.
    pub multiplier: i32,
    /// -31 to 14.
    pub exponent: i32,
}

/// `a` where it is not negative, else `a * b`, each times its factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prelu {
    /// Zero point of `a`.
    pub a_zero_point: i32,
    /// Zero point of `b`.
    pub b_zero_point: i32,
    /// Factor where `a` is not negative.
    pub positive: Fixed,
    /// Factor of the product.
    pub negative: Fixed,
    /// Zero point of the output.
    pub out_zero_point: i32,
}

/// What is computed of two elements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum BinaryOp {
    /// As [`Add`].
    Add(Add),
    /// As [`Mul`].
    Mul(Mul),
    /// The larger one.
    Maximum,
    /// The smaller one.
    Minimum,
    /// See [`Prelu`].
    Prelu(Prelu),
}

/// An element-wise operation with operands that may repeat along a dimension: their stride is 0 there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Broadcast {
    /// Extents of the result, outermost first.
    pub dims: [usize; 6],
    /// Bytes from one element of `a` to the next.
    pub a_strides: [usize; 6],
    /// Bytes from one element of `b` to the next.
    pub b_strides: [usize; 6],
    /// Type of all three.
    pub dtype: DType,
    /// What is computed.
    pub op: BinaryOp,
}

/// Each output row and column is {first cell, weight}: `weight / 2048` of the way from that cell to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resample<'a> {
    /// Images.
    pub batch: usize,
    /// Input rows.
    pub in_h: usize,
    /// Input columns.
    pub in_w: usize,
    /// Channels.
    pub channels: usize,
    /// Type of input and output.
    pub dtype: DType,
    /// Where output rows look.
    pub rows: &'a [[u32; 2]],
    /// Where output columns look.
    pub columns: &'a [[u32; 2]],
}

/// Index of the first largest or smallest element along the middle of `[outer, n, inner]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArgExtreme {
    /// Product of the dimensions before.
    pub outer: usize,
    /// Extent that is searched.
    pub n: usize,
    /// Product of the dimensions behind.
    pub inner: usize,
    /// Type of the input.
    pub dtype: DType,
    /// Largest or smallest.
    pub largest: bool,
    /// Whether indices have 64 bits, else 32.
    pub wide: bool,
}

/// Between float32 and a quantized type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Door {
    /// The quantized type.
    pub dtype: DType,
    /// To a quantized type: one over its scale; from it: its scale.
    pub factor: f32,
    /// The zero point.
    pub zero_point: i32,
}
