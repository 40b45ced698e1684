//! The process is frozen with its answer, and ends when Lambda says so: what has to be done is done by then.

use std::time::Duration;

use lakehook::delivery::Key;
use serde_json::Value;

use crate::support::app::patient;
use crate::support::lambda::{Caller, Function, World};

fn put(id: &str, version: u32) -> Value {
    Caller::FunctionUrl.request("PUT", &format!("/fhir/Patient/{id}"), &[], patient(id, version).as_bytes())
}

fn lines(function: &Function, verdict: &str) -> usize {
    function.log().matches(&format!("\"verdict\":\"{verdict}\"")).count()
}

#[tokio::test]
async fn when_it_answers_the_order_is_settled_and_the_line_written() {
    let world = World::start().await;
    let function = world.function().await;
    for n in 1..=3 {
        let answer = function.answer(&put("p1", n)).await;
        assert!([200, 201].contains(&answer.status), "{answer:?}");
        // The process stands still since it answered.
        let item = world.table.item(&Key::new("Patient", "p1").unwrap()).await.unwrap();
        assert!(item.contains_key("remembered") && !item.contains_key("claimant"), "{n}: {item:?}");
        assert_eq!(lines(&function, "mirrored"), n as usize);
    }
    let refused = function.answer(&Caller::FunctionUrl.request("PUT", "/fhir/Patient/p1", &[], b"{")).await;
    assert_eq!((refused.status, lines(&function, "invalid")), (400, 1));
}

#[tokio::test]
async fn instances_share_the_order() {
    let world = World::start().await;
    let (one, other) = (world.function().await, world.function().await);
    assert_eq!(one.answer(&put("p1", 2)).await.status, 201);
    assert_eq!(other.answer(&put("p1", 1)).await.verdict(), "superseded");
    assert_eq!(other.answer(&put("p1", 3)).await.status, 200);
    assert_eq!(one.answer(&put("p1", 2)).await.verdict(), "superseded");
}

#[tokio::test]
async fn a_delivery_ends_before_the_function_s_time_does() {
    let world = World::start().await;
    let function = world.function().await;
    assert_eq!(function.answer(&put("p1", 1)).await.status, 201);
    function.fault(r#"{"delayMs":20000,"service":"healthlake","count":1}"#);
    // The margin is two attempts at the table, 3 s each here, and half a second: of 11 s 4.5 are left.
    let late = function.answer_within(&put("p1", 2), Duration::from_secs(11)).await;
    assert_eq!((late.status, late.verdict().as_str()), (504, "deadline-passed"));
    let item = world.table.item(&Key::new("Patient", "p1").unwrap()).await.unwrap();
    assert!(!item.contains_key("claimant"), "it was written down that the outcome is not known: {item:?}");

    // With less than that nothing is begun that could not be ended.
    let before = function.forwarded();
    let none = function.answer_within(&put("p2", 1), Duration::from_secs(6)).await;
    assert_eq!((none.status, none.verdict().as_str()), (504, "deadline-passed"));
    assert_eq!(function.forwarded(), before);
}

#[tokio::test]
async fn credentials_are_obtained_before_the_first_event_and_not_again_for_each() {
    let world = World::start().await;
    let function = world.function().await;
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while function.assumed() == 0 {
        assert!(std::time::Instant::now() < deadline, "{}", function.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for n in 1..=5 {
        function.answer(&put("p1", n)).await;
    }
    assert_eq!(function.assumed(), 1);
}

#[tokio::test]
async fn sigterm_ends_it_with_0() {
    let world = World::start().await;
    let mut function = world.function().await;
    assert_eq!(function.answer(&put("p1", 1)).await.status, 201);
    assert!(function.terminate().await.success(), "{}", function.log());
}
