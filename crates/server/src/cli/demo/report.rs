//! What a demo measured: the JSON object of its last line, and the same for people.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

/// Everything measured. The names of the fields are those that scripts read.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// Symbols scanned.
    pub symbols: u64,
    /// Sessions resident.
    pub sessions: u64,
    /// Daily bars fetched.
    pub bars: u64,
    /// Rows of the first scan.
    pub rows: u64,
    /// Provider calls up to the end of the first scan.
    pub provider_calls_cold: u64,
    /// Provider calls of all scans after it.
    pub provider_calls_warm: u64,
    /// Provider calls of the second server.
    pub provider_calls_restart: u64,
    /// Calls beyond the limit, by the simulator's own count.
    pub limit_violations: u64,
    /// Most calls in any window of the limit's length, likewise.
    pub peak_calls_in_window: u64,
    /// Calls that the limit allows in it; null without a limit.
    pub window_limit: Option<u32>,
    /// From the start of the server to the last row of the first scan, milliseconds.
    pub cold_ms: f64,
    /// The same of the second server.
    pub restart_ms: f64,
    /// Median round trip of a warm scan, results of nodes not remembered, microseconds.
    pub warm_p50_us: f64,
    /// The 99th percentile.
    pub warm_p99_us: f64,
    /// Median round trip with results of nodes remembered.
    pub memo_p50_us: f64,
    /// Median round trip of a health check on the same connection.
    pub bare_unary_p50_us: f64,
    /// How many warm scans were measured.
    pub warm_iterations: u64,
    /// The snapshot that the warm scans ran on.
    pub snapshot_id: String,
    /// Resident memory of this process, simulator included, bytes.
    pub rss_bytes: u64,
    /// Seed of the market.
    pub seed: u64,
}

impl Report {
    /// The summary for people. `window` is the length of the limit's window.
    #[must_use]
    pub fn summary(&self, window: Duration) -> String {
        let limit = match self.window_limit {
            Some(limit) => format!("{limit} allowed"),
            None => "no limit".to_owned(),
        };
        let rows: [(&str, String); 9] = [
            (
                "scanned",
                format!(
                    "{} symbols x {} sessions, {} bars, {} rows",
                    self.symbols, self.sessions, self.bars, self.rows
                ),
            ),
            (
                "provider calls",
                format!(
                    "{} cold, {} warm, {} after the restart",
                    self.provider_calls_cold, self.provider_calls_warm, self.provider_calls_restart
                ),
            ),
            (
                "rate limit",
                format!(
                    "{} calls at most in any {window:?} ({limit}), {} violations",
                    self.peak_calls_in_window, self.limit_violations
                ),
            ),
            ("cold scan", format!("{:.0} ms", self.cold_ms)),
            ("first scan after a restart", format!("{:.0} ms", self.restart_ms)),
            (
                "warm scan, memo off",
                format!(
                    "p50 {:.0} us, p99 {:.0} us ({} scans)",
                    self.warm_p50_us, self.warm_p99_us, self.warm_iterations
                ),
            ),
            ("warm scan, memo on", format!("p50 {:.0} us", self.memo_p50_us)),
            ("bare unary call", format!("p50 {:.0} us", self.bare_unary_p50_us)),
            ("memory", format!("{} MiB, simulator included", self.rss_bytes >> 20)),
        ];
        let mut text = String::new();
        for (name, value) in rows {
            let _ = writeln!(text, "  {name:<27}{value}");
        }
        text
    }
}

/// Round trips, to the microsecond and below.
#[derive(Debug)]
pub struct Laps {
    nanos: Vec<u64>,
}

impl Laps {
    /// None yet, `n` to come at most.
    #[must_use]
    pub fn with_capacity(n: usize) -> Self {
        Self { nanos: Vec::with_capacity(n) }
    }

    /// Notes one.
    pub fn push(&mut self, lap: Duration) {
        self.nanos.push(u64::try_from(lap.as_nanos()).unwrap_or(u64::MAX));
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nanos.len()
    }

    /// The lap that a share of all does not exceed, in microseconds; 0 without any.
    #[must_use]
    pub fn quantile_us(&mut self, share: f64) -> f64 {
        if self.nanos.is_empty() {
            return 0.0;
        }
        self.nanos.sort_unstable();
        let last = self.nanos.len() - 1;
        let at = (share * self.nanos.len() as f64).ceil() as usize;
        (self.nanos[at.saturating_sub(1).min(last)] as f64 / 100.0).round() / 10.0
    }
}

/// Resident memory of this process in bytes; 0 where the system does not say.
#[must_use]
pub fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_object_has_exactly_the_promised_keys() {
        let value = serde_json::to_value(Report::default()).unwrap();
        let mut keys: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
        let mut promised = vec![
            "symbols",
            "sessions",
            "bars",
            "rows",
            "provider_calls_cold",
            "provider_calls_warm",
            "provider_calls_restart",
            "limit_violations",
            "peak_calls_in_window",
            "window_limit",
            "cold_ms",
            "restart_ms",
            "warm_p50_us",
            "warm_p99_us",
            "memo_p50_us",
            "bare_unary_p50_us",
            "warm_iterations",
            "snapshot_id",
            "rss_bytes",
            "seed",
        ];
        keys.sort_unstable();
        promised.sort_unstable();
        assert_eq!(keys, promised);
    }

    #[test]
    fn quantiles_are_laps() {
        let mut laps = Laps::with_capacity(100);
        assert_eq!(laps.quantile_us(0.5), 0.0);
        (1..=100).rev().for_each(|us| laps.push(Duration::from_micros(us)));
        assert_eq!(laps.quantile_us(0.5), 50.0);
        assert_eq!(laps.quantile_us(0.99), 99.0);
        assert_eq!(laps.quantile_us(1.0), 100.0);
        assert_eq!(laps.len(), 100);
    }

    #[test]
    fn memory_is_known_here() {
        if cfg!(target_os = "linux") {
            assert!(resident_bytes() > 1 << 20);
        }
    }
}
