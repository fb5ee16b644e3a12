//! Minutes of many symbols: what they take together, and the files of whole sessions that spare calls.
//!
//! Files of minutes have no vwap, and are taken only where the provider has them and they are the cheaper cover. What a
//! file brings is kept for the symbols asked for; whatever it fails to bring, ranges of single symbols do.

use std::collections::BTreeSet;

use panscan_core::block::{BarKey, Block, BlockBuilder};
use panscan_core::calendar::Calendar;
use panscan_core::cover::{Call, CostModel, Counts, Files, Missing, cover};
use panscan_core::port::{BarAsk, BlockKey, Fetched};
use panscan_core::symbol::{Symbol, SymbolId};
use panscan_core::time::SessionDate;

use crate::intraday::MINUTE;
use crate::market::Engine;
use crate::run::Cost;
use crate::series::Job;

/// Blocks that are read at once to see what is missing.
const READ_AT_ONCE: usize = 64;
/// Blocks that are read where no file is at hand; beyond that the cost is a lower bound.
const LOOKED_AT_MAX: usize = 256;

/// What a request for minutes would take.
#[derive(Debug, Default)]
pub(crate) struct MinutePlan {
    pub(crate) cost: Cost,
    /// Sessions that come as files, newest first.
    pub(crate) files: Vec<SessionDate>,
}

impl Engine {
    /// What the minutes of these symbols take; `stored` are those of which some are held, in order.
    pub(crate) async fn minute_plan(&self, job: &Job, symbols: &[Symbol], stored: &[Symbol]) -> MinutePlan {
        match self.0.parts.source.offers().files_from {
            Some(from) => self.plan_with_files(job, symbols, stored, from).await,
            None => MinutePlan { cost: self.plan_by_symbol(job, symbols, stored).await, files: Vec::new() },
        }
    }

    async fn plan_by_symbol(&self, job: &Job, symbols: &[Symbol], stored: &[Symbol]) -> Cost {
        let mut cost = Cost { population: symbols.len(), ..Cost::default() };
        let mut looked_at = 0;
        for symbol in symbols {
            let has = stored.binary_search(symbol).is_ok();
            looked_at += usize::from(has);
            if has && looked_at > LOOKED_AT_MAX {
                continue;
            }
            let (cells, calls) = self.minute_cost(symbol, job.first_reach(), has).await;
            cost.missing_cells += cells;
            cost.calls += calls;
        }
        let model = CostModel::minute();
        let rows = cost.missing_cells * u64::from(model.bars_per_session);
        cost.fetch_bytes = cost.calls * model.bytes_per_call + rows * model.bytes_per_row;
        cost.kinds = Counts { ranges: cost.calls, ..Counts::default() };
        cost.fetch_time = self.0.parts.source.estimate(cost.calls);
        cost
    }

    async fn plan_with_files(
        &self,
        job: &Job,
        symbols: &[Symbol],
        stored: &[Symbol],
        from: SessionDate,
    ) -> MinutePlan {
        let inner = &self.0;
        let wanted = job.first_reach();
        let sessions = Calendar::us_equities().sessions(wanted.from, wanted.to);
        let Ok(mut missing) = Missing::new(symbols.len(), sessions.to_vec()) else {
            return MinutePlan::default();
        };
        let places: Vec<usize> = (0..symbols.len()).collect();
        for part in places.chunks(READ_AT_ONCE) {
            let held = part.iter().filter(|at| stored.binary_search(&symbols[**at]).is_ok());
            let held: Vec<usize> = held.copied().collect();
            let keys: Vec<BlockKey> =
                held.iter().map(|at| BlockKey::Symbol(MINUTE, symbols[*at].clone())).collect();
            let mut blocks = inner.parts.store.read(&inner.market, &keys).await.into_iter();
            for at in part {
                let block: Option<Block> = match held.contains(at) {
                    true => blocks.next().flatten().map(|found| found.block),
                    false => None,
                };
                for session in self.missing_minutes(&symbols[*at], block.as_ref(), wanted).await {
                    if let Ok(place) = sessions.binary_search(&session) {
                        missing.mark(SymbolId(u32::try_from(*at).unwrap_or(u32::MAX)), place);
                    }
                }
            }
        }
        let (now, offers) = (inner.parts.clock.now(), inner.parts.source.offers());
        let universe = inner.state.lock().await.universe.len();
        let files = Files::minute(from, now, universe.max(symbols.len()) as u64);
        let model = CostModel { bars_per_call: offers.bars_per_call.max(1), ..CostModel::minute() };
        let missing = inner.intraday.unserved.at(now).servable(&missing);
        let cover = cover(&missing, &model.with_files(files));
        let files = cover.calls.iter().filter_map(|call| match call {
            Call::FlatFile(session) => Some(*session),
            Call::Day(_) | Call::Range { .. } => None,
        });
        let cost = Cost { population: symbols.len(), ..self.price(&cover) };
        MinutePlan { cost, files: files.collect() }
    }

