//! What an import job left behind: its manifest and failure files, read leniently. What AWS prints of them is not
//! quite JSON, names differ from page to page, and a folder is absent where it would be empty.

use serde::Deserialize;
use serde_json::Value;

use super::places::{PlaceError, S3, S3Uri};
use super::report::{Refused, is_code};

/// The counts of a manifest, where it has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    pub scanned: Option<u64>,
    pub imported: Option<u64>,
    pub refused: Option<u64>,
}

/// One line of a failure file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// HealthLake's number of the line in the input file
    pub line_id: Option<u64>,
    pub status: Option<u16>,
    pub codes: Vec<String>,
}

/// What the job's folder holds.
#[derive(Debug, Default)]
pub struct Results {
    pub manifest: Option<Manifest>,
    pub refused: Vec<Refused>,
}

const FAILURE: &str = "/FAILURE/";
const SUCCESS: &str = "/SUCCESS/";

/// Of the job `id`; `output` is where results were sent, `input` where the files are.
pub async fn read(output: &S3, input: &S3, id: &str) -> Result<Results, PlaceError> {
    // The folder's name ends with the job's id; what stands before it is HealthLake's.
    let keys: Vec<String> = output.list().await?.into_iter().filter(|key| key.contains(id)).collect();
    let mut results = Results::default();
    let manifest = keys
        .iter()
        .find(|key| key.rsplit('/').next().is_some_and(|name| name.eq_ignore_ascii_case("manifest.json")));
    if let Some(key) = manifest {
        results.manifest = Some(Manifest::parse(&String::from_utf8_lossy(&output.get(key).await?)));
    }
    for key in keys.iter().filter(|key| key.to_ascii_uppercase().contains(FAILURE)) {
        let text = String::from_utf8_lossy(&output.get(key).await?).into_owned();
        let failures: Vec<Failure> = text.lines().filter_map(Failure::parse).collect();
        if failures.is_empty() {
            continue;
        }
        let name = key.rsplit('/').next().unwrap_or_default().to_owned();
        // Without the input the line's number has to do.
        let lines = match input.get(&format!("{}{name}", input.uri.prefix)).await {
            Ok(file) => Some(String::from_utf8_lossy(&file).into_owned()),
            Err(error) => {
                tracing::warn!(%error, "the input of a failure file can't be read");
                None
            }
        };
        let mut ids: Vec<u64> = failures.iter().filter_map(|failure| failure.line_id).collect();
        if let Some(success) = keys.iter().find(|key| key.contains(SUCCESS) && key.ends_with(&name)) {
            let text = String::from_utf8_lossy(&output.get(success).await?).into_owned();
            ids.extend(text.lines().filter_map(line_id));
        }
        let lines: Vec<&str> = lines.as_deref().map(|text| text.lines().collect()).unwrap_or_default();
        let base = base(&ids, lines.len());
        results.refused.extend(failures.into_iter().map(|failure| {
            let at =
                failure.line_id.zip(base).and_then(|(id, base)| usize::try_from(id.checked_sub(base)?).ok());
            Refused {
                key: at.and_then(|at| lines.get(at)).and_then(|line| key_of(line)),
                verdict: "refused-by-healthlake".into(),
                healthlake_status: failure.status,
                codes: failure.codes,
                file: Some(name.clone()),
                line_id: failure.line_id,
                ..Refused::default()
            }
        }));
    }
    Ok(results)
}

/// Whether HealthLake numbers lines from 0 or from 1 is not documented: the numbers of a whole file tell, and where
/// they don't, no key is better than a wrong one.
fn base(ids: &[u64], lines: usize) -> Option<u64> {
    let lines = lines as u64;
    match (ids.iter().min()?, ids.iter().max()?) {
        (0, last) if *last < lines => Some(0),
        (first, last) if *first > 0 && *last == lines => Some(1),
        _ => None,
    }
}

fn key_of(line: &str) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Head<'a> {
        resource_type: &'a str,
        id: &'a str,
    }
    let head: Head<'_> = serde_json::from_str(line).ok()?;
    crate::delivery::Key::new(head.resource_type, head.id).ok().map(|key| key.to_string())
}

impl Manifest {
    fn parse(text: &str) -> Self {
        Self {
            scanned: number(text, "numberOfResourcesScanned"),
            imported: number(text, "numberOfResourcesImportedSuccessfully")
                .or_else(|| number(text, "numberOfResourcesImported")),
            refused: number(text, "numberOfResourcesWithCustomerError"),
        }
    }
}

