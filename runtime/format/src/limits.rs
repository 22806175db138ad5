//! Bounds on what bytes from outside may ask for.

/// Bytes of a bundle header. Guards the stack of a device that parses it.
pub const MAX_HEADER_LEN: usize = 16 * 1024;
/// Signers of a bundle. Bounds the time that verification can be made to take.
pub const MAX_SIGNERS: usize = 8;
/// Sections of a bundle.
pub const MAX_SECTIONS: usize = 16;
/// Bytes of a whole bundle. Guards the storage of a device and 32-bit offsets.
pub const MAX_BUNDLE_LEN: u64 = 1 << 30;
/// Inputs, and outputs, of a model.
pub const MAX_IO: usize = 8;
/// Dimensions of a tensor.
pub const MAX_DIMS: usize = 6;
/// Steps of a plan. Bounds the time that opening a model takes.
pub const MAX_STEPS: usize = 4096;
/// Bytes of the arena of a model. Guards the memory of a device.
pub const MAX_ARENA_LEN: u32 = 1 << 30;
/// Extent of a tensor along one dimension. Keeps products of two extents inside 32 bits.
pub const MAX_EXTENT: u32 = 1 << 24;
/// Golden cases of a bundle. Bounds the time that validation takes.
pub const MAX_GOLDEN_CASES: usize = 64;
/// Bytes of a model name, of a version label and of other short names.
pub const MAX_NAME_LEN: usize = 64;
/// Bytes of the body of a lite file. Bounds the buffer of a device that receives one.
pub const MAX_LITE_BODY_LEN: usize = 1024;
/// Signatures of a lite file: all keys of an old and of a new root. Bounds the time that verification can be made to take.
pub const MAX_LITE_SIGNATURES: usize = 2 * MAX_SIGNERS;
/// Kinds of hardware that a lite header names.
pub const MAX_LITE_HARDWARE: usize = 16;
/// Links of a chain of lite roots. Bounds the time that verification can be made to take.
pub const MAX_LITE_LINKS: usize = 64;
/// Bytes of the salt of a rollout.
pub const MAX_SALT_LEN: usize = 64;
/// Golden cases that begin at a raw input. Bounds the time that validation takes.
pub const MAX_RAW_GOLDEN_CASES: usize = 16;
/// Steps on an image before it is the input of a model.
pub const MAX_IMAGE_STEPS: usize = 8;
/// Columns or rows of an image: larger than any camera's, and products of what resizing multiplies stay in 64 bits.
pub const MAX_IMAGE_EXTENT: u32 = 1 << 15;
/// Samples that an audio input has: 10 minutes at 48 kHz. Bounds the time that features take.
pub const MAX_AUDIO_SAMPLES: u32 = 600 * 48_000;
/// Logarithm to base 2 of the longest Fourier transform.
pub const MAX_FFT_LOG2: u8 = 13;
/// Mel bands.
pub const MAX_BANDS: u16 = 256;
/// Columns of a table.
pub const MAX_COLUMNS: usize = 1024;
/// Categories of a column.
pub const MAX_CATEGORIES: usize = 4096;
/// Classes, or boxes, of an answer.
pub const MAX_ANSWERS: usize = 1000;
/// Scores of boxes that are looked at for one answer, the highest first. Bounds the time that reading an answer takes.
pub const MAX_CANDIDATES: usize = 1024;
/// Anchors of a detector.
pub const MAX_ANCHORS: usize = 1 << 16;
