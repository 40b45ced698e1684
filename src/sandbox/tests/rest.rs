//! PUT, POST, GET, DELETE: what HealthLake answers to each.

use super::*;

#[tokio::test]
async fn put_makes_a_version_each_time_also_of_the_same_body() {
    let bench = Bench::start(Config::default()).await;
    let first = bench.put("Patient/a").await;
    assert_eq!((first.status, first.etag()), (StatusCode::CREATED, "W/\"1\""));
    let second = bench.put("Patient/a").await;
    assert_eq!((second.status, second.etag()), (StatusCode::OK, "W/\"2\""));
    let read = bench.get("/Patient/a").await;
    assert_eq!((read.status, read.etag()), (StatusCode::OK, "W/\"2\""));
    assert_eq!(read.text, second.text);
    assert_eq!(read.json()["meta"]["versionId"], "2");
    assert!(read.headers.contains_key("x-amzn-requestid"));
}

#[tokio::test]
async fn only_version_and_last_updated_are_replaced() {
    let bench = Bench::start(Config::default()).await;
    let sent = r#"{"resourceType":"Observation","id":"o","meta":{"versionId":"9","lastUpdated":"2001-02-03T04:05:06Z",
        "tag":[{"system":"urn:x","code":"y"}]},"valueQuantity":{"value":1.50},"x":[10.0,1E3],"note":"a  b é \u00e9 \n"}"#;
    bench.ask("PUT", "/Observation/o").body(sent).send().await;
    let got = bench.get("/Observation/o").await;
    assert!(got.text.contains("1.50") && got.text.contains("[10.0,1E3]"), "{}", got.text);
    let (mut sent, mut got): (Value, Value) = (serde_json::from_str(sent).unwrap(), got.json());
    assert_ne!(got["meta"]["lastUpdated"], sent["meta"]["lastUpdated"]);
    for resource in [&mut sent, &mut got] {
        resource["meta"]["versionId"].take();
        resource["meta"]["lastUpdated"].take();
    }
    assert_eq!(sent, got);
}

#[tokio::test]
async fn delete_leaves_a_tombstone_and_the_id_taken() {
    let bench = Bench::start(Config::default()).await;
    assert_eq!(bench.get("/Patient/a").await.status, 404);
    assert_eq!(bench.delete("Patient/a").await.status, 404);
    bench.put("Patient/a").await;
    let deleted = bench.delete("Patient/a").await;
    assert_eq!((deleted.status, deleted.text.as_str()), (StatusCode::NO_CONTENT, ""));
    let gone = bench.get("/Patient/a").await;
    assert_eq!((gone.status, gone.issue().0.as_str()), (StatusCode::GONE, "deleted"));
    assert_eq!(bench.delete("Patient/a").await.status, 404);
    let taken = bench.ask("PUT", "/Patient/a").header("if-none-match", "*").body(&resource("Patient/a"));
    assert_eq!(taken.send().await.status, 412);
    let again = bench.put("Patient/a").await;
    assert_eq!((again.status, again.etag()), (StatusCode::CREATED, "W/\"3\""));
}

#[tokio::test]
async fn what_a_second_delete_answers_is_a_setting() {
    for status in [404, 410, 204] {
        let bench = Bench::start(Config { deleted_again_status: status, ..Config::default() }).await;
        bench.put("Patient/a").await;
        assert_eq!(bench.delete("Patient/a").await.status, 204);
        assert_eq!(bench.delete("Patient/a").await.status, status);
        assert_eq!(bench.delete("Patient/never").await.status, 404);
        assert_eq!(bench.sandbox.history().len(), 2);
    }
}

