//! Fills the index with what both sides have: everything, or what changed since the last sweep. What changed without
//! a trace in `_lastUpdated`, a deletion, is found by counting windows of time and bisecting those that differ.

use std::collections::HashSet;

use super::index::{Index, IndexError, Suspect, Which};
use super::side::{At, Listed, Side, SideError, Window};

/// Windows of so many resources are listed rather than halved once more: HealthLake's page.
const LEAF: u64 = 100;

#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    #[error(transparent)]
    Side(#[from] SideError),
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error(transparent)]
    Export(#[from] super::export::ExportError),
}

type Result<T> = std::result::Result<T, SweepError>;

/// One type's sweep.
pub struct Sweep<'a, C, H> {
    pub cdr: &'a C,
    pub healthlake: &'a H,
    pub index: &'a Index,
    pub kind: &'a str,
    /// Number of the last sweep of everything, this one included
    pub sweep: u32,
    pub now: fn() -> At,
    /// Told how many resources a page brought.
    pub heard: &'a (dyn Fn(&str, Which, usize) + Sync),
}

impl<C: Side, H: Side> Sweep<'_, C, H> {
    /// Lists both sides whole and compares them. Goes on where an earlier attempt at the same sweep stopped. Gives how
    /// many were compared, and when the first attempt began: what came later may not be among them.
    pub async fn everything(&self) -> Result<(u64, At)> {
        let begun = self.begun()?;
        for which in Which::BOTH {
            if !self.is_listed(which)? {
                self.list_all(which).await?;
                self.listed(which)?;
            }
        }
        for which in Which::BOTH {
            self.index.take_in(which, self.kind, self.sweep).await?;
        }
        let (compared, _) = self.index.compare(self.kind, self.sweep, (self.now)())?;
        self.ended(begun)?;
        Ok((compared, begun))
    }

    fn is_listed(&self, which: Which) -> Result<bool> {
        let sweep = self.index.text(&format!("done {} {}", which.name(), self.kind))?;
        Ok(sweep.as_deref() == Some(&self.sweep.to_string()))
    }

    /// The index holds all that the side has of the type, as this sweep saw it.
    pub fn listed(&self, which: Which) -> Result<()> {
        let name = format!("done {} {}", which.name(), self.kind);
        self.index.set_text(&name, Some(&self.sweep.to_string()))?;
        Ok(self.index.keep()?)
    }

    /// Since when the next sweep of changes has to look; None before the first sweep of everything.
    pub fn known_until(&self) -> Result<Option<At>> {
        Ok(self.index.text(&format!("until {}", self.kind))?.and_then(|text| text.parse().ok()))
    }

    /// The next sweep is one of everything.
    pub fn forget_until(&self) -> Result<()> {
        Ok(self.index.set_text(&format!("until {}", self.kind), None)?)
    }

    /// Lists on both sides what was updated from `since` on, and looks for what has disappeared. Gives how many
    /// resources were listed.
    pub async fn changes(&self, since: At, disappeared: bool) -> Result<u64> {
        let begun = (self.now)();
        let mut listed = 0;
        for which in Which::BOTH {
            let mut next = None;
            for pages in 1.. {
                let page = self.page(which, Window::since(Some(since)), next.as_deref()).await?;
                listed += page.resources.len() as u64;
                self.index.add(which, self.kind, &page.resources, (self.now)(), self.sweep, true)?;
                if pages % 50 == 0 {
                    self.index.keep()?;
                }
                match page.next {
                    Some(page) => next = Some(page),
                    None => break,
                }
            }
        }
        if disappeared {
            for which in Which::BOTH {
                self.disappeared(which).await?;
            }
            self.ended(begun)?;
        }
        Ok(listed)
    }

    async fn list_all(&self, which: Which) -> Result<()> {
        let name = format!("next {} {}", which.name(), self.kind);
        let of_sweep = format!("{} ", self.sweep);
        let text = self.index.text(&name)?;
        let mut next = text.as_deref().and_then(|text| text.strip_prefix(&of_sweep)).map(str::to_owned);
        if next.is_none() {
            self.index.forget_listed(which, Some(self.kind))?;
        }
        let mut listing = self.index.listing(which, self.sweep);
        let mut pages = 0;
        loop {
            let page = match self.page(which, Window::default(), next.as_deref()).await {
                // A server's pages do not outlive its own memory of the search.
                Err(SweepError::Side(SideError::PageGone(_))) if next.is_some() && pages == 0 => {
                    self.index.forget_listed(which, Some(self.kind))?;
                    next = None;
                    continue;
                }
                page => page?,
            };
            pages += 1;
            let seen = (self.now)();
            for (id, held) in &page.resources {
                listing.add(self.kind, id, held, seen);
            }
            next = page.next;
            let place = next.as_ref().map(|next| format!("{of_sweep}{next}"));
            listing.page(Some((name.as_str(), place)))?;
            if next.is_none() {
                return Ok(listing.end()?);
            }
        }
    }

    /// When the sweep of this type began, the first attempt at it counting.
    fn begun(&self) -> Result<At> {
        let name = format!("begun {}", self.kind);
        let found = self.index.text(&name)?;
        let found = found.as_deref().and_then(|text| text.split_once(' '));
        if let Some((sweep, at)) = found
            && sweep == self.sweep.to_string()
            && let Ok(at) = at.parse()
        {
            return Ok(at);
        }
        let now = (self.now)();
        self.index.set_text(&name, Some(&format!("{} {now}", self.sweep)))?;
        Ok(now)
    }

    fn ended(&self, begun: At) -> Result<()> {
        self.index.set_text(&format!("until {}", self.kind), Some(&begun.to_string()))?;
        Ok(self.index.keep()?)
    }

    /// Windows whose counts differ are halved until they are small, and those are listed. What the list lacks is a
    /// suspect; so costs are those of the difference: a count for each halving.
    async fn disappeared(&self, which: Which) -> Result<()> {
        let whole = Window::default();
        let known = self.index.count(which, self.kind, whole)?;
        if known == 0 {
            return Ok(());
        }
        let found = self.count(which, whole).await?;
        let mut windows = vec![(whole, known, found)];
        while let Some((window, known, found)) = windows.pop() {
            if known == found {
                continue;
            }
            let middle =
                if known > LEAF { self.index.median(which, self.kind, window, known)? } else { None };
            let Some(middle) = middle else {
                self.look_through(which, window).await?;
                continue;
            };
            let (left, right) =
                (Window { to: Some(middle), ..window }, Window { from: Some(middle), ..window });
            let known_left = self.index.count(which, self.kind, left)?;
            let found_left = self.count(which, left).await?;
            windows.push((right, known - known_left, found.saturating_sub(found_left)));
            windows.push((left, known_left, found_left));
        }
        Ok(())
    }

    async fn look_through(&self, which: Which, window: Window) -> Result<()> {
        let mut missing: HashSet<String> = self.index.ids(which, self.kind, window)?.into_iter().collect();
        let mut next = None;
        loop {
            let page = self.page(which, window, next.as_deref()).await?;
            for (id, _) in &page.resources {
                missing.remove(id);
            }
            self.index.add(which, self.kind, &page.resources, (self.now)(), self.sweep, true)?;
            match page.next {
                Some(page) => next = Some(page),
                None => break,
            }
        }
        let now = (self.now)();
        for id in missing {
            let Ok(key) = crate::delivery::Key::new(self.kind, &id) else { continue };
            // Without its entry, so that what the other side lists of it is not taken for equal.
            self.index.set(which, &key, None, now, self.sweep)?;
            self.index.suspect(&key, &Suspect { since: now, ..Suspect::default() })?;
        }
        Ok(())
    }

    async fn page(&self, which: Which, window: Window, next: Option<&str>) -> Result<Listed> {
        let page = match which {
            Which::Cdr => self.cdr.list(self.kind, window, next).await?,
            Which::HealthLake => self.healthlake.list(self.kind, window, next).await?,
        };
        (self.heard)(self.kind, which, page.resources.len());
        Ok(page)
    }

    async fn count(&self, which: Which, window: Window) -> Result<u64> {
        Ok(match which {
            Which::Cdr => self.cdr.count(self.kind, window).await?,
            Which::HealthLake => self.healthlake.count(self.kind, window).await?,
        })
    }
}
