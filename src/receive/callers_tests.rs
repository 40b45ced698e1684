#![allow(clippy::unwrap_used)]

use super::*;

fn values(secrets: &[&str]) -> Sources {
    Sources { values: secrets.iter().map(|s| SecretString::from(*s)).collect(), files: Vec::new() }
}

fn headers(name: &'static str, value: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(name, value.parse().unwrap());
    headers
}

#[test]
fn each_of_several_tokens_is_known() {
    let callers =
        Callers::new(Secrets { tokens: values(&["old-token", "new-token"]), ..Default::default() }).unwrap();
    for token in ["old-token", "new-token"] {
        assert_eq!(callers.head(&headers("authorization", &format!("Bearer {token}")), false), Caller::Known);
        assert_eq!(
            callers.head(&headers("authorization", &format!("bearer  {token}")), false),
            Caller::Known
        );
    }
    for wrong in ["Bearer old-toke", "Bearer ", "Bearer", "old-token", "Basic old-token", "Bearer old-tokenx"]
    {
        assert_eq!(callers.head(&headers("authorization", wrong), false), Caller::Unknown, "{wrong}");
    }
    assert_eq!(callers.head(&HeaderMap::new(), false), Caller::Unknown);
}

#[test]
fn basic_is_known_by_user_and_password() {
    let callers = Callers::new(Secrets { basic: values(&["cdr:pass:word"]), ..Default::default() }).unwrap();
    let basic = |pair: &str| headers("authorization", &format!("Basic {}", STANDARD.encode(pair)));
    assert_eq!(callers.head(&basic("cdr:pass:word"), false), Caller::Known);
    assert_eq!(callers.head(&basic("cdr:pass"), false), Caller::Unknown);
    assert!(matches!(
        Callers::new(Secrets { basic: values(&["no-colon"]), ..Default::default() }),
        Err(SecretsError::NotBasic)
    ));
}

#[test]
fn medplum_signs_the_raw_body() {
    let callers = Callers::new(Secrets { hmac: values(&["medplum-secret"]), ..Default::default() }).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(b"medplum-secret").unwrap();
    mac.update(b"{\"a\":1}");
    let signed = headers("x-signature", &hex::encode(mac.finalize().into_bytes()));
    assert_eq!(callers.head(&signed, false), Caller::Signs);
    assert!(callers.signed(&signed, b"{\"a\":1}"));
    assert!(!callers.signed(&signed, b"{\"a\":2}"));
    assert!(!callers.signed(&headers("x-signature", "zz"), b""));
    assert_eq!(callers.head(&HeaderMap::new(), false), Caller::Unknown);
}

#[test]
fn a_certificate_is_enough_only_where_a_ca_is_configured() {
    let with = Callers::new(Secrets { client_certificate: true, ..Default::default() }).unwrap();
    assert_eq!(with.head(&HeaderMap::new(), true), Caller::Known);
    assert_eq!(with.head(&HeaderMap::new(), false), Caller::Unknown);
    let without = Callers::new(Secrets { tokens: values(&["some-token"]), ..Default::default() }).unwrap();
    assert_eq!(without.head(&HeaderMap::new(), true), Caller::Unknown);
}

#[test]
fn files_are_read_again_and_a_broken_one_changes_nothing() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "first-token\n\n").unwrap();
    let tokens = Sources { values: Vec::new(), files: vec![file.path().to_owned()] };
    let callers = Callers::new(Secrets { tokens, ..Default::default() }).unwrap();
    let known = |token: &str| callers.head(&headers("authorization", &format!("Bearer {token}")), false);
    assert_eq!(known("first-token"), Caller::Known);
    std::fs::write(file.path(), "first-token\nsecond-token\n").unwrap();
    assert!(callers.reload().unwrap());
    assert_eq!(known("second-token"), Caller::Known);
    std::fs::write(file.path(), "\n").unwrap();
    assert!(matches!(callers.reload(), Err(SecretsError::Empty { .. })));
    assert_eq!(known("second-token"), Caller::Known);
}

#[test]
fn short_secrets_are_refused() {
    assert!(matches!(
        Callers::new(Secrets { tokens: values(&["short"]), ..Default::default() }),
        Err(SecretsError::Short)
    ));
}
