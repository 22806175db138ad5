//! Many inferences in one call, spread over the threads of a session.
//!
//! ```text
//! 1 thread    one after the other
//! N threads   whole rounds of N: each thread takes the next item, in an arena of its own
//!             the few that are left over: one after the other, each on all threads
//! ```
//! An item alone on a thread needs no waiting between its steps, so it is the better way whenever no thread stays idle. The
//! other arenas are allocated by the first batch that needs them, and kept.

use std::sync::Mutex;

use fleetfoot_engine::EngineError;
use fleetfoot_plan::Aligned;

use crate::{error::Error, pool::lock, session::Session};

impl Session {
    /// Runs a batch. `inputs` has one slice for each input of the model: that input of all items, one behind the other. What
    /// comes back has one vector for each output, in the same form. The bytes are those of the items run one by one.
    ///
    /// With N threads the first batch of more than one item allocates N - 1 more arenas.
    ///
    /// ```no_run
    /// # fn example(session: &mut fleetfoot::Session, windows: &[u8]) -> Result<(), fleetfoot::Error> {
    /// let scores = session.run_batch(&[windows])?;   // scores[0]: the first output of all windows
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Engine`] where there is not one slice for each input, where a slice is no whole number of items, or where two
    /// have different numbers of them.
    pub fn run_batch(&mut self, inputs: &[&[u8]]) -> Result<Vec<Vec<u8>>, Error> {
        let n = self.items(inputs)?;
        let row_len = lens(self.model.engine().outputs()).sum::<usize>();
        let mut rows = vec![0; n * row_len];
        let spread = match self.pool() {
            Some(pool) => in_rounds(n, pool.threads()),
            None => 0,
        };
        let mut items = rows.chunks_exact_mut(row_len.max(1)).enumerate();
        if spread > 0 {
            self.run_spread(inputs, &Mutex::new(items.by_ref().take(spread)), spread)?;
        }
        for (item, row) in items {
            self.set_item(inputs, item)?;
            self.run()?;
            self.copy_outputs(row)?;
        }
        Ok(self.by_output(rows, row_len))
    }

    /// How many items `inputs` hold.
    fn items(&self, inputs: &[&[u8]]) -> Result<usize, Error> {
        let tensors = self.model.engine().inputs();
        let counts = tensors.len()..tensors.len() + 1;
        if !counts.contains(&inputs.len()) {
            let index = inputs.len().min(tensors.len());
            return Err(EngineError::NoSuchTensor { what: "input", index, count: tensors.len() }.into());
        }
        let mut n = None;
        for (index, (have, len)) in inputs.iter().map(|bytes| bytes.len()).zip(lens(tensors)).enumerate() {
            let items = *n.get_or_insert(have / len.max(1));
            if have != items * len {
                return Err(EngineError::InputLength { index, need: items * len, have }.into());
            }
        }
        Ok(n.unwrap_or(0))
    }

    /// Runs `count` items, each on one thread.
    fn run_spread<'r>(
        &mut self,
        inputs: &[&[u8]],
        items: &Mutex<impl Iterator<Item = (usize, &'r mut [u8])> + Send>,
        count: usize,
    ) -> Result<(), Error> {
        let Self { model, kernels, steps, arena, lanes, pool, .. } = self;
        let Some(pool) = pool else { return Ok(()) };
        let lane_len = model.arena_len(*kernels);
        let seats = pool.threads().min(count) - 1;
        while lanes.len() < seats {
            lanes.push(Aligned::zeroed(lane_len));
        }
        let arenas =
            Mutex::new(std::iter::once(arena.as_mut()).chain(lanes.iter_mut().map(AsMut::as_mut)).collect::<Vec<_>>());
        let failed = Mutex::new(None);
        let (engine, kernels) = (model.engine(), *kernels);
        let one = |arena: &mut [u8], item: usize, row: &mut [u8]| -> Result<(), EngineError> {
            for (bytes, tensor) in inputs.iter().zip(engine.inputs()) {
                let range = tensor.span.range();
                let len = range.len();
                arena[range].copy_from_slice(&bytes[item * len..][..len]);
            }
            engine.run_prepared(kernels, steps, arena, |_| ())?;
            let mut rest = row;
            for tensor in engine.outputs() {
                let (to, after) = rest.split_at_mut(tensor.span.len as usize);
                to.copy_from_slice(&arena[tensor.span.range()]);
                rest = after;
            }
            Ok(())
        };
        pool.run(seats, &|_| {
            // There are as many arenas as threads.
            let Some(arena) = lock(&arenas).pop() else { return };
            while let Some((item, row)) = { lock(items).next() } {
                if let Err(error) = one(arena, item, row) {
                    lock(&failed).get_or_insert(error);
                    return;
                }
            }
        });
        failed.into_inner().ok().flatten().map_or(Ok(()), |error| Err(error.into()))
    }

    fn set_item(&mut self, inputs: &[&[u8]], item: usize) -> Result<(), Error> {
        for (index, bytes) in inputs.iter().enumerate() {
            let len = self.model.engine().input(index)?.span.len as usize;
            self.set_input(index, &bytes[item * len..][..len])?;
        }
        Ok(())
    }

    fn copy_outputs(&self, row: &mut [u8]) -> Result<(), Error> {
        let mut rest = row;
        for index in 0..self.model.engine().outputs().len() {
            let output = self.output(index)?;
            let (to, after) = rest.split_at_mut(output.len());
            to.copy_from_slice(output);
            rest = after;
        }
        Ok(())
    }

    /// `[item][output]` to `[output][item]`.
    fn by_output(&self, rows: Vec<u8>, row_len: usize) -> Vec<Vec<u8>> {
        let outputs = self.model.engine().outputs();
        if outputs.len() == 1 {
            return vec![rows];
        }
        let mut first = 0;
        let one = |len: usize| {
            let of_row = first..first + len;
            first = of_row.end;
            rows.chunks_exact(row_len).flat_map(|row| &row[of_row.clone()]).copied().collect()
        };
        lens(outputs).map(one).collect()
    }
}

fn lens(tensors: &[fleetfoot_engine::Tensor]) -> impl Iterator<Item = usize> {
    tensors.iter().map(|tensor| tensor.span.len as usize)
}

/// How many of `n` items are run each on one of `threads` threads: whole rounds, and a last one that keeps most of them busy.
const fn in_rounds(n: usize, threads: usize) -> usize {
    let rest = n % threads;
    if 2 * rest > threads { n } else { n - rest }
}
