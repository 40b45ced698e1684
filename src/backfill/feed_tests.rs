#![allow(clippy::unwrap_used)]

use super::*;

fn open(directory: &Path, most: u64, exported: Option<&Exported>) -> Result<Feed, FeedError> {
    Feed::open(directory, Place::Directory, most, exported)
}

fn files(directory: &Path) -> Vec<(String, String)> {
    let mut files: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            (entry.file_name().into_string().unwrap(), std::fs::read_to_string(entry.path()).unwrap())
        })
        .collect();
    files.sort();
    files
}

#[tokio::test]
async fn a_type_a_file_and_none_too_large() {
    let directory = tempfile::tempdir().unwrap();
    let mut feed = open(directory.path(), 30, None).unwrap();
    feed.write("Patient", b"{\"id\":\"a\",\n  \"x\":1.50}").unwrap();
    feed.write("Patient", b"{\"id\":\"b\"}").unwrap();
    feed.write("Patient", b"{}").unwrap();
    feed.write("Group", &[b'x'; 100]).unwrap();
    feed.close().unwrap();
    feed.deliver().await.unwrap();
    let files = files(directory.path());
    let names: Vec<_> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["Group-000003.ndjson", "Patient-000001.ndjson", "Patient-000002.ndjson"]);
    assert_eq!(files[1].1, "{\"id\":\"a\",   \"x\":1.50}\n");
    assert_eq!(files[2].1, "{\"id\":\"b\"}\n{}\n");
    assert_eq!(files[0].1.len(), 101, "one that is too large alone has its own file");
    assert!(matches!(open(directory.path(), 30, None), Err(FeedError::NotEmpty(_))));
}

#[test]
fn a_run_that_was_killed_goes_on_where_the_cursor_is() {
    let directory = tempfile::tempdir().unwrap();
    let mut feed = open(directory.path(), 20, None).unwrap();
    feed.write("Patient", b"{\"n\":1}").unwrap();
    let exported = feed.sync().unwrap();
    assert_eq!(exported.open, Some(("Patient-000001.ndjson".into(), 8)));
    for _ in 0..10 {
        feed.write("Patient", b"{\"n\":2}").unwrap();
    }
    feed.sync().unwrap();
    drop(feed);
    assert!(files(directory.path()).len() > 3);

    let mut feed = open(directory.path(), 20, Some(&exported)).unwrap();
    for n in 2..5 {
        feed.write("Patient", format!("{{\"n\":{n}}}").as_bytes()).unwrap();
    }
    feed.close().unwrap();
    let text: String = files(directory.path()).into_iter().map(|(_, text)| text).collect();
    assert_eq!(text, "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n{\"n\":4}\n");

    let lost = Exported { open: Some(("Patient-000001.ndjson".into(), 8_000)), number: 1, ..exported };
    assert!(matches!(open(directory.path(), 20, Some(&lost)), Err(FeedError::Lost(_))));
}
