//! What a caller must know about an answer: who is missing, stale, too short or refused, and why.

use std::collections::BTreeMap;
use std::time::Duration;

use panscan_core::Kind;
use panscan_core::bar::Field;
use panscan_core::calendar::Calendar;
use panscan_core::cover::Missing;
use panscan_core::diagnostic::{Diagnostic, Reason};
use panscan_core::plan::{NumberAttribute, Op, Plan, TextSource};
use panscan_core::port::SourceError;
use panscan_core::snapshot::Snapshot;
use panscan_core::symbol::{Symbol, SymbolId};
use panscan_core::time::Timestamp;
use panscan_core::universe::{Population, TextAttribute};

use crate::fill::Filled;
use crate::notes::RefusedNote;
use crate::resident::Published;
use crate::unserved::Known;

/// Symbols whose newest bar ended longer ago than `allowed`.
pub(crate) fn stale(published: &Published, now: Timestamp, allowed: Duration) -> Vec<(SymbolId, Duration)> {
    let calendar = Calendar::us_equities();
    let age = |session| now.since(calendar.close(session));
    // Where even the newest session is too old, everyone is stale.
    let snapshot = &published.snapshot;
    if snapshot.newest().is_some_and(|newest| age(newest) > allowed) {
        let newest_of = |id| snapshot.daily.newest(id).map(|session| (id, age(session)));
        return snapshot.universe.ids().filter_map(newest_of).collect();
    }
    published.laggards.iter().map(|(id, last)| (*id, age(*last))).filter(|(_, age)| *age > allowed).collect()
}

/// A diagnostic about stale symbols of the population.
pub(crate) fn stale_diagnostic(
    snapshot: &Snapshot,
    population: &Population,
    stale: &[(SymbolId, Duration)],
) -> Option<Diagnostic> {
    let mine: Vec<_> = stale.iter().filter(|(id, _)| population.contains(*id)).collect();
    let oldest = mine.iter().map(|(_, age)| *age).max()?;
    let days = oldest.as_secs() / 86_400;
    let message = format!("bars older than they should be; the oldest ended {days} days ago");
    let mut diagnostic = Diagnostic::new(Reason::StaleData, message)
        .about(mine.iter().map(|(id, _)| snapshot.universe.symbol(*id)));
    diagnostic.age = Some(oldest);
    Some(diagnostic)
}

/// Symbols with too few bars for the plan, and those whose recursive values still depend on their seed.
pub(crate) fn history(plan: &Plan, published: &Published, population: &Population) -> Vec<Diagnostic> {
    let needed = plan.bars_needed();
    if needed == 0 {
        return Vec::new();
    }
    let settled = plan.bars_settled();
    let universe = &published.snapshot.universe;
    let (mut none, mut short, mut unsettled) = (Vec::new(), Vec::new(), Vec::new());
    let mut tell = |bars: u32, id: SymbolId| {
        let list = match bars {
            0 => &mut none,
            b if b < needed => &mut short,
            _ => &mut unsettled,
        };
        list.push(universe.symbol(id));
    };
    let full = u32::try_from(published.snapshot.daily.sessions().len()).unwrap_or(u32::MAX);
    if full < settled {
        // Not even a symbol with every session has enough.
        for id in population.ids() {
            tell(u32::try_from(published.snapshot.daily.bars(id)).unwrap_or(u32::MAX), id);
        }
    } else {
        let few = published.short.partition_point(|(bars, _)| *bars < settled);
        let mine = published.short[..few].iter().filter(|(_, id)| population.contains(*id));
        mine.for_each(|(bars, id)| tell(*bars, *id));
        for list in [&mut none, &mut short, &mut unsettled] {
            list.sort_unstable();
        }
    }
    let mut found = Vec::new();
    if !none.is_empty() {
        found.push(Diagnostic::new(Reason::SymbolNoBars, "no bars are held").about(none));
    }
    if !short.is_empty() {
        let message =
            format!("fewer than the {needed} bars that the longest lookback takes; such values are null");
        found.push(Diagnostic::new(Reason::InsufficientHistory, message).about(short));
    }
    if !unsettled.is_empty() {
        let message = format!("fewer than {settled} bars; a recursive value still depends on its seed");
        found.push(Diagnostic::new(Reason::Unsettled, message).about(unsettled));
    }
    found
}

/// Symbols of the population with sessions without a bar.
pub(crate) fn gaps(published: &Published, population: &Population) -> Option<Diagnostic> {
    let snapshot = &published.snapshot;
    let mine = published.gappy.iter().filter(|id| population.contains(**id));
    let found = Diagnostic::new(Reason::Gaps, "sessions without a bar; windows skip them")
        .about(mine.map(|id| snapshot.universe.symbol(*id)));
    (found.count > 0).then_some(found)
}

