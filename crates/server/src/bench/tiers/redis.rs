//! A Redis of this run alone, and the least that reading everything from it can take: one connection, every key asked
//! for before the first answer is read. Not here: the product's own way to it.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use panscan_cache::{RedisAddress, RedisConfig};

use super::super::BenchError;
use super::super::served::failed;

/// How long it may take to answer first.
const START_MAX: Duration = Duration::from_secs(20);
/// Longest wait for a batch; a busy machine is no reason to leave Redis out.
const WAIT: Duration = Duration::from_secs(2);

/// The process; it ends with this.
pub(super) struct Process {
    port: u16,
    child: Child,
}

impl Process {
    /// Starts one that keeps nothing on disk; `None` where it is not installed.
    pub(super) fn start() -> Result<Option<Self>, BenchError> {
        let failed = failed("redis-server");
        let free = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).map_err(|e| failed(&e))?;
        let started = Command::new("redis-server")
            .args(["--port", &free.port().to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = match started {
            Ok(child) => child,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(&error)),
        };
        let process = Self { port: free.port(), child };
        let began = Instant::now();
        while process.count_keys().is_err() {
            if began.elapsed() > START_MAX {
                return Err(failed(&"it does not answer"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(Some(process))
    }

    /// What a server that uses it is told.
    pub(super) fn config(&self) -> RedisConfig {
        let address = RedisAddress::new(&format!("redis://127.0.0.1:{}/0", self.port));
        RedisConfig { prefix: "bench".to_owned(), timeout: WAIT, ..RedisConfig::new(address) }
    }

    /// How many keys there are.
    pub(super) fn count_keys(&self) -> io::Result<usize> {
        let mut wire = Wire::open(self.port)?;
        wire.send(&[b"DBSIZE"])?;
        wire.number(b':')
    }

    /// Reads every value, and says how many bytes they are.
    pub(super) fn pipelined_gets(&self) -> Result<usize, BenchError> {
        self.gets().map_err(|e| failed("redis-server")(&e))
    }

    fn gets(&self) -> io::Result<usize> {
        let mut wire = Wire::open(self.port)?;
        wire.send(&[b"KEYS", b"*"])?;
        let count = wire.number(b'*')?;
        let keys: Vec<Vec<u8>> = (0..count).map(|_| wire.bulk()).collect::<io::Result<_>>()?;
        let mut asked = Vec::new();
        keys.iter().for_each(|key| command(&mut asked, &[b"GET", key]));
        wire.0.get_mut().write_all(&asked)?;
        keys.iter().map(|_| wire.bulk().map(|value| value.len())).sum()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Wire(BufReader<TcpStream>);

impl Wire {
    fn open(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(START_MAX))?;
        Ok(Self(BufReader::with_capacity(1 << 20, stream)))
    }

    fn send(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        let mut bytes = Vec::new();
        command(&mut bytes, parts);
        self.0.get_mut().write_all(&bytes)
    }

    /// The number behind `kind` on the next line.
    fn number(&mut self, kind: u8) -> io::Result<usize> {
        let mut line = Vec::new();
        self.0.read_until(b'\n', &mut line)?;
        let text = line.strip_prefix(&[kind]).and_then(|line| std::str::from_utf8(line).ok());
        let number = text.and_then(|text| text.trim_end().parse().ok());
        number.ok_or_else(|| io::Error::other("another answer than was expected"))
    }

    fn bulk(&mut self) -> io::Result<Vec<u8>> {
        let length = self.number(b'$')?;
        let mut bytes = vec![0; length + 2];
        self.0.read_exact(&mut bytes)?;
        bytes.truncate(length);
        Ok(bytes)
    }
}

fn command(into: &mut Vec<u8>, parts: &[&[u8]]) {
    into.extend(format!("*{}\r\n", parts.len()).bytes());
    for part in parts {
        into.extend(format!("${}\r\n", part.len()).bytes());
        into.extend_from_slice(part);
        into.extend_from_slice(b"\r\n");
    }
}
