//! Every row of the contract's "Out" by name; and one snapshot of all answers, headers and bodies.

#![allow(clippy::unwrap_used)]

use std::fmt::Write;

use super::*;
use crate::verdict::{BadRequest, Issue};

fn issue() -> Issue {
    Issue {
        severity: Severity::Error,
        code: "required".into(),
        diagnostics: "missing".into(),
        expression: Some("Patient.name[1].given[0]".into()),
    }
}

fn dead_lettered(refused: Verdict) -> Verdict {
    let letter = crate::deadletter::LetterId::parse("0123456789abcdef").unwrap();
    Verdict::DeadLettered { refused: Box::new(refused), letter }
}

/// One of each; the match below does not compile when a variant is added and not listed.
pub(crate) fn every_verdict() -> Vec<Verdict> {
    let verdicts = vec![
        Verdict::Mirrored(Success::Ok),
        Verdict::Mirrored(Success::Created),
        Verdict::Mirrored(Success::NoContent),
        Verdict::AlreadyGone,
        Verdict::NotMirrored,
        Verdict::Superseded,
        Verdict::Filtered { rule: Rule::DenyTypes, withdrawn: false },
        Verdict::Filtered { rule: Rule::DenySecurityLabels, withdrawn: true },
        Verdict::Acknowledged,
        dead_lettered(Verdict::RefusedByHealthLake(vec![issue()])),
        dead_lettered(Verdict::TooLarge { limit: None }),
        Verdict::RefusedByHealthLake(vec![issue()]),
        Verdict::RefusedByHealthLake(Vec::new()),
        Verdict::Invalid { malformed: false, issues: vec![issue(), issue()] },
        Verdict::Invalid { malformed: true, issues: vec![issue()] },
        Verdict::TooLarge { limit: None },
        Verdict::TooLarge { limit: Some(5 << 20) },
        Verdict::BadRequest(BadRequest::NoPayload),
        Verdict::MethodNotAllowed { allow: "PUT, DELETE" },
        Verdict::NotFound,
        Verdict::UnsupportedMediaType("the charset is not UTF-8"),
        Verdict::BodyTooSlow,
        Verdict::Unauthenticated,
        Verdict::Conflict,
        Verdict::Throttled { retry_after: None },
        Verdict::Throttled { retry_after: Some(Duration::from_secs(7)) },
        Verdict::CredentialsRefused,
        Verdict::UnexpectedAnswer,
        Verdict::HealthLakeFailed { status: 500 },
        Verdict::HealthLakeFailed { status: 503 },
        Verdict::Unreachable,
        Verdict::DeadlinePassed,
        Verdict::CdrUnavailable,
        Verdict::OrderUnavailable,
        Verdict::Unsettled,
        Verdict::Overloaded,
        Verdict::ShuttingDown,
        Verdict::Internal,
    ];
    for verdict in &verdicts {
        match verdict {
            Verdict::Mirrored(_) | Verdict::AlreadyGone | Verdict::NotMirrored | Verdict::Superseded => {}
            Verdict::DeadLettered { .. } | Verdict::Filtered { .. } => {}
            Verdict::Acknowledged | Verdict::RefusedByHealthLake(_) | Verdict::Invalid { .. } => {}
            Verdict::TooLarge { .. } | Verdict::BadRequest(_) | Verdict::MethodNotAllowed { .. } => {}
            Verdict::NotFound | Verdict::UnsupportedMediaType(_) | Verdict::BodyTooSlow => {}
            Verdict::Unauthenticated | Verdict::Conflict | Verdict::Throttled { .. } => {}
            Verdict::CredentialsRefused | Verdict::UnexpectedAnswer | Verdict::HealthLakeFailed { .. } => {}
            Verdict::Unreachable | Verdict::DeadlinePassed | Verdict::CdrUnavailable => {}
            Verdict::OrderUnavailable | Verdict::Unsettled => {}
            Verdict::Overloaded | Verdict::ShuttingDown | Verdict::Internal => {}
        }
    }
    verdicts
}

async fn text(response: Response) -> String {
    let (parts, body) = response.into_parts();
    let mut text = format!("{}\n", parts.status);
    for (name, value) in &parts.headers {
        let _ = writeln!(text, "{name}: {}", value.to_str().unwrap());
    }
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let _ = writeln!(text, "{}", String::from_utf8(body.to_vec()).unwrap());
    text
}

#[tokio::test]
async fn every_answer() {
    let mut all = String::new();
    for verdict in every_verdict() {
        let _ = writeln!(all, "## {verdict:?}\n{}", text(one(&verdict)).await);
    }
    insta::assert_snapshot!(all);
}

#[tokio::test]
async fn every_body_is_an_operation_outcome_that_the_r4_model_takes() {
    let validator = crate::validate::Validator::new(crate::validate::Mode::Strict, 64);
    for verdict in every_verdict() {
        let response = one(&verdict);
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        if !body.is_empty() {
            assert_eq!(validator.json(&body).unwrap().resource_type, "OperationOutcome", "{verdict:?}");
            assert!(body.len() < 1000, "small");
        }
        let answer = bundle(BundleAnswer::Batch, &[verdict.clone(), Verdict::Mirrored(Success::Created)]);
        let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        assert_eq!(validator.json(&body).unwrap().resource_type, "Bundle", "{verdict:?}");
    }
}

