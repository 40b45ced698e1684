#![allow(clippy::unwrap_used)]

use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;

use super::*;

fn held(id: &str, secret: &str, token: Option<&str>, generation: u64) -> Held {
    Held::of(Credentials::new(id, secret, token.map(str::to_owned), None, "test"), generation)
}

fn headers(pairs: &[(String, String)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers
            .append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    headers
}

/// What the library's own signer adds.
fn general(
    method: &Method,
    url: &Url,
    mut headers: HeaderMap,
    body: &[u8],
    held: &Held,
    time: SystemTime,
) -> HeaderMap {
    let scope = Scope { service: "healthlake", region: "us-east-1", time };
    add_signature(method, url.as_str(), &mut headers, body, &held.identity, scope).unwrap();
    headers
}

proptest! {
    /// Whatever is asked for: the same headers, byte by byte.
    #[test]
    fn it_signs_as_the_library_does(
        (path, query) in ("(/[A-Za-z0-9._~-]{1,20}){1,5}|/[ -~]{0,20}", prop::option::weighted(0.2, "[a-z]{1,5}=[a-z%0-9]{0,5}")),
        extra in prop::collection::vec(("x-[a-z-]{1,12}", "[!-~]([ -~]{0,20}[!-~])?| x |a  b"), 0..5),
        known in prop::collection::vec((prop::sample::select(vec!["user-agent", "if-match", "accept", "content-type", "traceparent", "x-amzn-trace-id"]), "[!-~]{1,20}"), 0..4),
        body in prop::collection::vec(any::<u8>(), 0..200),
        (secret, token, generation) in ("[!-~]{1,40}", prop::option::of("[!-~]{1,100}"), 0..3_u64),
        seconds in 0..4_000_000_000_u64,
    ) {
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        let Ok(url) = Url::parse(&format!("https://healthlake.us-east-1.amazonaws.com{path}{query}")) else { return Ok(()) };
        // The general signer does not take every URL either.
        prop_assume!(url.as_str().parse::<http::Uri>().is_ok());
        let mut pairs = vec![("host".to_owned(), "healthlake.us-east-1.amazonaws.com".to_owned())];
        pairs.extend(extra);
        pairs.extend(known.into_iter().map(|(name, value)| (name.to_owned(), value)));
        let held = held("AKIDEXAMPLE", &secret, token.as_deref(), generation);
        let time = UNIX_EPOCH + Duration::from_secs(seconds);
        let expected = general(&Method::PUT, &url, headers(&pairs), &body, &held, time);
        let signer = Signer::new("healthlake", "us-east-1".into());
        let mut ours = headers(&pairs);
        signer.sign(&Method::PUT, &url, &mut ours, &body, &held, time).unwrap();
        prop_assert_eq!(&ours, &expected);
        prop_assert!(ours["authorization"].is_sensitive());
    }
}

#[test]
fn the_key_follows_the_day_and_the_credentials() {
    let signer = Signer::new("healthlake", "us-east-1".into());
    let url = Url::parse("https://h/datastore/a/r4/Patient/p").unwrap();
    let base = headers(&[("host".into(), "h".into())]);
    let day = Duration::from_secs(86_400);
    let start = UNIX_EPOCH + day * 20_000;
    let (first, second) = (held("AKID1", "secret-1", None, 1), held("AKID2", "secret-2", Some("token"), 2));
    // Back and forth: what was held for another day or another secret must not be used.
    for (held, time) in [
        (&first, start),
        (&first, start + day - Duration::from_secs(1)),
        (&first, start + day),
        (&second, start + day),
        (&first, start + day),
        (&first, start),
    ] {
        let mut ours = base.clone();
        signer.sign(&Method::DELETE, &url, &mut ours, b"", held, time).unwrap();
        assert_eq!(ours, general(&Method::DELETE, &url, base.clone(), b"", held, time));
    }
}

#[test]
fn what_a_delivery_sends_is_plain() {
    let url = |text: &str| Url::parse(text).unwrap();
    let plain = headers(&[("host".into(), "h:8180".into()), ("if-match".into(), "W/\"7\"".into())]);
    assert!(is_plain(&url("http://h:8180/datastore/0123/r4/Observation/a.b-C"), &plain));
    for other in
        ["http://h/r4/Patient?_count=1", "http://h/r4/a%20b", "http://h//r4/Patient/x", "http://h/r4/.b"]
    {
        assert!(!is_plain(&url(other), &plain), "{other}");
    }
    let twice = headers(&[("a".into(), "1".into()), ("a".into(), "2".into())]);
    assert!(!is_plain(&url("http://h/r4/Patient/x"), &twice));
}
