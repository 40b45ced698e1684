//! Tokens: how they are asked for, kept, renewed, and what is said where none can be had.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::signature::{
    ECDSA_P384_SHA384_FIXED, KeyPair, RSA_PKCS1_2048_8192_SHA384, UnparsedPublicKey, VerificationAlgorithm,
};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use reqwest::Url;
use serde_json::{Value, json};

use super::keys::{ec, ec_jwk, pem, rsa};
use super::server::{Asked, Stand, json, status, text};
use super::{cdr, patient, soon};
use crate::cdr::{Authorization, Cdr, CdrError, ClientSecret, OAuth, Secret, TokenUrl};
use crate::healthlake::Trust;

const WELL_KNOWN: &str = "/fhir/.well-known/smart-configuration";
const SECRET: &str = "s3cret+of/the client";

fn secret() -> ClientSecret {
    ClientSecret::Secret(Secret::Value(SECRET.into()))
}

/// A CDR that gives out tokens itself: `t0`, `t1`, …, and takes those that `good` says.
async fn stand(
    configuration: Value,
    lifetime: u64,
    good: impl Fn(&str) -> bool + Send + Sync + 'static,
) -> Stand {
    let tokens = std::sync::atomic::AtomicUsize::new(0);
    Stand::start(move |asked, _| match asked.target.as_str() {
        WELL_KNOWN => {
            let mut configuration = configuration.clone();
            configuration["token_endpoint"] = format!("http://{}/token", asked.header("host")).into();
            json(200, &configuration)
        }
        "/token" => {
            let n = tokens.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            json(
                200,
                &json!({ "access_token": format!("t{n}"), "token_type": "Bearer", "expires_in": lifetime }),
            )
        }
        _ if good(asked.header("authorization").trim_start_matches("Bearer ")) => text(200, "{}"),
        _ => status(401),
    })
    .await
}

fn client(stand: &Stand, secret: ClientSecret, change: impl FnOnce(OAuth) -> OAuth) -> Cdr {
    let base = Url::parse(&stand.base()).unwrap();
    let url = TokenUrl::Discovered { base };
    let oauth = OAuth::new("me".into(), secret, url, Arc::new(SystemTime::now), &Trust::default()).unwrap();
    cdr(stand, Authorization::OAuth(Arc::new(change(oauth))))
}

#[tokio::test]
async fn one_token_serves_all_until_its_end_is_near() {
    let stand = stand(json!({}), 2, |_| true).await;
    let cdr = Arc::new(client(&stand, secret(), |oauth| oauth));
    let reads = (0..20).map(|_| {
        let cdr = cdr.clone();
        tokio::spawn(async move { cdr.read(&patient("a"), soon()).await.unwrap() })
    });
    futures_util::future::join_all(reads).await.into_iter().for_each(|read| drop(read.unwrap()));
    assert_eq!((stand.asked_for("/token").len(), stand.asked_for(WELL_KNOWN).len()), (1, 1));
    let asked = &stand.asked_for("/token")[0];
    assert_eq!(asked.field("grant_type").as_deref(), Some("client_credentials"));
    assert_eq!(asked.field("scope").as_deref(), Some("system/*.read"));
    let basic = format!("Basic {}", STANDARD.encode("me:s3cret%2Bof%2Fthe+client"));
    assert_eq!(asked.header("authorization"), basic);
    assert!(asked.field("client_secret").is_none());

    tokio::time::sleep(Duration::from_millis(2100)).await;
    cdr.read(&patient("a"), soon()).await.unwrap();
    assert_eq!(stand.asked().last().unwrap().header("authorization"), "Bearer t1");
    assert_eq!(stand.asked_for(WELL_KNOWN).len(), 1, "the discovery is remembered");
}

