//! AssumeRole and GetCallerIdentity, and what the issued credentials open.

use super::*;

const ROLE: &str = "arn:aws:iam::444455556666:role/path/writer";

async fn call(bench: &Bench, held: &Held, parameters: &str) -> Got {
    bench
        .ask_at("POST", "/".into())
        .service("sts")
        .held(held)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(&format!("{parameters}&Version=2011-06-15"))
        .send()
        .await
}

fn element(got: &Got, name: &str) -> String {
    let (_, rest) =
        got.text.split_once(&format!("<{name}>")).unwrap_or_else(|| panic!("no {name}: {}", got.text));
    rest.split_once('<').unwrap().0.to_owned()
}

async fn assume(bench: &Bench, more: &str) -> Held {
    let got =
        call(bench, &bench.held, &format!("Action=AssumeRole&RoleArn={ROLE}&RoleSessionName=lakehook{more}"))
            .await;
    assert_eq!(got.status, 200, "{}", got.text);
    Held {
        key_id: element(&got, "AccessKeyId"),
        secret: element(&got, "SecretAccessKey"),
        token: Some(element(&got, "SessionToken")),
    }
}

#[tokio::test]
async fn a_role_session_writes_until_it_expires() {
    let bench = Bench::start(Config::default()).await;
    let session = assume(&bench, "&DurationSeconds=900").await;
    assert!(session.key_id.starts_with("ASIA"));
    let bench = &bench;
    let get = |held: &Held| bench.ask("GET", "/metadata").held(held).send();
    assert_eq!(get(&session).await.status, 200);
    let without = get(&Held { token: None, ..session.clone() }).await;
    assert_eq!(
        (without.status.as_u16(), &without.json()["__type"]),
        (403, &"UnrecognizedClientException".into())
    );

    bench.advance(Duration::from_secs(899));
    assert_eq!(get(&session).await.status, 200);
    bench.advance(Duration::from_secs(2));
    let expired = get(&session).await;
    assert_eq!((expired.status.as_u16(), &expired.json()["__type"]), (403, &"ExpiredTokenException".into()));
    let expired = call(bench, &session, "Action=GetCallerIdentity").await;
    assert_eq!((expired.status.as_u16(), element(&expired, "Code").as_str()), (403, "ExpiredToken"));
}

#[tokio::test]
async fn a_lifetime_can_be_forced_below_what_sts_allows() {
    let lifetime = Some(Duration::from_secs(3));
    let bench = Bench::start(Config { session_lifetime: lifetime, ..Config::default() }).await;
    let session = assume(&bench, "&DurationSeconds=3600").await;
    assert_eq!(bench.ask("GET", "/metadata").held(&session).send().await.status, 200);
    bench.advance(Duration::from_secs(3));
    assert_eq!(bench.ask("GET", "/metadata").held(&session).send().await.status, 403);
}

#[tokio::test]
async fn the_expiration_is_what_was_asked_for() {
    let bench = Bench::start(Config::default()).await;
    for (more, seconds) in [("", 3600), ("&DurationSeconds=900", 900), ("&DurationSeconds=43200", 43200)] {
        let parameters = format!("Action=AssumeRole&RoleArn={ROLE}&RoleSessionName=lakehook{more}");
        let got = call(&bench, &bench.held, &parameters).await;
        let expires: Timestamp = element(&got, "Expiration").parse().unwrap();
        assert_eq!(expires.as_second(), bench.now().as_second() + seconds);
    }
}

#[tokio::test]
async fn identities_are_those_of_user_and_session() {
    let bench = Bench::start(Config::default()).await;
    let user = call(&bench, &bench.held, "Action=GetCallerIdentity").await;
    assert_eq!(element(&user, "Arn"), "arn:aws:iam::111122223333:user/sandbox");
    assert_eq!(element(&user, "Account"), "111122223333");
    let session = assume(&bench, "").await;
    let role = call(&bench, &session, "Action=GetCallerIdentity").await;
    assert_eq!(element(&role, "Arn"), "arn:aws:sts::444455556666:assumed-role/writer/lakehook");
    assert!(element(&role, "UserId").ends_with(":lakehook"));
    assert_eq!(element(&role, "Account"), "444455556666");
}

