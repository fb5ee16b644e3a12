//! A chain of providers: the first that offers what is asked for and answers is the one, kind of data by kind.
//!
//! A provider that fails again and again is left alone for a while ([`crate::breaker`]); one that refuses the
//! key is left alone for good. Which one answered stands in the provenance of every block. Numbers of two
//! providers are never mixed within an answer and never averaged; where they disagree can be asked for, or be
//! watched as bars are fetched.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use panscan_core::calendar::Announced;
use panscan_core::panel::Split;
use panscan_core::port::{
    BarAsk, BarSource, Clock, Dividend, Errand, Fetched, Offers, Pending, Rename, SourceError, SourceHealth,
    SourceStats, SourceStatus,
};
use panscan_core::symbol::Symbol;
use panscan_core::time::{SessionDate, Timeframe};
use panscan_core::universe::Listing;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::breaker::{Breaker, Pass};
use crate::compare::{Comparison, Tolerance, compare_blocks};
use crate::error::FetchError;

/// Comparisons with a difference that are remembered.
const REMEMBERED: usize = 64;
/// A provider that asks for a longer wait than this is left alone for as long.
const LONG_WAIT: Duration = Duration::from_secs(60);

/// Settings of a [`Chain`]. A provider may stand in several lists; it has one breaker.
#[derive(Clone)]
pub struct ChainConfig {
    /// Who is asked for daily bars, in this order.
    pub daily: Vec<Arc<dyn BarSource>>,
    /// Who is asked for bars within the day, in this order.
    pub intraday: Vec<Arc<dyn BarSource>>,
    /// Who is asked for listings, details, renames and the market's status, in this order.
    pub reference: Vec<Arc<dyn BarSource>>,
    /// Who is asked for splits and dividends, in this order.
    pub actions: Vec<Arc<dyn BarSource>>,
    /// Failures in a row after which a provider is left alone.
    pub failures: u32,
    /// For how long at first; it doubles with each failed trial, to a quarter of an hour.
    pub pause: Duration,
    /// Whether series are compared with the next provider as they are fetched; costs that one's calls.
    pub compare: bool,
    /// What counts as the same number.
    pub tolerance: Tolerance,
    /// The desk's clock; says until when a provider is left alone.
    pub clock: Arc<dyn Clock>,
}

impl ChainConfig {
    /// The same order for every kind of data, and the defaults.
    #[must_use]
    pub fn new(sources: Vec<Arc<dyn BarSource>>, clock: Arc<dyn Clock>) -> Self {
        Self {
            daily: sources.clone(),
            intraday: sources.clone(),
            reference: sources.clone(),
            actions: sources,
            failures: 5,
            pause: Duration::from_secs(30),
            compare: false,
            tolerance: Tolerance::default(),
            clock,
        }
    }
}

impl fmt::Debug for ChainConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names =
            |sources: &[Arc<dyn BarSource>]| -> Vec<Arc<str>> { sources.iter().map(|s| s.name()).collect() };
        f.debug_struct("ChainConfig")
            .field("daily", &names(&self.daily))
            .field("intraday", &names(&self.intraday))
            .field("reference", &names(&self.reference))
            .field("actions", &names(&self.actions))
            .field("failures", &self.failures)
            .field("pause", &self.pause)
            .field("compare", &self.compare)
            .finish_non_exhaustive()
    }
}

struct Link {
    source: Arc<dyn BarSource>,
    breaker: Breaker,
}

/// The kinds of data that have an order of their own.
#[derive(Clone, Copy)]
enum Kind {
    Daily,
    Intraday,
    Reference,
    Actions,
}

struct Inner {
    name: Arc<str>,
    links: Vec<Link>,
    /// Positions in `links`, by kind.
    orders: [Vec<usize>; 4],
    compare: bool,
    tolerance: Tolerance,
    clock: Arc<dyn Clock>,
    /// One comparison beside the fetching at a time.
    comparing: Semaphore,
    seen: Mutex<VecDeque<Comparison>>,
}

/// Providers one after the other.
#[derive(Clone)]
pub struct Chain(Arc<Inner>);