/// Bars of the population that were refused.
pub(crate) fn refused(published: &Published, population: &Population) -> Option<Diagnostic> {
    let universe = &published.snapshot.universe;
    let mut mine: BTreeMap<SymbolId, &RefusedNote> = BTreeMap::new();
    let mut bars = 0;
    for (id, note) in published.refused.iter().filter(|(id, _)| population.contains(*id)) {
        mine.entry(*id).or_insert(note);
        bars += 1;
    }
    let (_, first) = mine.first_key_value()?;
    let message = format!(
        "{bars} bars failed validation and are left out, e.g. {} on {}: {}",
        first.symbol, first.session, first.why
    );
    Some(Diagnostic::new(Reason::BarsQuarantined, message).about(mine.keys().map(|id| universe.symbol(*id))))
}

/// Splits of the population that are doubtful.
pub(crate) fn doubtful_splits(published: &Published, population: &Population) -> Option<Diagnostic> {
    let mine: Vec<_> = published.doubtful.iter().filter(|(id, _)| population.contains(*id)).collect();
    let (_, first) = mine.first()?;
    let universe = &published.snapshot.universe;
    let message = format!("doubtful splits, shown and not repaired, e.g. {first}");
    let found = Diagnostic::new(Reason::SplitSuspicious, message);
    Some(found.about(mine.iter().map(|(id, _)| universe.symbol(*id))))
}

/// Symbols of the population whose newest volume is out of line, where the plan reads volume.
pub(crate) fn spikes(plan: &Plan, published: &Published, population: &Population) -> Option<Diagnostic> {
    if !plan.nodes.iter().any(|node| node.op == Op::Field(Field::Volume)) {
        return None;
    }
    let mine: Vec<_> = published.spikes.iter().filter(|(id, _)| population.contains(*id)).collect();
    let (first, ratio) = mine.first()?;
    let universe = &published.snapshot.universe;
    let message = format!(
        "volume that looks counted twice or more, kept as received, e.g. {} at {ratio:.1} times its median",
        universe.symbol(*first)
    );
    let found = Diagnostic::new(Reason::VolumeSuspicious, message);
    Some(found.about(mine.iter().map(|(id, _)| universe.symbol(*id))))
}

/// Bars that the plan reads and that came from another provider than the first one.
pub(crate) fn elsewhere(plan: &Plan, published: &Published, population: &Population) -> Vec<Diagnostic> {
    let snapshot = &published.snapshot;
    let sessions = snapshot.daily.sessions();
    let read = if plan.is_recursive() { sessions.len() } else { plan.bars_read() as usize };
    let Some(since) = sessions.get(sessions.len().saturating_sub(read)) else { return Vec::new() };
    published.origins.elsewhere(snapshot, &snapshot.provider, population, *since)
}

/// That attributes and membership of a past session may not be those of then.
pub(crate) fn not_point_in_time() -> Diagnostic {
    let message = "attributes are today's, and not of every symbol is it known when it came and went";
    Diagnostic::new(Reason::UniverseNotPointInTime, message)
}

/// Attributes that the plan reads and some of the population lack.
pub(crate) fn coverage(plan: &Plan, snapshot: &Snapshot, population: &Population) -> Vec<Diagnostic> {
    let universe = &snapshot.universe;
    let mut found = selected(plan, snapshot);
    let mut texts: Vec<TextAttribute> = Vec::new();
    let mut numbers: Vec<(&str, &[f64])> = Vec::new();
    for node in &plan.nodes {
        match &node.op {
            Op::Text(s) | Op::TextIn(s, _) | Op::TextContains(s, _) | Op::TextStartsWith(s, _) => {
                if let TextSource::Attribute(attribute) = s
                    && !texts.contains(attribute)
                {
                    texts.push(*attribute);
                }
            }
            Op::Cross(_, by) => {
                texts.extend(by.iter().filter(|a| !texts.contains(a)).copied().collect::<Vec<_>>());
            }
            Op::Attribute(NumberAttribute::MarketCap) => numbers.push(("market_cap", universe.market_cap())),
            Op::Attribute(NumberAttribute::SharesOutstanding) => {
                numbers.push(("shares_outstanding", universe.shares_outstanding()));
            }
            _ => {}
        }
    }
    let texts = texts.into_iter().map(|attribute| {
        let codes = universe.text(attribute).codes();
        (attribute.name(), population.ids().filter(|id| codes[id.index()] == 0).count())
    });
    let numbers = numbers
        .into_iter()
        .map(|(name, values)| (name, population.ids().filter(|id| values[id.index()].is_nan()).count()));
    let lacking = texts.chain(numbers).filter(|(_, lacking)| *lacking > 0);
    found.extend(lacking.map(|(name, lacking)| covered(name, lacking, population.count(), "")));
    found
}

