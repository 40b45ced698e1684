#![allow(clippy::unwrap_used)]

use super::vectors::{VECTORS, Vector};
use super::*;

const KEY_ID: &str = "AKIDEXAMPLE";
const SCOPE: Scope<'_> = Scope { regions: &["us-east-1"], service: "service" };

fn now() -> Timestamp {
    "2015-08-30T12:36:00Z".parse().unwrap()
}

fn vector(name: &str) -> &'static Vector {
    VECTORS.iter().find(|vector| vector.name == name).unwrap()
}

impl Vector {
    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in self.headers {
            headers.append(*name, value.parse().unwrap());
        }
        let authorization = format!(
            "{ALGORITHM} Credential={KEY_ID}/20150830/us-east-1/service/aws4_request, SignedHeaders={}, Signature={}",
            self.signed, self.signature
        );
        headers.insert(AUTHORIZATION, authorization.parse().unwrap());
        headers
    }

    fn received<'a>(&'a self, headers: &'a HeaderMap) -> Received<'a> {
        Received {
            method: self.method,
            path: self.path,
            query: self.query,
            headers,
            body: self.body.as_bytes(),
        }
    }
}

fn key(headers: &HeaderMap) -> Key {
    let token = headers.get("x-amz-security-token").map(|value| value.to_str().unwrap().to_owned());
    let expires = now() + Duration::from_secs(60);
    Key {
        secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into(),
        session: token.map(|token| Session { token, expires }),
    }
}

fn judge(received: &Received<'_>, at: Timestamp) -> Result<String, Refusal> {
    let key = key(received.headers);
    verify(received, &SCOPE, at, |id| (id == KEY_ID).then_some(key))
}

#[test]
fn every_published_vector_passes() {
    for vector in VECTORS {
        let headers = vector.headers();
        assert_eq!(judge(&vector.received(&headers), now()), Ok(KEY_ID.to_owned()), "{}", vector.name);
    }
}

#[test]
fn every_published_vector_fails_when_changed() {
    for vector in VECTORS {
        let headers = vector.headers();
        let mut changed = vector.received(&headers);
        changed.method = "PATCH";
        assert!(matches!(judge(&changed, now()), Err(Refusal::Mismatch(_))), "{}: method", vector.name);
        let mut changed = vector.received(&headers);
        changed.path = "/changed/on/the/way";
        assert!(matches!(judge(&changed, now()), Err(Refusal::Mismatch(_))), "{}: path", vector.name);
        let mut changed = vector.received(&headers);
        changed.query = "changed=on-the-way";
        assert!(matches!(judge(&changed, now()), Err(Refusal::Mismatch(_))), "{}: query", vector.name);
        let mut changed = vector.received(&headers);
        changed.body = b"changed on the way";
        assert!(matches!(judge(&changed, now()), Err(Refusal::Mismatch(_))), "{}: body", vector.name);
        for name in
            vector.signed.split(';').filter(|name| *name != "x-amz-date" && *name != "x-amz-security-token")
        {
            let mut headers = vector.headers();
            headers.insert(name, "changed-on-the-way".parse().unwrap());
            let changed = vector.received(&headers);
            assert!(matches!(judge(&changed, now()), Err(Refusal::Mismatch(_))), "{}: {name}", vector.name);
        }
    }
}

#[test]
fn a_path_is_encoded_a_second_time() {
    // AWS's vector "double-encode-path".
    assert_eq!(
        canonical_path("/test/@connections/JBDvjfGEIAMCERw%3D"),
        "/test/%40connections/JBDvjfGEIAMCERw%253D"
    );
}

#[test]
fn a_raw_page_token_is_encoded_before_it_is_judged() {
    assert_eq!(canonical_query("page=a/b+c=="), "page=a%2Fb%2Bc%3D%3D");
    assert_eq!(canonical_query("page=a%2Fb%2Bc%3D%3D"), "page=a%2Fb%2Bc%3D%3D");
    assert_eq!(canonical_query("b=2&a=1&&a=0&c"), "a=0&a=1&b=2&c=");
}

#[test]
fn a_clock_may_be_five_minutes_off() {
    let headers = vector("get-vanilla").headers();
    let received = vector("get-vanilla").received(&headers);
    assert!(judge(&received, now() + SKEW).is_ok());
    assert!(judge(&received, now() - SKEW).is_ok());
    let second = Duration::from_secs(1);
    assert!(
        matches!(judge(&received, now() + SKEW + second), Err(Refusal::Skewed(text)) if text.contains("earlier"))
    );
    assert!(
        matches!(judge(&received, now() - SKEW - second), Err(Refusal::Skewed(text)) if text.contains("later"))
    );
}

