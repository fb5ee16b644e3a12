//! What the engine is told at start; where the values come from is the server's business.

use std::time::Duration;

/// Bounds and lengths of the engine. Every queue and cache in it has one here.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Sessions kept resident before the newest one.
    pub history_daily: usize,
    /// Sessions of minutes that an open start of a range reaches back.
    pub history_minute: usize,
    /// For so long the minutes of a session that still trades are not asked for again.
    pub provisional_ttl: Duration,
    /// Threads that build panels.
    pub threads: usize,
    /// Provider calls at once.
    pub workers: usize,
    /// Scans planning or computing at once.
    pub max_concurrent: usize,
    /// Scans waiting for that.
    pub max_queue: usize,
    /// Callers waiting for the provider.
    pub max_fetching: usize,
    /// How long a snapshot can be pinned.
    pub snapshot_ttl: Duration,
    /// How old listings and splits may get.
    pub reference_ttl: Duration,
    /// How old ticker details may get.
    pub details_ttl: Duration,
    /// For so long what the provider refused for good is not asked for again.
    pub absent_ttl: Duration,
    /// Whether what is usually asked for is fetched ahead.
    pub prefetch: bool,
    /// Age beyond which a symbol's newest bar is reported as stale.
    pub max_staleness: Duration,
    /// How long statistics of groups are kept where their snapshot stays.
    pub statistics_ttl: Duration,
    /// Bytes of node results kept from one scan to the next.
    pub memo_bytes: usize,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            history_daily: 504,
            history_minute: 10,
            provisional_ttl: Duration::from_secs(10),
            threads: 2,
            workers: 10,
            max_concurrent: 4,
            max_queue: 256,
            max_fetching: 10_000,
            snapshot_ttl: Duration::from_secs(15 * 60),
            reference_ttl: Duration::from_secs(24 * 3600),
            details_ttl: Duration::from_secs(7 * 24 * 3600),
            prefetch: true,
            absent_ttl: Duration::from_secs(60),
            max_staleness: Duration::from_secs(5 * 24 * 3600),
            statistics_ttl: Duration::from_secs(24 * 3600),
            memo_bytes: 64 << 20,
        }
    }
}