impl Failure {
    /// `{"lineId":9,UpdateResourceResponse:{"jsonBlob":{…},"statusCode":400}}`, with quotes or without; None for a
    /// line that tells nothing.
    fn parse(line: &str) -> Option<Self> {
        let failure = Self {
            line_id: line_id(line),
            status: status(line),
            codes: outcome(line).map(|outcome| codes(&outcome)).unwrap_or_default(),
        };
        (failure != Self::default()).then_some(failure)
    }
}

/// Of the answer, not of a text in it: an HTTP status stands directly before or behind the blob.
fn status(line: &str) -> Option<u16> {
    let starts = line.match_indices("statusCode").map(|(at, _)| &line[at..]);
    let mut statuses =
        starts.filter_map(|rest| number(rest, "statusCode")).filter_map(|n| u16::try_from(n).ok());
    statuses.find(|status| (100..600).contains(status))
}

fn line_id(line: &str) -> Option<u64> {
    number(line, "lineId")
}

/// The number behind a name, whatever quotes and blanks stand around the two.
fn number(text: &str, name: &str) -> Option<u64> {
    let at = text.to_ascii_lowercase().find(&name.to_ascii_lowercase())?;
    let rest = &text[at + name.len()..];
    let rest = rest.trim_start_matches(['"', '\'', ' ', '\t']).strip_prefix(':')?;
    let rest = rest.trim_start_matches(['"', '\'', ' ', '\t', '\n', '\r']);
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

/// The OperationOutcome in a line, as JSON or as JSON in a string.
fn outcome(line: &str) -> Option<Value> {
    let at = line.find("jsonBlob")? + "jsonBlob".len();
    let rest = line[at..].trim_start_matches(['"', '\'', ' ']).strip_prefix(':')?;
    match serde_json::Deserializer::from_str(rest).into_iter().next()?.ok()? {
        Value::String(text) => serde_json::from_str(&text).ok(),
        value => Some(value),
    }
}

fn codes(outcome: &Value) -> Vec<String> {
    let mut codes: Vec<String> = Vec::new();
    for issue in outcome["issue"].as_array().into_iter().flatten() {
        if let Some(code) = issue["code"].as_str().filter(|code| is_code(code))
            && !codes.iter().any(|known| known == code)
        {
            codes.push(code.to_owned());
        }
    }
    codes
}

impl S3 {
    /// The same bucket's client at another place.
    pub fn at(&self, uri: S3Uri) -> Self {
        Self { client: self.client.clone(), uri }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn failure_lines_are_read_as_aws_prints_them_and_as_json() {
        let outcome = r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"processing","diagnostics":"statusCode 999"},{"code":"Not a code"}]}"#;
        let expected = Failure { line_id: Some(9), status: Some(400), codes: vec!["processing".into()] };
        let as_text = serde_json::to_string(outcome).unwrap();
        for line in [
            format!(r#"{{"lineId":9,UpdateResourceResponse:{{"statusCode":400,"jsonBlob":{outcome}}}"#),
            format!(
                r#"{{"lineId": 9, "UpdateResourceResponse": {{"statusCode": "400", "jsonBlob": {as_text}}}}}"#
            ),
        ] {
            assert_eq!(Failure::parse(&line).unwrap(), expected, "{line}");
        }
        let printed = r#"{"lineId":9,UpdateResourceResponse:{"jsonBlob":{"resourceType":"OperationOutcome","issue":[{"code":"invalid"}]},"statusCode":422}"#;
        assert_eq!(Failure::parse(printed).unwrap().status, Some(422));
        assert_eq!(Failure::parse("<html>"), None);
        assert_eq!(Failure::parse(r#"{"lineId":3}"#).unwrap().line_id, Some(3));
    }

    #[test]
    fn a_manifest_is_read_whatever_its_spelling() {
        let manifest = Manifest::parse(
            "{\"numberOfScannedFiles\": 1,\n \"numberOfResourcesScanned\" : \"12\",\n \"numberOfResourcesImportedSuccessfully\":10, \"NumberOfResourcesWithCustomerError\":2}",
        );
        assert_eq!(manifest, Manifest { scanned: Some(12), imported: Some(10), refused: Some(2) });
        assert_eq!(Manifest::parse("nothing"), Manifest::default());
    }

    #[test]
    fn lines_are_numbered_from_where_the_numbers_say() {
        assert_eq!(base(&[0, 1, 2], 3), Some(0));
        assert_eq!(base(&[2, 3], 3), Some(1));
        assert_eq!(base(&[1], 3), None);
        assert_eq!(base(&[0, 3], 3), None);
        assert_eq!(base(&[], 3), None);
    }
}
