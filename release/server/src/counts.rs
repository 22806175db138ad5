//! How often each file was fetched since the start; bounded, and gone with the process.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Paths that are counted at most. A repository has few files; a flood of names must not fill the memory.
const MAX_PATHS: usize = 10_000;

#[derive(Debug, Default)]
pub(crate) struct Counts(Mutex<BTreeMap<String, u64>>);

impl Counts {
    pub(crate) fn add(&self, path: String) {
        let mut counts = self.lock();
        if counts.len() < MAX_PATHS || counts.contains_key(&path) {
            *counts.entry(path).or_default() += 1;
        }
    }

    /// As [`add`](Self::add), for a path that is there already most of the time.
    pub(crate) fn add_static(&self, path: &'static str) {
        let mut counts = self.lock();
        match counts.get_mut(path) {
            Some(count) => *count += 1,
            None => drop(counts.insert(path.into(), 1)),
        }
    }

    pub(crate) fn list(&self) -> Vec<(String, u64)> {
        self.lock().iter().map(|(path, &count)| (path.clone(), count)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_bounded() {
        let counts = Counts::default();
        for i in 0..MAX_PATHS + 5 {
            counts.add(i.to_string());
        }
        counts.add("0".into());
        assert_eq!(counts.list().len(), MAX_PATHS);
        assert_eq!(counts.list()[0], ("0".into(), 2));
    }
}