impl Chain {
    /// Puts the chain together; nothing is called yet.
    ///
    /// # Errors
    ///
    /// [`FetchError::Setting`] when a list is empty, or when two providers have one name.
    pub fn new(config: ChainConfig) -> Result<Self, FetchError> {
        let mut links: Vec<Link> = Vec::new();
        let mut place = |source: &Arc<dyn BarSource>| -> Result<usize, FetchError> {
            let name = source.name();
            if let Some(at) = links.iter().position(|link| link.source.name() == name) {
                if !Arc::ptr_eq(&links[at].source, source) {
                    return Err(FetchError::setting("providers", format!("name {name} twice")));
                }
                return Ok(at);
            }
            links.push(Link { source: source.clone(), breaker: Breaker::new(config.failures, config.pause) });
            Ok(links.len() - 1)
        };
        let mut order = |sources: &[Arc<dyn BarSource>]| -> Result<Vec<usize>, FetchError> {
            if sources.is_empty() {
                return Err(FetchError::setting("providers", "name none; expected e.g. polygon,alpaca"));
            }
            let mut order = sources.iter().map(&mut place).collect::<Result<Vec<_>, _>>()?;
            let mut known = std::collections::BTreeSet::new();
            order.retain(|at| known.insert(*at));
            Ok(order)
        };
        let orders = [
            order(&config.daily)?,
            order(&config.intraday)?,
            order(&config.reference)?,
            order(&config.actions)?,
        ];
        let names: Vec<Arc<str>> = links.iter().map(|link| link.source.name()).collect();
        Ok(Self(Arc::new(Inner {
            name: names.join(",").into(),
            links,
            orders,
            compare: config.compare,
            tolerance: config.tolerance,
            clock: config.clock,
            comparing: Semaphore::new(1),
            seen: Mutex::default(),
        })))
    }

    /// Asks two providers for the same daily bars and says where they differ. Taken are the first two of the
    /// order that answer.
    ///
    /// # Errors
    ///
    /// What the last provider said when fewer than two answer.
    pub async fn compare(
        &self,
        symbol: &Symbol,
        from: SessionDate,
        to: SessionDate,
        errand: Errand,
    ) -> Result<Comparison, SourceError> {
        let ask = BarAsk::Range { symbol: symbol.clone(), timeframe: Timeframe::Day, from, to };
        let mut answers: Vec<Fetched> = Vec::new();
        let mut failure = None;
        for link in self.0.order(Kind::Daily) {
            match link.ask(&ask.to_string(), |source| source.fetch(&ask, errand)).await {
                Ok(fetched) => answers.push(fetched),
                Err(error) => failure = Some(error),
            }
            if let [first, second] = &answers[..] {
                return Ok(self.0.compared(first, second));
            }
        }
        Err(failure.unwrap_or_else(|| SourceError::NotOffered {
            provider: self.0.name.clone(),
            what: format!("a second provider of {ask}"),
        }))
    }

