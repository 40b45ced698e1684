//! Repeated primitives stand in two arrays, `given` and `_given`, which belong together item by item. What is
//! known of each is kept until their object ends.

use smallvec::SmallVec;

/// One of the two arrays.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct List {
    /// How deep its object lies, so that an inner object takes only its own.
    pub(super) level: u32,
    pub(super) field: u16,
    /// `_given`, not `given`.
    pub(super) underscored: bool,
    pub(super) length: u32,
    /// Where its nulls are, as a range of `Lists::nulls`.
    pub(super) nulls: (u32, u32),
}

/// A stack of lists: one resource has few open at a time, and those need no heap.
#[derive(Debug, Default)]
pub(super) struct Lists {
    first: [List; 12],
    more: Vec<List>,
    length: usize,
    nulls: SmallVec<[u32; 8]>,
}

/// What is wrong between two arrays, as a text to follow the name.
pub(super) type Mismatch = &'static str;

impl Lists {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Marks where the nulls of a list that begins now will start.
    #[inline]
    pub(super) fn begin(&self) -> u32 {
        self.nulls.len() as u32
    }

    pub(super) fn null_at(&mut self, position: u32) {
        self.nulls.push(position);
    }

    #[inline]
    pub(super) fn push(&mut self, mut list: List, begin: u32) {
        list.nulls = (begin, self.nulls.len() as u32);
        match self.first.get_mut(self.length) {
            Some(slot) => *slot = list,
            None => self.more.push(list),
        }
        self.length += 1;
    }

    fn get(&self, position: usize) -> &List {
        self.first.get(position).unwrap_or_else(|| &self.more[position - self.first.len()])
    }

    /// The lists of the object at `level`, which ends, are taken off; `wrong` hears of those that do not match.
    pub(super) fn close<E>(
        &mut self,
        level: u32,
        mut wrong: impl FnMut(u16, Mismatch) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut start = self.length;
        while start > 0 && self.get(start - 1).level == level {
            start -= 1;
        }
        if start == self.length {
            return Ok(());
        }
        for position in start..self.length {
            let list = self.get(position);
            let sibling = (start..self.length)
                .map(|other| self.get(other))
                .find(|other| other.field == list.field && other.underscored != list.underscored);
            // A pair is looked at once, from its underscored half.
            let mismatch = match sibling {
                Some(_) if !list.underscored => None,
                Some(values) => self.compare(values, list),
                None => self.alone(list),
            };
            if let Some(mismatch) = mismatch {
                wrong(list.field, mismatch)?;
            }
        }
        self.nulls.truncate(self.get(start).nulls.0 as usize);
        self.length = start;
        self.more.truncate(start.saturating_sub(self.first.len()));
        Ok(())
    }

    fn nulls_of(&self, list: &List) -> &[u32] {
        &self.nulls[list.nulls.0 as usize..list.nulls.1 as usize]
    }

    fn compare(&self, values: &List, extensions: &List) -> Option<Mismatch> {
        if values.length != extensions.length {
            return Some("and its `_` sibling differ in length");
        }
        let both = |null: &u32| self.nulls_of(extensions).binary_search(null).is_ok();
        self.nulls_of(values).iter().any(both).then_some("and its `_` sibling are null at the same place")
    }

    /// Nulls keep places for the sibling. Values with nulls need one; extensions may stand alone, as long as
    /// there is any.
    fn alone(&self, list: &List) -> Option<Mismatch> {
        let nulls = list.nulls.1 - list.nulls.0;
        let all = nulls == list.length;
        match (nulls, list.underscored) {
            (0, _) => None,
            (_, true) if !all => None,
            _ => Some("has null without a `_` sibling to fill its place"),
        }
    }
}
