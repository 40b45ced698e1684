//! OperationOutcome as JSON.

use std::borrow::Cow;

use serde::Serialize;

use super::Row;
use crate::verdict::{Severity, Verdict};

/// More would only be noise; HealthLake names hundreds.
const MOST_ISSUES: usize = 20;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OperationOutcome<'a> {
    resource_type: &'static str,
    issue: Vec<OutcomeIssue<'a>>,
}

#[derive(Serialize)]
struct OutcomeIssue<'a> {
    severity: &'static str,
    code: &'a str,
    details: Details,
    #[serde(skip_serializing_if = "str::is_empty")]
    diagnostics: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expression: Option<[&'a str; 1]>,
}

#[derive(Serialize)]
struct Details {
    coding: Vec<Coding>,
}

#[derive(Serialize)]
struct Coding {
    system: &'static str,
    code: &'static str,
}

/// The verdict's own name goes with each issue, so that scripts need not read prose.
const VERDICT: &str = "urn:lakehook:verdict";
/// Which of the many a `bad-request` is, why a `dead-lettered` was refused, and the rule of a `filtered`.
const REASON: &str = "urn:lakehook:reason";

fn coding(verdict: &Verdict) -> Vec<Coding> {
    let mut coding = vec![Coding { system: VERDICT, code: verdict.name() }];
    if let Verdict::BadRequest(reason) = verdict {
        coding.push(Coding { system: REASON, code: reason.name() });
    }
    if let Verdict::Filtered { rule, .. } = verdict {
        coding.push(Coding { system: REASON, code: rule.name() });
    }
    if let Verdict::DeadLettered { refused, .. } = verdict {
        coding.push(Coding { system: REASON, code: refused.name() });
    }
    coding
}

pub(super) fn outcome<'a>(verdict: &'a Verdict, row: &'a Row) -> OperationOutcome<'a> {
    let kept = match verdict {
        Verdict::DeadLettered { refused, letter } => Some((refused, letter)),
        _ => None,
    };
    let details = || Details { coding: coding(verdict) };
    let mut issue = Vec::new();
    if let Some((refused, letter)) = kept {
        let text = format!("{} ({}): lakehook dead-letters show {letter}", row.text, refused.name());
        issue.push(OutcomeIssue {
            severity: row.severity.as_str(),
            code: row.code,
            details: details(),
            diagnostics: text.into(),
            expression: None,
        });
    }
    issue.extend(verdict.issues().iter().take(MOST_ISSUES).map(|issue| OutcomeIssue {
        // What is answered 200 is no error to the CDR.
        severity: match issue.severity {
            Severity::Fatal | Severity::Error if kept.is_some() => Severity::Warning.as_str(),
            severity => severity.as_str(),
        },
        code: &issue.code,
        details: details(),
        diagnostics: issue.diagnostics.as_str().into(),
        expression: issue.expression.as_deref().map(|expression| [expression]),
    }));
    if issue.is_empty() {
        issue.push(OutcomeIssue {
            severity: row.severity.as_str(),
            code: row.code,
            details: details(),
            diagnostics: row.text.into(),
            expression: None,
        });
    }
    OperationOutcome { resource_type: "OperationOutcome", issue }
}

pub(super) fn json(verdict: &Verdict, row: &Row) -> String {
    serde_json::to_string(&outcome(verdict, row)).expect("strings always serialize")
}
