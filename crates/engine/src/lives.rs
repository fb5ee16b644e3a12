//! Who traded under which ticker when: learned from two lists and, for changes within the resident history, from
//! the provider's word on the one company; kept, and joined with splits and dividends.
//!
//! The list of tickers that ceased to trade is long at a real provider. Where the limit leaves room it is read before
//! anything is shown, else behind the calls that somebody waits for. Not here: the arithmetic, which is
//! [`panscan_core::life`]'s.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use panscan_core::calendar::Calendar;
use panscan_core::dividend::Dividends;
use panscan_core::life::{Histories, Lives, SLACK_DAYS, Stretch};
use panscan_core::panel::{Split, Splits};
use panscan_core::port::{Dividend, Errand, Rename, SourceError};
use panscan_core::snapshot::Snapshot;
use panscan_core::symbol::{Symbol, SymbolId};
use panscan_core::time::{SessionDate, Timestamp};
use panscan_core::universe::{Listing, Universe};

use crate::corporate::is_not_offered;
use crate::details::Asked;
use crate::market::{Engine, State};
use crate::notes;

/// Calls that the list of a real provider takes.
const LIST_CALLS: u64 = 30;
/// What may be waited for before anything is shown.
const PROMPT: Duration = Duration::from_secs(2);
/// Companies that one round asks about at most.
const ASKED_MAX: usize = 50;

/// What the lives are made of.
#[derive(Debug, Default)]
pub(crate) struct Former {
    /// The tickers that ceased to trade.
    gone: Vec<Listing>,
    at: Timestamp,
    /// What the provider told of single companies, by the ticker that was asked for.
    told: BTreeMap<Symbol, Vec<Rename>>,
    /// Present tickers whose company had the other one in an earlier list.
    changed: BTreeMap<Symbol, Symbol>,
    /// The source has no such list, or no such answers.
    no_list: bool,
    no_answers: bool,
}

impl Former {
    /// The listing of a ticker that ceased to trade.
    pub(crate) fn listing(&self, symbol: &Symbol) -> Option<&Listing> {
        let newest = self.gone.iter().filter(|row| row.symbol == *symbol);
        newest.max_by_key(|row| row.delist_date)
    }

    /// Compares an older list with a newer one: another ticker of the same figi is a change of ticker.
    pub(crate) fn compare(&mut self, before: &[Listing], after: &[Listing]) {
        let of: BTreeMap<&Arc<str>, &Symbol> =
            before.iter().filter_map(|row| Some((row.figi.as_ref()?, &row.symbol))).collect();
        for row in after {
            let earlier = row.figi.as_ref().and_then(|figi| of.get(figi));
            if let Some(earlier) = earlier.filter(|earlier| ***earlier != row.symbol) {
                self.told.remove(&row.symbol);
                self.changed.insert(row.symbol.clone(), (*earlier).clone());
            }
        }
    }

    /// Everything counts as asked for long ago.
    pub(crate) fn forget(&mut self) {
        self.at = Timestamp::default();
        self.told.clear();
        (self.no_list, self.no_answers) = (false, false);
    }

    fn lives(&self, listed: &[Listing]) -> Lives {
        let mut lives = Lives::of_listings(listed, &self.gone);
        for renames in self.told.values() {
            let figi = renames.iter().rev().find_map(|rename| rename.figi.as_ref());
            let known = lives.iter().filter(|life| figi.is_some() && life.figi.as_ref() == figi).last();
            let until = known.and_then(|life| life.to);
            lives.learn(renames, until);
        }
        lives
    }

    /// The companies to ask about: those that changed their ticker since `since`, and those a newer list told of.
    fn due(&self, lives: &Lives, since: SessionDate) -> Vec<Symbol> {
        let mut newest: BTreeMap<&Arc<str>, (&Symbol, bool)> = BTreeMap::new();
        for life in lives.iter() {
            let Some(figi) = &life.figi else { continue };
            let recent = life.from.is_some_and(|from| from >= since);
            let other = newest.get(figi).is_some_and(|(_, other)| *other);
            newest.insert(figi, (&life.symbol, recent || other));
        }
        let recent = newest.into_values().filter(|(_, recent)| *recent).map(|(symbol, _)| symbol.clone());
        let due: BTreeSet<Symbol> = recent.chain(self.changed.keys().cloned()).collect();
        due.into_iter().filter(|symbol| !self.told.contains_key(symbol)).collect()
    }
}

impl State {
    /// The stretches of a universe's symbols over some sessions.
    pub(crate) fn histories(
        &self,
        universe: &Universe,
        sessions: &[SessionDate],
        now: Timestamp,
    ) -> Histories {
        match (sessions.first(), sessions.last()) {
            (Some(first), Some(last)) if !self.lives.is_empty() => {
                let today = Calendar::us_equities().session_of(now);
                self.lives.histories(universe, today, *first, *last)
            }
            _ => Histories::default(),
        }
    }

