//! A row of a table becomes features: numbers are scaled, words are one of their categories.

use fleetfoot_format::preprocess::{Cell, Encode, Program};

use crate::{
    door::Tensor,
    error::{CellFault, PreprocessError},
};

/// Fills `out`, the bytes of the input `tensor`, from the cells of a row.
///
/// # Errors
/// [`PreprocessError::Cells`], [`PreprocessError::Cell`] with the column, [`PreprocessError::Shape`], [`PreprocessError::Buffer`].
pub fn row<'a>(
    program: &Program<'_>,
    tensor: &Tensor<'_>,
    cells: impl ExactSizeIterator<Item = Cell<'a>>,
    out: &mut [u8],
) -> Result<(), PreprocessError> {
    tensor.fits(out)?;
    check(program, tensor)?;
    let (need, have) = (program.columns().count(), cells.len());
    if need != have {
        return Err(PreprocessError::Cells { need, have });
    }
    let size = tensor.dtype.size();
    let mut elements = out.chunks_exact_mut(size);
    let mut put = |real: f32| {
        if let Some(element) = elements.next() {
            element.copy_from_slice(&tensor.element(real)[..size]);
        }
    };
    for (column, (settings, cell)) in program.columns().zip(cells).enumerate() {
        let encoded = match settings.encode {
            Encode::Number { mean, std, missing } => number(cell, missing).map(|value| put((value - mean) / std)),
            Encode::OneHot { categories, unknown_is_zeros, missing_is_zeros } => {
                word(cell, categories, unknown_is_zeros, missing_is_zeros).map(|which| {
                    let count = settings.encode.features();
                    (0..count).for_each(|i| put(if Some(i) == which { 1.0 } else { 0.0 }));
                })
            }
        };
        encoded.map_err(|fault| PreprocessError::Cell { column, fault })?;
    }
    Ok(())
}

pub(crate) fn check(program: &Program<'_>, tensor: &Tensor<'_>) -> Result<(), PreprocessError> {
    let have = program.columns().map(|column| column.encode.features() as u64).sum();
    let need = tensor.elements();
    if have == need { Ok(()) } else { Err(PreprocessError::Shape { what: "features of a row", need, have }) }
}

fn number(cell: Cell<'_>, missing: Option<f32>) -> Result<f32, CellFault> {
    let value = match cell {
        Cell::Missing => return missing.ok_or(CellFault::Missing),
        Cell::Number(value) => value,
        // Read as the nearest single-precision number.
        Cell::Text(text) => text.trim().parse().map_err(|_| CellFault::NotANumber)?,
    };
    if value.is_finite() { Ok(value) } else { Err(CellFault::NotANumber) }
}

/// Which category it is; none where zeros stand for that.
fn word(
    cell: Cell<'_>,
    categories: &str,
    unknown_is_zeros: bool,
    missing_is_zeros: bool,
) -> Result<Option<usize>, CellFault> {
    let found = match cell {
        Cell::Missing if missing_is_zeros => return Ok(None),
        Cell::Missing => return Err(CellFault::Missing),
        Cell::Text(text) => categories.split('\n').position(|category| category == text),
        // A category such as `3`, equal as a number.
        Cell::Number(value) => categories.split('\n').position(|category| category.parse() == Ok(value)),
    };
    if found.is_some() || unknown_is_zeros { Ok(found) } else { Err(CellFault::Unknown) }
}
