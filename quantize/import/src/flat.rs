//! FlatBuffers, the wire format of `.tflite`, read without trust and without `unsafe`.
//!
//! ```text
//! root     u32 offset to a table
//! table    i32 back to its vtable, then fields         vtable   u16 its length, u16 the table's, u16 per field:
//! vector   u32 count, elements                                  where in the table, 0 = absent, default
//! string   a vector of bytes                           table, vector and string fields hold a u32 offset to them
//! ```
//! Every access is checked when it happens, so there is no verification pass that could disagree with the reader. Nothing
//! recurses. Objects may be shared: whoever copies them must keep a budget.

use std::borrow::Cow;

use crate::error::ImportError;

/// A table somewhere in the file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Its field offsets, two bytes each.
    fields: &'a [u8],
    /// Bytes of the table.
    len: usize,
}

/// The number of a field in the schema, with a name for messages.
pub(crate) type Field = (usize, &'static str);

impl<'a> Table<'a> {
    /// The root table of a file.
    pub(crate) fn root(bytes: &'a [u8]) -> Result<Self, ImportError> {
        Self::at(bytes, follow(bytes, 0, "the root")?, "the root")
    }

    fn at(bytes: &'a [u8], at: usize, what: &'static str) -> Result<Self, ImportError> {
        let broken = || ImportError::Malformed { what, at };
        let back = i64::from(i32::from_le_bytes(array(bytes, at, what)?));
        let vtable = i64::try_from(at).ok().and_then(|at| at.checked_sub(back)).ok_or_else(broken)?;
        let vtable = usize::try_from(vtable).map_err(|_| broken())?;
        let [l0, l1, t0, t1] = array(bytes, vtable, what)?;
        let (vtable_len, len) = (usize::from(u16::from_le_bytes([l0, l1])), usize::from(u16::from_le_bytes([t0, t1])));
        let fields = slice(bytes, vtable, vtable_len, what)?.get(4..).ok_or_else(broken)?;
        slice(bytes, at, len, what)?;
        Ok(Self { bytes, at, fields, len })
    }

    /// Where the `size` bytes of a field are; `None` if the file leaves it at its default.
    fn field(&self, (id, what): Field, size: usize) -> Result<Option<usize>, ImportError> {
        let Some(&[a, b]) = self.fields.as_chunks().0.get(id) else { return Ok(None) };
        let offset = usize::from(u16::from_le_bytes([a, b]));
        match offset {
            0 => Ok(None),
            _ if offset + size <= self.len => Ok(Some(self.at + offset)),
            _ => Err(ImportError::Malformed { what, at: self.at }),
        }
    }

    fn scalar<const N: usize>(&self, field: Field) -> Result<Option<[u8; N]>, ImportError> {
        self.field(field, N)?.map(|at| array(self.bytes, at, field.1)).transpose()
    }

    /// A byte.
    pub(crate) fn u8(&self, field: Field, default: u8) -> Result<u8, ImportError> {
        Ok(self.scalar(field)?.map_or(default, |[b]| b))
    }

    /// A boolean, false by default.
    pub(crate) fn bool(&self, field: Field) -> Result<bool, ImportError> {
        Ok(self.u8(field, 0)? != 0)
    }

    /// A signed number.
    pub(crate) fn i32(&self, field: Field, default: i32) -> Result<i32, ImportError> {
        Ok(self.scalar(field)?.map_or(default, i32::from_le_bytes))
    }

    /// An unsigned number.
    pub(crate) fn u32(&self, field: Field, default: u32) -> Result<u32, ImportError> {
        Ok(self.scalar(field)?.map_or(default, u32::from_le_bytes))
    }

    /// A long unsigned number, 0 by default.
    pub(crate) fn u64(&self, field: Field) -> Result<u64, ImportError> {
        Ok(self.scalar(field)?.map_or(0, u64::from_le_bytes))
    }

    /// A real number, 0 by default.
    pub(crate) fn f32(&self, field: Field) -> Result<f32, ImportError> {
        Ok(self.scalar(field)?.map_or(0.0, f32::from_le_bytes))
    }

    /// A table within this one.
    pub(crate) fn table(&self, field: Field) -> Result<Option<Self>, ImportError> {
        let Some(at) = self.field(field, 4)? else { return Ok(None) };
        Self::at(self.bytes, follow(self.bytes, at, field.1)?, field.1).map(Some)
    }

    /// The elements of a vector, `SIZE` bytes each; an absent vector is empty.
    pub(crate) fn vector<const SIZE: usize>(&self, field: Field) -> Result<&'a [[u8; SIZE]], ImportError> {
        Ok(self.elements(field)?.1)
    }

    /// Text, at most its first 512 bytes, since a file can name one long text many times. What is not UTF-8 shows as
    /// replacement characters.
    pub(crate) fn string(&self, field: Field) -> Result<Cow<'a, str>, ImportError> {
        let bytes = self.vector::<1>(field)?.as_flattened();
        Ok(String::from_utf8_lossy(&bytes[..bytes.len().min(512)]))
    }

    /// A vector of tables.
    pub(crate) fn tables(&self, field: Field) -> Result<Tables<'a>, ImportError> {
        let (at, offsets) = self.elements(field)?;
        Ok(Tables { bytes: self.bytes, at, offsets, what: field.1 })
    }

    fn elements<const SIZE: usize>(&self, field: Field) -> Result<(usize, &'a [[u8; SIZE]]), ImportError> {
        let Some(at) = self.field(field, 4)? else { return Ok((0, &[])) };
        let at = follow(self.bytes, at, field.1)?;
        let broken = || ImportError::Malformed { what: field.1, at };
        let count = u32::from_le_bytes(array(self.bytes, at, field.1)?);
        let len = usize::try_from(count).ok().and_then(|count| count.checked_mul(SIZE)).ok_or_else(broken)?;
        // `array` read four bytes at `at`: the sum does not overflow.
        Ok((at + 4, slice(self.bytes, at + 4, len, field.1)?.as_chunks().0))
    }
}

