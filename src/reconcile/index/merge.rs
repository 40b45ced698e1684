//! Both sides of a type side by side, in the order of their ids.

use std::collections::HashSet;
use std::ops::Bound;

use redb::{Durability, ReadableDatabase};

use super::encoding::{after_kind, key, suspect, time_key, unpack};
use super::{BY_TIME, DIFFERENT, HELD, Index, IndexError, Known, Result, Suspect, Which, on_disk};
use crate::reconcile::side::At;

impl Index {
    /// Merges both sides of a type in the order of their ids. What one side lacks, what `sweep` did not see, and what
    /// has another digest becomes a suspect; what is equal is none any more. Gives how many were compared and how many
    /// are suspects.
    pub fn compare(&self, kind: &str, sweep: u32, now: At) -> Result<(u64, u64)> {
        let (mut compared, mut suspects) = (0, 0);
        let mut from: Option<Vec<u8>> = None;
        loop {
            let (batch, last) = on_disk(|| self.compare_from(kind, sweep, from.as_deref()))?;
            compared += batch.len() as u64;
            suspects += batch.iter().filter(|of| !of.equal).count() as u64;
            let known = on_disk(|| self.suspected(&batch))?;
            let changed: Vec<&Compared> = batch
                .iter()
                .filter(|of| of.unseen != [None; 2] || of.equal == known.contains(&of.key))
                .collect();
            if !changed.is_empty() {
                self.note(kind, &changed, &known, now)?;
            }
            match last {
                Some(last) => from = Some(last),
                None => return Ok((compared, suspects)),
            }
        }
    }

    fn note(&self, kind: &str, changed: &[&Compared], known: &HashSet<Vec<u8>>, now: At) -> Result<()> {
        self.write(Durability::Immediate, |transaction| {
            let mut different = transaction.open_table(DIFFERENT)?;
            for Compared { key, equal, unseen } in changed {
                // What this sweep did not see is not there any more, or so it seems.
                for (which, updated) in Which::BOTH.into_iter().zip(unseen) {
                    let Some(updated) = updated else { continue };
                    let id = String::from_utf8_lossy(key.get(kind.len() + 1..).unwrap_or_default());
                    transaction.open_table(HELD[which as usize])?.remove(key.as_slice())?;
                    let time = time_key(kind, *updated, &id);
                    transaction.open_table(BY_TIME[which as usize])?.remove(time.as_slice())?;
                }
                if *equal {
                    different.remove(key.as_slice())?;
                } else if !known.contains(key) {
                    let new = Suspect { since: now, ..Suspect::default() };
                    different.insert(key.as_slice(), suspect(&new).as_slice())?;
                }
            }
            Ok(())
        })
    }

    /// Which of the batch are suspects already.
    fn suspected(&self, batch: &[Compared]) -> Result<HashSet<Vec<u8>>> {
        let (Some(first), Some(last)) = (batch.first(), batch.last()) else { return Ok(HashSet::new()) };
        let table = self.database.begin_read()?.open_table(DIFFERENT)?;
        let range = table.range(first.key.as_slice()..=last.key.as_slice())?;
        range.map(|entry| Ok(entry?.0.value().to_vec())).collect()
    }

    /// At most so many keys behind `from`, in the order of the merge, and the last one where there are more.
    fn compare_from(
        &self,
        kind: &str,
        sweep: u32,
        from: Option<&[u8]>,
    ) -> Result<(Vec<Compared>, Option<Vec<u8>>)> {
        const BATCH: usize = 4096;
        let transaction = self.database.begin_read()?;
        let (start, end) = (key(kind, ""), after_kind(kind));
        let bounds = (
            from.map_or(Bound::Included(start.as_slice()), Bound::Excluded),
            Bound::Excluded(end.as_slice()),
        );
        let [cdr, healthlake] = HELD;
        let (cdr, healthlake) = (transaction.open_table(cdr)?, transaction.open_table(healthlake)?);
        let (mut ours, mut theirs) = (cdr.range::<&[u8]>(bounds)?, healthlake.range::<&[u8]>(bounds)?);
        let (mut a, mut b) = (entry(ours.next())?, entry(theirs.next())?);
        let mut batch = Vec::new();
        while a.is_some() || b.is_some() {
            if batch.len() == BATCH {
                let last = batch.last().map(|last: &Compared| last.key.clone());
                return Ok((batch, last));
            }
            let order = match (&a, &b) {
                (Some((x, _)), Some((y, _))) => x.cmp(y),
                (Some(_), None) => std::cmp::Ordering::Less,
                _ => std::cmp::Ordering::Greater,
            };
            let x = if order.is_le() { std::mem::replace(&mut a, entry(ours.next())?) } else { None };
            let y = if order.is_ge() { std::mem::replace(&mut b, entry(theirs.next())?) } else { None };
            // What the filter keeps out at the CDR is equal to nothing at HealthLake.
            let here = |found: &Option<(Vec<u8>, Known)>| {
                let here = found.as_ref().filter(|(_, known)| known.sweep >= sweep);
                here.and_then(|(_, known)| known.held.expected())
            };
            let unseen = |found: &Option<(Vec<u8>, Known)>| {
                found.as_ref().filter(|(_, known)| known.sweep < sweep).map(|(_, known)| known.held.updated)
            };
            let unseen = [unseen(&x), unseen(&y)];
            let equal = here(&x) == here(&y) && unseen == [None, None];
            if let Some((key, _)) = x.or(y) {
                batch.push(Compared { key, equal, unseen });
            }
        }
        Ok((batch, None))
    }
}

/// A key of the merge.
struct Compared {
    key: Vec<u8>,
    equal: bool,
    /// When what the sweep did not see had been updated, of each side
    unseen: [Option<At>; 2],
}

/// An entry of a range, copied out of its page.
type Taken<'a> = Option<
    std::result::Result<
        (redb::AccessGuard<'a, &'static [u8]>, redb::AccessGuard<'a, &'static [u8]>),
        redb::StorageError,
    >,
>;

fn entry(entry: Taken<'_>) -> Result<Option<(Vec<u8>, Known)>> {
    let Some((key, value)) = entry.transpose()? else { return Ok(None) };
    let known = unpack(value.value()).ok_or_else(|| IndexError::Disk("an entry makes no sense".into()))?;
    Ok(Some((key.value().to_vec(), known)))
}
