//! Bars of any timeframe: what is asked for, and the one-symbol answers made of held days and minutes.
//!
//! Days come out of a snapshot or beside it ([`crate::bars`]), minutes out of their own blocks ([`crate::intraday`]);
//! other timeframes are folded from those. Not here: many symbols at once ([`crate::stream`]).

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use panscan_core::bar::Field;
use panscan_core::block::Block;
use panscan_core::calendar::Calendar;
use panscan_core::diagnostic::Diagnostic;
use panscan_core::dividend;
use panscan_core::life::Stretch;
use panscan_core::minutes;
use panscan_core::panel::Splits;
use panscan_core::port::{BarAsk, Errand, SourceError};
use panscan_core::range::BarRange;
use panscan_core::resample::{Series, View, bars_per_session, from_days, from_minutes, period};
use panscan_core::scan::{Adjustment, BarSelection, DataPolicy, SessionHours};
use panscan_core::snapshot::Snapshot;
use panscan_core::symbol::Symbol;
use panscan_core::time::{NANOS_PER_SECOND, SessionDate, Timeframe, Timestamp};
use tokio::time::Instant;

use crate::bars::{BarsRequest, SymbolBars};
use crate::error::EngineError;
use crate::fill::PATIENCE;
use crate::intraday::{Joined, Patience, Wanted};
use crate::market::Engine;
use crate::resident::Published;
use crate::run::Pin;

/// From midnight to the first minute of the extended hours.
const EXTENDED_START: Duration = Duration::from_secs(4 * 3600);
/// Sessions without a bar after which "the newest n" looks no farther back: what one call brings.
const SILENCE: usize = 52;

/// Bars to read, of any timeframe.
#[derive(Debug, Clone)]
pub struct SeriesRequest {
    /// Whose.
    pub symbols: Vec<String>,
    /// Of which interval.
    pub timeframe: Timeframe,
    /// Which of them.
    pub range: BarRange,
    /// Which hours count; days and longer have the exchange's session in any case.
    pub hours: SessionHours,
    /// Whether the last bar may be one that has not ended.
    pub selection: BarSelection,
    /// How prices are adjusted.
    pub adjustment: Adjustment,
    /// On which snapshot.
    pub pin: Pin,
    /// The instant shown, for later pages of an answer; none: now, or that of the snapshot that was asked for.
    pub until: Option<Timestamp>,
    /// What to do about missing bars.
    pub policy: DataPolicy,
    /// When the caller stops waiting.
    pub deadline: Option<Instant>,
    /// On whose behalf provider calls are made.
    pub errand: Errand,
    /// Bars of a symbol at most, the newest; 0: all.
    pub limit: usize,
    /// Symbols come in the order asked for.
    pub ordered: bool,
}

/// Bars of one symbol with where they come from.
#[derive(Debug, Clone)]
pub struct SymbolSeries {
    /// Whose.
    pub symbol: Symbol,
    /// The bars.
    pub bars: Series,
    /// The provider, e.g. `polygon`.
    pub provider: Arc<str>,
    /// When the newest of them were fetched, where that is known.
    pub fetched: Option<Timestamp>,
}

/// The answer to a [`SeriesRequest`], all of it at once.
#[derive(Debug, Clone)]
pub struct SeriesAnswer {
    /// The snapshot that it belongs to.
    pub published: Arc<Published>,
    /// The instant shown.
    pub until: Timestamp,
    /// One entry per symbol that is known, in the order asked for.
    pub series: Vec<SymbolSeries>,
    /// Whether every cell asked for was held.
    pub complete: bool,
    /// What else to know.
    pub diagnostics: Vec<Diagnostic>,
    /// Provider calls made for it.
    pub provider_calls: u64,
}

/// What is the same for every symbol of a request for minutes.
#[derive(Debug)]
pub(crate) struct Job {
    /// Minutes of a bar.
    minutes: u16,
    range: BarRange,
    view: View,
    adjustment: Adjustment,
    limit: usize,
    splits: Arc<Splits>,
    /// The newest session that is shown.
    newest: SessionDate,
    history: usize,
    provider: Arc<str>,
    pub(crate) patience: Patience,
    /// What every further call would be answered with.
    refusal: OnceLock<SourceError>,
}

