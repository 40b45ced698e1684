//! The answer to a POSTed Bundle: one entry for each of its entries.

use axum::response::Response;
use serde::Serialize;

use super::outcome::{OperationOutcome, outcome};
use super::{Row, respond, row};
use crate::verdict::Verdict;

/// Which Bundle answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BundleAnswer {
    Transaction,
    Batch,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Bundle<'a> {
    resource_type: &'static str,
    r#type: &'static str,
    entry: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    response: EntryResponse<'a>,
}

#[derive(Serialize)]
struct EntryResponse<'a> {
    status: String,
    outcome: OperationOutcome<'a>,
}

/// All settled: 200. Otherwise the status is that of the entry that is most worth a retry, since the CDR
/// sends the whole Bundle again or not at all, and every entry can be repeated.
pub fn bundle(kind: BundleAnswer, verdicts: &[Verdict]) -> Response {
    let rows: Vec<_> = verdicts.iter().map(row).collect();
    let entry = verdicts
        .iter()
        .zip(&rows)
        .map(|(verdict, row)| Entry {
            response: EntryResponse {
                status: row.status.as_str().to_owned(),
                outcome: outcome(verdict, row),
            },
        })
        .collect();
    let r#type = match kind {
        BundleAnswer::Transaction => "transaction-response",
        BundleAnswer::Batch => "batch-response",
    };
    let json = serde_json::to_string(&Bundle { resource_type: "Bundle", r#type, entry })
        .expect("strings always serialize");
    let decides = deciding(verdicts);
    let pause = verdicts.iter().filter(|v| v.is_retryable()).filter_map(|v| row(v).retry_after).max();
    let row = Row { retry_after: pause, ..row(decides) };
    respond(decides, &row, Some(json))
}

fn deciding(verdicts: &[Verdict]) -> &Verdict {
    verdicts
        .iter()
        .find(|verdict| verdict.is_retryable())
        .or_else(|| verdicts.iter().find(|verdict| !verdict.is_accepted()))
        .unwrap_or(&Verdict::Acknowledged)
}