#[tokio::test]
async fn errors_have_the_shape_of_sts() {
    let bench = Bench::start(Config::default()).await;
    let assume = |rest: &str| format!("Action=AssumeRole&{rest}");
    for (parameters, status, code) in [
        ("Action=GetSessionToken".to_owned(), 400, "InvalidAction"),
        (assume("RoleArn=garbage&RoleSessionName=lakehook"), 400, "ValidationError"),
        (assume(&format!("RoleArn={ROLE}")), 400, "ValidationError"),
        (assume(&format!("RoleArn={ROLE}&RoleSessionName=a%20b")), 400, "ValidationError"),
        (
            assume(&format!("RoleArn={ROLE}&RoleSessionName=lakehook&DurationSeconds=60")),
            400,
            "ValidationError",
        ),
        (
            assume(&format!("RoleArn={ROLE}&RoleSessionName=lakehook&DurationSeconds=43201")),
            400,
            "ValidationError",
        ),
    ] {
        let got = call(&bench, &bench.held, &parameters).await;
        assert_eq!((got.status.as_u16(), element(&got, "Code").as_str()), (status, code), "{parameters}");
        assert_eq!(element(&got, "Type"), "Sender");
        assert_eq!(element(&got, "RequestId"), got.headers["x-amzn-requestid"].to_str().unwrap());
    }
    let wrong = Held { secret: "wrong".into(), ..bench.held.clone() };
    let got = call(&bench, &wrong, "Action=GetCallerIdentity").await;
    assert_eq!((got.status.as_u16(), element(&got, "Code").as_str()), (403, "SignatureDoesNotMatch"));
    let unknown = Held { key_id: "AKIASOMEBODYELSE0000".into(), ..bench.held.clone() };
    let got = call(&bench, &unknown, "Action=GetCallerIdentity").await;
    assert_eq!((got.status.as_u16(), element(&got, "Code").as_str()), (403, "InvalidClientTokenId"));
    let got = bench.plain("POST", "/", "Action=GetCallerIdentity&Version=2011-06-15").await;
    assert_eq!((got.status.as_u16(), element(&got, "Code").as_str()), (403, "MissingAuthenticationToken"));
}

#[tokio::test]
async fn an_external_id_can_be_required() {
    let external_id = Some("agreed".to_owned());
    let bench = Bench::start(Config { external_id, ..Config::default() }).await;
    let parameters = format!("Action=AssumeRole&RoleArn={ROLE}&RoleSessionName=lakehook");
    for (more, status) in [("", 403), ("&ExternalId=other", 403), ("&ExternalId=agreed", 200)] {
        let got = call(&bench, &bench.held, &format!("{parameters}{more}")).await;
        assert_eq!(got.status, status, "{more}");
        assert!(status == 200 || element(&got, "Code") == "AccessDenied");
    }
}

#[tokio::test]
async fn a_session_chains_for_an_hour_at_most() {
    let bench = Bench::start(Config::default()).await;
    let session = assume(&bench, "").await;
    let parameters = format!("Action=AssumeRole&RoleArn={ROLE}&RoleSessionName=again");
    assert_eq!(call(&bench, &session, &parameters).await.status, 200);
    let longer = call(&bench, &session, &format!("{parameters}&DurationSeconds=7200")).await;
    assert_eq!(element(&longer, "Code"), "ValidationError");
}

/// The client that lakehook itself uses.
#[tokio::test]
async fn the_aws_sdk_is_understood() {
    use aws_sdk_sts::config::{BehaviorVersion, Region};
    let bench = Bench::start(Config::default()).await;
    let client = |held: &Held| {
        let credentials =
            Credentials::new(held.key_id.clone(), held.secret.clone(), held.token.clone(), None, "test");
        let config = aws_sdk_sts::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(format!("http://{}", bench.addr))
            .region(Region::new("us-east-1"))
            .credentials_provider(credentials)
            .build();
        aws_sdk_sts::Client::from_conf(config)
    };
    let issued =
        client(&bench.held).assume_role().role_arn(ROLE).role_session_name("sdk").send().await.unwrap();
    let issued = issued.credentials().unwrap();
    let session = Held {
        key_id: issued.access_key_id().into(),
        secret: issued.secret_access_key().into(),
        token: Some(issued.session_token().into()),
    };
    let identity = client(&session).get_caller_identity().send().await.unwrap();
    assert_eq!(identity.arn(), Some("arn:aws:sts::444455556666:assumed-role/writer/sdk"));
    let refused = client(&Held { token: None, ..session }).get_caller_identity().send().await.unwrap_err();
    assert_eq!(refused.into_service_error().meta().code(), Some("InvalidClientTokenId"));
}