    /// The newest comparisons that found a difference, oldest first; at most 64 are remembered.
    #[must_use]
    pub fn disagreements(&self) -> Vec<Comparison> {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Compares what was fetched with the next provider that answers, beside the caller and at no urgency.
    fn watch(&self, ask: &BarAsk, kind: Kind, answered: &Arc<str>, fetched: &Fetched) {
        let BarAsk::Range { .. } = ask else { return };
        let inner = self.0.clone();
        let (ask, answered, first) = (ask.clone(), answered.clone(), fetched.clone());
        tokio::spawn(async move {
            // One at a time: who is busy comparing does not ask a second provider for more.
            let Ok(_permit) = inner.comparing.try_acquire() else { return };
            let what = ask.to_string();
            for link in inner.order(kind).filter(|link| link.source.name() != answered) {
                let answer = link.ask(&what, |source| source.fetch(&ask, Errand::background())).await;
                if let Ok(second) = answer {
                    inner.compared(&first, &second);
                    break;
                }
            }
        });
    }

    /// Asks one after the other; the first answer is the one.
    async fn first<'a, T, F>(&'a self, kind: Kind, what: &str, call: F) -> Result<(&'a Link, T), SourceError>
    where
        F: Fn(&'a dyn BarSource) -> Pending<'a, Result<T, SourceError>>,
    {
        let mut failure: Option<SourceError> = None;
        for link in self.0.order(kind) {
            match link.ask(what, &call).await {
                Ok(answer) => {
                    if let Some(error) = &failure {
                        tracing::info!(provider = &*link.source.name(), what, %error, "answered in place of another");
                    }
                    return Ok((link, answer));
                }
                // The first that is more than "not mine to answer" is what a caller has to know.
                Err(error) if failure.as_ref().is_none_or(|held| rank(&error) > rank(held)) => {
                    failure = Some(error)
                }
                Err(_) => {}
            }
        }
        Err(failure.unwrap_or_else(|| SourceError::NotOffered {
            provider: self.0.name.clone(),
            what: what.to_owned(),
        }))
    }
}

/// How much an error says about why there is no answer; of equal ones the first provider's is told.
fn rank(error: &SourceError) -> u8 {
    match error {
        SourceError::NotOffered { .. } => 0,
        SourceError::NotEntitled { .. } => 1,
        SourceError::OutsidePlan { .. } | SourceError::NotYet { .. } | SourceError::Refused { .. } => 2,
        _ => 3,
    }
}

impl Inner {
    fn order(&self, kind: Kind) -> impl Iterator<Item = &Link> {
        self.orders[kind as usize].iter().map(|at| &self.links[*at])
    }

    fn compared(&self, first: &Fetched, second: &Fetched) -> Comparison {
        let comparison = compare_blocks(&first.block, &second.block, self.tolerance);
        if let Some(one) = comparison.disagreements.first() {
            tracing::warn!(
                first = &*comparison.first,
                second = &*comparison.second,
                bars = comparison.bars,
                differences = comparison.disagreements.len(),
                symbol = one.symbol.as_str(),
                field = one.field.name(),
                one = one.first,
                other = one.second,
                "providers disagree"
            );
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if seen.len() >= REMEMBERED {
                seen.pop_front();
            }
            seen.push_back(comparison.clone());
        }
        comparison
    }
}

impl Link {
    /// Asks this provider if its breaker lets it, and tells the breaker how it went.
    async fn ask<'a, T, F>(&'a self, what: &str, call: F) -> Result<T, SourceError>
    where
        F: Fn(&'a dyn BarSource) -> Pending<'a, Result<T, SourceError>>,
    {
        let pass = self.breaker.pass(Instant::now()).map_err(|(retry_after, message)| {
            SourceError::Suspended { provider: self.source.name(), retry_after, message }
        })?;
        let answer = call(&*self.source).await;
        let Err(error) = &answer else {
            pass.answered();
            return answer;
        };
        self.judge(pass, error);
        tracing::debug!(provider = &*self.source.name(), what, %error, "did not answer");
        answer
    }

    fn judge(&self, pass: Pass<'_>, error: &SourceError) {
        let now = Instant::now();
        match error {
            // It is well and says no; and what it was never asked for proves nothing.
            SourceError::NotEntitled { .. }
            | SourceError::OutsidePlan { .. }
            | SourceError::NotYet { .. }
            | SourceError::Refused { .. } => pass.answered(),
            SourceError::NotOffered { .. } => drop(pass),
            SourceError::Key { .. } => {
                tracing::error!(provider = &*self.source.name(), %error, "left alone until it has another key");
                pass.shut(now, &error.to_string());
            }
            SourceError::Suspended { retry_after, message, .. } => pass.sent_away(now, *retry_after, message),
            SourceError::RateLimited { retry_after, .. } if *retry_after > LONG_WAIT => {
                pass.sent_away(now, *retry_after, &error.to_string());
            }
            _ => pass.failed(now, &error.to_string()),
        }
    }

    fn is_passable(&self) -> bool {
        self.breaker.is_passable(Instant::now())
    }
}

impl BarSource for Chain {
    /// The names of its providers, joined by commas.
    fn name(&self) -> Arc<str> {
        self.0.name.clone()
    }

    fn primary(&self) -> Arc<str> {
        self.0.order(Kind::Daily).next().map_or_else(|| self.name(), |link| link.source.primary())
    }

    fn fetch<'a>(&'a self, ask: &'a BarAsk, errand: Errand) -> Pending<'a, Result<Fetched, SourceError>> {
        Box::pin(async move {
            let kind = match ask {
                BarAsk::Day(_) => Kind::Daily,
                BarAsk::FlatFile { timeframe, .. } | BarAsk::Range { timeframe, .. } => match timeframe {
                    Timeframe::Minutes(_) => Kind::Intraday,
                    Timeframe::Day | Timeframe::Week | Timeframe::Month => Kind::Daily,
                },
            };
            let what = ask.to_string();
            let (link, fetched) = self.first(kind, &what, |source| source.fetch(ask, errand)).await?;
            if self.0.compare {
                self.watch(ask, kind, &link.source.name(), &fetched);
            }
            Ok(fetched)
        })
    }

    /// What those offer that are not left alone: while the first one is, the market of a day may be asked for
    /// symbol by symbol only.
    fn offers(&self) -> Offers {
        let daily: Vec<Offers> = self
            .0
            .order(Kind::Daily)
            .filter(|link| link.is_passable())
            .map(|link| link.source.offers())
            .collect();
        let first = match daily.first() {
            Some(first) => *first,
            None => self.0.order(Kind::Daily).next().map(|link| link.source.offers()).unwrap_or_default(),
        };
        Offers {
            market_days: first.market_days || daily.iter().any(|offers| offers.market_days),
            files_from: first.files_from.or_else(|| daily.iter().find_map(|offers| offers.files_from)),
            ..first
        }
    }

    fn listings(&self) -> Pending<'_, Result<Vec<Listing>, SourceError>> {
        Box::pin(async {
            Ok(self.first(Kind::Reference, "the ticker list", |source| source.listings()).await?.1)
        })
    }

    fn splits(&self, from: SessionDate) -> Pending<'_, Result<Vec<Split>, SourceError>> {
        Box::pin(
            async move { Ok(self.first(Kind::Actions, "the splits", |source| source.splits(from)).await?.1) },
        )
    }

