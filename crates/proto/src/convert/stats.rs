//! The service's counters.

use panscan_core::port::{BreakerState, SourceHealth, SourceStats, TierStats};
use panscan_core::time::Timestamp;

use super::answer::{signed, unsigned};
use super::word::Word;
use super::{read_timestamp, wire_timestamp};
use crate::v1;

/// Counters of one tier, as a client reads them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tier {
    /// `l1`, `l2`, `l3` or `redis`.
    pub tier: String,
    /// Blocks held.
    pub entries: u64,
    /// Bytes held.
    pub bytes: u64,
    /// Bytes that it may hold.
    pub capacity_bytes: u64,
    /// Reads answered.
    pub hits: u64,
    /// Reads not answered.
    pub misses: u64,
    /// Blocks put out for space.
    pub evictions: u64,
    /// Failed operations.
    pub errors: u64,
    /// Whether it is asked.
    pub circuit: BreakerState,
    /// Writes that wait until it can take them.
    pub waiting: u64,
}

/// What fetching ahead of need did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Prefetch {
    /// Whether it is on.
    pub enabled: bool,
    /// Wants that are remembered.
    pub wants: u64,
    /// Provider calls made ahead.
    pub calls: u64,
    /// Bars that they brought.
    pub bars: u64,
    /// What was asked for after it had been fetched ahead.
    pub gained: u64,
    /// What was not, within a day.
    pub wasted: u64,
}

/// The word on the wire.
fn circuit(state: BreakerState) -> i32 {
    match state {
        BreakerState::Closed => v1::CircuitState::Closed,
        BreakerState::Open => v1::CircuitState::Open,
        BreakerState::HalfOpen => v1::CircuitState::HalfOpen,
    }
    .into()
}

/// Closed where the word is unknown: whoever sends it asks.
fn read_circuit(number: i32) -> BreakerState {
    match v1::CircuitState::try_from(number) {
        Ok(v1::CircuitState::Open) => BreakerState::Open,
        Ok(v1::CircuitState::HalfOpen) => BreakerState::HalfOpen,
        _ => BreakerState::Closed,
    }
}

impl From<&TierStats> for Tier {
    fn from(stats: &TierStats) -> Self {
        Self {
            tier: stats.tier.to_owned(),
            entries: stats.entries,
            bytes: stats.bytes,
            capacity_bytes: stats.capacity_bytes,
            hits: stats.hits,
            misses: stats.misses,
            evictions: stats.evictions,
            errors: stats.errors,
            circuit: stats.circuit,
            waiting: stats.waiting,
        }
    }
}

/// How one provider is doing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Provider {
    /// Its name.
    pub provider: String,
    /// What it counted; calls for status are not on the wire.
    pub stats: SourceStats,
    /// Callers that joined a call of somebody else, where they are counted for it.
    pub coalesced: u64,
    /// Whether it is asked, where that is known.
    pub circuit: Option<BreakerState>,
    /// Until when it is left alone.
    pub open_until: Option<Timestamp>,
    /// Failures since it last answered.
    pub failures: u64,
    /// The last of them; empty where there is none.
    pub last_error: String,
}

impl From<&SourceHealth> for Provider {
    fn from(health: &SourceHealth) -> Self {
        Self {
            provider: health.provider.to_string(),
            stats: health.stats,
            coalesced: 0,
            circuit: Some(health.state),
            open_until: health.until,
            failures: health.failures.into(),
            last_error: health.message.clone().unwrap_or_default(),
        }
    }
}

impl From<&Provider> for v1::ProviderStats {
    fn from(provider: &Provider) -> Self {
        let finite = |v: f64| if v.is_finite() { v } else { 0.0 };
        let circuit = match provider.circuit {
            None => v1::CircuitState::Unspecified,
            Some(BreakerState::Closed) => v1::CircuitState::Closed,
            Some(BreakerState::Open) => v1::CircuitState::Open,
            Some(BreakerState::HalfOpen) => v1::CircuitState::HalfOpen,
        };
        Self {
            provider: provider.provider.clone(),
            calls: signed(provider.stats.calls),
            errors: signed(provider.stats.errors),
            rate_limited: signed(provider.stats.rate_limited),
            retries: signed(provider.stats.retries),
            coalesced: signed(provider.coalesced),
            tokens: finite(provider.stats.available),
            refill_per_second: finite(provider.stats.refill_per_second),
            circuit: circuit.into(),
            hedges: signed(provider.stats.hedges),
            adapted_per_second: finite(provider.stats.adapted_per_second),
            failures: signed(provider.failures),
            last_error: provider.last_error.clone(),
            open_until: provider.open_until.map(wire_timestamp),
        }
    }
}

