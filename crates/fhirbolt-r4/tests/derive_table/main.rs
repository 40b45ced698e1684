//! `src/validate/r4.txt` says what fhirbolt's R4 model allows. Here it is asked out of fhirbolt again and compared,
//! so the table cannot drift from the model. To write it anew (after an update of fhirbolt):
//!
//! ```text
//! LAKEHOOK_WRITE_TABLE=1 cargo test -p lakehook-fhirbolt-r4 --test derive_table
//! ```
//!
//! A test of this crate and not code in it: it instantiates fhirbolt's generics once more, which only those who
//! run the test should pay for.
#![allow(clippy::unwrap_used)]

mod derive;
mod probe;

use std::path::PathBuf;

#[test]
fn the_table_is_what_fhirbolt_says() {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../src/validate/r4.txt");
    let derived = derive::table(lakehook_fhirbolt_r4::RESOURCE_TYPES);
    if std::env::var_os("LAKEHOOK_WRITE_TABLE").is_some() {
        std::fs::write(&file, &derived).unwrap();
    }
    let committed = std::fs::read_to_string(&file).unwrap();
    let differs = committed.lines().zip(derived.lines()).enumerate().find(|(_, (old, new))| old != new);
    assert_eq!(differs, None, "the first line that differs, committed and derived");
    assert_eq!(committed.len(), derived.len(), "one of the two tables goes on");
}
