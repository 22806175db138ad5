//! Where dimensions lie. ONNX speaks of NCHW, the engine computes in NHWC.
//!
//! An activation carries the order in which its dimensions are stored. `Transpose` only changes that order; an operator that
//! needs another one gets a copy, which is made once and shared. Where the dimensions that move have extent 1 nothing is
//! copied.

use fleetfoot_plan::graph::{OpKind, TensorId};

use super::values::{Activation, Importer, Stop};

/// Order of a stored image.
pub(super) const NHWC: [usize; 4] = [0, 2, 3, 1];

impl Importer<'_, '_> {
    /// In the order of the file.
    pub(super) fn plain(&mut self, position: usize, activation: &Activation) -> Activation {
        let order: Vec<usize> = (0..activation.shape.len()).collect();
        self.relay(position, activation, &order)
    }

    /// An image in the order of the engine.
    pub(super) fn image(&mut self, position: usize, activation: &Activation) -> Result<Activation, Stop> {
        if activation.shape.len() != 4 {
            return Err(Stop::Form("an operand that is not an image of four dimensions"));
        }
        Ok(self.relay(position, activation, &NHWC))
    }

    /// In the order `order`.
    pub(super) fn relay(&mut self, position: usize, activation: &Activation, order: &[usize]) -> Activation {
        let shape = &activation.shape;
        let moved = Activation { order: order.to_vec(), ..activation.clone() };
        if activation.order == order {
            return moved;
        }
        let key = (activation.id, order.to_vec());
        if let Some(&id) = self.relaid.get(&key) {
            return Activation { id, ..moved };
        }
        let kind = reordered(shape, &activation.order, order);
        let id = self.copy_of(position, activation.id, kind, order.iter().map(|&d| shape[d]).collect());
        self.relaid.insert(key, id);
        // The way back is known, too.
        self.relaid.insert((id, activation.order.clone()), activation.id);
        Activation { id, ..moved }
    }

    fn copy_of(&mut self, position: usize, from: TensorId, kind: OpKind, stored: Vec<usize>) -> TensorId {
        let tensor = self.graph.tensor(from);
        let (name, dtype, quant) = (tensor.name.clone(), tensor.dtype, tensor.quant.clone());
        let id = self.tensor(&name, &stored, dtype, quant);
        self.push(position, kind, vec![Some(from)], id);
        id
    }
}

/// The operator that stores a tensor of shape `shape` in another order.
pub(super) fn reordered(shape: &[usize], from: &[usize], to: &[usize]) -> OpKind {
    let large = |order: &[usize]| -> Vec<usize> { order.iter().copied().filter(|&d| shape[d] > 1).collect() };
    if large(from) == large(to) {
        return OpKind::Reshape;
    }
    // The stride of each dimension as it is stored now.
    let mut strides = vec![0isize; shape.len()];
    let mut stride = 1isize;
    for &d in from.iter().rev() {
        strides[d] = stride;
        stride *= shape[d] as isize;
    }
    OpKind::Strided {
        name: "TRANSPOSE",
        first: 0,
        dims: to.iter().map(|&d| shape[d]).collect(),
        strides: to.iter().map(|&d| strides[d]).collect(),
    }
}

/// `data`, of elements of `size` bytes and extents `shape`, with dimensions in the order `order`.
pub(super) fn permute(data: &[u8], size: usize, shape: &[usize], order: &[usize]) -> Vec<u8> {
    let mut strides = vec![0usize; shape.len()];
    let mut stride = size;
    for d in (0..shape.len()).rev() {
        strides[d] = stride;
        stride *= shape[d];
    }
    let mut out = Vec::with_capacity(data.len());
    let mut index = vec![0usize; order.len()];
    let mut at = 0usize;
    for _ in 0..data.len() / size.max(1) {
        out.extend_from_slice(&data[at..at + size]);
        for place in (0..order.len()).rev() {
            let d = order[place];
            index[place] += 1;
            at += strides[d];
            if index[place] < shape[d] {
                break;
            }
            at -= strides[d] * shape[d];
            index[place] = 0;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::permute;

    #[test]
    fn dimensions_change_places() {
        let check = |shape: &[usize], order: &[usize], want: &[u8]| {
            let data: Vec<u8> = (0..want.len() as u8).collect();
            assert_eq!(permute(&data, 1, shape, order), want, "{shape:?} {order:?}");
        };
        check(&[2, 3], &[1, 0], &[0, 3, 1, 4, 2, 5]);
        check(&[1, 2, 1, 3], &[0, 2, 3, 1], &[0, 3, 1, 4, 2, 5]);
        check(&[2, 2, 2], &[2, 0, 1], &[0, 2, 4, 6, 1, 3, 5, 7]);
        check(&[4], &[0], &[0, 1, 2, 3]);
        assert_eq!(permute(&[1, 2, 3, 4, 5, 6, 7, 8], 2, &[2, 2], &[1, 0]), [1, 2, 5, 6, 3, 4, 7, 8]);
    }
}
