//! Stub, replaced by the kernels work.
use crate::params::{Add, Conv, Mean, Mul, Pad, Pool, Softmax};
use crate::reference;

/// The kernels of one instruction set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernels(());

impl Kernels {
    /// Portable.
    pub const fn scalar() -> Self {
        Self(())
    }
    /// Fastest here.
    pub fn detect() -> Self {
        Self(())
    }
    /// By name.
    pub fn by_name(name: &str) -> Option<Self> {
        (name == "scalar").then_some(Self(()))
    }
    /// Name.
    pub const fn name(self) -> &'static str {
        "scalar"
    }
    /// All.
    pub fn available() -> impl Iterator<Item = Self> {
        core::iter::once(Self(()))
    }
    /// Scratch bytes.
    pub fn conv_scratch_len(self, _c: &Conv<'_>) -> usize {
        0
    }
    /// Scratch bytes.
    pub fn depthwise_scratch_len(self, _c: &Conv<'_>) -> usize {
        0
    }
    /// Runs.
    pub fn conv(self, c: &Conv<'_>, input: &[u8], output: &mut [u8], _scratch: &mut [u8]) {
        reference::conv(c, input, output);
    }
    /// Runs.
    pub fn depthwise(self, c: &Conv<'_>, input: &[u8], output: &mut [u8], _scratch: &mut [u8]) {
        reference::depthwise(c, input, output);
    }
    /// Runs.
    pub fn add(self, p: &Add, a: &[u8], b: &[u8], output: &mut [u8]) {
        reference::add(p, a, b, output);
    }
    /// Runs.
    pub fn mul(self, p: &Mul, a: &[u8], b: &[u8], output: &mut [u8]) {
        reference::mul(p, a, b, output);
    }
    /// Runs.
    pub fn pool(self, p: &Pool, input: &[u8], output: &mut [u8]) {
        reference::pool(p, input, output);
    }
    /// Runs.
    pub fn mean(self, p: &Mean, input: &[u8], output: &mut [u8]) {
        reference::mean(p, input, output);
    }
    /// Runs.
    pub fn pad(self, p: &Pad, input: &[u8], output: &mut [u8]) {
        reference::pad(p, input, output);
    }
    /// Runs.
    pub fn lut(self, table: &[u8; 256], input: &[u8], output: &mut [u8]) {
        reference::lut(table, input, output);
    }
    /// Runs.
    pub fn softmax(self, p: &Softmax<'_>, input: &[u8], output: &mut [u8]) {
        reference::softmax(p, input, output);
    }
}