impl From<v1::ProviderStats> for Provider {
    fn from(wire: v1::ProviderStats) -> Self {
        let circuit = match wire.circuit() {
            v1::CircuitState::Unspecified => None,
            v1::CircuitState::Closed => Some(BreakerState::Closed),
            v1::CircuitState::Open => Some(BreakerState::Open),
            v1::CircuitState::HalfOpen => Some(BreakerState::HalfOpen),
        };
        Self {
            stats: SourceStats {
                calls: unsigned(wire.calls),
                status_calls: 0,
                errors: unsigned(wire.errors),
                rate_limited: unsigned(wire.rate_limited),
                retries: unsigned(wire.retries),
                available: wire.tokens,
                refill_per_second: wire.refill_per_second,
                adapted_per_second: wire.adapted_per_second,
                hedges: unsigned(wire.hedges),
            },
            coalesced: unsigned(wire.coalesced),
            circuit,
            open_until: wire.open_until.as_ref().and_then(read_timestamp),
            failures: unsigned(wire.failures),
            provider: wire.provider,
            last_error: wire.last_error,
        }
    }
}

/// A compute device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its name with what it runs on.
    pub device: String,
    /// What it is.
    pub backend: panscan_core::scan::Backend,
    /// Memory that it has, in bytes; 0 where it is the host's.
    pub memory_bytes: u64,
    /// Bytes of panels resident on it.
    pub resident_bytes: u64,
    /// Plans that it computed.
    pub kernels: u64,
    /// Plans that another device had to take over.
    pub fallbacks: u64,
}

/// Tiers, providers, devices and calls, now.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Stats {
    /// Version of the server.
    pub server_version: String,
    /// When it started.
    pub started: Timestamp,
    /// The newest snapshot; empty before the first.
    pub snapshot_id: String,
    /// Its instant; `None` before the first.
    pub as_of: Option<Timestamp>,
    /// The tiers, nearest first.
    pub tiers: Vec<Tier>,
    /// The providers.
    pub providers: Vec<Provider>,
    /// The devices.
    pub devices: Vec<Device>,
    /// Calls being answered.
    pub active_calls: u64,
    /// Watches among them.
    pub active_watches: u64,
    /// Calls waiting for a permit.
    pub queued_calls: u64,
    /// The server takes no new calls.
    pub draining: bool,
    /// Fetching ahead of need.
    pub prefetch: Prefetch,
    /// Calls that wait for the provider.
    pub fetching_calls: u64,
    /// Questions that failed and were queued again.
    pub requeued_questions: u64,
    /// Answers to questions that no call waits for.
    pub refreshed: u64,
    /// Symbols with bars that the provider does not list.
    pub unlisted_symbols: u64,
    /// Listed symbols without bars.
    pub symbols_without_bars: u64,
}

impl From<&Stats> for v1::GetStatsResponse {
    fn from(stats: &Stats) -> Self {
        let tier = |t: &Tier| v1::TierStats {
            tier: t.tier.clone(),
            entries: signed(t.entries),
            bytes: signed(t.bytes),
            capacity_bytes: signed(t.capacity_bytes),
            hits: signed(t.hits),
            misses: signed(t.misses),
            evictions: signed(t.evictions),
            errors: signed(t.errors),
            circuit: circuit(t.circuit),
            waiting: signed(t.waiting),
        };
        let device = |d: &Device| v1::DeviceStats {
            device: d.device.clone(),
            backend: Some(d.backend).number(),
            memory_bytes: signed(d.memory_bytes),
            resident_bytes: signed(d.resident_bytes),
            kernels: signed(d.kernels),
            fallbacks: signed(d.fallbacks),
        };
        Self {
            server_version: stats.server_version.clone(),
            start_time: Some(wire_timestamp(stats.started)),
            snapshot_id: stats.snapshot_id.clone(),
            as_of: stats.as_of.map(wire_timestamp),
            tiers: stats.tiers.iter().map(tier).collect(),
            providers: stats.providers.iter().map(Into::into).collect(),
            devices: stats.devices.iter().map(device).collect(),
            active_calls: signed(stats.active_calls),
            active_watches: signed(stats.active_watches),
            queued_calls: signed(stats.queued_calls),
            draining: stats.draining,
            prefetch: Some(v1::PrefetchStats {
                enabled: stats.prefetch.enabled,
                wants: signed(stats.prefetch.wants),
                calls: signed(stats.prefetch.calls),
                bars: signed(stats.prefetch.bars),
                gained: signed(stats.prefetch.gained),
                wasted: signed(stats.prefetch.wasted),
            }),
            fetching_calls: signed(stats.fetching_calls),
            requeued_questions: signed(stats.requeued_questions),
            refreshed: signed(stats.refreshed),
            unlisted_symbols: signed(stats.unlisted_symbols),
            symbols_without_bars: signed(stats.symbols_without_bars),
        }
    }
}