#[tokio::test]
async fn a_refused_token_is_renewed_once_for_writes_too() {
    let stand = stand(json!({}), 3600, |token| token != "t0").await;
    let cdr = client(&stand, secret(), |oauth| oauth);
    // The first one is new, and another one at once would not help: it is not asked for.
    assert_eq!(cdr.read(&patient("a"), soon()).await.unwrap_err().status(), Some(401));
    assert_eq!(stand.asked_for("/token").len(), 1);
    tokio::time::sleep(Duration::from_millis(5100)).await;
    assert!(cdr.update(&patient("a"), "{}".into(), None).await.unwrap().is_success());
    assert_eq!(stand.asked_for("/token").len(), 2);
}

#[tokio::test]
async fn scopes_and_the_place_of_the_secret_follow_the_discovery() {
    let v2 = json!({
        "capabilities": ["permission-v2"], "token_endpoint_auth_methods_supported": ["client_secret_post"],
    });
    let both = json!({ "capabilities": ["permission-v1", "permission-v2"] });
    for (configuration, writes, own, scope) in [
        (&v2, &[][..], None, "system/*.rs"),
        (&v2, &["Subscription"], None, "system/*.rs system/Subscription.cuds"),
        (&both, &["Subscription"], None, "system/*.read system/Subscription.write"),
        (
            &both,
            &["Subscription", "Basic"],
            None,
            "system/*.read system/Subscription.write system/Basic.write",
        ),
        (&both, &["Basic"], Some("mine"), "mine"),
    ] {
        let stand = stand(configuration.clone(), 60, |_| true).await;
        let writes = writes.iter().map(|name| (*name).to_owned()).collect();
        let change = |oauth: OAuth| oauth.writes(writes).scope(own.map(str::to_owned));
        client(&stand, secret(), change).read(&patient("a"), soon()).await.unwrap();
        let asked = stand.asked_for("/token").remove(0);
        assert_eq!(asked.field("scope").as_deref(), Some(scope));
        let in_form = asked.field("client_secret").as_deref() == Some(SECRET);
        assert_eq!(in_form, configuration == &v2);
        assert_eq!(asked.header("authorization").is_empty(), in_form);
    }
}

#[tokio::test]
async fn a_token_endpoint_in_trouble_is_asked_again_and_named() {
    let answer = |asked: &Asked, answers: &'static [u16]| -> Response {
        match (asked.target.as_str(), answers) {
            (WELL_KNOWN, _) => {
                json(200, &json!({ "token_endpoint": format!("http://{}/token", asked.header("host")) }))
            }
            (_, [first, ..]) => json(
                *first,
                &json!({ "error": "invalid_client", "error_description": format!("{SECRET} is wrong") }),
            ),
            _ => unreachable!(),
        }
    };
    for (says, attempts, advice) in [
        (&[401_u16][..], 1, "compare --cdr-oauth-client-id and --cdr-oauth-client-secret(-file)"),
        (&[503][..], 3, "answered 503 (invalid_client)"),
    ] {
        let stand = Stand::start(move |asked, _| answer(asked, says)).await;
        let error = client(&stand, secret(), |oauth| oauth).read(&patient("a"), soon()).await.unwrap_err();
        assert!(matches!(error, CdrError::Authorization(_)));
        let error = error.to_string();
        assert!(error.contains("--cdr-oauth-token-url: http://127.0.0.1:"), "{error}");
        assert!(error.contains(advice), "{error}");
        assert!(!error.contains(SECRET), "{error}");
        assert_eq!(stand.asked_for("/token").len(), attempts, "{error}");
        assert!(stand.asked_for("/Patient/a").is_empty(), "nothing is sent without a token");
    }
}