#[tokio::test]
async fn if_match_holds_on_put_and_delete() {
    let bench = Bench::start(Config::default()).await;
    bench.put("Patient/a").await;
    let put = |etag: &str| {
        bench.ask("PUT", "/Patient/a").header("if-match", etag).body(&resource("Patient/a")).send()
    };
    assert_eq!(put("W/\"1\"").await.status, 200);
    let stale = put("W/\"1\"").await;
    assert_eq!(stale.status, 412);
    let modified = "Resource was modified by another operation. Retry the request.";
    assert_eq!(stale.issue(), ("exception".into(), modified.into()));
    let delete = |etag: &str| bench.ask("DELETE", "/Patient/a").header("if-match", etag).send();
    assert_eq!(delete("W/\"1\"").await.status, 412);
    assert_eq!(delete("W/\"2\"").await.status, 204);
}

#[tokio::test]
async fn if_none_match_creates_once() {
    let bench = Bench::start(Config::default()).await;
    let put =
        || bench.ask("PUT", "/Patient/a").header("if-none-match", "*").body(&resource("Patient/a")).send();
    assert_eq!(put().await.status, 201);
    assert_eq!(put().await.status, 412);
}

#[tokio::test]
async fn post_gives_the_id_and_no_location() {
    let bench = Bench::start(Config::default()).await;
    let created =
        bench.ask("POST", "/Patient").body(r#"{"resourceType":"Patient","id":"mine"}"#).send().await;
    assert_eq!(created.status, 201);
    assert!(!created.headers.contains_key("location"));
    let id = created.json()["id"].as_str().unwrap().to_owned();
    assert_ne!(id, "mine");
    assert_eq!(bench.get(&format!("/Patient/{id}")).await.text, created.text);
}

#[tokio::test]
async fn a_post_with_the_same_idempotency_key_is_409_and_names_the_first() {
    let bench = Bench::start(Config::default()).await;
    let post = |key: &str| {
        let body = r#"{"resourceType":"Patient"}"#;
        bench.ask("POST", "/Patient").header("x-amz-fhir-idempotency-key", key).body(body).send()
    };
    let first = post("6f0c2f7a-1f0e-4c43-9a43-2f1f4f0b7c11").await;
    let again = post("6f0c2f7a-1f0e-4c43-9a43-2f1f4f0b7c11").await;
    assert_eq!((again.status, again.issue().0.as_str()), (StatusCode::CONFLICT, "duplicate"));
    let id = first.json()["id"].as_str().unwrap().to_owned();
    let location = format!("{}/Patient/{id}", bench.sandbox.endpoint(bench.addr));
    assert_eq!(again.headers["location"].to_str().unwrap(), location);
    assert_eq!(post("6f0c2f7a-1f0e-4c43-9a43-2f1f4f0b7c12").await.status, 201);
    assert_eq!(bench.sandbox.history().len(), 2);
}

#[tokio::test]
async fn types_healthlake_does_not_take_are_refused_in_its_words() {
    let bench = Bench::start(Config::default()).await;
    for kind in ["Subscription", "CodeSystem", "Basic", "SubstanceProtein", "Parameters", "Patientt"] {
        let refused = bench.put(&format!("{kind}/a")).await;
        assert_eq!(refused.status, 400);
        let text = format!("ResourceType {kind} is not supported.");
        assert_eq!(refused.issue(), ("not-supported".into(), text));
    }
    let none: Vec<String> = Vec::new();
    let bench = Bench::start(Config { unsupported_types: none, ..Config::default() }).await;
    assert_eq!(bench.put("Subscription/a").await.status, 201);
}

#[tokio::test]
async fn an_audit_event_is_never_changed() {
    let bench = Bench::start(Config::default()).await;
    let refused = ("not-supported".to_owned(), "Interaction not supported.".to_owned());
    let created = bench.ask("POST", "/AuditEvent").body(r#"{"resourceType":"AuditEvent"}"#).send().await;
    assert_eq!(created.status, 201);
    let key = format!("AuditEvent/{}", created.json()["id"].as_str().unwrap());
    for got in [bench.put(&key).await, bench.delete(&key).await, bench.put("AuditEvent/new").await] {
        assert_eq!((got.status, got.issue()), (StatusCode::BAD_REQUEST, refused.clone()));
    }
    assert_eq!(bench.get(&format!("/{key}")).await.status, 200);
}

#[tokio::test]
async fn other_interactions_are_not_supported() {
    let bench = Bench::start(Config::default()).await;
    for (method, below) in
        [("PATCH", "/Patient/a"), ("GET", "/"), ("POST", "/Patient/a/$validate"), ("PUT", "/Patient?x=y")]
    {
        let got = bench.ask(method, below).body("{}").send().await;
        assert_eq!(
            got.issue(),
            ("not-supported".into(), "Interaction not supported.".into()),
            "{method} {below}"
        );
    }
}

#[tokio::test]
async fn bad_bodies_and_paths_are_refused_in_healthlakes_words() {
    let bench = Bench::start(Config::default()).await;
    for (path, body, diagnostics) in [
        ("/Patient/a", "{", "Invalid JSON found in input file"),
        ("/Patient/a", "<Patient/>", "Invalid JSON found in input file"),
        ("/Patient/a", r#"{"resourceType":"Patient"}"#, "Missing required id field in resource json"),
        ("/Patient/a", r#"{"id":"a"}"#, "Missing required resourceType field in resource json"),
        (
            "/Patient/a",
            r#"{"resourceType":"Patient","id":"b"}"#,
            "Resource id b in payload does not match a in the request URL",
        ),
        (
            "/Patient/a",
            r#"{"resourceType":"Group","id":"a"}"#,
            "ResourceType Group in payload does not match Patient in the request URL",
        ),
        (
            "/Patient123/a",
            "{}",
            "1 validation error detected: Value 'Patient123' at 'resourceType' failed to satisfy constraint: Member must \
             satisfy regular expression pattern: [A-Za-z]{1,256}",
        ),
        (
            "/Patient/a_b",
            "{}",
            "1 validation error detected: Value 'a_b' at 'id' failed to satisfy constraint: Member must satisfy regular \
             expression pattern: [A-Za-z0-9-.]{1,64}",
        ),
    ] {
        let got = bench.ask("PUT", path).body(body).send().await;
        assert_eq!(
            (got.status, got.issue()),
            (StatusCode::BAD_REQUEST, ("processing".into(), diagnostics.into()))
        );
    }
    assert!(bench.sandbox.history().is_empty());
}

#[tokio::test]
async fn strict_refuses_a_profile_healthlake_does_not_know() {
    let own = r#"{"resourceType":"Patient","id":"a","meta":{"profile":["https://example.org/StructureDefinition/x"]}}"#;
    let level = "x-amzn-healthlake-fhir-validation-level";
    let bench = Bench::start(Config::default()).await;
    let put = || bench.ask("PUT", "/Patient/a").body(own);
    for ask in [put(), put().header(level, "strict")] {
        let refused = ask.send().await;
        assert_eq!((refused.status, refused.issue().0.as_str()), (StatusCode::BAD_REQUEST, "processing"));
        let text = &refused.json()["issue"][0]["details"]["text"];
        assert_eq!(text, "FHIR resource in payload failed FHIR validation rules.");
    }
    assert_eq!(put().header(level, "lax").send().await.status, 400);
    assert_eq!(put().header(level, "structure-only").send().await.status, 201);
    assert_eq!(put().header(level, "minimal").send().await.status, 200);

    let bench = Bench::start(Config { strict_profiles: false, ..Config::default() }).await;
    assert_eq!(bench.ask("PUT", "/Patient/a").body(own).send().await.status, 201);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_in_plain_text() {
    let bench = Bench::start(Config { max_body: 2000, ..Config::default() }).await;
    let of = |size: usize| {
        let body = resource("Patient/a");
        format!("{}{}}}", &body[..body.len() - 1], " ".repeat(size - body.len()))
    };
    assert_eq!(bench.ask("PUT", "/Patient/a").body(&of(2000)).send().await.status, 201);
    let refused = bench.ask("PUT", "/Patient/a").body(&of(2001)).send().await;
    assert_eq!((refused.status.as_u16(), refused.text.as_str()), (413, "Request Entity Too Large"));
    assert_eq!(refused.headers["content-type"], "text/plain");
    assert_eq!(bench.sandbox.history().len(), 1);
}

#[tokio::test]
async fn writes_above_the_capacity_are_throttled() {
    for status in [429, 400] {
        let limit = Some(4);
        let config = Config { write_units_per_second: limit, throttle_status: status, ..Config::default() };
        let bench = Bench::start(config).await;
        for _ in 0..4 {
            assert!(bench.put("Patient/a").await.status.is_success());
        }
        let throttled = bench.put("Patient/a").await;
        assert_eq!(throttled.status, status);
        assert_eq!(throttled.text, r#"{"__type":"ThrottlingException","message":"Rate exceeded"}"#);
        assert_eq!(bench.get("/Patient/a").await.status, 200, "reads are not counted");
        bench.advance(Duration::from_secs(1));
        assert_eq!(bench.put("Patient/a").await.status, 200);
        assert_eq!(bench.sandbox.history().len(), 5);
    }
}

#[tokio::test]
async fn metadata_lists_what_is_supported() {
    let bench = Bench::start(Config::default()).await;
    let statement = bench.get("/metadata").await.json();
    assert_eq!(statement["resourceType"], "CapabilityStatement");
    assert_eq!(statement["fhirVersion"], "4.0.1");
    let resources = statement["rest"][0]["resource"].as_array().unwrap();
    let of = |kind: &str| resources.iter().find(|resource| resource["type"] == kind);
    assert!(of("Patient").is_some());
    assert!(of("Subscription").is_none());
    let codes = of("AuditEvent").unwrap()["interaction"].to_string();
    assert!(codes.contains("create") && !codes.contains("update") && !codes.contains("delete"));
}

#[tokio::test]
async fn the_data_store_answers_below_its_other_doors_too() {
    let bench = Bench::start(Config::default()).await;
    bench.put("Patient/a").await;
    let id = &bench.sandbox.config().datastore_id;
    for door in ["patientaccess", "provideraccess", "payertopayerdx", "priorauthservice"] {
        let got = bench.ask_at("GET", format!("/datastore/{id}/{door}/v2/r4/Patient/a")).send().await;
        assert_eq!(got.status, 200);
    }
    let other = bench.ask_at("GET", format!("/datastore/{}/r4/Patient/a", "f".repeat(32))).send().await;
    assert_eq!((other.status.as_u16(), &other.json()["__type"]), (404, &"ResourceNotFoundException".into()));
    let none = bench.ask_at("GET", "/elsewhere".into()).send().await;
    assert_eq!(none.status, 404);
}

#[tokio::test]
async fn a_version_can_be_read() {
    let bench = Bench::start(Config::default()).await;
    let first = bench.put("Patient/a").await;
    bench.put("Patient/a").await;
    bench.delete("Patient/a").await;
    assert_eq!(bench.get("/Patient/a/_history/1").await.text, first.text);
    assert_eq!(bench.get("/Patient/a/_history/3").await.status, 410);
    assert_eq!(bench.get("/Patient/a/_history/4").await.status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writes_at_once_each_take_their_own_version() {
    let bench = Bench::start(Config::default()).await;
    let writes = (0..40).map(|_| bench.put("Patient/a"));
    let mut versions: Vec<u64> = futures_util::future::join_all(writes)
        .await
        .iter()
        .map(|got| got.json()["meta"]["versionId"].as_str().unwrap().parse().unwrap())
        .collect();
    versions.sort_unstable();
    assert_eq!(versions, (1..=40).collect::<Vec<_>>());
    let history = bench.sandbox.history();
    assert!(history.iter().zip(1..).all(|(write, n)| (write.seq, write.version) == (n, n)));
}