/// Why some of a symbol's bars are not there.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The provider did not serve them.
    Failed(Option<BarAsk>, SourceError),
    /// The deadline came first.
    OutOfTime,
    /// They are not held, and the provider is not to be asked.
    NotHeld,
}

/// What became of one symbol.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) series: SymbolSeries,
    /// Sessions that are not held, and why.
    pub(crate) trouble: Option<(u64, Trouble)>,
    /// Minutes that were refused, and the first of them in words.
    pub(crate) refused: Option<(u64, String)>,
    pub(crate) calls: u64,
    pub(crate) fetched_bars: u64,
}

impl Engine {
    /// Sets out what a request for minutes has in common for all its symbols; `minutes` is the length of a bar.
    pub(crate) async fn job(&self, request: &SeriesRequest, minutes: u16, until: Timestamp) -> Job {
        let calendar = Calendar::us_equities();
        let today = calendar.session_of(until);
        let begun = calendar.midnight(today).after(EXTENDED_START) <= until;
        let newest = match request.hours {
            SessionHours::Regular => calendar.current(until),
            SessionHours::Extended if begun => calendar.at_or_before(today),
            SessionHours::Extended => calendar.previous(today),
        };
        Job {
            minutes,
            range: request.range,
            view: View { hours: request.hours, selection: request.selection, until },
            adjustment: request.adjustment,
            limit: if request.limit == 0 { usize::MAX } else { request.limit },
            splits: self.0.state.lock().await.splits.clone(),
            newest: newest.unwrap_or_else(|| calendar.first()),
            history: self.0.config.history_minute.max(1),
            provider: self.0.parts.source.name(),
            patience: Patience {
                fetches: request.policy != DataPolicy::CachedOnly,
                errand: request.errand,
                until: request.deadline.map(crate::run::early).unwrap_or_else(|| Instant::now() + PATIENCE),
            },
            refusal: OnceLock::new(),
        }
    }

    /// One symbol's bars of some minutes each, fetched where they are missing.
    pub(crate) async fn symbol_series(&self, job: &Arc<Job>, symbol: &Symbol) -> Outcome {
        let calendar = Calendar::us_equities();
        let mut outcome = Outcome {
            series: SymbolSeries {
                symbol: symbol.clone(),
                bars: Series::default(),
                provider: job.provider.clone(),
                fetched: None,
            },
            trouble: None,
            refused: None,
            calls: 0,
            fetched_bars: 0,
        };
        let mut wanted = job.first_reach();
        loop {
            let refused = job.refusal.get();
            let patience = Patience { fetches: job.patience.fetches && refused.is_none(), ..job.patience };
            let Joined { mut found, laid } = self.company_minutes(symbol, wanted, patience).await;
            outcome.calls += found.calls;
            outcome.fetched_bars += found.bars;
            if let Some((_, error @ SourceError::Key { .. })) = &found.failure {
                // Every other call would fail alike.
                drop(job.refusal.set(error.clone()));
            }
            if let Some(block) = found.block.take() {
                outcome.series.provider = block.provenance().provider.clone();
                outcome.series.fetched = Some(block.provenance().fetched_at);
                let paid = match self.payments(job, symbol, wanted).await {
                    Ok(paid) => paid,
                    Err(error) => {
                        outcome.trouble = Some((0, Trouble::Failed(None, error)));
                        break;
                    }
                };
                let (job, symbol) = (job.clone(), symbol.clone());
                let fold = move || job.fold(&laid, &symbol, &paid);
                outcome.series.bars = tokio::task::spawn_blocking(fold).await.unwrap_or_default();
            }
            if !found.missing.is_empty() {
                let why = match (found.failure, refused) {
                    (Some((ask, error)), _) => Trouble::Failed(Some(ask), error),
                    (None, Some(error)) if job.patience.fetches => Trouble::Failed(None, error.clone()),
                    (None, _) if found.out_of_time => Trouble::OutOfTime,
                    (None, _) => Trouble::NotHeld,
                };
                outcome.trouble = Some((found.missing.len() as u64, why));
                break;
            }
            let BarRange::Last(asked) = job.range else { break };
            let bars = &outcome.series.bars;
            // No bar in as many sessions as a call can bring: here the symbol's history begins.
            let reached = calendar.count(wanted.from, wanted.to);
            let oldest = bars.start.first().map_or(reached, |at| {
                calendar.count(wanted.from, calendar.session_of(*at)).saturating_sub(1)
            });
            let ended = oldest >= SILENCE || wanted.from <= calendar.first();
            if bars.len() >= asked.min(job.limit) || ended {
                break;
            }
            let farther = reached.max(SILENCE);
            wanted.from = calendar.back(wanted.from, farther).unwrap_or_else(|| calendar.first());
        }
        if let BarRange::Last(asked) = job.range {
            outcome.series.bars.keep_last(asked);
        }
        outcome.refused = self.0.intraday.refused(symbol, wanted.from, wanted.to);
        outcome
    }

