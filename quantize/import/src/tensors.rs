//! Tensors: shape, type, quantization and contents, each read once, when an operator first uses it.

use fleetfoot_plan::graph::{ElementType, Quant, Tensor, TensorId};

use crate::{
    error::{ImportError, Problem, Problems},
    flat::{Table, Tables},
    schema::{BUFFER, MODEL, QUANTIZATION, SUBGRAPH, TENSOR, type_name},
};

/// The most dimensions.
const MAX_RANK: usize = 6;
/// The most elements of a tensor: a bundle could not hold more.
const MAX_ELEMENTS: usize = 1 << 30;
/// Longer names are cut.
const MAX_NAME_LEN: usize = 128;
/// The longest vector of integers that an operator needs: indices of a GATHER.
const MAX_INTS: usize = 4096;

/// The tensors of a file, and those of them that the graph needs.
pub(crate) struct Tensors<'a> {
    tables: Tables<'a>,
    buffers: Tables<'a>,
    states: Vec<State>,
    /// Bytes that may still be copied. Objects of the file can be shared, so that a small file could describe gigabytes;
    /// no real one needs more than a few times its length.
    budget: usize,
    limit: usize,
    /// Those that were used, in the order of their first use.
    pub(crate) used: Vec<Tensor>,
}

#[derive(Clone, Copy)]
enum State {
    Unread,
    Refused,
    Used(TensorId),
}

impl<'a> Tensors<'a> {
    pub(crate) fn new(model: &Table<'a>, subgraph: &Table<'a>, file_len: usize) -> Result<Self, ImportError> {
        let tables = subgraph.tables(SUBGRAPH.tensors)?;
        let limit = file_len.saturating_mul(4).saturating_add(1 << 16);
        Ok(Self {
            tables,
            buffers: model.tables(MODEL.buffers)?,
            states: vec![State::Unread; tables.len()],
            budget: limit,
            limit,
            used: Vec::new(),
        })
    }

    /// How many there are in the file.
    pub(crate) fn len(&self) -> usize {
        self.states.len()
    }

    /// The tensor number `index` of the file, read if it was not; `None` if it has problems.
    pub(crate) fn load(&mut self, index: usize, problems: &mut Problems) -> Result<Option<TensorId>, ImportError> {
        let table = self.table(index)?;
        match self.states[index] {
            State::Used(id) => return Ok(Some(id)),
            State::Refused => return Ok(None),
            State::Unread => {}
        }
        let tensor = self.read(&table, index, problems)?;
        let id = TensorId(self.used.len());
        self.states[index] = if tensor.is_some() { State::Used(id) } else { State::Refused };
        self.used.extend(tensor);
        Ok(matches!(self.states[index], State::Used(_)).then_some(id))
    }

    /// The tensor that `load` returned.
    pub(crate) fn get(&self, id: TensorId) -> &Tensor {
        &self.used[id.0]
    }

    /// The name of the tensor number `index`.
    pub(crate) fn name(&self, index: usize) -> Result<String, ImportError> {
        let name = self.table(index)?.string(TENSOR.name)?;
        Ok(if name.is_empty() { format!("tensor {index}") } else { printable(&name) })
    }

    /// The shape as it is stored.
    pub(crate) fn shape(&self, index: usize) -> Result<Vec<i32>, ImportError> {
        let shape = self.table(index)?.vector::<4>(TENSOR.shape)?;
        // One more than is allowed, so that too many are still too many.
        Ok(shape.iter().take(MAX_RANK + 1).map(|&b| i32::from_le_bytes(b)).collect())
    }

    /// The contents of a constant of a few integers; `None` if it is anything else.
    pub(crate) fn ints(&self, index: usize) -> Result<Option<Vec<i64>>, ImportError> {
        let table = self.table(index)?;
        let Some(data) = self.data(&table)? else { return Ok(None) };
        let ints: Vec<i64> = match (table.u8(TENSOR.element_type, 0)?, data.len()) {
            (2, len) if len.is_multiple_of(4) && len <= 4 * MAX_INTS => {
                data.as_chunks().0.iter().map(|&b| i64::from(i32::from_le_bytes(b))).collect()
            }
            (4, len) if len.is_multiple_of(8) && len <= 8 * MAX_INTS => {
                data.as_chunks().0.iter().map(|&b| i64::from_le_bytes(b)).collect()
            }
            _ => return Ok(None),
        };
        Ok(Some(ints))
    }