/// A vector of tables.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tables<'a> {
    bytes: &'a [u8],
    at: usize,
    offsets: &'a [[u8; 4]],
    what: &'static str,
}

impl<'a> Tables<'a> {
    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.offsets.len()
    }

    /// The table number `index`, if there are so many.
    pub(crate) fn get(&self, index: usize) -> Result<Option<Table<'a>>, ImportError> {
        if index >= self.offsets.len() {
            return Ok(None);
        }
        let at = follow(self.bytes, self.at + 4 * index, self.what)?;
        Table::at(self.bytes, at, self.what).map(Some)
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Result<Table<'a>, ImportError>> {
        (0..self.len()).filter_map(|index| self.get(index).transpose())
    }
}

/// The position to which the offset at `at` points.
fn follow(bytes: &[u8], at: usize, what: &'static str) -> Result<usize, ImportError> {
    let offset = u32::from_le_bytes(array(bytes, at, what)?);
    usize::try_from(offset).ok().and_then(|o| at.checked_add(o)).ok_or(ImportError::Malformed { what, at })
}

fn array<const N: usize>(bytes: &[u8], at: usize, what: &'static str) -> Result<[u8; N], ImportError> {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().ok_or(ImportError::Malformed { what, at })
}

fn slice<'a>(bytes: &'a [u8], at: usize, len: usize, what: &'static str) -> Result<&'a [u8], ImportError> {
    bytes.get(at..).and_then(|rest| rest.get(..len)).ok_or(ImportError::Malformed { what, at })
}

#[cfg(test)]
mod tests {
    use super::{Field, Table};

    const F: [Field; 4] = [(0, "number"), (1, "text"), (2, "absent"), (3, "beyond")];

    /// Root at 12: a table with a number and a string; its vtable at 4.
    #[rustfmt::skip]
    const FILE: [u8; 32] = [
        12, 0, 0, 0,
        8, 0, 12, 0, 4, 0, 8, 0,
        8, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff, 4, 0, 0, 0,
        3, 0, 0, 0, b'a', b'b', b'c', 0,
    ];

    #[test]
    fn reads_a_table() {
        let table = Table::root(&FILE).unwrap();
        assert_eq!(table.i32(F[0], 7).unwrap(), -2);
        assert_eq!(table.string(F[1]).unwrap(), "abc");
        assert_eq!(table.i32(F[2], 7).unwrap(), 7);
        assert!(table.vector::<8>(F[3]).unwrap().is_empty());
    }

    #[test]
    fn faults_are_errors() {
        let check = |at: usize, byte: u8, what: &str| {
            let mut file = FILE;
            file[at] = byte;
            let got = Table::root(&file).and_then(|t| Ok((t.i32(F[0], 7)?, t.string(F[1])?.into_owned())));
            assert!(got.is_err_and(|e| e.to_string().contains(what)), "byte {at} = {byte}");
        };
        check(0, 40, "the root");
        check(3, 0xff, "the root");
        check(4, 200, "the root");
        check(4, 3, "the root");
        check(6, 200, "the root");
        check(8, 9, "number");
        check(10, 11, "text");
        check(12, 200, "the root");
        check(15, 0x80, "the root");
        check(20, 200, "text");
        check(24, 5, "text");
    }
}
