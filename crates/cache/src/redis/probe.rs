//! One look at a Redis for an operator: does it answer, may it be read and written. Not here: how the tier uses it.

use std::time::Duration;

use redis::{RedisError, Value};

use super::info::Server;
use super::link::{Dial, RedisAddress};

/// How a Redis stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisReport {
    /// Its version.
    pub version: String,
    /// Bytes in use.
    pub used_bytes: u64,
    /// Bytes that it may use; 0: no bound.
    pub limit_bytes: u64,
    /// What it does when it is full.
    pub policy: String,
}

/// Connects, writes a value below `prefix`, reads it and takes it away.
///
/// # Errors
///
/// In words what did not work; the address is not repeated.
pub async fn probe(address: &RedisAddress, prefix: &str, within: Duration) -> Result<RedisReport, String> {
    let looked = tokio::time::timeout(within, look(address, prefix)).await;
    looked.unwrap_or_else(|_| Err(format!("it does not answer within {within:?}")))
}

async fn look(address: &RedisAddress, prefix: &str) -> Result<RedisReport, String> {
    let dial = Dial::new(address).map_err(|error| error.to_string())?;
    let told = |what: &'static str| move |error: RedisError| format!("cannot {what}: {}", said(&error));
    let mut wire = dial.wire().await.map_err(told("connect"))?;
    let key = format!("{prefix}:check:{:016x}", fastrand::u64(..));
    let mut set = redis::cmd("SET");
    set.arg(&key).arg("1").arg("EX").arg(10);
    let () = set.query_async(&mut wire).await.map_err(told("write"))?;
    let read: Option<String> =
        redis::cmd("GET").arg(&key).query_async(&mut wire).await.map_err(told("read"))?;
    if read.as_deref() != Some("1") {
        return Err("it answers something else than what was written".to_owned());
    }
    let () = redis::cmd("UNLINK").arg(&key).query_async(&mut wire).await.map_err(told("remove"))?;
    let info: Value = redis::cmd("INFO").query_async(&mut wire).await.map_err(told("ask how it is"))?;
    let server = Server::read(&info, &Value::Nil);
    Ok(RedisReport {
        version: server.version,
        used_bytes: server.used,
        limit_bytes: server.limit,
        policy: server.policy,
    })
}

/// What went wrong, in the server's words where it said some; the library's own may name the address.
fn said(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        (Some(code), None) => code.to_owned(),
        _ if error.is_timeout() => "no answer in time".to_owned(),
        _ if error.is_io_error() => "no connection".to_owned(),
        _ => error.category().to_owned(),
    }
}
