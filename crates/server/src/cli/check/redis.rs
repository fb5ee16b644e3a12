//! Whether Redis answers, and may be written and read. Not here: how that is tried.

use std::time::Duration;

use super::Row;
use crate::app;
use crate::config::Settings;

/// Longest wait for all of it.
const WAIT: Duration = Duration::from_secs(2);
/// What to do about a Redis that does not do.
const REMEDY: &str = "start it, see to PANSCAN_REDIS_URL, PANSCAN_REDIS_CLUSTER and PANSCAN_REDIS_CA, or turn it off with PANSCAN_REDIS_URL= or --no-redis; without it nothing is shared between servers";
/// What to do about one that gives nothing up when it is full.
const EVICTION: &str =
    "set maxmemory-policy to allkeys-lru there: with noeviction a full one takes nothing more";

/// Asks the Redis of the settings.
pub(super) async fn row(settings: &Settings) -> Row {
    match app::look_at_redis(settings, WAIT).await {
        None => Row::ok("redis", "off"),
        Some(Err(why)) => Row::warn("redis", format!("{}: {why}", place(settings)), REMEDY),
        Some(Ok(report)) => {
            let bound = match report.limit_bytes {
                0 => "no bound".to_owned(),
                bytes => format!("of {}", mib(bytes)),
            };
            let used = mib(report.used_bytes);
            let detail =
                format!("{} answers, version {}, {used} in use, {bound}", place(settings), report.version);
            match (report.limit_bytes, report.policy.as_str()) {
                (1.., "noeviction") => Row::warn("redis", detail, EVICTION),
                _ => Row::ok("redis", detail),
            }
        }
    }
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// The address without user and password.
fn place(settings: &Settings) -> String {
    let url = settings.redis.url.as_ref().map_or("", |url| url.expose());
    address(url)
}

fn address(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("redis", url));
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_of_an_address_holds_no_password() {
        assert_eq!(address("redis://localhost:6379/0"), "redis://localhost:6379");
        assert_eq!(address("rediss://u:p@h/2"), "rediss://h");
        assert_eq!(address("redis://:p@w@[::1]:7000"), "redis://[::1]:7000");
    }
}
