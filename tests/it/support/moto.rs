//! moto, an emulator of AWS services in Python: the STS (later SQS, S3, DynamoDB) that lakehook's clients meet in tests.

use std::env;
use std::time::Duration;

use tokio::process::Command;

use super::process::{Process, free_port, http_client, repository};

pub struct Moto {
    process: Process,
    endpoint_url: String,
}

impl Moto {
    /// `./test` makes a venv with moto in it and names its Python in `LAKEHOOK_TEST_PYTHON`.
    pub async fn start() -> Self {
        let python = env::var("LAKEHOOK_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let port = free_port().await;
        let mut command = Command::new(python);
        command.arg(repository().join("tests/foreign/moto_serial.py"));
        command.arg(port.to_string()).arg("--stop-with-stdin");
        let mut process = Process::start(&format!("moto-{port}"), command);

        let endpoint_url = format!("http://127.0.0.1:{port}");
        let (http, probe) = (http_client(), format!("{endpoint_url}/moto-api/"));
        process
            .ready_within(Duration::from_secs(60), async |_| {
                http.get(&probe).send().await.is_ok_and(|answer| answer.status().is_success())
            })
            .await;
        Self { process, endpoint_url }
    }

    /// For every service: moto tells them apart by the request.
    pub fn endpoint_url(&self) -> &str {
        &self.endpoint_url
    }

    /// A client of its S3, and these buckets.
    pub async fn s3(&self, buckets: &[&str]) -> aws_sdk_s3::Client {
        use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .endpoint_url(&self.endpoint_url)
            .force_path_style(true);
        let s3 = aws_sdk_s3::Client::from_conf(config.build());
        for bucket in buckets {
            s3.create_bucket().bucket(*bucket).send().await.unwrap();
        }
        s3
    }

    /// Dropping it stops it too, but does not wait.
    pub async fn stop(mut self) {
        self.process.kill().await;
    }
}
