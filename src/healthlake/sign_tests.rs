//! AWS's published SigV4 test suite (`aws-sig-v4-test-suite`), by name: its requests, credentials
//! `AKIDEXAMPLE`, 2015-08-30T12:36:00Z, us-east-1, service `service`.

#![allow(clippy::unwrap_used)]

use std::time::{Duration, UNIX_EPOCH};

use aws_credential_types::Credentials;

use super::*;

fn signature(
    method: &str,
    path: &str,
    extra: &[(&'static str, &str)],
    body: &[u8],
    token: Option<&str>,
) -> String {
    let identity: Identity = Credentials::new(
        "AKIDEXAMPLE",
        "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        token.map(str::to_owned),
        None,
        "test",
    )
    .into();
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_static("example.amazonaws.com"));
    for (name, value) in extra {
        headers.append(*name, HeaderValue::from_str(value).unwrap());
    }
    let time = UNIX_EPOCH + Duration::from_secs(1_440_938_160);
    let method: Method = method.parse().unwrap();
    let url = format!("https://example.amazonaws.com{path}");
    let scope = Scope { service: "service", region: "us-east-1", time };
    add_signature(&method, &url, &mut headers, body, &identity, scope).unwrap();
    assert_eq!(headers["x-amz-date"], "20150830T123600Z");
    assert_eq!(headers.get("x-amz-security-token").map(|t| t.to_str().unwrap()), token);
    let authorization = headers["authorization"].to_str().unwrap().to_owned();
    assert!(headers["authorization"].is_sensitive());
    authorization.rsplit_once("Signature=").unwrap().1.to_owned()
}

#[test]
fn get_vanilla() {
    assert_eq!(
        signature("GET", "/", &[], b"", None),
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
    );
}

#[test]
fn get_vanilla_query_order_key_case() {
    assert_eq!(
        signature("GET", "/?Param2=value2&Param1=value1", &[], b"", None),
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"
    );
}

#[test]
fn post_vanilla() {
    assert_eq!(
        signature("POST", "/", &[], b"", None),
        "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"
    );
}

#[test]
fn post_x_www_form_urlencoded() {
    assert_eq!(
        signature(
            "POST",
            "/",
            &[("content-type", "application/x-www-form-urlencoded")],
            b"Param1=value1",
            None
        ),
        "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"
    );
}

#[test]
fn get_unreserved() {
    let path = "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    assert_eq!(
        signature("GET", path, &[], b"", None),
        "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"
    );
}

#[test]
fn post_sts_token_is_sent_and_signed() {
    let token = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==";
    assert_eq!(
        signature("POST", "/", &[], b"", Some(token)),
        "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead"
    );
}

#[test]
fn one_changed_byte_of_the_body_changes_the_signature() {
    let a = signature("PUT", "/datastore/a/r4/Patient/1", &[], b"{\"a\":1}", None);
    let b = signature("PUT", "/datastore/a/r4/Patient/1", &[], b"{\"a\":2}", None);
    assert_ne!(a, b);
}
