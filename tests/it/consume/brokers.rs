//! How the brokers are reached.

use super::*;

#[tokio::test]
async fn brokers_are_reached_under_tls_and_sasl_and_errors_say_what_to_do() {
    let broker = Broker::start().await;
    let (cdr, url) = Cdr::start(Duration::ZERO).await;
    let directory = tempfile::tempdir().unwrap();
    let app = app(&url, &directory).await;
    broker.create("failed", 1).await;
    cdr.has("Patient/a", 1);
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let ca = file("ca.pem", &broker.authority.pem());
    let scram = file("scram", &format!("{}\n", SCRAM.1));
    let plain = file("plain", PLAIN.1);
    let secure = ["consume", "--once", "--kafka-topic", "failed", "--kafka", &broker.secure];
    let sasl = ["--kafka-security-protocol", "SASL_SSL", "--kafka-sasl-mechanism"];
    let by_scram = ["SCRAM-SHA-512", "--kafka-sasl-user", SCRAM.0, "--kafka-sasl-password-file", &scram];
    let by_plain = ["PLAIN", "--kafka-sasl-user", PLAIN.0, "--kafka-sasl-password-file", &plain];

    for (n, by) in [by_scram, by_plain].iter().enumerate() {
        broker.send("failed", [(0, message("Patient/a"))]).await;
        let ran = app.command(&[&secure[..], &sasl, by, &["--ca-file", &ca]].concat()).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_eq!(broker.committed("lakehook").await[&0], n as i64 + 1);
    }

    // As the brokers and the network refuse it
    let wrong = ["PLAIN", "--kafka-sasl-user", PLAIN.0, "--kafka-sasl-password-file", &scram];
    let nobody = ["consume", "--once", "--kafka-topic", "failed", "--kafka", "127.0.0.1:1"];
    let unknown = arguments(&broker, "faild", &["--once"]);
    let cases: [(Vec<&str>, &[&str]); 5] = [
        ([&secure[..], &sasl, &wrong, &["--ca-file", &ca]].concat(), &["--kafka", "uthentication"]),
        ([&secure[..], &sasl, &by_plain].concat(), &["--kafka", "certificate", "--ca-file"]),
        (nobody.to_vec(), &["--kafka", "127.0.0.1:1", "--kafka-security-protocol"]),
        (unknown, &["--kafka-topic", "no topic `faild`"]),
        (
            [&secure[..], &["--kafka-security-protocol", "PLAINTEXT"]].concat(),
            &["--kafka", "--kafka-security-protocol"],
        ),
    ];
    for (arguments, says) in cases {
        let ran = app.command(&arguments).await;
        assert_eq!(ran.code, 1, "{arguments:?}: {ran:?}");
        let error = ran.err.lines().last().unwrap();
        for word in says {
            assert!(error.contains(word), "{word}: {ran:?}");
        }
        assert!(!ran.err.contains(SCRAM.1) && !ran.err.contains(PLAIN.1), "{ran:?}");
    }

    // As the settings refuse it, before anybody is asked
    let cases: [(&[&str], &[&str]); 8] = [
        (&[], &["--kafka is missing"]),
        (&["--kafka", "host"], &["--kafka", "`host` is not host:port"]),
        (&["--kafka", "h:1"], &["--kafka-topic is missing"]),
        (&["--kafka", "h:1", "--kafka-topic", "t", "--kafka-sasl-mechanism", "PLAIN"], &["SASL_SSL"]),
        (
            &["--kafka", "h:1", "--kafka-topic", "t", "--kafka-security-protocol", "sasl_ssl"],
            &["--kafka-sasl-mechanism"],
        ),
        (
            &[&["--kafka", "h:1", "--kafka-topic", "t"], &sasl[..], &["PLAIN"]].concat(),
            &["--kafka-sasl-user is missing"],
        ),
        (
            &[&["--kafka", "h:1", "--kafka-topic", "t"], &sasl[..], &by_plain[..3]].concat(),
            &["--kafka-sasl-password-file is missing"],
        ),
        (&["--kafka", "h:1", "--kafka-topic", "t", "--kafka-client-key", "k"], &["--kafka-client-cert"]),
    ];
    for (arguments, says) in cases {
        let ran = app.command(&[&["consume"], arguments].concat()).await;
        assert_eq!(ran.code, 2, "{arguments:?}: {ran:?}");
        for word in says {
            assert!(ran.err.contains(word), "{word}: {ran:?}");
        }
    }
    let without = TestApp::start().await;
    let ran = without.command(&arguments(&broker, "failed", &["--once"])).await;
    assert!(ran.code == 2 && ran.err.contains("--cdr-url"), "{ran:?}");
    broker.stop().await;
}