    /// The dividends of a symbol that change its minutes, with the closes of its days. The days are fetched where they
    /// are missing and there is such a dividend at all.
    async fn payments(&self, job: &Job, symbol: &Symbol, wanted: Wanted) -> Result<Payments, SourceError> {
        if job.adjustment != Adjustment::SplitsAndDividends {
            return Ok(Payments::default());
        }
        let calendar = Calendar::us_equities();
        let today = calendar.session_of(job.view.until);
        let dividends = self.dividends(wanted.from).await.map_err(|error| match error {
            EngineError::Source(error) => error,
            error => SourceError::Unavailable {
                provider: job.provider.clone(),
                what: "the dividends".to_owned(),
                message: error.to_string(),
            },
        })?;
        let cash = dividends.of(symbol.as_str()).iter();
        let cash: Vec<_> = cash.filter(|(ex, _)| *ex > wanted.from && *ex <= today).copied().collect();
        if cash.is_empty() {
            return Ok(Payments::default());
        }
        let days = BarsRequest {
            symbols: vec![symbol.to_string()],
            from: Some(wanted.from),
            to: None,
            last: 0,
            adjustment: Adjustment::Raw,
            pin: Pin::Newest,
            policy: if job.patience.fetches { DataPolicy::BestEffort } else { DataPolicy::CachedOnly },
            deadline: Some(job.patience.until),
            errand: job.patience.errand,
        };
        let mut closes = Vec::new();
        if let Ok(found) = Box::pin(self.bars(&days)).await
            && let Some(found) = found.series.into_iter().next()
        {
            let close = &found.bars.columns[Field::Close.index()];
            closes.extend(found.bars.sessions.iter().copied().zip(close.iter().copied()));
        }
        Ok(Payments { cash, closes })
    }

    /// What a request for days, weeks or months asks for in days.
    pub(crate) fn in_days(&self, request: &SeriesRequest, snapshot: &Snapshot) -> BarsRequest {
        let calendar = Calendar::us_equities();
        let newest = snapshot.newest().unwrap_or_default();
        let (mut from, mut to) = request.range.sessions();
        let mut last = 0;
        match (request.timeframe, request.range) {
            (Timeframe::Week | Timeframe::Month, BarRange::Last(bars)) => {
                let mut first = period(request.timeframe, newest).0;
                for _ in 1..bars.max(1) {
                    if first <= calendar.first() {
                        break;
                    }
                    first = period(request.timeframe, first.plus(-1)).0;
                }
                from = Some(first.max(calendar.first()));
            }
            (Timeframe::Week | Timeframe::Month, BarRange::Instants(start, end)) => {
                let date = |at: Timestamp, back| {
                    calendar.session_of(Timestamp::from_nanos(at.as_nanos().saturating_sub(back)))
                };
                from = start.map(|at| period(request.timeframe, date(at, 0)).0);
                to = end.map(|at| period(request.timeframe, date(at, 1)).1);
            }
            (Timeframe::Week | Timeframe::Month, BarRange::Sessions(..)) => {
                from = from.map(|day| period(request.timeframe, day).0);
                to = to.map(|day| period(request.timeframe, day).1);
            }
            (_, BarRange::Last(bars)) => {
                last = bars;
                // The newest n may reach beyond what is resident.
                if bars > snapshot.daily.sessions().len() {
                    from = Some(calendar.back(newest, bars - 1).unwrap_or_else(|| calendar.first()));
                }
            }
            (_, BarRange::Sessions(..) | BarRange::Instants(..)) => {}
        }
        BarsRequest {
            symbols: request.symbols.clone(),
            from,
            to,
            last,
            adjustment: request.adjustment,
            pin: request.pin.clone(),
            policy: request.policy,
            deadline: request.deadline,
            errand: request.errand,
        }
    }