    fn table(&self, index: usize) -> Result<Table<'a>, ImportError> {
        self.tables.get(index)?.ok_or(ImportError::Index { what: "tensor", index: index as i64, count: self.len() })
    }

    /// The bytes of a constant; `None` for activations.
    fn data(&self, table: &Table<'a>) -> Result<Option<&'a [u8]>, ImportError> {
        let index = table.u32(TENSOR.buffer, 0)? as usize;
        if index == 0 {
            return Ok(None);
        }
        let buffer = self.buffers.get(index)?.ok_or(ImportError::Index {
            what: "buffer",
            index: index as i64,
            count: self.buffers.len(),
        })?;
        let data = buffer.vector::<1>(BUFFER.data)?.as_flattened();
        Ok((!data.is_empty()).then_some(data))
    }

    /// Why the contents are not a plain array in the file.
    fn storage(&self, table: &Table<'a>) -> Result<Option<&'static str>, ImportError> {
        let buffer = self.buffers.get(table.u32(TENSOR.buffer, 0)? as usize)?;
        let outside = match buffer {
            Some(buffer) => buffer.u64(BUFFER.offset)? > 1 || buffer.u64(BUFFER.size)? > 1,
            None => false,
        };
        Ok(if table.bool(TENSOR.is_variable)? {
            Some("it keeps state between inferences, which is not supported")
        } else if table.table(TENSOR.sparsity)?.is_some() {
            Some("it is sparse, which is not supported: convert without sparsity")
        } else if outside || table.u32(TENSOR.external_buffer, 0)? != 0 {
            Some(
                "its contents are outside of the model (a file over 2 GB, or external buffers), which is not supported",
            )
        } else {
            None
        })
    }

    fn read(
        &mut self,
        table: &Table<'a>,
        index: usize,
        problems: &mut Problems,
    ) -> Result<Option<Tensor>, ImportError> {
        let name = self.name(index)?;
        let stored = self.shape(index)?;
        let Some((shape, elements)) = extents(&stored) else {
            problems.push(Problem::Shape { tensor: name, shape: stored });
            return Ok(None);
        };
        let code = table.u8(TENSOR.element_type, 0)?;
        let (dtype, size) = match code {
            0 => (ElementType::Float32, 4),
            2 => (ElementType::Int32, 4),
            3 => (ElementType::UInt8, 1),
            4 => (ElementType::Int64, 8),
            9 => (ElementType::Int8, 1),
            _ => {
                let need = "int8 or uint8";
                problems.push(Problem::ElementType { tensor: name, found: type_name(code), need });
                return Ok(None);
            }
        };
        if let Some(what) = self.storage(table)? {
            problems.push(Problem::Storage { tensor: name, what });
            return Ok(None);
        }
        let data = self.data(table)?;
        let need = elements * size;
        if let Some(data) = data.filter(|data| data.len() != need) {
            problems.push(Problem::Length { tensor: name, dtype: dtype.name(), shape, need, have: data.len() });
            return Ok(None);
        }
        let quant = match self.quantization(table, &shape, dtype)? {
            Ok(quant) => quant,
            Err(what) => {
                problems.push(Problem::Quantization { tensor: name, what });
                return Ok(None);
            }
        };
        self.spend(name.len() + 8 * shape.len() + data.map_or(0, <[u8]>::len))?;
        Ok(Some(Tensor { name, shape, dtype, quant, data: data.map(Vec::from) }))
    }

    /// Scales and zero points, or what is wrong with them.
    fn quantization(
        &mut self,
        table: &Table<'a>,
        shape: &[usize],
        dtype: ElementType,
    ) -> Result<Result<Option<Quant>, &'static str>, ImportError> {
        let Some(quantization) = table.table(TENSOR.quantization)? else { return Ok(Ok(None)) };
        if quantization.u8(QUANTIZATION.details_type, 0)? != 0 {
            return Ok(Err("it has a custom or blockwise quantization, which is not supported"));
        }
        let scales = quantization.vector::<4>(QUANTIZATION.scale)?;
        let zero_points = quantization.vector::<8>(QUANTIZATION.zero_point)?;
        if scales.is_empty() {
            return Ok(Ok(None));
        }
        let axis = quantization.i32(QUANTIZATION.quantized_dimension, 0)?;
        let Ok(axis) = usize::try_from(axis) else { return Ok(Err("its quantized dimension is negative")) };
        if scales.len() > 1 && shape.get(axis) != Some(&scales.len()) {
            return Ok(Err("it has neither one scale nor one per channel"));
        }
        if !zero_points.is_empty() && zero_points.len() != scales.len() {
            return Ok(Err("it has not as many zero points as scales"));
        }
        self.spend(8 * scales.len())?;
        let scales: Vec<f32> = scales.iter().map(|&b| f32::from_le_bytes(b)).collect();
        if !scales.iter().all(|s| s.is_finite() && *s > 0.0) {
            return Ok(Err("it has a scale that is not a positive number"));
        }
        let (lo, hi) = dtype.activation().map_or((0, 0), |dtype| dtype.range());
        let mut integers = vec![0; scales.len()];
        for (integer, &bytes) in integers.iter_mut().zip(zero_points) {
            match i32::try_from(i64::from_le_bytes(bytes)) {
                Ok(zero_point) if (lo..=hi).contains(&zero_point) => *integer = zero_point,
                _ => return Ok(Err("it has a zero point outside of its type")),
            }
        }
        Ok(Ok(Some(Quant { scales, zero_points: integers, axis })))
    }

    fn spend(&mut self, bytes: usize) -> Result<(), ImportError> {
        self.budget = self.budget.checked_sub(bytes).ok_or(ImportError::Amplified { limit: self.limit })?;
        Ok(())
    }
}

/// A name for messages: no control characters, not too long.
pub(crate) fn printable(name: &str) -> String {
    let name = &name[..name.floor_char_boundary(MAX_NAME_LEN)];
    name.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Extents and their product, if all are within the limits.
pub(crate) fn extents(stored: &[i32]) -> Option<(Vec<usize>, usize)> {
    let shape: Vec<usize> =
        stored.iter().map(|&d| usize::try_from(d).ok().filter(|&d| d > 0)).collect::<Option<_>>()?;
    let elements = shape.iter().try_fold(1usize, |product, &d| product.checked_mul(d))?;
    (shape.len() <= MAX_RANK && elements <= MAX_ELEMENTS).then_some((shape, elements))
}
