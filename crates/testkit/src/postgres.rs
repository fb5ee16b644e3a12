//! A real PostgreSQL for a test: its own process, port and folder, empty at the start.

#![expect(clippy::expect_used, reason = "a test that cannot set its server up ends here, with the reason")]

use std::ffi::OsStr;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long a server may take to take its first connection.
const START_MAX: Duration = Duration::from_secs(60);
/// Where Debian keeps the programs of each version.
const DEBIAN: &str = "/usr/lib/postgresql";
/// The account that a server runs under where the test runs as root, which PostgreSQL refuses.
const ACCOUNT: &str = "postgres";

/// A server of one test; ends with it.
#[derive(Debug)]
pub struct PostgresServer {
    folder: PathBuf,
    addr: SocketAddr,
    programs: PathBuf,
    process: Option<Child>,
}

impl PostgresServer {
    /// Starts an empty server; `None` where PostgreSQL is not installed.
    ///
    /// # Panics
    ///
    /// When it is installed and does not start.
    #[must_use]
    pub fn start() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let programs = programs()?;
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("panscan-postgres-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder for PostgreSQL");
        if is_root() {
            let owned = Command::new("chown").arg(ACCOUNT).arg(&folder).status();
            assert!(owned.is_ok_and(|status| status.success()), "the folder belongs to {ACCOUNT}");
        }
        // Another process may take the port between the look and the start; then the start fails and says so.
        let addr = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port");
        let mut server = Self { folder, addr, programs, process: None };
        let made = server
            .program("initdb")
            .args([
                "--username=panscan",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--no-sync",
                "-D",
            ])
            .arg(server.data())
            .output()
            .expect("initdb runs");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        server.run();
        Some(server)
    }

    /// Its address for a client.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://panscan@{}/postgres?sslmode=disable", self.addr)
    }

    /// Ends it at once, as a crash would, and starts it again on the same folder.
    ///
    /// # Panics
    ///
    /// When it does not come back.
    pub fn crash_and_restart(&mut self) {
        self.stop("immediate");
        self.run();
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn run(&mut self) {
        let mut command = self.program("postgres");
        command.arg("-D").arg(self.data()).args(["-h", "127.0.0.1", "-p", &self.addr.port().to_string()]);
        let settings =
            ["unix_socket_directories=", "max_connections=40", "shared_buffers=16MB", "full_page_writes=on"];
        for setting in settings {
            command.args(["-c", setting]);
        }
        let log = std::fs::File::create(self.folder.join("log")).expect("a log for PostgreSQL");
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        self.process = Some(process.expect("postgres runs"));
        let began = Instant::now();
        loop {
            let port = self.addr.port().to_string();
            let ask = self.program("pg_isready").args(["-h", "127.0.0.1", "-p", &port]).output();
            if ask.is_ok_and(|answer| answer.status.success()) {
                return;
            }
            assert!(began.elapsed() < START_MAX, "PostgreSQL did not start: see {}", self.folder.display());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn stop(&mut self, mode: &str) {
        if let Some(mut process) = self.process.take() {
            let mut stop = self.program("pg_ctl");
            let stopped = stop.args(["stop", "-w", "-m", mode, "-D"]).arg(self.data()).output();
            if !stopped.is_ok_and(|answer| answer.status.success()) {
                let _ = process.kill();
            }
            let _ = process.wait();
        }
    }

    /// One of its programs, under an account that it accepts.
    fn program(&self, name: &str) -> Command {
        let path = self.programs.join(name);
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", ACCOUNT, "--regid", ACCOUNT, "--clear-groups"]).arg(path);
            command
        } else {
            Command::new(path)
        };
        command.current_dir(&self.folder);
        command
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        self.stop("immediate");
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The folder of the newest version that is installed.
fn programs() -> Option<PathBuf> {
    let version = |path: &Path| path.file_name().and_then(OsStr::to_str).and_then(|n| n.parse::<u32>().ok());
    let folders = std::fs::read_dir(DEBIAN).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let newest = folders.filter(|path| path.join("bin/initdb").exists()).max_by_key(|path| version(path))?;
    Some(newest.join("bin"))
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|answer| answer.stdout.starts_with(b"0\n"))
}
