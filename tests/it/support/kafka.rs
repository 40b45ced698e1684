//! A real Apache Kafka broker in KRaft mode (see `tests/kafka`).

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use krafka::admin::{CreateTopicsOptions, ListConsumerGroupOffsetsOptions, NewTopic};
use krafka::{Kafka, Record};
use tokio::process::Command;

use super::process::{Process, free_port, repository};
use super::tls::{Authority, Issued};

/// Users of the listener with TLS and SASL
pub const SCRAM: (&str, &str) = ("alice", "alices-password-of-scram");
pub const PLAIN: (&str, &str) = ("bob", "bobs-password-of-plain");

pub struct Broker {
    process: Process,
    pub address: String,
    /// SASL_SSL: SCRAM-SHA-512 and PLAIN
    pub secure: String,
    pub authority: Authority,
    kafka: Kafka,
    _directory: tempfile::TempDir,
}

impl Broker {
    /// `./test` builds it beforehand; without that, the first start does.
    pub async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (port, secure, controller) = (free_port().await, free_port().await, free_port().await);
        let authority = Authority::new();
        let Issued { certificate, key } = authority.issue();
        let pem = directory.path().join("server.pem");
        std::fs::write(&pem, format!("{key}{certificate}{}", authority.pem())).unwrap();
        let mut text = format!(
            "process.roles=broker,controller\n\
             node.id=1\n\
             controller.quorum.voters=1@127.0.0.1:{controller}\n\
             listeners=BROKER://127.0.0.1:{port},SECURE://127.0.0.1:{secure},CONTROLLER://127.0.0.1:{controller}\n\
             listener.security.protocol.map=BROKER:PLAINTEXT,SECURE:SASL_SSL,CONTROLLER:PLAINTEXT\n\
             inter.broker.listener.name=BROKER\n\
             controller.listener.names=CONTROLLER\n\
             log.dirs={}\n\
             auto.create.topics.enable=false\n\
             group.initial.rebalance.delay.ms=0\n\
             offsets.topic.num.partitions=1\n\
             transaction.state.log.num.partitions=1\n",
            directory.path().join("log").display(),
        );
        for topic in ["offsets.topic", "transaction.state.log", "share.coordinator.state.topic"] {
            writeln!(text, "{topic}.replication.factor=1").unwrap();
        }
        let listener = "listener.name.secure";
        writeln!(text, "{listener}.ssl.keystore.type=PEM").unwrap();
        writeln!(text, "{listener}.ssl.keystore.location={}", pem.display()).unwrap();
        writeln!(text, "{listener}.sasl.enabled.mechanisms=SCRAM-SHA-512,PLAIN").unwrap();
        let login = "org.apache.kafka.common.security";
        writeln!(text, "{listener}.scram-sha-512.sasl.jaas.config={login}.scram.ScramLoginModule required;")
            .unwrap();
        writeln!(
            text,
            "{listener}.plain.sasl.jaas.config={login}.plain.PlainLoginModule required user_{}=\"{}\";",
            PLAIN.0, PLAIN.1
        )
        .unwrap();
        let properties = directory.path().join("server.properties");
        std::fs::write(&properties, text).unwrap();

        let mut command = Command::new(repository().join("tests/kafka/run-kafka"));
        let scram = format!("SCRAM-SHA-512=[name={},password={}]", SCRAM.0, SCRAM.1);
        command.arg(properties).arg("--add-scram").arg(scram);
        let mut process = Process::start(&format!("kafka-{port}"), command);
        let address = format!("127.0.0.1:{port}");
        let found = std::sync::Mutex::new(None);
        process
            .ready_within(Duration::from_secs(240), async |_| {
                match Kafka::builder(&address).connect().await {
                    Ok(kafka) => found.lock().unwrap().replace(kafka).is_none(),
                    Err(_) => false,
                }
            })
            .await;
        let kafka = found.into_inner().unwrap().unwrap();
        Self {
            process,
            address,
            secure: format!("127.0.0.1:{secure}"),
            authority,
            kafka,
            _directory: directory,
        }
    }

    /// Dropping it stops it too, but does not wait.
    pub async fn stop(mut self) {
        self.process.kill().await;
    }

    pub async fn create(&self, topic: &str, partitions: i32) {
        let new = NewTopic::new(topic, partitions, 1).unwrap();
        let created = self.kafka.admin().create_topics([new], CreateTopicsOptions::default()).await;
        created.unwrap().remove(topic).unwrap().unwrap();
    }

    /// In this order; those of a partition stay in it.
    pub async fn send(&self, topic: &str, messages: impl IntoIterator<Item = (i32, String)>) {
        let producer = self.kafka.producer().build().await.unwrap();
        let mut sent = Vec::new();
        for (partition, message) in messages {
            sent.push(producer.enqueue(Record::new(topic, message).partition(partition)).await.unwrap());
        }
        for sent in sent {
            let _ = sent.await.unwrap();
        }
        producer.close().await.unwrap();
    }

    /// By partition, what the group committed.
    pub async fn committed(&self, group: &str) -> BTreeMap<i32, i64> {
        let options = ListConsumerGroupOffsetsOptions::default();
        let offsets = self.kafka.admin().list_consumer_group_offsets(group, options).await.unwrap();
        let committed =
            offsets.into_iter().filter_map(|(at, offset)| Some((at.partition, offset.unwrap().offset?)));
        committed.collect()
    }

    /// Waits until the group has committed these, by partition.
    pub async fn until_committed(&self, group: &str, ends: &[i64]) {
        let ends: BTreeMap<i32, i64> = (0..).zip(ends.iter().copied()).filter(|(_, end)| *end > 0).collect();
        let mut last = BTreeMap::new();
        for _ in 0..1200 {
            last = self.committed(group).await;
            if last == ends {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("committed is {last:?}, not {ends:?}");
    }
}
