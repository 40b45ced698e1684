//! Every value of the lists of primitives is judged as listed, in an extension of a Basic.

use super::corpus::{files, note};
use super::strict;

fn document(primitive: &str, value: &str) -> String {
    match primitive {
        "Xhtml" => format!(
            r#"{{"resourceType":"Basic","text":{{"status":"generated","div":{value}}},"code":{{"text":"x"}}}}"#
        ),
        "Id" => format!(r#"{{"resourceType":"Basic","id":{value},"code":{{"text":"x"}}}}"#),
        _ => format!(
            r#"{{"resourceType":"Basic","extension":[{{"url":"http://x","value{primitive}":{value}}}],"code":{{"text":"x"}}}}"#
        ),
    }
}

#[test]
fn listed_primitives_are_judged_as_listed() {
    let (mut judged, mut wrong) = (0, Vec::new());
    for file in files("r4-primitives") {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let mut parts = name.split('.');
        let primitive: String =
            parts.next().unwrap().split('_').map(|word| word[..1].to_uppercase() + &word[1..]).collect();
        let valid = parts.next() == Some("valid");
        for value in std::fs::read_to_string(&file).unwrap().lines().filter(|line| !line.is_empty()) {
            // A lone null stands for an element that is left out.
            if value == "null" {
                continue;
            }
            judged += 1;
            if strict(&document(&primitive, value)).is_ok() != valid {
                wrong.push(format!("{name}: {value}"));
            }
        }
    }
    note(&format!("listed primitives: {judged} judged, {} not as listed", wrong.len()));
    assert_eq!(wrong, Vec::<String>::new());
}

/// Not in the lists: the corners of each grammar.
#[test]
fn corners_of_the_grammars() {
    let cases: &[(&str, &[&str], &[&str])] = &[
        ("Id", &[r#""a""#, r#""\u0061b""#, r#""A-.9""#], &[r#""""#, r#""a_b""#, r#""a/b""#, r#""é""#]),
        (
            "Date",
            &[r#""2024-02-29""#, r#""0001""#],
            &[r#""2023-02-29""#, r#""0000""#, r#""2024-13""#, r#""2024-1-1""#, r#""2024-04-31""#],
        ),
        (
            "DateTime",
            &[
                r#""2015-02-07T13:28:17.239+02:00""#,
                r#""2016-12-31T23:59:60Z""#,
                r#""2016-12-31T23:59:59-14:00""#,
            ],
            &[
                r#""2015-02-07T13:28:17""#,
                r#""2015-02-07T13:28Z""#,
                r#""2015-02-07T24:00:00Z""#,
                r#""2015-02-07T13:28:17+14:01""#,
                r#""2015-02-07T13:28:17+2:00""#,
                r#""2015-02T13:28:17Z""#,
                r#""2015-02-07T13:28:17.Z""#,
                r#""2015-02-07 13:28:17Z""#,
                r#""2015-02-07T13:28:61Z""#,
            ],
        ),
        ("Instant", &[r#""2015-02-07T13:28:17.239+02:00""#], &[r#""2015-02-07""#, r#""2015""#]),
        ("Time", &[r#""23:59:60.5""#], &[r#""23:59:59Z""#, r#""7:00:00""#]),
        ("Code", &[r#""a b""#, r#""ä""#], &[r#""a  b""#, r#""a\tb""#, r#""a\nb""#, r#""""#]),
        ("Uri", &[r#""urn:x:y""#, r#""é""#, r#""http:\/\/x""#], &[r#""a b""#, r#""a\tb""#, r#""""#]),
        (
            "Oid",
            &[r#""urn:oid:2.999""#],
            &[r#""urn:oid:3.1""#, r#""urn:oid:1""#, r#""urn:oid:1.02""#, r#""urn:oid:1.2.""#],
        ),
        ("Uuid", &[], &[r#""urn:uuid:C757873D-EC9A-4326-A141-556F43239520""#, r#""urn:uuid:c757873d""#]),
        (
            "Base64Binary",
            &[r#""YQ==""#, r#""YWJj\nYWJj""#, r#""ab\/+""#],
            &[r#""YQ=""#, r#""Y===""#, r#""YQ==YQ==""#, r#""YWJ-""#, r#""=""#],
        ),
        (
            "Integer",
            &["-2147483648", "2147483647", "0", "-5"],
            &["2147483648", "-2147483649", "1.0", "1e3", "01", "+1", "-0"],
        ),
        ("PositiveInt", &["2147483647"], &["0", "-1", "2147483648"]),
        ("UnsignedInt", &["0"], &["-1", "2147483648"]),
        (
            "Decimal",
            &[
                "1.50",
                "-0",
                "1e-22",
                "0.10000000000000000000000000000000000000001",
                "1E+3",
                "123456789012345678901234567890",
            ],
            &["1.", ".5", "01.5", "+1", "NaN", "\"1.5\"", "1e"],
        ),
        (
            "String",
            &[r#"" a ""#, r#""a\r\n\tb""#, r#""\u0041""#],
            &[r#"" ""#, r#""\n\t""#, r#""a\u0000b""#, r#""\b""#, r#""\u001f""#],
        ),
        ("Markdown", &[r##""# a\n* b""##], &[r#""""#, r#""\u000b""#]),
        ("Boolean", &[], &["truex", "True", "1", "null"]),
    ];
    let valid: usize = cases.iter().map(|(_, valid, _)| valid.len()).sum();
    let invalid: usize = cases.iter().map(|(_, _, invalid)| invalid.len()).sum();
    note(&format!("corners of the grammars: {valid} valid, {invalid} invalid, all judged rightly"));
    for (primitive, valid, invalid) in cases {
        for value in *valid {
            let document = document(primitive, value);
            let answer = strict(&document);
            assert!(answer.is_ok(), "{primitive} {value} refused: {answer:?}");
        }
        for value in *invalid {
            assert!(strict(&document(primitive, value)).is_err(), "{primitive} {value} passed");
        }
    }
}

/// 1 MB is counted in characters, not in bytes.
#[test]
fn a_string_of_one_megabyte_passes_and_not_one_more() {
    let limit = 1024 * 1024;
    let umlauts = "ä".repeat(limit);
    assert!(strict(&document("String", &format!("\"{umlauts}\""))).is_ok());
    let escapes = r"\u00e4".repeat(limit);
    assert!(strict(&document("String", &format!("\"{escapes}\""))).is_ok());
    let refusal = strict(&document("String", &format!("\"{umlauts}x\""))).unwrap_err();
    assert_eq!(refusal.issues[0].code, "too-long");
    let attachment = "YWJj".repeat(limit);
    assert!(
        strict(&document("Base64Binary", &format!("\"{attachment}\""))).is_ok(),
        "5 MB of base64 are fine"
    );
}
