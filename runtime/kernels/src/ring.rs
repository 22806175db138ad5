//! The input rows that a window spans, with their border: each is copied once, when the window first reaches it. A small
//! image is copied whole at the start, as bytes that were just written come slowly back.
//!
//! Rows are counted from the top of the border. Row `r` lies at [`Ring::at`], over the row that left the window.

use crate::params::{Conv, Window};

/// Bytes at most of an image that is copied whole.
const WHOLE_LEN: usize = 4 * 1024;

/// Sizes of the buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ring {
    /// Rows of the buffer, at least those that a window spans.
    rows: usize,
    /// Rows that all windows together span.
    all: usize,
    /// Bytes from a row to the next.
    pub(crate) pitch: usize,
}

impl Ring {
    /// For pixels of `cell` bytes, with `slack` bytes behind each row. `usize::MAX` where a size cannot be counted.
    pub(crate) fn new(w: &Window, cell: usize, slack: usize) -> Self {
        Self::holding(w, cell, slack, WHOLE_LEN)
    }

    /// As [`new`](Self::new); an image of at most `whole_len` bytes with its border is copied whole.
    pub(crate) fn holding(w: &Window, cell: usize, slack: usize, whole_len: usize) -> Self {
        let reach =
            |kernel: usize, dilation: usize| kernel.saturating_sub(1).saturating_mul(dilation).saturating_add(1);
        let steps = w.out_w.saturating_sub(1).saturating_mul(w.stride_w);
        let columns = steps.saturating_add(reach(w.kernel_w, w.dilation_w));
        let pitch = columns.saturating_mul(cell).saturating_add(slack);
        let rows = reach(w.kernel_h, w.dilation_h);
        let all = w.out_h.saturating_sub(1).saturating_mul(w.stride_h).saturating_add(rows);
        let rows = if all.saturating_mul(pitch) <= whole_len { all } else { rows };
        Self { rows, all, pitch }
    }

    /// Whether the buffer holds all rows, one after the other.
    #[cfg(target_arch = "x86_64")]
    pub(crate) const fn is_whole(&self) -> bool {
        self.rows == self.all
    }

    /// Bytes of the buffer.
    pub(crate) const fn len(&self) -> usize {
        self.rows.saturating_mul(self.pitch)
    }

    /// Where `row` lies in the buffer.
    #[inline(always)]
    pub(crate) const fn at(&self, row: usize) -> usize {
        row % self.rows * self.pitch
    }

    /// Brings in the rows of the window that begins at row `top`; `have` counts the rows of this image that were. `copy` is
    /// given a row of the image, empty if it is all border, and its place.
    #[inline(always)]
    pub(crate) fn advance(
        &self,
        c: &Conv<'_>,
        top: usize,
        have: &mut usize,
        input: &[u8],
        buffer: &mut [u8],
        mut copy: impl FnMut(&[u8], &mut [u8]),
    ) {
        let (w, len) = (&c.window, c.window.in_w * c.in_c);
        let end = (top + self.rows).min(self.all);
        for row in (*have).max(top)..end {
            let from = row.wrapping_sub(w.pad_top);
            let line = if from < w.in_h { &input[from * len..][..len] } else { &[] };
            copy(line, &mut buffer[self.at(row)..][..self.pitch]);
        }
        *have = end;
    }
}
