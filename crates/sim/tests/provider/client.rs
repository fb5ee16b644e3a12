//! A plain HTTP/1.1 client that shows every byte, and short ways to start a simulator.

#![expect(clippy::unwrap_used, reason = "a test client ends its test at the first surprise")]

use std::collections::HashMap;
use std::io::Read;
use std::time::Duration;

use panscan_sim::{MarketSource, SimConfig, Simulator};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An answer as it came.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HashMap<String, String>,
    /// Without transfer coding, still compressed.
    pub(crate) raw: Vec<u8>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|fault| panic!("{fault}: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(String::as_str).unwrap_or_default()
    }
}

/// Sends one request on a connection of its own; an error is a transport fault or a body cut short.
pub(crate) async fn send(
    sim: &Simulator,
    method: &str,
    target: &str,
    headers: &str,
    body: &str,
) -> Result<Reply, String> {
    let exchange = async {
        let mut stream = TcpStream::connect(sim.addr()).await.map_err(|fault| fault.to_string())?;
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\
             Content-Length: {}\r\n{headers}\r\n{body}",
            sim.addr(),
            body.len()
        );
        stream.write_all(head.as_bytes()).await.map_err(|fault| fault.to_string())?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.map_err(|fault| fault.to_string())?;
        parse(&bytes)
    };
    tokio::time::timeout(Duration::from_secs(20), exchange)
        .await
        .map_err(|_| "no answer in 20 s".to_owned())?
}

fn parse(bytes: &[u8]) -> Result<Reply, String> {
    let split = bytes.windows(4).position(|four| four == b"\r\n\r\n").ok_or("no head")?;
    let head = String::from_utf8_lossy(&bytes[..split]).into_owned();
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        .collect();
    let mut raw = bytes[split + 4..].to_vec();
    if headers.get("transfer-encoding").is_some_and(|coding| coding == "chunked") {
        raw = unchunk(&raw)?;
    } else if let Some(length) = headers.get("content-length") {
        let length: usize = length.parse().map_err(|_| "bad length")?;
        if raw.len() != length {
            return Err(format!("{} bytes of {length}", raw.len()));
        }
    }
    let mut body = raw.clone();
    if headers.get("content-encoding").is_some_and(|coding| coding == "gzip") {
        body.clear();
        flate2::read::GzDecoder::new(&raw[..]).read_to_end(&mut body).map_err(|fault| fault.to_string())?;
    }
    Ok(Reply { status: status.ok_or("no status")?, headers, raw, body })
}

fn unchunk(mut rest: &[u8]) -> Result<Vec<u8>, String> {
    let mut all = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n").ok_or("a chunk is cut short")?;
        let size =
            usize::from_str_radix(&String::from_utf8_lossy(&rest[..end]), 16).map_err(|_| "bad chunk")?;
        if size == 0 {
            return Ok(all);
        }
        all.extend_from_slice(rest.get(end + 2..end + 2 + size).ok_or("a chunk is cut short")?);
        rest = &rest[end + 4 + size..];
    }
}

/// A call with a key.
pub(crate) async fn get(sim: &Simulator, target: &str) -> Reply {
    send(sim, "GET", target, "Authorization: Bearer test\r\n", "").await.unwrap()
}

/// A control call with a body.
pub(crate) async fn post(sim: &Simulator, target: &str, body: &str) -> Reply {
    send(sim, "POST", target, "", body).await.unwrap()
}

/// Target of a link of this simulator.
pub(crate) fn target<'a>(sim: &Simulator, link: &'a str) -> &'a str {
    link.strip_prefix(&sim.url()).unwrap_or_else(|| panic!("{link} is not on {}", sim.url()))
}

/// Rows of an answer, none where it has none.
pub(crate) fn rows(body: &Value) -> Vec<Value> {
    body["results"].as_array().cloned().unwrap_or_default()
}

/// A generated market.
pub(crate) fn generated(symbols: usize, sessions: usize) -> SimConfig {
    let end = "2025-12-31".parse().unwrap();
    SimConfig { market: MarketSource::Generated { symbols, sessions, seed: 1, end }, ..SimConfig::default() }
}

pub(crate) async fn start(config: SimConfig) -> Simulator {
    Simulator::start(config).await.unwrap()
}

/// The bars as they are, by symbol and session.
pub(crate) async fn truth(sim: &Simulator, query: &str) -> Vec<Value> {
    let reply = send(sim, "GET", &format!("/_sim/truth?{query}"), "", "").await.unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A bar's fields that all endpoints agree on, as bits.
pub(crate) fn bits(row: &Value) -> Vec<Option<u64>> {
    ["o", "h", "l", "c", "v", "vw", "n"].iter().map(|name| row[name].as_f64().map(f64::to_bits)).collect()
}
