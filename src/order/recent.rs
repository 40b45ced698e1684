//! Records by key, bounded by the bytes they take; what was used longest ago is forgotten first. One
//! allocation a resource: its key and its record stand in one run of bytes.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use super::compact::Standing;

/// What a resource takes beyond the bytes of its key and record: the allocator's header and rounding, a slot,
/// a place in the table, and the slack of both when they have just grown. `benches/order_store.rs` measures it.
const OVERHEAD: usize = 72;

/// How far from the oldest end is looked for one that costs little to forget.
const LOOK: usize = 16;

const NONE: u32 = u32::MAX;

struct Slot {
    /// The key's length in one byte, the key, the record
    packed: Box<[u8]>,
    older: u32,
    newer: u32,
}

impl Slot {
    fn key(&self) -> &[u8] {
        self.split().0
    }

    fn value(&self) -> &[u8] {
        self.split().1
    }

    fn split(&self) -> (&[u8], &[u8]) {
        let (length, rest) = self.packed.split_first().unwrap_or((&0, &[]));
        rest.split_at_checked(usize::from(*length)).unwrap_or((rest, &[]))
    }

    fn cost(&self) -> usize {
        self.packed.len() + OVERHEAD
    }
}

pub(super) struct Recent {
    table: HashTable<u32>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    hasher: RandomState,
    oldest: u32,
    newest: u32,
    bytes: usize,
    limit: usize,
}

impl Recent {
    pub fn new(limit: usize) -> Self {
        Self {
            table: HashTable::new(),
            slots: Vec::new(),
            free: Vec::new(),
            hasher: RandomState::new(),
            oldest: NONE,
            newest: NONE,
            bytes: 0,
            limit,
        }
    }