impl From<v1::GetStatsResponse> for Stats {
    fn from(wire: v1::GetStatsResponse) -> Self {
        let tier = |t: v1::TierStats| Tier {
            tier: t.tier,
            entries: unsigned(t.entries),
            bytes: unsigned(t.bytes),
            capacity_bytes: unsigned(t.capacity_bytes),
            hits: unsigned(t.hits),
            misses: unsigned(t.misses),
            evictions: unsigned(t.evictions),
            errors: unsigned(t.errors),
            circuit: read_circuit(t.circuit),
            waiting: unsigned(t.waiting),
        };
        let prefetch = wire.prefetch.unwrap_or_default();
        let device = |d: v1::DeviceStats| {
            let backend = Word::read(d.backend).flatten()?;
            Some(Device {
                device: d.device,
                backend,
                memory_bytes: unsigned(d.memory_bytes),
                resident_bytes: unsigned(d.resident_bytes),
                kernels: unsigned(d.kernels),
                fallbacks: unsigned(d.fallbacks),
            })
        };
        Self {
            server_version: wire.server_version,
            started: wire.start_time.as_ref().and_then(read_timestamp).unwrap_or_default(),
            snapshot_id: wire.snapshot_id,
            as_of: wire.as_of.as_ref().and_then(read_timestamp),
            tiers: wire.tiers.into_iter().map(tier).collect(),
            providers: wire.providers.into_iter().map(Into::into).collect(),
            devices: wire.devices.into_iter().filter_map(device).collect(),
            active_calls: unsigned(wire.active_calls),
            active_watches: unsigned(wire.active_watches),
            queued_calls: unsigned(wire.queued_calls),
            draining: wire.draining,
            prefetch: Prefetch {
                enabled: prefetch.enabled,
                wants: unsigned(prefetch.wants),
                calls: unsigned(prefetch.calls),
                bars: unsigned(prefetch.bars),
                gained: unsigned(prefetch.gained),
                wasted: unsigned(prefetch.wasted),
            },
            fetching_calls: unsigned(wire.fetching_calls),
            requeued_questions: unsigned(wire.requeued_questions),
            refreshed: unsigned(wire.refreshed),
            unlisted_symbols: unsigned(wire.unlisted_symbols),
            symbols_without_bars: unsigned(wire.symbols_without_bars),
        }
    }
}

#[cfg(test)]
mod tests {
    use panscan_core::scan::Backend;

    use super::*;

    #[test]
    fn counters_come_back() {
        let stats = Stats {
            server_version: "0.1.0".into(),
            started: Timestamp::from_seconds(5),
            snapshot_id: "s".into(),
            as_of: Some(Timestamp::from_seconds(9)),
            tiers: vec![Tier {
                tier: "l1".into(),
                entries: 1,
                bytes: 1 << 33,
                hits: 7,
                circuit: BreakerState::Open,
                waiting: 3,
                ..Tier::default()
            }],
            providers: vec![Provider {
                provider: "polygon".into(),
                stats: SourceStats { calls: 254, available: 3.5, hedges: 2, ..SourceStats::default() },
                coalesced: 4,
                circuit: Some(BreakerState::Open),
                open_until: Some(Timestamp::from_seconds(11)),
                failures: 6,
                last_error: "503".into(),
            }],
            devices: vec![Device {
                device: "cpu avx2, 2 threads".into(),
                backend: Backend::Cpu,
                memory_bytes: 0,
                resident_bytes: 1,
                kernels: 2,
                fallbacks: 0,
            }],
            active_calls: 1,
            active_watches: 0,
            queued_calls: 2,
            draining: true,
            prefetch: Prefetch { enabled: true, wants: 2, calls: 3, bars: 4, gained: 5, wasted: 6 },
            fetching_calls: 3,
            requeued_questions: 4,
            refreshed: 5,
            unlisted_symbols: 6,
            symbols_without_bars: 7,
        };
        assert_eq!(Stats::from(v1::GetStatsResponse::from(&stats)), stats);
    }
}
