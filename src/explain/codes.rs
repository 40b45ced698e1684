//! One text for each code. docs/codes.md is the text: what the page says and what the program says can't differ.

/// The page itself.
const PAGE: &str = include_str!("../../docs/codes.md");

/// A verdict's name, or the reason of a `bad-request`, with its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    pub name: &'static str,
    /// Markdown: what happened, whether sending again is safe, what to do
    pub text: &'static str,
}

/// All of them, in the page's order.
pub fn codes() -> impl Iterator<Item = Code> {
    PAGE.split("\n## `").skip(1).filter_map(|section| {
        let (name, text) = section.split_once("`\n")?;
        Some(Code { name, text: text.trim() })
    })
}

pub fn code(name: &str) -> Option<Code> {
    codes().find(|code| code.name == name)
}

impl Code {
    /// For a terminal: without Markdown's signs.
    pub fn plain(&self) -> String {
        self.text.replace("**", "").replace('`', "")
    }

    /// The first sentence or so: what happened.
    pub fn what_happened(&self) -> &'static str {
        self.part("- **What happened:** ")
    }

    pub fn what_to_do(&self) -> &'static str {
        self.part("- **What to do:** ")
    }

    fn part(&self, heading: &str) -> &'static str {
        let rest = self.text.split_once(heading).map_or("", |(_, rest)| rest);
        rest.split_once("\n- **").map_or(rest, |(part, _)| part)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::answer::every_verdict;
    use crate::verdict::BadRequest;

    #[test]
    fn every_verdict_and_every_reason_has_its_text_and_no_other_does() {
        let mut names: BTreeSet<&str> = every_verdict().iter().map(|verdict| verdict.name()).collect();
        names.extend(BadRequest::ALL.iter().map(|reason| reason.name()));
        let explained: BTreeSet<&str> = codes().map(|code| code.name).collect();
        assert_eq!(names, explained);
        assert_eq!(codes().count(), explained.len(), "none twice");
    }

    #[test]
    fn every_text_has_the_three_parts() {
        for code in codes() {
            let heads = ["- **What happened:** ", "- **Sending it again:** ", "- **What to do:** "];
            let places: Vec<_> = heads.iter().map(|head| code.text.find(head).unwrap()).collect();
            assert!(places.is_sorted(), "{}", code.name);
            assert!(code.what_happened().len() > 15 && code.what_to_do().len() > 7, "{}", code.name);
            assert!(!code.plain().contains("**"));
        }
    }
}
