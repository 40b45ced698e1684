//! The environment's proxy: used for AWS, never for loopback.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, BufReader};

use super::{ANY_PORT, SANDBOX, directory, file, run_with};

/// Hangs up on everybody, and keeps the first line of what they asked for.
async fn proxy() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = asked.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(Some(line)) = BufReader::new(stream).lines().next_line().await {
                seen.lock().unwrap().push(line);
            }
        }
    });
    (url, asked)
}

#[tokio::test]
async fn the_sandbox_works_where_a_proxy_is_set() {
    let (proxy, asked) = proxy().await;
    let environment = [("HTTP_PROXY", proxy.as_str()), ("HTTPS_PROXY", &proxy), ("NO_PROXY", "")];
    let ran = run_with(&[&["check"][..], &SANDBOX, &ANY_PORT].concat(), &environment).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(*asked.lock().unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn aws_is_asked_through_the_proxy_with_a_private_ca_too() {
    let directory = directory();
    let certificate = rcgen::generate_simple_self_signed(["ca.example.org".to_owned()]).unwrap().cert.pem();
    let ca = file(&directory, "ca.pem", &certificate);
    let endpoint = "https://healthlake.us-east-1.amazonaws.com/datastore/a";
    let plain = [&["check", "--healthlake-endpoint", endpoint][..], &ANY_PORT].concat();
    for arguments in [plain.clone(), [&plain[..], &["--ca-file", ca.to_str().unwrap()]].concat()] {
        let (proxy, asked) = proxy().await;
        let environment = [
            ("HTTPS_PROXY", proxy.as_str()),
            ("NO_PROXY", ""),
            ("AWS_ACCESS_KEY_ID", "AKIAEXAMPLEEXAMPLE00"),
            ("AWS_SECRET_ACCESS_KEY", "not/a/real/secret"),
        ];
        let ran = run_with(&arguments, &environment).await;
        assert_eq!(ran.code, 1, "{ran:?}");
        ran.row("STS", "warning", &["HTTPS_PROXY"]);
        ran.row("data store", "failed", &["HTTPS_PROXY"]);
        let asked = asked.lock().unwrap().join("\n");
        assert!(asked.contains("CONNECT sts.us-east-1.amazonaws.com:443"), "{asked}");
        assert!(asked.contains("CONNECT healthlake.us-east-1.amazonaws.com:443"), "{asked}");
    }
}
