//! Files for their user only, and sealed where a key is set.

use std::os::unix::fs::PermissionsExt;

use super::{Fixture, MARK, REFUSE, is_kept, valid};

#[tokio::test]
async fn files_are_for_their_user_only_and_hold_nothing_readable_once_there_is_a_key() {
    let keys = tempfile::tempdir().unwrap();
    let file = |name: &str, byte: u8| {
        let path = keys.path().join(name);
        std::fs::write(&path, hex::encode([byte; 32])).unwrap();
        path.display().to_string()
    };
    let (ours, theirs) = (file("ours", 1), file("theirs", 2));
    let fixture = Fixture::with(|builder| builder.arg("--dead-letters-key-file", &ours)).await;
    fixture.app.fault(REFUSE);
    is_kept(&fixture.app.put("/Patient/p1", valid("p1", 1)).await);

    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&fixture.letters_directory()), 0o700);
    for entry in std::fs::read_dir(fixture.letters_directory()).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600);
        let bytes = std::fs::read(&path).unwrap();
        assert!(
            !String::from_utf8_lossy(&bytes).contains(MARK),
            "neither the resource nor HealthLake's texts"
        );
    }

    let ran = fixture.run(&["list"]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.err.contains("is encrypted with key") && ran.err.contains("--dead-letters-key-file"),
        "{ran:?}"
    );
    let fixture = fixture.arg("--dead-letters-key-file", &ours);
    assert_eq!(fixture.payload("Patient/p1").await, valid("p1", 1));
    let directory = fixture.directory.path().display().to_string();
    let ran = fixture
        .run_with(&["show", "Patient/p1"], &["--data-dir", &directory, "--dead-letters-key-file", &theirs])
        .await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("is not in the key file"), "{ran:?}");
    // A letter that can't be read is replaced by the next refusal, not lost; and others are not in its way.
    assert!(!ran.err.contains(MARK) && !ran.out.contains(MARK), "{ran:?}");
}
