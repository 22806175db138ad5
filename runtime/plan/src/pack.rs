//! The section *weights*: data in the layouts of `fleetfoot_format::graph`.

use alloc::{vec, vec::Vec};

use fleetfoot_format::{graph::Span, limits::MAX_BUNDLE_LEN};

/// More tables than this are not compared. Bounds the time that a hostile file can ask for.
const MAX_TABLES: usize = 256;

/// Output channels of one block of weights.
pub(crate) const BLOCK: usize = 16;

/// Builds the section, each piece at a multiple of 16.
#[derive(Debug, Default)]
pub(crate) struct Packer {
    bytes: Vec<u8>,
    too_large: bool,
    /// Tables of 256 entries, of which equal ones are stored once.
    tables: Vec<Span>,
    merged_bytes: usize,
}

impl Packer {
    /// Appends raw bytes; a table that is there already is not stored again.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Span {
        let is_table = matches!(bytes.len(), 256 | 1024);
        let equal = |span: &&Span| self.bytes.get(span.range()) == Some(bytes);
        if let Some(&span) = self.tables.iter().find(equal).filter(|_| is_table) {
            self.merged_bytes += bytes.len();
            return span;
        }
        // Operators may share their weights, so that a small file could ask for any amount: what a bundle cannot hold is not stored.
        if self.too_large || (self.bytes.len() + bytes.len()) as u64 > MAX_BUNDLE_LEN {
            self.too_large = true;
            return Span::default();
        }
        self.bytes.resize(self.bytes.len().next_multiple_of(16), 0);
        let (offset, len) = (u32::try_from(self.bytes.len()), u32::try_from(bytes.len()));
        self.bytes.extend_from_slice(bytes);
        match (offset, len) {
            (Ok(offset), Ok(len)) => {
                let span = Span { offset, len };
                self.tables.extend((is_table && self.tables.len() < MAX_TABLES).then_some(span));
                span
            }
            _ => {
                self.too_large = true;
                Span::default()
            }
        }
    }

    /// Appends float32.
    pub(crate) fn push_f32(&mut self, values: &[f32]) -> Span {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.push(&bytes)
    }

    /// Appends one value per channel, zero up to a multiple of 16 channels.
    pub(crate) fn push_channels<const N: usize>(&mut self, values: impl Iterator<Item = [u8; N]>) -> Span {
        let mut bytes: Vec<u8> = values.flatten().collect();
        bytes.resize(bytes.len().next_multiple_of(16 * N), 0);
        self.push(&bytes)
    }

    /// Whether something was not stored for lack of room.
    pub(crate) const fn is_too_large(&self) -> bool {
        self.too_large
    }

    /// Bytes of tables that did not have to be stored again.
    pub(crate) const fn merged_bytes(&self) -> usize {
        self.merged_bytes
    }

    /// What was pushed so far.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The section, or more bytes than a bundle can hold.
    pub(crate) fn finish(self) -> Result<Vec<u8>, u64> {
        if self.too_large { Err(MAX_BUNDLE_LEN + 1) } else { Ok(self.bytes) }
    }
}

/// `[n][k]` to `n16k4`: `[ceil(n/16)][ceil(k/4)][16][4]`, zero filled.
pub(crate) fn n16k4(weights: &[i8], n: usize, k: usize) -> Vec<u8> {
    let k4 = k.next_multiple_of(4);
    let mut out = vec![0u8; n.next_multiple_of(16) * k4];
    for (row, weights) in weights.chunks_exact(k).enumerate() {
        for (column, &w) in weights.iter().enumerate() {
            let block = (row / 16) * k4 * 16 + (column / 4) * 64;
            out[block + (row % 16) * 4 + column % 4] = w.cast_unsigned();
        }
    }
    out
}

/// `[taps][c]` to `[taps][c16]`, zero filled.
pub(crate) fn c16(weights: &[i8], c: usize) -> Vec<u8> {
    let padded = c.next_multiple_of(16);
    let mut out = vec![0u8; weights.len() / c * padded];
    for (to, from) in out.chunks_exact_mut(padded).zip(weights.chunks_exact(c)) {
        to.iter_mut().zip(from).for_each(|(to, from)| *to = from.cast_unsigned());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n16k4_puts_four_k_of_sixteen_n_together() {
        let (n, k) = (18, 5);
        let weights: Vec<i8> = (0..n * k).map(|i| i as i8).collect();
        let packed = n16k4(&weights, n, k);
        assert_eq!(packed.len(), 32 * 8);
        let at = |row: usize, column: usize| packed[(row / 16) * 128 + (column / 4) * 64 + (row % 16) * 4 + column % 4];
        for row in 0..n {
            for column in 0..k {
                assert_eq!(at(row, column), (row * k + column) as u8);
            }
        }
        assert_eq!(packed.iter().filter(|&&b| b != 0).count(), n * k - 1);
    }

    #[test]
    fn pieces_are_aligned_and_channels_padded() {
        let mut packer = Packer::default();
        packer.push(&[1, 2, 3]);
        let span = packer.push_channels([1i32, 2].into_iter().map(i32::to_le_bytes));
        assert_eq!((span.offset, span.len), (16, 64));
        let tables = [[1; 256], [2; 256], [1; 256]].map(|table| packer.push(&table).offset);
        assert_eq!((tables, packer.merged_bytes()), ([80, 336, 80], 256));
        assert_eq!(packer.finish().unwrap().len(), 592);
        assert_eq!(c16(&[1, 2, 3, 4], 2).len(), 32);
    }
}