    /// The splits that are listed, joined through the companies' lives.
    pub(crate) fn resplit(&mut self, now: Timestamp) {
        let known = Calendar::us_equities().session_of(now);
        let of = |split: &Split| (split.symbol.clone(), split.execution);
        let named = |split: &Split, symbol: &Symbol| Split { symbol: symbol.clone(), ..split.clone() };
        self.splits = Arc::new(Splits::new(&through(&self.lives, known, &self.splits_listed, of, named)));
    }
}

/// A listed symbol whose first bar comes later than the whole market's, not explained by a listing on that day, and that
/// was not asked about.
fn late(snapshot: &Snapshot, former: &Former) -> Option<Symbol> {
    let (universe, panel) = (&snapshot.universe, &snapshot.daily);
    let sessions = panel.sessions();
    // What the provider has of nobody explains nothing about one.
    let first = universe.ids().filter_map(|id| panel.oldest(id)).min()?;
    let is_late = |id: &SymbolId| {
        let Some(oldest) = panel.oldest(*id) else { return false };
        let place = sessions.partition_point(|session| *session < oldest);
        let known = oldest > first && snapshot.held.has(*id, place - 1);
        let listed = universe.list_date()[id.index()];
        let explained = listed.is_some_and(|listed| listed.plus(i32::from(SLACK_DAYS)) >= oldest);
        known && !explained && universe.active()[id.index()]
    };
    let mut late = universe.ids().filter(is_late).map(|id| universe.symbol(id));
    late.find(|symbol| !former.told.contains_key(*symbol)).cloned()
}

/// The dividends that are listed, joined through the companies' lives.
pub(crate) fn dividends(lives: &Lives, listed: &[Dividend], now: Timestamp) -> Dividends {
    let known = Calendar::us_equities().session_of(now);
    let of = |dividend: &Dividend| (dividend.symbol.clone(), dividend.ex_date);
    let named = |paid: &Dividend, symbol: &Symbol| Dividend { symbol: symbol.clone(), ..paid.clone() };
    Dividends::new(&through(lives, known, listed, of, named))
}

/// Rows of each company under each of its tickers, whichever they are listed under.
fn through<T: Clone + PartialEq>(
    lives: &Lives,
    known: SessionDate,
    listed: &[T],
    of: impl Fn(&T) -> (Symbol, SessionDate),
    named: impl Fn(&T, &Symbol) -> T,
) -> Vec<T> {
    let tickers: BTreeSet<&Symbol> = lives.iter().map(|life| &life.symbol).collect();
    if tickers.is_empty() {
        return listed.to_vec();
    }
    let (mut rows, mut joined): (Vec<T>, Vec<T>) = (Vec::new(), Vec::new());
    for row in listed {
        let (ticker, date) = of(row);
        if !tickers.contains(&ticker) {
            rows.push(row.clone());
            continue;
        }
        for symbol in tickers.iter().filter(|symbol| lives.is_of(symbol, known, &ticker, date)) {
            let row = named(row, symbol);
            if !joined.contains(&row) {
                joined.push(row);
            }
        }
    }
    rows.extend(joined);
    rows
}

impl Engine {
    /// Reads what was kept.
    pub(crate) async fn recall_lives(&self) {
        let inner = &self.0;
        let mut former = inner.former.lock().await;
        if let Some((at, body)) = inner.parts.store.read_note(&inner.market, notes::GONE).await
            && let Some(gone) = notes::listings_from_bytes(&body)
        {
            (former.gone, former.at) = (gone, at);
        }
        if let Some((_, body)) = inner.parts.store.read_note(&inner.market, notes::RENAMES).await
            && let Some(told) = notes::renames_from_bytes(&body)
        {
            former.told = told;
        }
        self.show_lives(&former).await;
    }

    /// Learns what is due. With `prompt` only as far as that takes no time worth mentioning.
    pub(crate) async fn refresh_lives(&self, prompt: bool) {
        let inner = &self.0;
        // One at a time; whoever comes meanwhile goes on with what is known.
        let Ok(mut former) = inner.former.try_lock() else { return };
        let source = &inner.parts.source;
        let takes_long = |calls| prompt && source.estimate(calls) > PROMPT;
        let errand = if prompt { Errand::interactive(0) } else { Errand::background() };
        let now = inner.parts.clock.now();
        let old = former.at == Timestamp::default() || now >= former.at.after(inner.config.reference_ttl);
        if old && !former.no_list && !takes_long(LIST_CALLS) {
            match source.gone(errand).await {
                Ok(gone) => {
                    (former.gone, former.at) = (gone, now);
                    self.keep_note(notes::GONE, &notes::listings_to_bytes(&former.gone)).await;
                }
                Err(error) if is_not_offered(&error) => former.no_list = true,
                Err(error) => tracing::warn!(%error, "tickers that ceased to trade stay as they were"),
            }
        }
        let listed = inner.state.lock().await.listings.clone();
        let lives = former.lives(&listed);
        let calendar = Calendar::us_equities();
        let newest = self.newest_session().unwrap_or_else(|| calendar.first());
        let due = former.due(&lives, calendar.history_start(newest, inner.config.history_daily));
        let mut answers = 0;
        for symbol in due.into_iter().take(ASKED_MAX) {
            if takes_long(1) {
                break;
            }
            let found = match former.no_answers {
                true => Ok(Vec::new()),
                false => source.renames(&symbol, errand).await,
            };
            match found {
                Ok(renames) => drop(former.told.insert(symbol, renames)),
                Err(error @ (SourceError::Refused { .. } | SourceError::Unreadable { .. })) => {
                    tracing::debug!(%symbol, %error, "no ticker changes");
                    former.told.insert(symbol, Vec::new());
                }
                Err(error) if is_not_offered(&error) => former.no_answers = true,
                Err(error) => {
                    tracing::debug!(%symbol, %error, "ticker changes are asked for later");
                    break;
                }
            }
            answers += 1;
        }
        // Where the provider has no answer, its two lists are what is known: the change came between them.
        let today = calendar.session_of(now);
        let changed = std::mem::take(&mut former.changed);
        for (symbol, earlier) in changed {
            match former.told.get(&symbol) {
                Some(told) if !told.is_empty() => {}
                None if !former.no_answers => drop(former.changed.insert(symbol, earlier)),
                _ => {
                    let figi =
                        listed.iter().find(|row| row.symbol == symbol).and_then(|row| row.figi.clone());
                    let of =
                        |symbol: &Symbol, from| Rename { symbol: symbol.clone(), from, figi: figi.clone() };
                    let told = vec![of(&earlier, calendar.first()), of(&symbol, today)];
                    former.told.insert(symbol, told);
                    answers += 1;
                }
            }
        }
        if answers > 0 {
            self.keep_note(notes::RENAMES, &notes::renames_to_bytes(&former.told)).await;
        }
        self.show_lives(&former).await;
    }

