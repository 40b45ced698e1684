//! botocore and boto3 as judges: neither our signer nor our verifier has a say in what they send.

use super::*;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/foreign/botocore_sign.py");

#[tokio::test]
async fn botocore_and_boto3_are_understood() {
    let bench = Bench::start(Config::default()).await;
    let python = std::env::var("LAKEHOOK_TEST_PYTHON").unwrap_or_else(|_| "python3".into());
    let ran = tokio::process::Command::new(&python)
        .arg(SCRIPT)
        .arg(bench.sandbox.endpoint(bench.addr))
        .args([&bench.sandbox.config().region, &bench.held.key_id, &bench.held.secret])
        .output()
        .await;
    let missing = match &ran {
        Ok(output) => output.status.code() == Some(77),
        Err(_) => true,
    };
    if missing && std::env::var_os("CI").is_none() {
        #[allow(clippy::print_stderr)]
        {
            eprintln!("skipped: {python} has no boto3; LAKEHOOK_TEST_PYTHON names another interpreter");
        }
        return;
    }
    let output = ran.unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}
