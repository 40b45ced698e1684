//! From a name to its position, for the handful of names one type has.
//!
//! A lookup is made for every key of every resource, so it is a multiplication and, nearly always, one
//! comparison; the names come from the table, not from outside, so no keyed hash is needed.

#[derive(Debug, Default)]
pub(super) struct NameIndex {
    slots: Vec<u16>,
    shift: u32,
}

const EMPTY: u16 = u16::MAX;

impl NameIndex {
    pub(super) fn of<'n>(names: impl ExactSizeIterator<Item = &'n str>) -> Self {
        // At most a quarter full: chains stay short, and a search for an unknown name ends.
        let bits = (names.len().max(1) * 4).next_power_of_two().trailing_zeros();
        let mut index = NameIndex { slots: vec![EMPTY; 1 << bits], shift: 64 - bits };
        for (position, name) in names.enumerate() {
            let mut slot = index.home(name.as_bytes());
            while index.slots[slot] != EMPTY {
                slot = index.after(slot);
            }
            index.slots[slot] = position as u16;
        }
        index
    }

    #[inline]
    pub(super) fn find<'n>(&self, name: &[u8], name_at: impl Fn(u16) -> &'n [u8]) -> Option<u16> {
        let mut slot = self.home(name);
        loop {
            match self.slots[slot] {
                EMPTY => return None,
                position if name_at(position) == name => return Some(position),
                _ => slot = self.after(slot),
            }
        }
    }

    #[inline]
    fn home(&self, name: &[u8]) -> usize {
        (hash(name) >> self.shift) as usize
    }

    #[inline]
    fn after(&self, slot: usize) -> usize {
        (slot + 1) & (self.slots.len() - 1)
    }
}

/// Both ends of the name and its length: element names of one type rarely agree in all three.
#[inline]
fn hash(name: &[u8]) -> u64 {
    let (head, tail) = if let (Some(head), Some(tail)) = (name.first_chunk::<8>(), name.last_chunk::<8>()) {
        (u64::from_le_bytes(*head), u64::from_le_bytes(*tail))
    } else if let (Some(head), Some(tail)) = (name.first_chunk::<4>(), name.last_chunk::<4>()) {
        (u64::from(u32::from_le_bytes(*head)), u64::from(u32::from_le_bytes(*tail)))
    } else {
        let byte = |at: usize| u64::from(name.get(at).copied().unwrap_or(0));
        (byte(0), byte(name.len() / 2) << 8 | byte(name.len().saturating_sub(1)))
    };
    (head ^ tail.rotate_left(23) ^ name.len() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}
