//! Answers by their exact input: the one that was asked for least recently leaves.
//!
//! The key is the SHA-256 of the version and of all input bytes, so an answer of one version is never found for another. A swap
//! empties the cache all the same: nobody asks for the old answers again.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Instant,
};

use fleetfoot_trust::Sha256;

use super::config::CacheConfig;

/// What one input is known by.
pub(super) type Key = [u8; 32];

/// See the module.
#[derive(Debug)]
pub(super) struct Cache {
    config: CacheConfig,
    entries: HashMap<Key, Entry>,
    /// Last use, oldest first.
    uses: BTreeMap<u64, Key>,
    clock: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    outputs: Arc<[Vec<u8>]>,
    since: Instant,
    used: u64,
}

/// The key of `inputs` for the version with this hash.
pub(super) fn key(version: &[u8; 32], inputs: &[&[u8]]) -> Key {
    let mut hash = Sha256::new();
    hash.update(version);
    for input in inputs {
        hash.update(&(input.len() as u64).to_le_bytes());
        hash.update(input);
    }
    hash.finish()
}

impl Cache {
    pub(super) fn new(config: CacheConfig) -> Self {
        Self { config, entries: HashMap::new(), uses: BTreeMap::new(), clock: 0, bytes: 0 }
    }

    pub(super) fn get(&mut self, key: &Key, now: Instant) -> Option<Arc<[Vec<u8>]>> {
        let entry = self.entries.get_mut(key)?;
        if now.saturating_duration_since(entry.since) >= self.config.ttl {
            self.remove(key);
            return None;
        }
        self.clock += 1;
        self.uses.remove(&entry.used);
        self.uses.insert(self.clock, *key);
        entry.used = self.clock;
        Some(Arc::clone(&entry.outputs))
    }

    pub(super) fn put(&mut self, key: Key, outputs: Arc<[Vec<u8>]>, now: Instant) {
        self.remove(&key);
        let cost = cost(&outputs);
        if cost > self.config.max_bytes {
            return;
        }
        while self.bytes + cost > self.config.max_bytes
            && let Some((_, oldest)) = self.uses.first_key_value()
        {
            let oldest = *oldest;
            self.remove(&oldest);
        }
        self.clock += 1;
        self.uses.insert(self.clock, key);
        self.entries.insert(key, Entry { outputs, since: now, used: self.clock });
        self.bytes += cost;
    }

    pub(super) fn purge(&mut self) {
        *self = Self::new(self.config);
    }

    fn remove(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            self.uses.remove(&entry.used);
            self.bytes -= cost(&entry.outputs);
        }
    }
}

/// Bytes that an answer takes, with an allowance for the two maps.
fn cost(outputs: &[Vec<u8>]) -> usize {
    outputs.iter().map(|output| output.len() + size_of::<Vec<u8>>()).sum::<usize>() + OVERHEAD
}

const OVERHEAD: usize = 256;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn answer(n: u8, len: usize) -> Arc<[Vec<u8>]> {
        vec![vec![n; len]].into()
    }

    #[test]
    fn the_least_recently_used_leaves_and_bytes_are_bounded() {
        let each = cost(&answer(0, 100));
        let config = CacheConfig { max_bytes: 3 * each, ttl: Duration::from_secs(10) };
        let (mut cache, now) = (Cache::new(config), Instant::now());
        let id = |n: u8| key(&[7; 32], &[&[n]]);
        for n in 0..3 {
            cache.put(id(n), answer(n, 100), now);
        }
        assert!(cache.get(&id(0), now).is_some());
        cache.put(id(3), answer(3, 100), now);
        let there = |cache: &mut Cache| (0..5).filter(|n| cache.get(&id(*n), now).is_some()).collect::<Vec<_>>();
        assert_eq!(there(&mut cache), [0, 2, 3], "1 was used least recently");
        cache.put(id(4), answer(4, 3 * each), now);
        assert_eq!(there(&mut cache), [0, 2, 3], "an answer that is larger than the cache is not kept");
        cache.put(id(4), answer(4, each + 50), now);
        assert!(there(&mut cache).contains(&4));
        for round in 0..10_000u32 {
            cache.put(id(round as u8), answer(1, round as usize % (3 * each)), now);
            assert!(cache.bytes <= config.max_bytes && cache.uses.len() == cache.entries.len());
            assert_eq!(cache.bytes, cache.entries.values().map(|e| cost(&e.outputs)).sum::<usize>());
        }
    }

    #[test]
    fn answers_age_and_a_purge_forgets() {
        let config = CacheConfig { max_bytes: 10_000, ttl: Duration::from_secs(10) };
        let (mut cache, now) = (Cache::new(config), Instant::now());
        let id = key(&[7; 32], &[b"in"]);
        cache.put(id, answer(1, 4), now);
        assert!(cache.get(&id, now + Duration::from_millis(9_999)).is_some());
        assert!(cache.get(&id, now + Duration::from_secs(10)).is_none());
        assert_eq!((cache.bytes, cache.entries.len()), (0, 0));
        cache.put(id, answer(1, 4), now);
        cache.purge();
        assert!(cache.get(&id, now).is_none());
    }

    #[test]
    fn keys_differ_by_version_and_by_where_inputs_end() {
        let all = [
            key(&[1; 32], &[b"ab", b"c"]),
            key(&[2; 32], &[b"ab", b"c"]),
            key(&[1; 32], &[b"a", b"bc"]),
            key(&[1; 32], &[b"abc"]),
            key(&[1; 32], &[b"ab", b"c", b""]),
        ];
        for (i, one) in all.iter().enumerate() {
            assert!(all[..i].iter().all(|other| other != one), "{i}");
        }
    }
}
