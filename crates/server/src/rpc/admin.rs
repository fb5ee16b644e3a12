//! `panscan.v1.Admin`: what operators ask and tell. Without a keys file, a caller on loopback may do all of it.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use panscan_core::scan::Backend;
use panscan_core::select::select;
use panscan_core::symbol::Symbol;
use panscan_core::time::Timeframe;
use panscan_engine::{Engine, EngineError, EngineStats, Forget, Forgettable};
use panscan_proto::convert::read_duration;
use panscan_proto::convert::stats::{Device, Prefetch, Provider, Stats, Tier};
use panscan_proto::v1;
use panscan_proto::v1::admin_server::Admin as Service;
use prost_types::{Struct, Value, value};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::status;
use crate::host::Host;

/// How long running calls may take after a drain, where the request does not say.
const GRACE: Duration = Duration::from_secs(30);

/// The service.
pub(super) struct Admin {
    pub(super) host: Arc<Host>,
    pub(super) stop: CancellationToken,
}

#[tonic::async_trait]
impl Service for Admin {
    type WarmCacheStream = Pin<Box<dyn Stream<Item = Result<v1::WarmCacheResponse, Status>> + Send>>;

    async fn get_stats(
        &self,
        _: Request<v1::GetStatsRequest>,
    ) -> Result<Response<v1::GetStatsResponse>, Status> {
        let stats = self.host.engine().map(|engine| engine.stats()).unwrap_or_default();
        Ok(Response::new((&told(&stats, self.host.is_draining())).into()))
    }

    async fn get_config(
        &self,
        _: Request<v1::GetConfigRequest>,
    ) -> Result<Response<v1::GetConfigResponse>, Status> {
        let text = |s: &str| Value { kind: Some(value::Kind::StringValue(s.to_owned())) };
        let fields: BTreeMap<String, Value> =
            self.host.config.iter().map(|(name, value, _)| (name.clone(), text(value))).collect();
        let origins = self.host.config.iter().map(|(name, _, origin)| (name.clone(), (*origin).to_owned()));
        Ok(Response::new(v1::GetConfigResponse {
            config: Some(Struct { fields }),
            origins: origins.collect(),
        }))
    }

