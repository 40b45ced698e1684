//! A security label as a setting names it, in the way of FHIR's token search: `system|code`, `|code` for one without a
//! system, `code` in any system, `system|` for all of a system.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// None: any; empty: none
    system: Option<String>,
    /// None: any
    code: Option<String>,
}

/// FHIR's `Coding`, as far as it matters here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Coding<'a> {
    #[serde(borrow)]
    pub system: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub code: Option<Cow<'a, str>>,
}

impl Label {
    /// The error says how to write it, and no more.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (system, code) = match text.split_once('|') {
            Some((system, code)) => (Some(system), code),
            None => (None, text),
        };
        let code = Some(code.to_owned()).filter(|code| !code.is_empty());
        if code.is_none() && system.is_none_or(str::is_empty)
            || code.as_deref().is_some_and(|c| c.contains('|'))
        {
            return Err(
                "write system|code, code (in any system), |code (without a system) or system| (all of it)"
                    .into(),
            );
        }
        Ok(Self { system: system.map(str::to_owned), code })
    }

    pub fn matches(&self, coding: &Coding<'_>) -> bool {
        let system = coding.system.as_deref().unwrap_or_default();
        self.system.as_deref().is_none_or(|wanted| wanted == system)
            && self.code.as_deref().is_none_or(|wanted| coding.code.as_deref() == Some(wanted))
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(system) = &self.system {
            write!(f, "{system}|")?;
        }
        f.write_str(self.code.as_deref().unwrap_or_default())
    }
}
