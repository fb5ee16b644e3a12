//! Other people's libraries beside the scan: processes that hold the same market, answer with their values, and take
//! turns with the product when told to. `cargo xtask bench-peers` installs them.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use panscan_core::bar::Field;
use panscan_core::block::WIDTH;
use panscan_core::panel::Panel;

use super::BenchError;

/// What one process answers for, by the names that reports use.
const CRATES: &[&str] = &["yata", "vector_ta", "ta", "kand"];
const PYTHON: &[&str] = &["numba", "numba_fused", "numba_series", "talib", "polars"];
/// What the processes are given, in this order.
const FIELDS: [Field; 5] = [Field::High, Field::Low, Field::Close, Field::Volume, Field::Vwap];

/// A peer that cannot be measured here.
#[derive(Debug, Clone)]
pub(super) struct Skipped {
    pub(super) name: &'static str,
    pub(super) why: String,
}

/// The processes; they end when it is dropped.
pub(super) struct Peers {
    processes: Vec<Process>,
    pub(super) skipped: Vec<Skipped>,
    /// Holds the market while they read it, and what they answer.
    files: tempfile::TempDir,
    symbols: usize,
}

struct Process {
    names: Vec<&'static str>,
    child: Child,
    say: ChildStdin,
    hear: BufReader<ChildStdout>,
}

impl Peers {
    /// Starts what is installed in `folder` on a panel in which every symbol has every bar.
    pub(super) fn start(folder: &Path, panel: &Panel, threads: usize) -> Result<Self, BenchError> {
        let failed = BenchError::of("the peers' market");
        let files = tempfile::tempdir().map_err(|e| failed(&e))?;
        let data = files.path().join("market");
        let bars = write(panel, &data).map_err(|e| failed(&e))?;
        let size = [panel.symbols(), bars, threads].map(|n| n.to_string());
        let python = folder.join("venv/bin/python");
        let mut peers = Self { processes: Vec::new(), skipped: Vec::new(), files, symbols: panel.symbols() };
        let mut crates = Command::new(folder.join("panscan-peers"));
        let mut script = Command::new(&python);
        script.arg(folder.join("peers.py"));
        for (names, command) in [(CRATES, &mut crates), (PYTHON, &mut script)] {
            let program = command.get_program().to_owned();
            let why = match Process::start(names, command.arg(&data).args(&size)) {
                _ if !Path::new(&program).exists() => "not installed: cargo xtask bench-peers".to_owned(),
                Ok(process) => {
                    let left = names.iter().filter(|name| !process.names.contains(name));
                    let why = "left out of the build".to_owned();
                    peers.skipped.extend(left.map(|name| Skipped { name, why: why.clone() }));
                    peers.processes.push(process);
                    continue;
                }
                Err(fault) => fault.to_string(),
            };
            peers.skipped.extend(names.iter().map(|name| Skipped { name, why: why.clone() }));
        }
        Ok(peers)
    }

    /// The peers that run.
    pub(super) fn names(&self) -> Vec<&'static str> {
        self.processes.iter().flat_map(|process| process.names.iter().copied()).collect()
    }

    /// A peer's last values, four for each symbol.
    pub(super) fn values(&mut self, name: &str) -> Result<Vec<f64>, BenchError> {
        let failed = BenchError::of("a peer's values");
        let file = self.files.path().join(name);
        self.ask(name, &format!("check {name} {}", file.display()))?;
        let bytes = std::fs::read(file).map_err(|e| failed(&e))?;
        let values: Vec<f64> =
            bytes.as_chunks::<8>().0.iter().map(|eight| f64::from_le_bytes(*eight)).collect();
        match values.len() == self.symbols * 4 {
            true => Ok(values),
            false => Err(BenchError::Failed {
                what: "a peer's values",
                message: format!("{name}: {}", values.len()),
            }),
        }
    }

    /// How long so many runs of a peer took, by its own clock.
    pub(super) fn time(&mut self, name: &str, runs: usize) -> Result<Vec<Duration>, BenchError> {
        let answer = self.ask(name, &format!("time {name} {runs}"))?;
        Ok(answer.split_whitespace().filter_map(|word| word.parse().ok()).map(Duration::from_nanos).collect())
    }

    fn ask(&mut self, name: &str, line: &str) -> Result<String, BenchError> {
        let failed = BenchError::of("a peer");
        let process = self.processes.iter_mut().find(|process| process.names.contains(&name));
        let process =
            process.ok_or_else(|| BenchError::Failed { what: "a peer", message: name.to_owned() })?;
        process.ask(line).map_err(|e| failed(&e))
    }
}

impl Process {
    fn start(names: &'static [&'static str], command: &mut Command) -> std::io::Result<Self> {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn()?;
        let (Some(say), Some(hear)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(std::io::ErrorKind::BrokenPipe.into());
        };
        let mut process = Self { names: names.to_vec(), child, say, hear: BufReader::new(hear) };
        let ready = process.hear()?;
        process.names.retain(|name| ready.split_whitespace().any(|word| word == *name));
        Ok(process)
    }

    fn ask(&mut self, line: &str) -> std::io::Result<String> {
        writeln!(self.say, "{line}")?;
        self.say.flush()?;
        self.hear()
    }

    fn hear(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        match self.hear.read_line(&mut line)? {
            0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is to be gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes `[field][symbol][bar]` and says how many bars each symbol has.
fn write(panel: &Panel, path: &Path) -> std::io::Result<usize> {
    let rows = panel.tiles().first().map_or(0, |tile| tile.rows());
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    for field in FIELDS {
        for symbol in 0..panel.symbols() {
            let tile = &panel.tiles()[symbol / WIDTH];
            for row in tile.field(field).chunks_exact(WIDTH) {
                file.write_all(&row[symbol % WIDTH].to_le_bytes())?;
            }
        }
    }
    file.flush()?;
    Ok(rows)
}