    /// The instant that a request is shown at.
    pub(crate) fn shown_at(&self, request: &SeriesRequest, published: &Published) -> Timestamp {
        let whole_minutes = |at: Timestamp| {
            Timestamp::from_nanos(at.as_nanos() - at.as_nanos().rem_euclid(60 * NANOS_PER_SECOND))
        };
        match (request.until, &request.pin) {
            (Some(until), _) => until,
            (None, Pin::Newest) => self.clock().now(),
            // A minute that had not ended then must not be shown as it became.
            (None, Pin::AsOf(at)) => whole_minutes(*at),
            (None, Pin::Snapshot(_)) => published.snapshot.as_of,
        }
    }
}

/// Days as bars of the timeframe asked for.
pub(crate) fn of_days(found: SymbolBars, request: &SeriesRequest, until: Timestamp) -> SymbolSeries {
    let view = View { hours: request.hours, selection: request.selection, until };
    let mut bars = from_days(found.bars, request.timeframe, view);
    match request.range {
        BarRange::Last(newest) => bars.keep_last(newest),
        BarRange::Instants(from, to) => bars.keep_between(from, to),
        BarRange::Sessions(..) => {}
    }
    if request.limit > 0 {
        bars.keep_last(request.limit);
    }
    SymbolSeries { symbol: found.symbol, bars, provider: found.provider, fetched: found.fetched }
}

impl Job {
    /// The sessions to look at first.
    pub(crate) fn first_reach(&self) -> Wanted {
        let calendar = Calendar::us_equities();
        let back = |date, sessions| calendar.back(date, sessions).unwrap_or_else(|| calendar.first());
        let (from, to) = match self.range {
            BarRange::Last(bars) => {
                let each = bars_per_session(self.minutes, self.view.hours);
                // A quarter more, as not every minute trades, and the session under way.
                let sessions = (bars.min(self.limit) + bars.min(self.limit) / 4).div_ceil(each) + 1;
                (back(self.newest, sessions - 1), self.newest)
            }
            BarRange::Sessions(from, to) => {
                let to = to.map_or(self.newest, |to| to.min(self.newest));
                (from.unwrap_or_else(|| back(to, self.history - 1)), to)
            }
            BarRange::Instants(from, to) => {
                let before = |at: Timestamp| Timestamp::from_nanos(at.as_nanos().saturating_sub(1));
                let to = to.map_or(self.newest, |at| calendar.session_of(before(at)).min(self.newest));
                let from = from.map(|at| calendar.session_of(at));
                (from.unwrap_or_else(|| back(to, self.history - 1)), to)
            }
        };
        Wanted { from, to, hours: self.view.hours }
    }

    fn fold(&self, laid: &[(Stretch, Block)], symbol: &Symbol, paid: &Payments) -> Series {
        let mut held = match laid {
            [(all, block)] => minutes::series(block, all.from, all.to),
            parts => minutes::across(parts.iter().map(|(stretch, block)| (stretch, block))),
        };
        let today = Calendar::us_equities().session_of(self.view.until);
        let mut factors = Vec::new();
        if !paid.cash.is_empty() {
            // Of a session whose day is not held the last minute's close stands in.
            let mut closes = closes(&held);
            closes.extend(paid.closes.iter().copied());
            let closes: Vec<_> = closes.into_iter().collect();
            factors =
                dividend::factors(&paid.cash, self.splits.until(symbol.as_str(), today), &closes, today);
        }
        if self.adjustment != Adjustment::Raw {
            held.adjust(self.splits.of(symbol.as_str()), today);
        }
        held.pay(&factors, today);
        let mut bars = from_minutes(&held, self.minutes, self.view);
        if let BarRange::Instants(from, to) = self.range {
            bars.keep_between(from, to);
        }
        bars.keep_last(self.limit);
        bars
    }
}

/// What minutes are adjusted for besides splits: cash by ex-date, and the raw closes of days that say what it is worth.
#[derive(Debug, Default)]
struct Payments {
    cash: Vec<(SessionDate, f64)>,
    closes: Vec<(SessionDate, f64)>,
}

/// The last close of each session of some minutes.
fn closes(minutes: &Series) -> BTreeMap<SessionDate, f64> {
    let calendar = Calendar::us_equities();
    let close = minutes.column(Field::Close);
    minutes.start.iter().zip(close).map(|(at, close)| (calendar.session_of(*at), *close)).collect()
}
