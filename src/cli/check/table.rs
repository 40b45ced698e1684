//! The table: sections of rows, aligned by blanks, at most 100 columns wide where words allow it.

use std::fmt;

const WIDTH: usize = 100;
const OUTCOME: usize = 9;
const WHAT: usize = 24;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Ok,
    Warning,
    Failed,
    /// Something before it failed, or it was not asked for.
    Skipped,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// One thing checked.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) what: &'static str,
    pub(super) outcome: Outcome,
    pub(super) found: String,
    pub(super) to_do: Option<String>,
}

impl Row {
    fn new(what: &'static str, outcome: Outcome, found: impl Into<String>) -> Self {
        Self { what, outcome, found: found.into(), to_do: None }
    }

    pub(super) fn ok(what: &'static str, found: impl Into<String>) -> Self {
        Self::new(what, Outcome::Ok, found)
    }

    pub(super) fn warning(what: &'static str, found: impl Into<String>) -> Self {
        Self::new(what, Outcome::Warning, found)
    }

    pub(super) fn failed(what: &'static str, found: impl Into<String>) -> Self {
        Self::new(what, Outcome::Failed, found)
    }

    pub(super) fn skipped(what: &'static str, found: impl Into<String>) -> Self {
        Self::new(what, Outcome::Skipped, found)
    }

    pub(super) fn advise(mut self, text: impl Into<String>) -> Self {
        self.to_do = Some(text.into());
        self
    }
}

#[derive(Debug, Default)]
pub(super) struct Table {
    sections: Vec<(String, Vec<Row>)>,
}

impl Table {
    pub(super) fn section(&mut self, title: &str) {
        self.sections.push((title.to_owned(), Vec::new()));
    }

    pub(super) fn add(&mut self, row: Row) {
        match self.sections.last_mut() {
            Some((_, rows)) => rows.push(row),
            None => self.sections.push((String::new(), vec![row])),
        }
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.sections.iter().flat_map(|(_, rows)| rows)
    }

    pub(super) fn has_failed(&self) -> bool {
        self.count(Outcome::Failed) > 0
    }

    fn count(&self, outcome: Outcome) -> usize {
        self.rows().filter(|row| row.outcome == outcome).count()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (title, rows) in self.sections.iter().filter(|(_, rows)| !rows.is_empty()) {
            writeln!(f, "{title}")?;
            for row in rows {
                row.write(f)?;
            }
            writeln!(f)?;
        }
        let (failed, warnings) = (self.count(Outcome::Failed), self.count(Outcome::Warning));
        let warnings = match warnings {
            0 => "no warnings".to_owned(),
            1 => "1 warning".to_owned(),
            n => format!("{n} warnings"),
        };
        match failed {
            0 => write!(f, "Nothing failed, {warnings}."),
            n => write!(f, "{n} failed, {warnings}."),
        }
    }
}

impl Row {
    /// What was found, then what to do in lines of its own that begin with an arrow.
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let room = WIDTH - 2 - OUTCOME - WHAT;
        let (mut outcome, mut what) = (self.outcome.as_str(), self.what);
        let to_do = self.to_do.iter().flat_map(|text| {
            let mut lead = "-> ";
            wrapped(text, room - 3)
                .into_iter()
                .map(move |line| format!("{}{line}", std::mem::replace(&mut lead, "   ")))
        });
        for line in wrapped(&self.found, room).into_iter().chain(to_do) {
            let line = format!("  {outcome:<OUTCOME$}{what:<WHAT$}{line}");
            writeln!(f, "{}", line.trim_end())?;
            (outcome, what) = ("", "");
        }
        Ok(())
    }
}

/// A word that is longer than a line keeps its own: it may be wanted by copy and paste.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if used > 0 && used + 1 + length > width {
            lines.push(String::new());
            used = 0;
        }
        if let Some(line) = lines.last_mut() {
            if used > 0 {
                line.push(' ');
                used += 1;
            }
            line.push_str(word);
            used += length;
        }
    }
    lines
}

/// What another program said, fit for one row: printable, without line breaks, cut. AWS's text about a signature
/// goes on with the canonical request, and with it the session token: not that.
pub(super) fn quoted(text: &str) -> String {
    let text = text.split("The Canonical String").next().unwrap_or_default();
    let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim();
    let mut cut: String = first.chars().filter(|c| !c.is_control()).take(240).collect();
    if first.chars().count() > 240 {
        cut.push('…');
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_wrapped_below_their_own_column() {
        let mut table = Table::default();
        table.section("One");
        table.add(Row::ok("clock", "fine"));
        table.add(Row::failed("data store", "word ".repeat(30)).advise("do ".repeat(40)));
        let text = table.to_string();
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert!(text.contains("  ok       clock                   fine\n"), "{text}");
        assert!(text.contains("\n                                   -> do do"), "{text}");
        assert!(text.ends_with("1 failed, no warnings."), "{text}");
        assert!(table.has_failed());
    }

    #[test]
    fn what_others_said_is_one_short_line() {
        assert_eq!(quoted("\n first\u{1b}[31m \nx-amz-security-token:secret"), "first[31m");
        assert_eq!(quoted("no match. The Canonical String is x-amz-security-token:secret"), "no match.");
        assert_eq!(quoted(&"x".repeat(300)).chars().count(), 241);
    }
}
