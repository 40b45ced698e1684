#![allow(clippy::unwrap_used)]

use super::*;

fn what(cdr: &str) -> What {
    What {
        cdr: cdr.into(),
        to: "https://healthlake".into(),
        types: vec!["Patient".into()],
        since: None,
        filter: Vec::new(),
    }
}

#[test]
fn a_cursor_is_found_again_by_the_same_backfill_only() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("below/backfill.json");
    let file = CursorFile::open(&path).unwrap();
    assert!(file.load(&what("http://a")).unwrap().is_none());
    let mut cursor = Cursor::new(
        what("http://a"),
        vec![TypeState { name: "Patient".into(), count: 7, unreadable: false }],
    );
    cursor.position = Position { at: 0, from: Some("2026-01-02T03:04:05.678Z".parse().unwrap()) };
    cursor.exported =
        Some(Exported { open: Some(("Patient-00001.ndjson".into(), 9)), ..Exported::default() });
    file.save(&cursor).unwrap();
    assert_eq!(file.load(&what("http://a")).unwrap().as_ref(), Some(&cursor));

    let other = file.load(&what("http://b")).unwrap_err().to_string();
    assert!(other.contains("from http://a to https://healthlake of Patient") && other.contains("--restart"));
    std::fs::write(&path, "{}").unwrap();
    assert!(matches!(file.load(&what("http://a")), Err(CursorError::NotOurs(_))));
    file.remove().unwrap();
    file.remove().unwrap();
    assert!(file.load(&what("http://a")).unwrap().is_none());
}

#[test]
fn two_backfills_do_not_share_a_cursor() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("backfill.json");
    let first = CursorFile::open(&path).unwrap();
    assert!(matches!(CursorFile::open(&path), Err(CursorError::InUse(_))));
    drop(first);
    CursorFile::open(&path).unwrap();
}