    async fn drain(&self, request: Request<v1::DrainRequest>) -> Result<Response<v1::DrainResponse>, Status> {
        let asked = request.get_ref();
        let grace = asked.grace.as_ref().and_then(read_duration).unwrap_or(GRACE);
        self.host.drain();
        let stats = self.host.engine().map(|engine| engine.stats()).unwrap_or_default();
        if !asked.keep_running {
            let stop = self.stop.clone();
            let host = self.host.clone();
            tokio::spawn(async move {
                let idle = async {
                    while host.engine().is_ok_and(|engine| engine.stats().active > 0) {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                };
                // Ended or cut: past the grace period running calls are not waited for.
                let _ = tokio::time::timeout(grace, idle).await;
                stop.cancel();
            });
        }
        Ok(Response::new(v1::DrainResponse { active_calls: stats.active as i64 }))
    }

    async fn invalidate_cache(
        &self,
        request: Request<v1::InvalidateCacheRequest>,
    ) -> Result<Response<v1::InvalidateCacheResponse>, Status> {
        let engine = self.host.engine().map_err(status::of)?;
        let what = invalidated(request.get_ref(), &engine)?;
        let gone = engine.forget(&what).await.map_err(status::of)?;
        let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        Ok(Response::new(v1::InvalidateCacheResponse {
            cells: signed(gone.cells),
            bytes: signed(gone.bytes),
        }))
    }

    async fn reset_breaker(
        &self,
        request: Request<v1::ResetBreakerRequest>,
    ) -> Result<Response<v1::ResetBreakerResponse>, Status> {
        let engine = self.host.engine().map_err(status::of)?;
        engine.reset_provider(&request.get_ref().provider).map_err(status::of)?;
        let providers = providers(&engine.stats());
        Ok(Response::new(v1::ResetBreakerResponse { providers: providers.iter().map(Into::into).collect() }))
    }

    async fn warm_cache(
        &self,
        request: Request<v1::WarmCacheRequest>,
    ) -> Result<Response<Self::WarmCacheStream>, Status> {
        Ok(Response::new(Box::pin(super::warm::warm(&self.host, request).await?)))
    }
}

/// Reads what is to be forgotten.
fn invalidated(wire: &v1::InvalidateCacheRequest, engine: &Engine) -> Result<Forget, Status> {
    let refuse = |field: &'static str, message: &str| {
        status::of(EngineError::BadField { field, message: message.to_owned() })
    };
    let chosen = !wire.symbols.is_empty() || wire.universe.is_some();
    if chosen == wire.all {
        return Err(refuse("all", "give symbols, a universe, or all = true"));
    }
    let timeframe = match wire.timeframe.as_str() {
        "" => Timeframe::Day,
        text => text.parse().map_err(|error: panscan_core::Error| refuse("timeframe", &error.to_string()))?,
    };
    let known = ["l1", "l2", "l3", "redis"];
    if let Some(other) = wire.tiers.iter().find(|tier| !known.contains(&tier.as_str())) {
        return Err(refuse("tiers", &format!("{other:?} is none of l1, l2, l3, redis")));
    }
    if wire.reference && !wire.tiers.is_empty() {
        return Err(refuse("tiers", "reference data has no tiers; leave them out"));
    }
    let range = wire.range.clone().unwrap_or_default();
    if range.last != 0 || range.start_time.is_some() || range.end_time.is_some() {
        return Err(refuse("range", "give start_date and end_date"));
    }
    let whole_days = !wire.reference && !matches!(timeframe, Timeframe::Minutes(_));
    if whole_days && chosen && range.start_date.is_empty() {
        return Err(refuse(
            "range",
            "give start_date: sessions fetched for the whole market go for every symbol",
        ));
    }
    let date = |text: &str| match text {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| refuse("range", "dates read like 2025-12-31")),
    };
    let symbol = |text: &String| Symbol::new(text).map_err(|_| refuse("symbols", "a symbol is none"));
    let mut symbols = wire.symbols.iter().map(symbol).collect::<Result<Vec<_>, _>>()?;
    if let Some(universe) = &wire.universe {
        let current = engine.current().map_err(status::of)?;
        let selection = select(&universe.try_into()?, &current.snapshot);
        let ids = selection.population.ids();
        symbols.extend(ids.map(|id| current.snapshot.universe.symbol(id).clone()));
    }
    Ok(Forget {
        symbols: chosen.then_some(symbols),
        what: match (wire.reference, timeframe) {
            (true, _) => Forgettable::Reference,
            (false, Timeframe::Minutes(_)) => Forgettable::Minutes,
            (false, Timeframe::Day | Timeframe::Week | Timeframe::Month) => Forgettable::Days,
        },
        from: date(&range.start_date)?,
        to: date(&range.end_date)?,
        tiers: wire.tiers.clone(),
        dry_run: wire.validate_only,
    })
}

fn told(stats: &EngineStats, draining: bool) -> Stats {
    let snapshot = stats.snapshot.as_ref().map(|p| &p.snapshot);
    let resident = snapshot.map_or(0, |s| s.daily.bytes() as u64);
    let cpu = Device {
        device: stats.compute.clone(),
        backend: Backend::Cpu,
        memory_bytes: 0,
        resident_bytes: resident,
        kernels: 0,
        fallbacks: 0,
    };
    Stats {
        server_version: env!("CARGO_PKG_VERSION").to_owned(),
        started: stats.started,
        snapshot_id: snapshot.map(|s| s.id.to_string()).unwrap_or_default(),
        as_of: snapshot.map(|s| s.as_of),
        tiers: stats.tiers.iter().map(Tier::from).collect(),
        providers: providers(stats),
        devices: vec![cpu],
        active_calls: stats.active as u64,
        active_watches: 0,
        queued_calls: stats.queued as u64,
        draining,
        prefetch: Prefetch {
            enabled: stats.prefetch.enabled,
            wants: stats.prefetch.wants,
            calls: stats.prefetch.calls,
            bars: stats.prefetch.bars,
            gained: stats.prefetch.gained,
            wasted: stats.prefetch.wasted,
        },
        fetching_calls: stats.fetching as u64,
        requeued_questions: stats.requeued,
        refreshed: stats.refreshed,
        unlisted_symbols: stats.unlisted as u64,
        symbols_without_bars: stats.without_bars as u64,
    }
}

/// Each provider; callers that joined a call of somebody else count for the first.
fn providers(stats: &EngineStats) -> Vec<Provider> {
    let mut providers: Vec<Provider> = stats.health.iter().map(Provider::from).collect();
    if let Some(first) = providers.first_mut() {
        first.coalesced = stats.coalesced;
    }
    providers
}