fn covered(name: &str, lacking: usize, of: usize, then: &str) -> Diagnostic {
    let share = 100.0 * lacking as f64 / of.max(1) as f64;
    let message = format!("{lacking} symbols ({share:.1} %) have no {name}{then}");
    let mut found = Diagnostic::new(Reason::AttributeCoverage, message);
    found.subject = name.to_owned();
    found.count = lacking as u64;
    found
}

/// Attributes that choose the population and that symbols lack, which are therefore not in it.
fn selected(plan: &Plan, snapshot: &Snapshot) -> Vec<Diagnostic> {
    let (selector, universe) = (&plan.universe, &snapshot.universe);
    let chosen = |id: &SymbolId| {
        let named = selector.symbols.is_empty()
            || selector.symbols.iter().any(|symbol| symbol == universe.symbol(*id).as_str());
        named && universe.active()[id.index()]
    };
    let texts = [
        (&selector.sectors, TextAttribute::Sector),
        (&selector.industries, TextAttribute::Industry),
        (&selector.exchanges, TextAttribute::Exchange),
        (&selector.types, TextAttribute::Type),
    ];
    let mut lacking: Vec<(&str, Vec<bool>)> = Vec::new();
    for (_, attribute) in texts.into_iter().filter(|(wanted, _)| !wanted.is_empty()) {
        let codes = universe.text(attribute).codes();
        lacking.push((attribute.name(), codes.iter().map(|code| *code == 0).collect()));
    }
    if selector.min_market_cap.is_some() || selector.max_market_cap.is_some() {
        lacking.push(("market_cap", universe.market_cap().iter().map(|cap| cap.is_nan()).collect()));
    }
    if lacking.is_empty() {
        return Vec::new();
    }
    let chosen: Vec<SymbolId> = universe.ids().filter(chosen).collect();
    let count = |lacks: &[bool]| chosen.iter().filter(|id| lacks[id.index()]).count();
    let counted = lacking.into_iter().map(|(name, lacks)| (name, count(&lacks)));
    let then = "; a condition on it leaves them out";
    counted
        .filter(|(_, lacking)| *lacking > 0)
        .map(|(name, lacking)| covered(name, lacking, chosen.len(), then))
        .collect()
}

/// Symbols that the population is compared with and that have no bars.
pub(crate) fn benchmarks(plan: &Plan, snapshot: &Snapshot) -> Option<Diagnostic> {
    let symbol = plan.benchmarks().next()?;
    let (reason, what) = match snapshot.universe.find(symbol) {
        None => (Reason::SymbolUnknown, "is not in the universe"),
        Some(id) if snapshot.daily.bars(id) == 0 => (Reason::SymbolNoBars, "has no bars"),
        Some(_) => return None,
    };
    let message = format!("the benchmark {symbol} {what}; what compares with it is null");
    let mut found = Diagnostic::new(reason, message).about(Symbol::new(symbol).ok().iter());
    found.subject = symbol.to_string();
    Some(found)
}

/// Why cells are still missing.
pub(crate) fn still_missing(
    snapshot: &Snapshot,
    missing: &Missing,
    filled: Option<&Filled>,
    unserved: &Known,
) -> Vec<Diagnostic> {
    let universe = &snapshot.universe;
    let mut found: Vec<Diagnostic> = unserved.diagnostic(universe, missing).into_iter().collect();
    let missing = &unserved.servable(missing);
    if missing.is_empty() {
        return found;
    }
    let sessions = missing.sessions().len();
    let lacking: Vec<&Symbol> = universe
        .ids()
        .filter(|id| (0..sessions).any(|s| missing.is_missing(*id, s)))
        .map(|id| universe.symbol(id))
        .collect();
    let cells = missing.cells();
    let failures = filled.map_or(&[][..], |f| &f.failures);
    if let Some((ask, error)) = failures.first() {
        let (reason, kind) = match error {
            SourceError::RateLimited { .. } => (Reason::RateBudgetPartial, Kind::Busy),
            _ => (Reason::SymbolFetchFailed, Kind::Upstream),
        };
        let message =
            format!("{} calls failed, {cells} cells are missing; first {ask}: {error}", failures.len());
        let mut diagnostic = Diagnostic::new(reason, message).about(lacking.iter().copied());
        diagnostic.kind = Some(kind);
        found.push(diagnostic);
    } else if filled.is_some_and(|f| f.out_of_time) {
        let message = format!("the deadline came first; {cells} cells are missing");
        let mut diagnostic = Diagnostic::new(Reason::DeadlinePartial, message).about(lacking.iter().copied());
        diagnostic.kind = Some(Kind::Timeout);
        found.push(diagnostic);
    } else {
        let message = format!("{cells} cells are not held, and the call makes no provider call for them");
        found.push(Diagnostic::new(Reason::SymbolNoBars, message).about(lacking.iter().copied()));
    }
    found
}
