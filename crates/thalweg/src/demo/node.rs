//! The demo's node: a process of its own, that can be killed.

use anyhow::{Context, bail};
use std::io::{BufRead, BufReader, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

pub(super) struct Node {
    child: Child,
    data: PathBuf,
    temporary: bool,
    durability: String,
    http_wanted: String,
    resp: SocketAddr,
    http: String,
    postgres: SocketAddr,
}

impl Node {
    pub(super) fn start(
        data: Option<PathBuf>,
        durability: &str,
        http: &str,
    ) -> anyhow::Result<Self> {
        let temporary = data.is_none();
        let data = match data {
            Some(data) => data,
            None => std::env::temp_dir().join(format!("thalweg-demo-{}", std::process::id())),
        };
        // The usual port may be taken, by another demo for example.
        let taken = TcpListener::bind(http).is_err_and(|e| e.kind() == ErrorKind::AddrInUse);
        if taken {
            println!("{http} is taken by another program: the dashboard gets a port of its own");
        }
        let http = if taken { "127.0.0.1:0" } else { http };
        let started = spawn(&data, durability, "127.0.0.1:0", http)?;
        let Started { child, resp, http: http_address, postgres } = started;
        Ok(Self {
            child,
            data,
            temporary,
            durability: durability.to_owned(),
            http_wanted: http_address
                .trim_start_matches("http://")
                .trim_end_matches('/')
                .to_owned(),
            resp,
            http: http_address,
            postgres,
        })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn resp(&self) -> SocketAddr {
        self.resp
    }

    pub(super) fn postgres(&self) -> SocketAddr {
        self.postgres
    }

    pub(super) fn dashboard(&self) -> &str {
        &self.http
    }

    /// SIGKILL, then the same node again on the same data.
    pub(super) fn kill_and_restart(&mut self) -> anyhow::Result<()> {
        self.child.kill().context("kill the node")?;
        self.child.wait().context("wait for the node")?;
        let started =
            spawn(&self.data, &self.durability, &self.resp.to_string(), &self.http_wanted)?;
        (self.child, self.resp, self.http) = (started.child, started.resp, started.http);
        self.postgres = started.postgres;
        Ok(())
    }

    /// Waits until somebody presses Ctrl-C, which the node gets, too.
    pub(super) fn wait_for_interrupt(&mut self) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(tokio::signal::ctrl_c()).context("wait for Ctrl-C")?;
        println!();
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended with the same Ctrl-C.
        if let Some(pid) = rustix::process::Pid::from_raw(self.child.id() as i32) {
            let _gone_already = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _gone_already = self.child.wait();
        if self.temporary {
            let _leftovers_are_harmless = std::fs::remove_dir_all(&self.data);
        }
    }
}

/// A node that serves.
struct Started {
    child: Child,
    resp: SocketAddr,
    http: String,
    postgres: SocketAddr,
}

fn spawn(data: &PathBuf, durability: &str, resp: &str, http: &str) -> anyhow::Result<Started> {
    let program = std::env::current_exe().context("find the program itself")?;
    let mut child = Command::new(program)
        .arg("serve")
        .arg("--data")
        .arg(data)
        .args(["--durability", durability, "--resp", resp, "--http", http])
        .args(["--postgres", "127.0.0.1:0"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("start the node")?;
    let out = child.stdout.take().context("read what the node says")?;
    let (mut resp, mut http, mut postgres) = (None, None, None);
    for line in BufReader::new(out).lines() {
        let line = line.context("read what the node says")?;
        match line.split_whitespace().collect::<Vec<_>>().as_slice() {
            ["ready", "resp", address] => resp = address.parse().ok(),
            ["ready", "postgres", address] => postgres = address.parse().ok(),
            ["ready", "http", address] => http = Some((*address).to_owned()),
            _ => {}
        }
        if let (Some(resp), Some(http), Some(postgres)) = (resp, http.clone(), postgres) {
            return Ok(Started { child, resp, http, postgres });
        }
    }
    let status = child.wait().context("wait for the node")?;
    bail!("the node did not start ({status})");
}