    /// Fetches files and keeps what they have of these symbols. Says how many calls and bars that were.
    pub(crate) async fn bring_files(
        &self,
        job: &Job,
        symbols: &[Symbol],
        sessions: &[SessionDate],
    ) -> (u64, u64) {
        let (mut calls, mut bars) = (0, 0);
        if !job.patience.fetches {
            return (calls, bars);
        }
        let inner = &self.0;
        for session in sessions {
            // One file at a time: each is a whole market. Whoever waited looks first at what the other brought.
            let _one = inner.intraday.files.lock().await;
            let tickers = self.lacking_of(job, symbols, *session).await;
            if tickers.is_empty() {
                continue;
            }
            let asked_at = inner.parts.clock.now();
            let ask = BarAsk::FlatFile { timeframe: MINUTE, session: *session };
            let fetch = inner.parts.source.fetch(&ask, job.patience.errand);
            let fetched = match tokio::time::timeout_at(job.patience.until, fetch).await {
                Ok(Ok(fetched)) => fetched,
                Ok(Err(error)) => {
                    tracing::info!(%ask, %error, "minutes are fetched by symbol");
                    break;
                }
                Err(_) => break,
            };
            calls += u64::from(fetched.calls);
            for ticker in tickers {
                let part = one(&fetched, &ticker);
                bars += part.block.count_bars() as u64;
                self.keep_sessions(&ticker, (*session, *session), part, asked_at).await;
            }
        }
        (calls, bars)
    }

    /// The tickers of these companies on a session that lack its minutes.
    async fn lacking_of(&self, job: &Job, symbols: &[Symbol], session: SessionDate) -> BTreeSet<Symbol> {
        let mut tickers = BTreeSet::new();
        let wanted = crate::intraday::Wanted { from: session, to: session, ..job.first_reach() };
        for symbol in symbols {
            for stretch in self.stretches(symbol, session, session).await.0 {
                let block = self.minute_block(&stretch.symbol).await;
                if !self.missing_minutes(&stretch.symbol, block.as_ref(), wanted).await.is_empty() {
                    tickers.insert(stretch.symbol);
                }
            }
        }
        tickers
    }
}

/// What an answer about the whole market has of one symbol.
fn one(fetched: &Fetched, symbol: &Symbol) -> Fetched {
    let block = &fetched.block;
    let mut builder = BlockBuilder::new(MINUTE);
    if let Ok(at) = block.symbols().binary_search(symbol) {
        for (row, key) in block.rows().iter().enumerate() {
            if let Some(bar) = block.bar(at, row) {
                builder.push(symbol.as_str(), BarKey(key.0), *bar.values());
            }
        }
    }
    let only = std::slice::from_ref(symbol);
    let (block, _) = builder.finish(Some(only), None, block.provenance().clone());
    let refused = fetched.quarantined.iter().filter(|row| row.symbol == symbol.as_str());
    Fetched { block, quarantined: refused.cloned().collect(), calls: 0 }
}