    pub fn len(&self) -> usize {
        self.table.len()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Counts as a use.
    pub fn get(&mut self, key: &str) -> Option<&[u8]> {
        let at = self.find(key)?;
        self.used(at);
        Some(self.slots[at as usize].value())
    }

    pub fn put(&mut self, key: &str, value: &[u8]) {
        let packed = pack(key, value);
        if let Some(at) = self.find(key) {
            self.used(at);
            let slot = &mut self.slots[at as usize];
            self.bytes = self.bytes + packed.len() - slot.packed.len();
            slot.packed = packed;
            return;
        }
        let slot = Slot { packed, older: NONE, newer: NONE };
        self.bytes += slot.cost();
        let at = match self.free.pop() {
            Some(at) => {
                self.slots[at as usize] = slot;
                at
            }
            None => {
                self.slots.push(slot);
                (self.slots.len() - 1) as u32
            }
        };
        let (slots, hasher) = (&self.slots, &self.hasher);
        let hash = |at: &u32| hasher.hash_one(slots[*at as usize].key());
        self.table.insert_unique(hash(&at), at, hash);
        self.link_newest(at);
    }

    pub fn remove(&mut self, key: &str) {
        if let Some(at) = self.find(key) {
            self.remove_at(at);
        }
    }

    /// Forgets until what is left is within the limit, or nothing near the oldest end may go: what is needed is
    /// kept even beyond the limit.
    pub fn shrink(&mut self, standing: impl Fn(&str, &[u8]) -> Standing) {
        while self.bytes > self.limit {
            let Some(at) = self.least_needed(&standing) else { return };
            self.remove_at(at);
        }
    }

    fn least_needed(&mut self, standing: impl Fn(&str, &[u8]) -> Standing) -> Option<u32> {
        let mut useful = None;
        let mut at = self.oldest;
        for _ in 0..LOOK {
            let slot = self.slots.get(at as usize)?;
            let newer = slot.newer;
            let key = std::str::from_utf8(slot.key()).unwrap_or_default();
            match standing(key, slot.value()) {
                Standing::Idle => return Some(at),
                Standing::Useful => useful = useful.or(Some(at)),
                Standing::Needed => {
                    // Out of the way, so that the next look does not meet it again.
                    self.used(at);
                }
            }
            if newer == NONE {
                break;
            }
            at = newer;
        }
        useful
    }

    fn find(&self, key: &str) -> Option<u32> {
        let key = key.as_bytes();
        self.table.find(self.hasher.hash_one(key), |at| self.slots[*at as usize].key() == key).copied()
    }

    fn remove_at(&mut self, at: u32) {
        self.unlink(at);
        let hash = self.hasher.hash_one(self.slots[at as usize].key());
        if let Ok(entry) = self.table.find_entry(hash, |found| *found == at) {
            entry.remove();
        }
        let slot = &mut self.slots[at as usize];
        self.bytes -= slot.cost();
        slot.packed = Box::default();
        self.free.push(at);
    }

    fn used(&mut self, at: u32) {
        if at != self.newest {
            self.unlink(at);
            self.link_newest(at);
        }
    }

    fn unlink(&mut self, at: u32) {
        let Slot { older, newer, .. } = self.slots[at as usize];
        match self.slots.get_mut(older as usize) {
            Some(slot) => slot.newer = newer,
            None => self.oldest = newer,
        }
        match self.slots.get_mut(newer as usize) {
            Some(slot) => slot.older = older,
            None => self.newest = older,
        }
    }

    fn link_newest(&mut self, at: u32) {
        let older = std::mem::replace(&mut self.newest, at);
        match self.slots.get_mut(older as usize) {
            Some(slot) => slot.newer = at,
            None => self.oldest = at,
        }
        let slot = &mut self.slots[at as usize];
        (slot.older, slot.newer) = (older, NONE);
    }
}

fn pack(key: &str, value: &[u8]) -> Box<[u8]> {
    let mut packed = Vec::with_capacity(1 + key.len() + value.len());
    // A key is at most 64 + 1 + 64 bytes: `delivery::Key` sees to it.
    packed.push(key.len() as u8);
    packed.extend_from_slice(key.as_bytes());
    packed.extend_from_slice(value);
    packed.into_boxed_slice()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn idle(_: &str, _: &[u8]) -> Standing {
        Standing::Idle
    }

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let mut recent = Recent::new(10 * (OVERHEAD + 1 + 1 + 1));
        for key in "abcdefghij".chars() {
            recent.put(&key.to_string(), b"1");
        }
        recent.shrink(idle);
        assert_eq!(recent.len(), 10);
        assert_eq!(recent.get("a"), Some(&b"1"[..]));
        recent.put("k", b"1");
        recent.shrink(idle);
        assert!(recent.len() == 10 && recent.get("b").is_none());
        assert!(recent.get("a").is_some());
    }

    #[test]
    fn what_is_needed_stays_and_what_is_useful_goes_after_the_rest() {
        let standing = |key: &str, _: &[u8]| match key {
            "a" | "b" => Standing::Needed,
            "c" => Standing::Useful,
            _ => Standing::Idle,
        };
        let mut recent = Recent::new(0);
        for key in "abcde".chars() {
            recent.put(&key.to_string(), b"");
        }
        recent.limit = recent.bytes() - 1;
        recent.shrink(standing);
        assert!(recent.get("d").is_none() && recent.len() == 4);
        recent.limit = 0;
        recent.shrink(standing);
        assert!(recent.get("a").is_some() && recent.get("b").is_some() && recent.len() == 2);
    }

    #[test]
    fn bytes_are_kept_count_of() {
        let mut recent = Recent::new(usize::MAX);
        for round in 0..3_usize {
            for key in 0..100 {
                recent.put(&key.to_string(), &vec![0; round * 10]);
            }
        }
        (0..100).for_each(|key| recent.remove(&key.to_string()));
        assert_eq!((recent.bytes(), recent.len(), recent.oldest, recent.newest), (0, 0, NONE, NONE));
        recent.put("a", b"");
        assert_eq!(recent.slots.len(), 100);
    }
}