    /// Puts what is known into what is shown, where it differs.
    async fn show_lives(&self, former: &Former) -> bool {
        let inner = &self.0;
        let now = inner.parts.clock.now();
        let mut state = inner.state.lock().await;
        let lives = former.lives(&state.listings);
        if lives == *state.lives {
            return false;
        }
        tracing::info!(lives = lives.iter().count(), "ticker changes are known");
        state.lives = Arc::new(lives);
        state.resplit(now);
        let lives = state.lives.clone();
        state.dividends.rejoin(&lives, now);
        // A ticker that was given up is no company's any more.
        inner.unlisted.store(true, std::sync::atomic::Ordering::Relaxed);
        state.bars_changed();
        true
    }

    /// Asks about one company that appears in the middle of the resident history: it may have traded as something else
    /// before, under a ticker that another company has now, which no list of tickers tells.
    pub(crate) async fn ask_renames(&self) -> Asked {
        let inner = &self.0;
        let Ok(mut former) = inner.former.try_lock() else { return Asked::Nothing };
        if former.no_answers {
            return Asked::NotOffered;
        }
        let Some(symbol) = inner.resident.current().and_then(|p| late(&p.snapshot, &former)) else {
            return Asked::Nothing;
        };
        let renames = match inner.parts.source.renames(&symbol, Errand::background()).await {
            Ok(renames) => renames,
            Err(error) if is_not_offered(&error) => {
                former.no_answers = true;
                return Asked::NotOffered;
            }
            Err(SourceError::Refused { .. } | SourceError::Unreadable { .. }) => Vec::new(),
            Err(error) => {
                tracing::debug!(%symbol, %error, "ticker changes are asked for later");
                return Asked::Failed;
            }
        };
        let joins = renames.len() > 1;
        former.told.insert(symbol, if joins { renames } else { Vec::new() });
        self.keep_note(notes::RENAMES, &notes::renames_to_bytes(&former.told)).await;
        let changed = self.show_lives(&former).await;
        drop(former);
        if let (true, Some(newest)) = (changed, self.newest_session())
            && let Err(error) = self.snapshot_ending(newest).await
        {
            tracing::warn!(%error, "a change of ticker is not shown yet");
        }
        Asked::Answered
    }

    /// Asks about up to `most` companies at once. Says for how many there was an answer.
    pub async fn refresh_renames(&self, most: usize) -> usize {
        let mut answered = 0;
        for _ in 0..most {
            match self.ask_renames().await {
                Asked::Answered => answered += 1,
                Asked::Failed => {}
                Asked::Nothing | Asked::NotOffered => break,
            }
        }
        answered
    }

    /// Where a symbol's bars of some sessions are: by the dates told, and with slack.
    pub(crate) async fn stretches(
        &self,
        symbol: &Symbol,
        from: SessionDate,
        to: SessionDate,
    ) -> (Vec<Stretch>, Vec<Stretch>) {
        let lives = self.0.state.lock().await.lives.clone();
        let known = Calendar::us_equities().session_of(self.0.parts.clock.now());
        let exact = lives.shown(symbol, known, from, to, 0);
        let wide = match exact.len() {
            1 => exact.clone(),
            _ => lives.shown(symbol, known, from, to, SLACK_DAYS),
        };
        (exact, wide)
    }

    async fn keep_note(&self, name: &str, body: &[u8]) {
        let inner = &self.0;
        let now = inner.parts.clock.now();
        if let Err(error) = inner.parts.store.write_note(&inner.market, name, now, body).await {
            tracing::warn!(%error, name, "a note was not kept");
        }
    }
}
