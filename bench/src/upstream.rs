//! nginx in HealthLake's place: it reads the request and answers as HealthLake does to a PUT.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::Result;

pub struct Upstream {
    /// `http(s)://localhost:PORT`
    pub url: String,
    pub port: u16,
    pub ca: Option<PathBuf>,
    /// `proxy_pass` to it, for comparison
    pub nginx_proxy_port: u16,
    /// nginx's master, to be measured as a proxy
    pub proxy_pid: Option<u32>,
    children: Vec<Child>,
    _directory: Option<TempDir>,
}

pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

impl Upstream {
    /// What listens at that port of this machine.
    pub fn elsewhere(port: u16) -> Self {
        let url = format!("http://localhost:{port}");
        Self {
            url,
            port,
            ca: None,
            nginx_proxy_port: 0,
            proxy_pid: None,
            children: Vec::new(),
            _directory: None,
        }
    }

    pub async fn start(tls: bool, connections: usize) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let (port, proxy_port) = (free_port()?, free_port()?);
        let (mut ssl, mut listen, mut ca, mut verify) = (String::new(), String::new(), None, String::new());
        if tls {
            let key = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
            let path = |name: &str| directory.path().join(name);
            std::fs::write(path("cert.pem"), key.cert.pem())?;
            std::fs::write(path("key.pem"), key.signing_key.serialize_pem())?;
            let (cert, key) = (path("cert.pem"), path("key.pem"));
            ssl = format!("ssl_certificate {}; ssl_certificate_key {};", cert.display(), key.display());
            listen = " ssl".into();
            verify = format!("proxy_ssl_trusted_certificate {}; proxy_ssl_name localhost;", cert.display());
            ca = Some(cert);
        }
        let scheme = if tls { "https" } else { "http" };
        // 201 always: of a 200 nginx judges `If-Match` itself, by an ETag that it has not.
        let answering = format!(
            r#"server {{ listen 127.0.0.1:{port}{listen} backlog=4096; server_name localhost; {ssl}
               location / {{ add_header ETag 'W/"1"'; add_header x-amzn-requestid bench; default_type application/fhir+json;
               return 201 '{{"resourceType":"Patient"}}'; }} }}"#
        );
        let proxying = format!(
            r#"upstream healthlake {{ server localhost:{port}; keepalive {connections}; }}
               server {{ listen 127.0.0.1:{proxy_port}; location / {{ proxy_pass {scheme}://healthlake; proxy_http_version 1.1;
               proxy_set_header Connection ""; {verify} }} }}"#
        );
        let answers = nginx(&directory, "answers", &answering)?;
        let proxy = nginx(&directory, "proxies", &proxying)?;
        let proxy_pid = Some(proxy.id());
        wait_for(port).await?;
        wait_for(proxy_port).await?;
        let url = format!("{scheme}://localhost:{port}");
        Ok(Self {
            url,
            port,
            ca,
            nginx_proxy_port: proxy_port,
            proxy_pid,
            children: vec![answers, proxy],
            _directory: Some(directory),
        })
    }
}

fn nginx(directory: &TempDir, name: &str, servers: &str) -> Result<Child> {
    let at = directory.path().join(name);
    std::fs::create_dir(&at)?;
    let config = format!(
        r#"worker_processes 1; daemon off; pid {0}/pid; error_log {0}/error.log; events {{ worker_connections 4096; }}
           http {{ access_log off; keepalive_requests 100000000; client_max_body_size 64m; client_body_buffer_size 1m;
           client_body_temp_path {0}/body; proxy_temp_path {0}/proxy; fastcgi_temp_path {0}/f; uwsgi_temp_path {0}/u; scgi_temp_path {0}/s;
           {servers} }}"#,
        at.display()
    );
    let path = at.join("nginx.conf");
    std::fs::write(&path, config)?;
    let child = Command::new("nginx").arg("-c").arg(path).arg("-p").arg(&at).stderr(Stdio::null()).spawn();
    child.map_err(|error| format!("nginx can't be started ({error}); bench/run installs it").into())
}

/// Until something listens there.
pub async fn wait_for(port: u16) -> Result<()> {
    for _ in 0..6_000 {
        if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Err(format!("nothing listens at port {port}").into())
}

impl Drop for Upstream {
    fn drop(&mut self) {
        for child in &mut self.children {
            // nginx's master ends its workers when it is asked, not when it is killed.
            let _ = Command::new("kill").arg(child.id().to_string()).status();
            let _ = child.wait();
        }
    }
}