fn status(verdict: Verdict) -> u16 {
    one(&verdict).status().as_u16()
}

fn retry_after(verdict: Verdict) -> Option<String> {
    one(&verdict).headers().get(RETRY_AFTER).map(|value| value.to_str().unwrap().to_owned())
}

#[test]
fn row_healthlake_200_201_204_is_the_same() {
    assert_eq!(status(Verdict::Mirrored(Success::Ok)), 200);
    assert_eq!(status(Verdict::Mirrored(Success::Created)), 201);
    assert_eq!(status(Verdict::Mirrored(Success::NoContent)), 204);
}

#[test]
fn row_unsupported_type_is_200() {
    assert_eq!(status(Verdict::NotMirrored), 200);
}

#[test]
fn row_healthlake_refuses_the_content_is_422() {
    assert_eq!(status(Verdict::RefusedByHealthLake(Vec::new())), 422);
}

#[test]
fn row_our_validation_is_422_and_400_where_it_does_not_parse() {
    assert_eq!(status(Verdict::Invalid { malformed: false, issues: Vec::new() }), 422);
    assert_eq!(status(Verdict::Invalid { malformed: true, issues: Vec::new() }), 400);
}

#[test]
fn row_refused_for_good_and_kept_is_200() {
    assert_eq!(status(dead_lettered(Verdict::RefusedByHealthLake(vec![issue()]))), 200);
    assert_eq!(status(dead_lettered(Verdict::Invalid { malformed: true, issues: vec![issue()] })), 200);
}

#[test]
fn row_delete_of_what_is_not_there_is_204() {
    assert_eq!(status(Verdict::AlreadyGone), 204);
}

#[test]
fn row_superseded_is_200() {
    assert_eq!(status(Verdict::Superseded), 200);
}

#[test]
fn row_conflict_is_409() {
    assert_eq!(status(Verdict::Conflict), 409);
}

#[test]
fn row_too_large_is_413() {
    assert_eq!(status(Verdict::TooLarge { limit: None }), 413);
}

#[test]
fn row_throttled_is_429_with_retry_after() {
    assert_eq!(status(Verdict::Throttled { retry_after: None }), 429);
    assert_eq!(retry_after(Verdict::Throttled { retry_after: Some(Duration::from_secs(7)) }).unwrap(), "7");
    assert_eq!(retry_after(Verdict::Throttled { retry_after: Some(Duration::ZERO) }).unwrap(), "1");
}

#[test]
fn row_credentials_refused_is_503_with_retry_after_never_401() {
    assert_eq!(status(Verdict::CredentialsRefused), 503);
    assert!(retry_after(Verdict::CredentialsRefused).is_some());
}

#[test]
fn row_no_such_data_store_redirect_or_nonsense_is_502() {
    assert_eq!(status(Verdict::UnexpectedAnswer), 502);
}

#[test]
fn row_healthlake_5xx_or_cut_is_502_or_503() {
    for (healthlake, ours) in [(500, 502), (502, 502), (503, 503), (504, 502)] {
        assert_eq!(status(Verdict::HealthLakeFailed { status: healthlake }), ours);
    }
    assert_eq!(status(Verdict::Unreachable), 502);
}

#[test]
fn row_deadline_is_504() {
    assert_eq!(status(Verdict::DeadlinePassed), 504);
}

#[test]
fn row_overloaded_or_shutting_down_is_503_with_retry_after() {
    for verdict in [Verdict::Overloaded, Verdict::ShuttingDown] {
        assert_eq!(status(verdict.clone()), 503);
        assert!(retry_after(verdict).is_some());
    }
}

#[test]
fn row_token_missing_or_wrong_is_401_with_www_authenticate() {
    let response = one(&Verdict::Unauthenticated);
    assert_eq!(response.status(), 401);
    assert!(response.headers().contains_key(WWW_AUTHENTICATE));
}

#[test]
fn a_bundle_is_answered_by_its_entry_that_is_most_worth_a_retry() {
    let of = |verdicts: &[Verdict]| bundle(BundleAnswer::Transaction, verdicts).status().as_u16();
    let (done, refused) = (Verdict::Mirrored(Success::NoContent), Verdict::RefusedByHealthLake(Vec::new()));
    assert_eq!(of(&[done.clone(), Verdict::NotMirrored, Verdict::Superseded]), 200);
    assert_eq!(of(&[]), 200);
    assert_eq!(of(&[done.clone(), dead_lettered(refused.clone())]), 200);
    assert_eq!(of(&[done.clone(), refused.clone()]), 422);
    assert_eq!(of(&[refused, Verdict::Throttled { retry_after: None }, done]), 429);
}

/// The README's table is the one that operators read.
#[test]
fn the_readme_shows_the_same_statuses() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    for verdict in every_verdict() {
        let name = format!("`{}`", verdict.name());
        let row = readme.lines().find(|line| line.starts_with('|') && line.contains(&name));
        let row = row.unwrap_or_else(|| panic!("no row of the README's table names {name}"));
        let status = status(verdict.clone()).to_string();
        assert!(row.contains(&status), "{name} is {status}, the README says: {row}");
    }
}
