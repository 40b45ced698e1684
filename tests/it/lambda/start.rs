//! What can't work on AWS Lambda is refused at the start, with what to do.

use crate::support::lambda::{Caller, World};

async fn refused(world: &World, changed: &[(&'static str, &str)], words: &[&str]) {
    let (code, log) = world.function_with(changed).await.ended().await;
    assert_eq!(code, Some(2), "{changed:?}: {log}");
    let error = log.lines().find(|line| line.starts_with("error: ")).unwrap_or_else(|| panic!("{log}"));
    for word in words {
        assert!(error.contains(word), "{word} is not in: {error}");
    }
}

#[tokio::test]
async fn an_order_that_instances_do_not_share_is_refused_unless_it_is_allowed() {
    let world = World::start().await;
    let both = ["--order-store", "dynamodb:TABLE", "--lambda-allow-unshared-order"];
    refused(
        &world,
        &[("LAKEHOOK_ORDER_STORE", "memory")],
        &[&both[..], &["LAKEHOOK_ORDER_STORE", "memory"]].concat(),
    )
    .await;
    refused(&world, &[("LAKEHOOK_ORDER_STORE", "")], &both).await;
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path().to_str().unwrap();
    let file = [("LAKEHOOK_ORDER_STORE", ""), ("LAKEHOOK_DATA_DIR", directory)];
    refused(&world, &file, &[&both[..], &["is file"]].concat()).await;

    let allowed = ("LAKEHOOK_LAMBDA_ALLOW_UNSHARED_ORDER", "true");
    let function = world.function_with(&[("LAKEHOOK_ORDER_STORE", "memory"), allowed]).await;
    assert_eq!(function.answer(&Caller::FunctionUrl.event()).await.status, 201);
    let letters = [file[0], file[1], allowed, ("LAKEHOOK_DEAD_LETTERS", "dir")];
    refused(&world, &letters, &["--dead-letters", "s3://BUCKET"]).await;
}

#[tokio::test]
async fn nobody_authenticated_is_refused_though_nothing_listens() {
    let world = World::start().await;
    refused(&world, &[("LAKEHOOK_TOKEN", "")], &["--token", "LAKEHOOK_ALLOW_ANONYMOUS", "AWS_IAM"]).await;
    let anonymous = [("LAKEHOOK_TOKEN", ""), ("LAKEHOOK_ALLOW_ANONYMOUS", "true")];
    let function = world.function_with(&anonymous).await;
    let event = Caller::FunctionUrl.request("DELETE", "/fhir/Patient/p1", &[("authorization", "")], b"");
    assert_eq!(function.answer(&event).await.status, 204);
}

#[tokio::test]
async fn what_needs_a_process_that_runs_between_deliveries_is_refused() {
    let world = World::start().await;
    let cdr = ("LAKEHOOK_CDR_URL", "http://127.0.0.1:1/fhir");
    refused(
        &world,
        &[cdr, ("LAKEHOOK_MANAGE_SUBSCRIPTION", "true")],
        &["--manage-subscription", "`lakehook subscribe`"],
    )
    .await;
    refused(
        &world,
        &[cdr, ("LAKEHOOK_RECONCILE_EVERY", "15m")],
        &["--reconcile-every", "`lakehook reconcile`"],
    )
    .await;
    refused(&world, &[("LAKEHOOK_DEADLINE", "29s")], &["--deadline", "API Gateway"]).await;
    refused(&world, &[("LAKEHOOK_SANDBOX", "true")], &["--sandbox"]).await;
}

#[tokio::test]
async fn a_runtime_api_without_its_other_variables_is_named() {
    let world = World::start().await;
    let (code, log) = world.function_with(&[("AWS_LAMBDA_FUNCTION_NAME", "")]).await.ended().await;
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("AWS_LAMBDA_FUNCTION_NAME is not"), "{log}");
}
