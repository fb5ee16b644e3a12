//! A real Redis for a test: its own process, port and folder, which can be stopped, frozen and restarted.

#![expect(clippy::expect_used, reason = "a test that cannot set its server up ends here, with the reason")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long a server may take to answer its first PING.
const START_MAX: Duration = Duration::from_secs(20);

/// A server of one test; ends with it.
#[derive(Debug)]
pub struct RedisServer {
    folder: PathBuf,
    addr: SocketAddr,
    arguments: Vec<String>,
    process: Option<Child>,
}

impl RedisServer {
    /// Starts an empty server that keeps nothing on disk.
    ///
    /// # Panics
    ///
    /// When `redis-server` is not installed or does not start.
    #[must_use]
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Starts one with further arguments, e.g. `["--maxmemory", "8mb"]`.
    ///
    /// # Panics
    ///
    /// When `redis-server` is not installed or does not start.
    #[must_use]
    pub fn with(arguments: &[&str]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("panscan-redis-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder for Redis");
        // Another process may take the port between the look and the start; then the start fails and says so.
        let addr = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port");
        let arguments = arguments.iter().map(|a| (*a).to_owned()).collect();
        let mut server = Self { folder, addr, arguments, process: None };
        server.resume_or_start();
        server
    }

    /// Its address for a client.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}/0", self.addr)
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Ends it at once, as a crash would. What it held is lost.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Stops its process without closing a connection: it hangs.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Lets a frozen one go on.
    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    /// Starts it again, empty, on the same port.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn restart(&mut self) {
        self.kill();
        self.resume_or_start();
    }

    /// Sends one command as an inline request and returns the first bytes of the answer.
    ///
    /// # Panics
    ///
    /// When it does not answer.
    #[must_use]
    pub fn command(&self, line: &str) -> String {
        ask(self.addr, line).expect("Redis answers")
    }

    fn resume_or_start(&mut self) {
        let log = std::fs::File::create(self.folder.join("log")).expect("a log for Redis");
        let process = Command::new("redis-server")
            .args(["--port", &self.addr.port().to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
            .arg("--dir")
            .arg(&self.folder)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server runs; `cargo xtask test` installs it");
        self.process = Some(process);
        let began = Instant::now();
        // With a password it is there, and asks for it.
        while ask(self.addr, "PING").is_none_or(|a| !a.starts_with("+PONG") && !a.starts_with("-NOAUTH")) {
            assert!(began.elapsed() < START_MAX, "Redis did not start: see {}", self.folder.display());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn signal(&self, signal: &str) {
        if let Some(process) = &self.process {
            let sent = Command::new("kill").args([signal, &process.id().to_string()]).status();
            assert!(sent.is_ok_and(|status| status.success()), "Redis got {signal}");
        }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn ask(addr: SocketAddr, line: &str) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&addr, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    stream.write_all(format!("{line}\r\n").as_bytes()).ok()?;
    let mut answer = [0; 1 << 16];
    let n = stream.read(&mut answer).ok()?;
    Some(String::from_utf8_lossy(&answer[..n]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_hangs_goes_on_and_comes_back_empty() {
        let mut redis = RedisServer::start();
        assert_eq!(redis.command("SET a 1"), "+OK\r\n");
        redis.freeze();
        assert_eq!(ask(redis.addr(), "PING"), None);
        redis.thaw();
        assert_eq!(redis.command("GET a"), "$1\r\n1\r\n");
        redis.restart();
        assert_eq!(redis.command("GET a"), "$-1\r\n");
        redis.kill();
        assert_eq!(ask(redis.addr(), "PING"), None);
    }
}
