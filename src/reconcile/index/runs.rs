//! Runs of a list are merged into the index in the order of its keys, so that each page is written once. So are the
//! times, which have an order of their own: they go through runs too. What is in memory is a batch, and a page of
//! each run.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Bound;

use redb::{Durability, Range, ReadableDatabase, ReadableTable};

use super::encoding::{key, pack, time_key, unpack};
use super::listing::{Runs, listed, next_run, run_key, split};
use super::{BY_TIME, HELD, Index, Result, Which, on_disk};

/// Entries written at once.
const BATCH: usize = 16_384;

/// A key without its run's number, and the value.
type Entry = (Vec<u8>, Vec<u8>);

fn times(which: Which, kind: &str) -> String {
    format!("listed times {} {kind}", which.name())
}

impl Index {
    /// Takes in what `Listing`s wrote of a type. It can be repeated: what an interrupted one took in is taken in again.
    pub async fn take_in(&self, which: Which, kind: &str, sweep: u32) -> Result<()> {
        let (listed, times) = (listed(which, kind), times(which, kind));
        self.delete(&[&times])?;
        let mut from: Option<Vec<u8>> = None;
        while let Some(batch) = on_disk(|| self.merged(&listed, from.as_deref()))? {
            self.take_in_batch(which, kind, sweep, &batch, &times)?;
            from = batch.into_iter().next_back().map(|(key, _)| key);
            // Whoever wants to stop this run can.
            tokio::task::yield_now().await;
        }
        from = None;
        while let Some(batch) = on_disk(|| self.merged(&times, from.as_deref()))? {
            self.write(Durability::Immediate, |transaction| {
                let mut table = transaction.open_table(BY_TIME[which as usize])?;
                for (time, _) in &batch {
                    table.insert([kind.as_bytes(), b"\0", time].concat().as_slice(), ())?;
                }
                Ok(())
            })?;
            from = batch.into_iter().next_back().map(|(key, _)| key);
            tokio::task::yield_now().await;
        }
        self.delete(&[&listed, &times])
    }

    fn take_in_batch(
        &self,
        which: Which,
        kind: &str,
        sweep: u32,
        batch: &[Entry],
        times: &str,
    ) -> Result<()> {
        self.write(Durability::Immediate, |transaction| {
            let mut held = transaction.open_table(HELD[which as usize])?;
            let mut by_time = transaction.open_table(BY_TIME[which as usize])?;
            let mut new_times = Vec::new();
            for (id, value) in batch {
                let (Ok(id), Some(new)) = (std::str::from_utf8(id), unpack(value)) else { continue };
                let (key, time) = (key(kind, id), time_key(kind, new.held.updated, id));
                let before = held.get(key.as_slice())?.and_then(|value| unpack(value.value()));
                let stands = before.as_ref().is_some_and(|before| before.held.updated == new.held.updated);
                if let Some(before) = &before
                    && !stands
                {
                    by_time.remove(time_key(kind, before.held.updated, id).as_slice())?;
                }
                // What this sweep took in already may still wait for its time.
                if !stands || before.as_ref().is_some_and(|before| before.sweep == sweep) {
                    new_times.push(time[kind.len() + 1..].to_vec());
                }
                // The same version was there since it was first seen.
                let seen = match &before {
                    Some(before) if before.held == new.held => before.seen,
                    _ => new.seen,
                };
                held.insert(key.as_slice(), pack(&new.held, seen, new.sweep).as_slice())?;
            }
            new_times.sort_unstable();
            if !new_times.is_empty() {
                let mut table = transaction.open_table(Runs::new(times))?;
                let run = next_run(&table)?;
                for time in new_times {
                    table.insert(run_key(run, &time).as_slice(), &[][..])?;
                }
            }
            Ok(())
        })
    }

    /// The entries behind `from`, each key once: of several runs' the last one's. None behind the last.
    fn merged(&self, name: &str, from: Option<&[u8]>) -> Result<Option<Vec<Entry>>> {
        let table = match self.database.begin_read()?.open_table(Runs::new(name)) {
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            table => table?,
        };
        let runs = table.last()?.and_then(|(key, _)| split(key.value()).map(|(run, _)| run + 1));
        let (mut ranges, mut heads) = (Vec::new(), BinaryHeap::new());
        for run in 0..runs.unwrap_or(0) {
            let (start, end) = (run_key(run, from.unwrap_or_default()), run_key(run + 1, b""));
            let start = match from {
                Some(_) => Bound::Excluded(start.as_slice()),
                None => Bound::Included(start.as_slice()),
            };
            let mut range = table.range::<&[u8]>((start, Bound::Excluded(end.as_slice())))?;
            if let Some((key, value)) = next(&mut range)? {
                heads.push((Reverse(key), run, value));
            }
            ranges.push(range);
        }
        let mut batch: Vec<Entry> = Vec::new();
        while let Some((Reverse(key), run, value)) = heads.pop() {
            if let Some((key, value)) = next(&mut ranges[run as usize])? {
                heads.push((Reverse(key), run, value));
            }
            if batch.last().is_some_and(|(last, _)| *last == key) {
                continue;
            }
            batch.push((key, value));
            if batch.len() == BATCH {
                break;
            }
        }
        Ok((!batch.is_empty()).then_some(batch))
    }

    fn delete(&self, names: &[&str]) -> Result<()> {
        self.write(Durability::Immediate, |transaction| {
            for name in names {
                transaction.delete_table(Runs::new(name))?;
            }
            Ok(())
        })
    }
}

fn next(range: &mut Range<'_, &'static [u8], &'static [u8]>) -> Result<Option<Entry>> {
    let Some((key, value)) = range.next().transpose()? else { return Ok(None) };
    let rest = split(key.value()).map(|(_, rest)| rest.to_vec()).unwrap_or_default();
    Ok(Some((rest, value.value().to_vec())))
}
