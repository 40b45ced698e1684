//! Whether a body is a valid R4 resource, and where it is not.
//!
//! One pass over the bytes (`check`), driven by a table that is derived from fhirbolt, finds what fhirbolt is soft
//! on and says where it is; then fhirbolt's own type for the resource decides (`model`). XML becomes JSON first
//! (`xml`) and goes the same way. Messages never repeat a value of the payload.

mod calendar;
mod check;
mod findings;
mod index;
mod issue;
mod lists;
mod loose;
mod model;
mod place;
mod primitive;
mod scan;
mod table;
mod text;
mod values;
mod xhtml;
mod xhtml_text;
mod xml;

#[cfg(test)]
mod tests;

pub use issue::{Facts, Issue, Refusal};

use findings::Findings;
use issue::Fault;
use table::Table;
use text::Text;

/// How much is asked of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// What parses and says its type.
    Off,
    /// Names, shapes, cardinalities; values may be what they are.
    Structure,
    /// Structure, and the grammar of every primitive.
    Strict,
}

/// The deepest that fhirbolt follows: serde_json allows 127 levels of JSON, and an element of the model takes two,
/// the array and the object.
const DEEPEST: u32 = 64;

/// Built once and shared.
#[derive(Clone, Debug)]
pub struct Validator {
    mode: Mode,
    max_depth: u32,
}

impl Validator {
    /// `max_depth` bounds how deeply elements nest, the resource itself being the first; at most 64.
    pub fn new(mode: Mode, max_depth: u32) -> Self {
        // The first delivery should not pay for the table.
        let _ = Table::r4();
        Validator { mode, max_depth: max_depth.clamp(2, DEEPEST) }
    }

    /// Whether `bytes` are one valid resource in JSON.
    pub fn json<'a>(&self, bytes: &'a [u8]) -> Result<Facts<'a>, Refusal> {
        encoding(bytes)?;
        if self.mode == Mode::Off {
            return loose::check(bytes, self.max_depth)
                .map_err(|(malformed, fault)| refusal(bytes, malformed, vec![fault]));
        }
        let findings = check::check(bytes, self.mode == Mode::Strict, self.max_depth);
        if !findings.faults.is_empty() {
            return Err(refusal(bytes, findings.malformed, findings.faults));
        }
        model::judge(bytes, &findings).map_err(|fault| refusal(bytes, false, vec![fault]))?;
        Ok(facts(&findings))
    }

    /// The pass alone, for those who measure it.
    #[doc(hidden)]
    pub fn pass(&self, bytes: &[u8]) -> bool {
        encoding(bytes).is_ok()
            && check::check(bytes, self.mode == Mode::Strict, self.max_depth).faults.is_empty()
    }

    /// Whether `bytes` are one valid resource in XML.
    pub fn xml(&self, bytes: &[u8]) -> Result<Facts<'static>, Refusal> {
        self.json(&self.xml_to_json(bytes)?).map(Facts::into_owned).map_err(Refusal::without_places)
    }

    /// Of the modes above this one the laxest that refuses `bytes`, which this one let through. Costs another pass,
    /// and nothing in `Strict`, which has none above it.
    pub fn refused_above(&self, bytes: &[u8]) -> Option<Mode> {
        // What the whole pass takes fhirbolt takes: it need not be asked again.
        if self.mode == Mode::Strict || check::check(bytes, true, self.max_depth).faults.is_empty() {
            return None;
        }
        let structure = || Validator { mode: Mode::Structure, ..self.clone() }.json(bytes);
        if self.mode == Mode::Off && structure().is_err() {
            Some(Mode::Structure)
        } else {
            Some(Mode::Strict)
        }
    }

    /// The same resource in JSON. What comes out still has to go through `json`: only the structure was looked at.
    pub fn xml_to_json(&self, bytes: &[u8]) -> Result<Vec<u8>, Refusal> {
        // Unlike JSON, XML may begin with a byte order mark.
        let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
        let control = |c: &u8| *c < b' ' && !matches!(c, b'\n' | b'\r' | b'\t');
        match std::str::from_utf8(bytes) {
            Err(error) => Err(xml::not_xml(bytes, error.valid_up_to(), "not UTF-8")),
            Ok(text) => match bytes.iter().position(control) {
                Some(at) => Err(xml::not_xml(bytes, at, "a control character, which XML does not allow")),
                None => xml::to_json(text, self.max_depth),
            },
        }
    }
}

/// FHIR is UTF-8, and JSON has no byte order mark.
fn encoding(bytes: &[u8]) -> Result<(), Refusal> {
    let fault = if bytes.starts_with(b"\xEF\xBB\xBF") {
        Fault::new(0, "structure", "a byte order mark before the document")
    } else if let Err(error) = std::str::from_utf8(bytes) {
        Fault::new(error.valid_up_to(), "structure", "not UTF-8")
    } else {
        return Ok(());
    };
    Err(refusal(bytes, true, vec![fault]))
}

#[cold]
fn refusal(bytes: &[u8], malformed: bool, faults: Vec<Fault>) -> Refusal {
    Refusal { malformed, issues: place::issues(bytes, faults) }
}

fn facts<'a>(findings: &Findings<'a>) -> Facts<'a> {
    Facts {
        resource_type: findings.resource_type.into(),
        id: findings.id.map(Text::to_fact),
        version_id: findings.version_id.map(Text::to_fact),
        last_updated: findings.last_updated.map(Text::to_fact),
    }
}