#[test]
fn temporary_credentials_need_their_token_and_end() {
    let vector = vector("post-sts-header-before");
    let headers = vector.headers();
    let received = vector.received(&headers);
    let with = |session| {
        let key = Key { session, ..key(&HeaderMap::new()) };
        verify(&received, &SCOPE, now(), |_| Some(key))
    };
    let right = key(&headers).session.unwrap();
    assert!(with(Some(right.clone())).is_ok());
    assert_eq!(with(Some(Session { expires: now(), ..right.clone() })), Err(Refusal::ExpiredToken));
    assert_eq!(with(Some(Session { token: "other".into(), ..right.clone() })), Err(Refusal::InvalidToken));
    assert_eq!(with(None), Err(Refusal::InvalidToken), "a long-lived key has no token");

    let mut without = vector.headers();
    without.remove("x-amz-security-token");
    let key = Key { session: Some(right), ..key(&HeaderMap::new()) };
    assert_eq!(verify(&vector.received(&without), &SCOPE, now(), |_| Some(key)), Err(Refusal::InvalidToken));
}

/// AWS's vector "post-sts-header-after" signs first and adds the token then; here every `x-amz-*` must be signed.
#[test]
fn an_amz_header_that_is_not_signed_is_refused() {
    let mut headers = vector("post-vanilla").headers();
    headers.insert("x-amz-security-token", "added-later".parse().unwrap());
    let refused = judge(&vector("post-vanilla").received(&headers), now());
    assert!(matches!(refused, Err(Refusal::Incomplete(text)) if text.contains("x-amz-security-token")));
}

#[test]
fn the_host_must_be_signed() {
    let mut headers = vector("get-vanilla").headers();
    let authorization = headers[AUTHORIZATION].to_str().unwrap().replace("host;", "");
    headers.insert(AUTHORIZATION, authorization.parse().unwrap());
    let refused = judge(&vector("get-vanilla").received(&headers), now());
    assert!(matches!(refused, Err(Refusal::Incomplete(text)) if text.contains("'host'")));
}

#[test]
fn the_scope_must_name_this_service_region_and_day() {
    let headers = vector("get-vanilla").headers();
    let received = vector("get-vanilla").received(&headers);
    let within = |scope: Scope<'_>| verify(&received, &scope, now(), |_| Some(key(&headers)));
    let service = within(Scope { regions: &["us-east-1"], service: "healthlake" });
    assert!(matches!(service, Err(Refusal::WrongScope(text)) if text.contains("'healthlake'")));
    let region = within(Scope { regions: &["eu-west-1"], service: "service" });
    assert!(matches!(region, Err(Refusal::WrongScope(text)) if text.contains("'eu-west-1'")));

    let mut headers = vector("get-vanilla").headers();
    let authorization = headers[AUTHORIZATION].to_str().unwrap().replace("/20150830/", "/20150829/");
    headers.insert(AUTHORIZATION, authorization.parse().unwrap());
    assert!(matches!(judge(&vector("get-vanilla").received(&headers), now()), Err(Refusal::WrongScope(_))));
}

#[test]
fn other_forms_are_refused_in_words() {
    let vanilla = vector("get-vanilla");
    let with = |authorization: &str, query: &str| {
        let mut headers = vanilla.headers();
        headers.insert(AUTHORIZATION, authorization.parse().unwrap());
        let received = Received { query, ..vanilla.received(&headers) };
        judge(&received, now())
    };
    for (authorization, word) in [
        ("Bearer abc", "AWS4-HMAC-SHA256"),
        ("AWS4-ECDSA-P256-SHA256 Credential=a, SignedHeaders=host, Signature=0", "AWS4-HMAC-SHA256"),
        ("AWS4-HMAC-SHA256X Credential=a", "AWS4-HMAC-SHA256"),
        ("AWS4-HMAC-SHA256 SignedHeaders=host, Signature=0", "'Credential'"),
        ("AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=0", "aws4_request"),
        ("AWS4-HMAC-SHA256 Credential=a, Credential=b, SignedHeaders=host, Signature=0", "twice"),
        ("AWS4-HMAC-SHA256 nonsense", "key=value"),
    ] {
        let refused = with(authorization, "");
        assert!(
            matches!(&refused, Err(Refusal::Incomplete(text)) if text.contains(word)),
            "{authorization}: {refused:?}"
        );
    }
    let presigned = with("Bearer abc", "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=00");
    assert!(matches!(presigned, Err(Refusal::Incomplete(text)) if text.contains("presigned")));

    let mut headers = vanilla.headers();
    headers.remove(AUTHORIZATION);
    assert_eq!(judge(&vanilla.received(&headers), now()), Err(Refusal::Unsigned));
    let headers = vanilla.headers();
    assert_eq!(verify(&vanilla.received(&headers), &SCOPE, now(), |_| None), Err(Refusal::UnknownKey));
}

#[test]
fn dates_are_of_the_basic_form() {
    assert_eq!(parse_amz_date("20150830T123600Z"), Some(now()));
    for bad in [
        "2015-08-30T12:36:00Z",
        "20150830T123600",
        "20151330T123600Z",
        "20150830t123600Z",
        "+0150830T123600Z",
        "ሴ0830T123600Z!!",
    ] {
        assert_eq!(parse_amz_date(bad), None, "{bad}");
    }
}
