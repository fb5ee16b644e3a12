//! From the start of a process to its first answered scan of a store that holds five years, against reading the
//! store's files once. The process is another one, so that its resident set is its own.

use std::fs::File;
use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use panscan_client::Client;

use super::super::scan::SEED_SET;
use super::super::served::{Served, failed};
use super::super::{BenchError, Case, Options, median};
use crate::cli::stage::Stage;

/// Five years.
const SESSIONS: usize = 1_260;
/// Ten times the time of reading the files, as a ratio.
const GOAL: f64 = 0.1;
/// Longest wait for the market to be fetched, and for a server to answer.
const TIMEOUT: Duration = Duration::from_secs(900);

pub(super) async fn run(options: &Options) -> Result<Vec<Case>, BenchError> {
    let rounds = options.iterations.unwrap_or(3).clamp(1, 10);
    let served = Served::start(options.symbols, SESSIONS).await?;
    scanned(&served.client().await?).await?;
    let stage = served.end_server().await;
    let files = files(&stage.settings.tiers.store)?;
    let (mut taken, mut plain) = (Vec::with_capacity(rounds), Vec::with_capacity(rounds));
    let (mut resident, mut bytes) = (0, 0);
    let before = stage.simulator.audit().total;
    for round in 0..=rounds {
        let started = Instant::now();
        bytes = looked_at(&files).map_err(|e| failed("the store")(&e))?;
        let read = started.elapsed();
        let started = Instant::now();
        let server = Server::start(&stage)?;
        scanned(&server.client().await?).await?;
        let answered = started.elapsed();
        resident = server.resident();
        if round > 0 {
            plain.push(read);
            taken.push(answered);
        }
    }
    let calls = stage.simulator.audit().total - before;
    if calls > 0 {
        return Err(failed("a restart")(&format!("it made {calls} provider calls; none is needed")));
    }
    let (taken, plain) = (median(&mut taken), median(&mut plain));
    let name = format!("restart_{}x{SESSIONS}", options.symbols);
    Ok(vec![
        Case::time(name, taken, rounds, ("read_files", plain))
            .at_least(GOAL)
            .note("from the start of the process to the last row; no provider call"),
        Case::count("restart_resident", resident as f64 / 1e6, "MB", 1, ("files", bytes as f64 / 1e6)),
    ])
}

/// One scan that needs all of the history.
async fn scanned(client: &Client) -> Result<(), BenchError> {
    let failed = failed("a scan");
    let scan = client.scan("").columns(SEED_SET).rank_by("rsi(14)").timeout(TIMEOUT);
    let answer = scan.collect().await.map_err(|e| failed(&e))?;
    if answer.summary.complete { Ok(()) } else { Err(failed(&"the market is not held whole")) }
}

/// A server on the store of the stage, as an operator starts one.
struct Server {
    port: u16,
    child: Child,
}

impl Server {
    fn start(stage: &Stage) -> Result<Self, BenchError> {
        let failed = failed("a server");
        let free = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).map_err(|e| failed(&e))?;
        let binary = std::env::current_exe().map_err(|e| failed(&e))?;
        let child = Command::new(binary)
            .arg("serve")
            .args(["--listen", &free.to_string(), "--no-redis", "--provider", &stage.simulator.url()])
            .arg("--store")
            .arg(&stage.settings.tiers.store)
            .arg("--universe")
            .arg(stage.folder().join("universe.csv"))
            .env_clear()
            .env("POLYGON_API_KEY", "demo")
            .env("PANSCAN_CLOCK", "provider")
            .env("PANSCAN_RATE_LIMIT", "1000/s")
            .env("PANSCAN_HISTORY_DAILY", SESSIONS.to_string())
            .env("PANSCAN_LOG", "error")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| failed(&e))?;
        Ok(Self { port: free.port(), child })
    }

    /// A client, as soon as somebody answers.
    async fn client(&self) -> Result<Client, BenchError> {
        let began = Instant::now();
        loop {
            match Client::connect(format!("http://127.0.0.1:{}", self.port)).await {
                Ok(client) => return Ok(client),
                Err(error) if began.elapsed() > TIMEOUT => return Err(failed("a server")(&error)),
                Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    }

    /// Bytes of memory that it has now; 0 where the system does not say.
    fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        kib.unwrap_or(0) * 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // As a crash would end it; the store is made for that.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Every file below a folder.
fn files(folder: &Path) -> Result<Vec<PathBuf>, BenchError> {
    let failed = failed("the store");
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(|e| failed(&e))? {
            let path = entry.map_err(|e| failed(&e))?.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    Ok(files)
}

/// Reads the files once and looks at every byte; how many there are.
fn looked_at(files: &[PathBuf]) -> std::io::Result<u64> {
    let mut room = vec![0_u8; 1 << 20];
    let (mut bytes, mut sum) = (0, 0_u64);
    for path in files {
        let mut file = File::open(path)?;
        loop {
            let read = file.read(&mut room)?;
            if read == 0 {
                break;
            }
            bytes += read as u64;
            let words = room[..read].chunks_exact(8);
            sum = words.fold(sum, |sum, w| sum.wrapping_add(w.try_into().map_or(0, u64::from_le_bytes)));
        }
    }
    std::hint::black_box(sum);
    Ok(bytes)
}
