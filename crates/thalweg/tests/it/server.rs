//! A node as a child process, and a plain connection to it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_thalweg");

pub(crate) struct Server {
    child: Child,
    pub(crate) resp: SocketAddr,
    pub(crate) http: String,
    pub(crate) postgres: Option<SocketAddr>,
    /// The addresses for TLS, where there are some.
    pub(crate) resp_tls: Option<SocketAddr>,
    pub(crate) http_tls: Option<String>,
}

impl Server {
    /// A node on a data directory, on ports that the system picks.
    pub(crate) fn start(data: &Path, more: &[&str]) -> Self {
        Self::start_with(data, more, &[])
    }

    /// The same with variables in its environment.
    pub(crate) fn start_with(data: &Path, more: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(PROGRAM)
            .args([
                "serve",
                "--resp",
                "127.0.0.1:0",
                "--http",
                "127.0.0.1:0",
                "--postgres",
                "127.0.0.1:0",
            ])
            .arg("--data")
            .arg(data)
            .args(more)
            .envs(variables.iter().copied())
            .env("THALWEG_LOG", "warn")
            .env("THALWEG_LOG_SEGMENT", "4MiB")
            .stdout(Stdio::piped())
            .spawn()
            .expect("start the node");
        let out = child.stdout.take().expect("its output");
        let (mut resp, mut http, mut postgres) = (None, None, None);
        let (mut resp_tls, mut http_tls) = (None, None);
        let base = |url: &str| url.trim_end_matches('/').to_owned();
        for line in BufReader::new(out).lines() {
            let line = line.expect("text");
            match line.split_whitespace().collect::<Vec<_>>().as_slice() {
                ["ready", "postgres", address] => postgres = address.parse().ok(),
                ["ready", "resp", address] => resp = address.parse().ok(),
                ["ready", "resp-tls", address] => resp_tls = address.parse().ok(),
                ["ready", "http-tls", address] => http_tls = Some(base(address)),
                ["ready", "http", address] => http = Some(base(address)),
                _ => {}
            }
            if let (Some(resp), Some(http)) = (resp, &http) {
                return Self { child, resp, http: http.clone(), postgres, resp_tls, http_tls };
            }
        }
        panic!("the node ended before it was ready: {:?}", child.wait());
    }

    /// What psql says of a command, answer and errors; nothing where there is no psql.
    pub(crate) fn psql(&self, password: &str, command: &str) -> Option<String> {
        let port = self.postgres.expect("a door").port().to_string();
        let output = Command::new("psql")
            .args(["-h", "127.0.0.1", "-p", &port, "-U", "anybody", "-d", "thalweg"])
            .args(["-At", "-c", command])
            .env("PGPASSWORD", password)
            .output();
        match output {
            Ok(output) => {
                let text = [output.stdout, output.stderr].concat();
                Some(String::from_utf8_lossy(&text).trim().to_owned())
            }
            Err(error) => {
                eprintln!("skipped: psql: {error}; run scripts/test, which installs it");
                None
            }
        }
    }

    /// A node that keeps nothing.
    pub(crate) fn in_memory() -> Self {
        Self::start(Path::new("memory"), &[])
    }

    pub(crate) fn connect(&self) -> Connection {
        Connection::open(self.resp)
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGTERM; gives the exit code.
    pub(crate) fn terminate(&mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill").success());
        self.child.wait().expect("wait").code()
    }

    pub(crate) fn resident_bytes(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/statm", self.pid())).expect("statm");
        let pages: u64 =
            text.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("pages");
        pages * 4_096
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

/// A connection that speaks bytes.
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("connect");
        stream.set_nodelay(true).expect("nodelay");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("timeout");
        let reader = BufReader::new(stream.try_clone().expect("clone"));
        Self { stream, reader }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// A flat reply as text: without its type, `nil` for nothing; `-` stays in front of errors.
    pub(crate) fn reply(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end();
        match line.split_at_checked(1) {
            Some(("$", "-1") | ("*", "-1") | ("_", "")) => Ok("nil".to_owned()),
            Some(("$", length)) => {
                let mut body = vec![0; length.parse::<usize>().expect("a length") + 2];
                self.reader.read_exact(&mut body)?;
                body.truncate(body.len() - 2);
                Ok(String::from_utf8_lossy(&body).into_owned())
            }
            Some(("*", count)) => {
                let count = count.parse::<usize>().expect("a count");
                let elements: Result<Vec<_>, _> = (0..count).map(|_| self.reply()).collect();
                Ok(format!("[{}]", elements?.join(" ")))
            }
            Some(("-", _)) => Ok(line.to_owned()),
            Some((_, rest)) => Ok(rest.to_owned()),
            None => Ok(String::new()),
        }
    }

    pub(crate) fn call(&mut self, line: &str) -> std::io::Result<String> {
        self.send(format!("{line}\r\n").as_bytes())?;
        self.reply()
    }
}
