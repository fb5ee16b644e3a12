//! What a simulator is started with. Reading flags and the environment is the binary's work.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use panscan_core::time::{SessionDate, Timestamp};

use crate::dialect::Dialect;
use crate::error::SimError;
use crate::fault::FaultName;

/// Symbols of a generated market unless asked otherwise.
pub const SYMBOLS_DEFAULT: usize = 5_277;
/// Most symbols a generated market can have.
pub const SYMBOLS_MAX: usize = 100_000;
/// Most sessions a generated market can have.
pub const SESSIONS_MAX: usize = 5_000;

/// Settings of a simulator.
#[derive(Clone)]
pub struct SimConfig {
    /// Where to listen; port 0 picks a free one.
    pub listen: SocketAddr,
    /// The bars served.
    pub market: MarketSource,
    /// What the simulator's clock shows at the start; unset is 20:00 Eastern of the data's last session.
    pub now: Option<Timestamp>,
    /// Calls allowed per key; unset is no limit.
    pub rate: Option<Rate>,
    /// Other providers that are spoken beside Polygon, each with its own limit per key; unset is none.
    pub dialects: Vec<(Dialect, Option<Rate>)>,
    /// The keys accepted; unset accepts every non-empty one.
    pub keys: Option<Vec<String>>,
    /// The pair of keys that opens the bucket of flat files.
    pub bucket: BucketKeys,
    /// Which plan's rules apply.
    pub plan: Plan,
    /// Faults injected from the start, with the probability of each.
    pub faults: Vec<(FaultName, f64)>,
    /// Seed of the choice of faults.
    pub fault_seed: u64,
    /// Where the audit is written when the simulator stops.
    pub audit_file: Option<PathBuf>,
}

impl Default for SimConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            market: MarketSource::default(),
            now: None,
            rate: None,
            dialects: Vec::new(),
            keys: None,
            bucket: BucketKeys::default(),
            plan: Plan::default(),
            faults: Vec::new(),
            fault_seed: 1,
            audit_file: None,
        }
    }
}

impl fmt::Debug for SimConfig {
    /// Shows how many keys there are, never the keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimConfig")
            .field("listen", &self.listen)
            .field("market", &self.market)
            .field("now", &self.now)
            .field("rate", &self.rate)
            .field("dialects", &self.dialects)
            .field("keys", &self.keys.as_ref().map(Vec::len))
            .field("bucket", &self.bucket)
            .field("plan", &self.plan)
            .field("faults", &self.faults)
            .field("fault_seed", &self.fault_seed)
            .field("audit_file", &self.audit_file)
            .finish()
    }
}

/// What a caller signs its calls for flat files with. The provider's own key does not open the bucket, nor do
/// these serve anywhere else.
#[derive(Clone, PartialEq, Eq)]
pub struct BucketKeys {
    /// Its name, sent with every call.
    pub access: String,
    /// What signs, never sent.
    pub secret: String,
}

impl BucketKeys {
    /// The name where none is given.
    pub const ACCESS: &str = "sim-access-key";
    /// The secret where none is given.
    pub const SECRET: &str = "sim-secret-key";
}

impl Default for BucketKeys {
    fn default() -> Self {
        Self { access: Self::ACCESS.to_owned(), secret: Self::SECRET.to_owned() }
    }
}

impl fmt::Debug for BucketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Where the bars come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MarketSource {
    /// Made from a seed: the same four values give the same bytes.
    Generated {
        /// How many symbols, 1 to [`SYMBOLS_MAX`].
        symbols: usize,
        /// How many sessions, 1 to [`SESSIONS_MAX`].
        sessions: usize,
        /// The seed.
        seed: u64,
        /// The last session; where it is none, the session before it.
        end: SessionDate,
    },
    /// Read from Parquet files with the columns symbol, date or ts, open, high, low, close, volume, and
    /// optionally vwap and trades; taken as raw prices without splits.
    Recorded {
        /// Daily files have `date`, minute files `ts`.
        files: Vec<PathBuf>,
        /// Attributes of the symbols, CSV or `.csv.gz`.
        universe: Option<PathBuf>,
    },
}

impl Default for MarketSource {
    fn default() -> Self {
        // 2025-12-31
        Self::Generated {
            symbols: SYMBOLS_DEFAULT,
            sessions: 504,
            seed: 1,
            end: SessionDate::from_days(20_453),
        }
    }
}

/// Which subscription the simulated provider believes its callers have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Plan {
    /// End of day, two years of history.
    Free,
    /// Fifteen minutes late, five years of history; answers say DELAYED.
    Delayed,
    /// Everything at once.
    #[default]
    Realtime,
}

impl FromStr for Plan {
    type Err = SimError;

    fn from_str(text: &str) -> Result<Self, SimError> {
        match text {
            "free" => Ok(Self::Free),
            "delayed" => Ok(Self::Delayed),
            "realtime" => Ok(Self::Realtime),
            _ => Err(SimError::setting("plan", "is none of free, delayed, realtime")),
        }
    }
}

/// A limit: at most `calls` in any window of length `window`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Calls allowed in one window.
    pub calls: u32,
    /// Length of the window.
    pub window: Duration,
}

impl FromStr for Rate {
    type Err = SimError;

    /// Reads `5/min`, `100/s`, `10/2s`, `1000/h`, `25/day`.
    fn from_str(text: &str) -> Result<Self, SimError> {
        let wrong =
            || SimError::setting("rate", "cannot be read; expected calls/window, e.g. 5/min or 100/s");
        let (calls, window) = text.split_once('/').ok_or_else(wrong)?;
        let calls: u32 = calls.trim().parse().map_err(|_| wrong())?;
        let window = window.trim();
        let digits = window.bytes().take_while(u8::is_ascii_digit).count();
        let count: u64 = if digits == 0 { 1 } else { window[..digits].parse().map_err(|_| wrong())? };
        let unit = match &window[digits..] {
            "ms" => 1,
            "s" | "sec" | "second" => 1_000,
            "m" | "min" | "minute" => 60_000,
            "h" | "hour" => 3_600_000,
            "d" | "day" => 86_400_000,
            _ => return Err(wrong()),
        };
        let window = Duration::from_millis(count.checked_mul(unit).ok_or_else(wrong)?);
        if calls == 0 || window.is_zero() || window > Duration::from_secs(86_400) {
            return Err(SimError::setting(
                "rate",
                "must allow at least one call in a window of 1 ms to 24 h",
            ));
        }
        Ok(Self { calls, window })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read() {
        assert_eq!("5/min".parse::<Rate>().unwrap(), Rate { calls: 5, window: Duration::from_secs(60) });
        assert_eq!("100/s".parse::<Rate>().unwrap(), Rate { calls: 100, window: Duration::from_secs(1) });
        assert_eq!(
            "10/250ms".parse::<Rate>().unwrap(),
            Rate { calls: 10, window: Duration::from_millis(250) }
        );
        for bad in ["", "5", "0/s", "5/year", "x/s", "5/0s"] {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
    }

    #[test]
    fn debug_hides_keys() {
        let config = SimConfig { keys: Some(vec!["topsecret".into()]), ..SimConfig::default() };
        let text = format!("{config:?}");
        assert!(!text.contains("topsecret") && !text.contains(BucketKeys::SECRET), "{text}");
    }

    #[test]
    fn default_end_is_the_last_day_of_2025() {
        let MarketSource::Generated { end, .. } = MarketSource::default() else { panic!("generated") };
        assert_eq!(end.to_string(), "2025-12-31");
    }
}