#[tokio::test]
async fn what_the_discovery_lacks_is_said() {
    for (says, expected) in [
        (status as fn(u16) -> Response, "answered 404; set --cdr-oauth-token-url"),
        (|_| text(200, "{}"), "names no token_endpoint"),
        (
            |_| json(200, &json!({ "token_endpoint": "http://idp.example/token" })),
            "names http://idp.example/token, which is not https://",
        ),
    ] {
        let stand = Stand::start(move |_, _| says(404)).await;
        let error = client(&stand, secret(), |oauth| oauth).read(&patient("a"), soon()).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn odd_grants_are_refused_and_a_missing_lifetime_is_short() {
    for (grant, fine) in [
        (json!({ "access_token": "x", "expires_in": "3600" }), true),
        (json!({ "access_token": "x", "token_type": "bearer" }), true),
        (json!({ "access_token": "x", "token_type": "mac" }), false),
        (json!({ "access_token": "" }), false),
        (json!({ "access_token": "x\ny" }), false),
        (json!([]), false),
    ] {
        let given = grant.clone();
        let stand = Stand::start(move |asked, _| match asked.target.as_str() {
            "/token" => json(200, &given),
            _ => text(200, "{}"),
        })
        .await;
        let url = Url::parse(&stand.base().replace("/fhir", "/token")).unwrap();
        let clock = Arc::new(SystemTime::now);
        let oauth =
            OAuth::new("me".into(), secret(), TokenUrl::Given(url), clock, &Trust::default()).unwrap();
        let cdr = cdr(&stand, Authorization::OAuth(Arc::new(oauth)));
        assert_eq!(cdr.read(&patient("a"), soon()).await.is_ok(), fine, "{grant}");
        assert!(stand.asked_for(WELL_KNOWN).is_empty(), "a given URL needs no discovery");
    }
}

#[tokio::test]
async fn a_smart_backend_service_proves_itself_by_its_key() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("key");
    let (rsa, pkcs8) = rsa();
    let ec = ec();
    type Public = (&'static dyn VerificationAlgorithm, Vec<u8>);
    let public_rsa: Public = (&RSA_PKCS1_2048_8192_SHA384, rsa.public_key().as_ref().to_vec());
    let public_ec: Public = (&ECDSA_P384_SHA384_FIXED, ec.public_key().as_ref().to_vec());
    let keys = [
        (pem("PRIVATE KEY", &pkcs8), "rsa-of-ours", "RS384", public_rsa),
        (ec_jwk(&ec).to_string(), "ec-1", "ES384", public_ec),
    ];
    let mut seen = Vec::new();
    for (text, kid, algorithm, public) in keys {
        std::fs::write(&file, text).unwrap();
        let stand = stand(json!({ "capabilities": ["permission-v2"] }), 1, |_| true).await;
        let key = ClientSecret::Key { file: file.clone(), id: Some(kid.into()) };
        let cdr = client(&stand, key, |oauth| oauth);
        cdr.read(&patient("a"), soon()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1100)).await;
        cdr.read(&patient("a"), soon()).await.unwrap();
        let asked = stand.asked_for("/token");
        assert_eq!(asked.len(), 2);
        for asked in asked {
            assert_eq!(asked.field("grant_type").as_deref(), Some("client_credentials"));
            assert_eq!(
                asked.field("client_assertion_type").as_deref(),
                Some("urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
            );
            assert_eq!(asked.header("authorization"), "");
            let token = asked.field("client_assertion").unwrap();
            let (signed, signature) = token.rsplit_once('.').unwrap();
            let (header, claims) = signed.split_once('.').unwrap();
            let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap();
            let public = UnparsedPublicKey::new(public.0, &public.1);
            public.verify(signed.as_bytes(), &decode(signature)).unwrap();
            let header: Value = serde_json::from_slice(&decode(header)).unwrap();
            assert_eq!(header, json!({ "alg": algorithm, "kid": kid, "typ": "JWT" }));
            let claims: Value = serde_json::from_slice(&decode(claims)).unwrap();
            assert_eq!((&claims["iss"], &claims["sub"]), (&json!("me"), &json!("me")));
            assert_eq!(claims["aud"], stand.base().replace("/fhir", "/token"));
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
            let expires = claims["exp"].as_u64().unwrap();
            assert!((now..=now + 300).contains(&expires), "five minutes at most");
            seen.push(claims["jti"].as_str().unwrap().to_owned());
        }
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 4, "no jti is used twice");
}