    fn dividends(&self, from: SessionDate) -> Pending<'_, Result<Vec<Dividend>, SourceError>> {
        Box::pin(async move {
            Ok(self.first(Kind::Actions, "the dividends", |source| source.dividends(from)).await?.1)
        })
    }

    fn details<'a>(
        &'a self,
        symbol: &'a Symbol,
        errand: Errand,
    ) -> Pending<'a, Result<Option<Listing>, SourceError>> {
        Box::pin(async move {
            let what = format!("the details of {symbol}");
            Ok(self.first(Kind::Reference, &what, |source| source.details(symbol, errand)).await?.1)
        })
    }

    fn gone(&self, errand: Errand) -> Pending<'_, Result<Vec<Listing>, SourceError>> {
        Box::pin(async move {
            let what = "the tickers that ceased to trade";
            Ok(self.first(Kind::Reference, what, |source| source.gone(errand)).await?.1)
        })
    }

    fn renames<'a>(
        &'a self,
        symbol: &'a Symbol,
        errand: Errand,
    ) -> Pending<'a, Result<Vec<Rename>, SourceError>> {
        Box::pin(async move {
            let what = format!("the renames of {symbol}");
            Ok(self.first(Kind::Reference, &what, |source| source.renames(symbol, errand)).await?.1)
        })
    }

    fn announced(&self) -> Pending<'_, Result<Vec<Announced>, SourceError>> {
        Box::pin(async {
            let what = "the market holidays";
            Ok(self.first(Kind::Reference, what, |source| source.announced()).await?.1)
        })
    }

    /// That of the first one for bars within the day that is not left alone.
    fn delay(&self) -> Option<Duration> {
        self.0.order(Kind::Intraday).find(|link| link.is_passable())?.source.delay()
    }

    fn reset(&self, provider: &str) -> bool {
        let named = self.0.links.iter().filter(|link| link.source.reset(provider));
        named.map(|link| link.breaker.reset()).count() > 0
    }

    /// The first provider's clock and world, and no other's: bars of another world would end up in its store.
    fn status(&self) -> Pending<'_, Result<SourceStatus, SourceError>> {
        Box::pin(async move {
            match self.0.order(Kind::Reference).next() {
                Some(link) => link.source.status().await,
                None => Err(SourceError::NotOffered {
                    provider: self.name(),
                    what: "the market status".to_owned(),
                }),
            }
        })
    }

    /// The first provider's that is not left alone.
    fn estimate(&self, calls: u64) -> Duration {
        let first = self.0.order(Kind::Daily).next();
        let link = self.0.order(Kind::Daily).find(|link| link.is_passable()).or(first);
        link.map_or(Duration::MAX, |link| link.source.estimate(calls))
    }

    /// Counters of all of them together; the limit is the first provider's.
    fn stats(&self) -> SourceStats {
        let mut all = self.0.links.iter().map(|link| link.source.stats());
        let first = all.next().unwrap_or_default();
        all.fold(first, |sum, own| SourceStats {
            calls: sum.calls + own.calls,
            status_calls: sum.status_calls + own.status_calls,
            errors: sum.errors + own.errors,
            rate_limited: sum.rate_limited + own.rate_limited,
            retries: sum.retries + own.retries,
            hedges: sum.hedges + own.hedges,
            ..sum
        })
    }

    fn health(&self) -> Vec<SourceHealth> {
        let (now, clock) = (Instant::now(), self.0.clock.now());
        let links = self.0.links.iter().map(|link| {
            let seen = link.breaker.seen(now);
            SourceHealth {
                provider: link.source.name(),
                state: seen.state,
                until: seen.left.map(|left| clock.after(left)),
                failures: seen.failures,
                message: seen.message,
                stats: link.source.stats(),
            }
        });
        links.collect()
    }
}
