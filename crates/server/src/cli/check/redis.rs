//! Whether Redis answers: one PING over TCP.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Row;
use crate::config::Settings;

/// Longest wait for the connection and the answer together.
const WAIT: Duration = Duration::from_secs(1);
/// What to do about an absent Redis.
const REMEDY: &str = "start it, or turn it off with PANSCAN_REDIS_URL= or --no-redis; without it nothing is shared between servers";

/// Asks the Redis of the settings.
pub(super) async fn row(settings: &Settings) -> Row {
    let Some(url) = &settings.redis.url else { return Row::ok("redis", "off") };
    let Some(address) = address(url.expose()) else {
        return Row::warn("redis", "its URL is encrypted (rediss) and was not tried", REMEDY);
    };
    let answer = tokio::time::timeout(WAIT, ping(&address)).await;
    match answer {
        Ok(Ok(text)) if text.starts_with('+') => Row::ok("redis", format!("{address} answers")),
        Ok(Ok(text)) if text.starts_with("-NOAUTH") => {
            Row::ok("redis", format!("{address} answers and asks for a password"))
        }
        Ok(Ok(text)) => {
            let text = panscan_core::error::shortened(&text);
            Row::warn("redis", format!("{address} answers {text:?}, which Redis would not"), REMEDY)
        }
        Ok(Err(error)) => Row::warn("redis", format!("{address} cannot be reached: {error}"), REMEDY),
        Err(_) => Row::warn("redis", format!("{address} does not answer within {WAIT:?}"), REMEDY),
    }
}

async fn ping(address: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"PING\r\n").await?;
    let mut bytes = [0; 128];
    let n = stream.read(&mut bytes).await?;
    Ok(String::from_utf8_lossy(&bytes[..n]).into_owned())
}

/// `host:port` of a plain URL.
fn address(url: &str) -> Option<String> {
    let rest = url.strip_prefix("redis://")?;
    let authority = rest.split(['/', '?']).next()?;
    let host = authority.rsplit('@').next()?;
    let has_port =
        host.rsplit(':').next().is_some_and(|port| port.parse::<u16>().is_ok()) && host.contains(':');
    Some(if has_port { host.to_owned() } else { format!("{host}:6379") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_from_urls() {
        assert_eq!(address("redis://localhost:6379/0").as_deref(), Some("localhost:6379"));
        assert_eq!(address("redis://u:p@h/2").as_deref(), Some("h:6379"));
        assert_eq!(address("redis://[::1]:7000").as_deref(), Some("[::1]:7000"));
        assert_eq!(address("rediss://h"), None);
    }
}
