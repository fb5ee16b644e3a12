//! The fetch planner: which provider calls cover the missing (symbol, session) cells.
//!
//! Two kinds of call count against the rate limit: one day of the whole market, and a span of one symbol. Choosing
//! among them is a minimum weight vertex cover of the bipartite graph whose edges are the missing cells, solved
//! here by a minimum cut. Files of whole sessions, which do not count, join the choice in [`file`]. Not here: making the calls, their order against other work, and how long they take under a
//! limit (that is [`WindowLog::estimated_time`](crate::limit::WindowLog::estimated_time)).

mod file;
mod graph;
mod missing;

use std::collections::HashMap;

pub use self::file::Files;
use self::graph::Graph;
pub use self::missing::Missing;
use self::missing::ones;
use crate::calendar::Calendar;
use crate::symbol::SymbolId;
use crate::time::SessionDate;

/// Words of bitsets that a plan may visit before it settles for a good cover instead of the best: some tenths of
/// a second. All patterns seen in practice need a thousandth of it; see [`Cover::exact`].
const EFFORT: u64 = 200_000_000;

/// One provider call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Call {
    /// The daily bars of the whole market on one session.
    Day(SessionDate),
    /// The published file of one session, which counts against no rate limit.
    FlatFile(SessionDate),
    /// The bars of one symbol from `from` to `to`, both included.
    Range {
        /// Whose bars.
        symbol: SymbolId,
        /// The oldest session asked for.
        from: SessionDate,
        /// The newest session asked for.
        to: SessionDate,
    },
}

impl Call {
    /// The newest session that the call asks for.
    #[must_use]
    pub fn newest(&self) -> SessionDate {
        match *self {
            Self::Day(session) | Self::FlatFile(session) => session,
            Self::Range { to, .. } => to,
        }
    }
}

/// What calls cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CostModel {
    /// Bytes of an answer without rows, headers included.
    pub bytes_per_call: u64,
    /// Bytes of one row of an answer.
    pub bytes_per_row: u64,
    /// Rows of a market day; `None` where the provider has no such call for this timespan.
    pub market_rows: Option<u64>,
    /// Base bars that a range call reads for one session of one symbol: 1 for daily bars.
    pub bars_per_session: u32,
    /// Base bars that one range call may read.
    pub bars_per_call: u32,
    /// Whether the bars must have a vwap. Those of files have none, so that files then serve nothing.
    pub needs_vwap: bool,
    /// Which files there are.
    pub files: Option<Files>,
}

impl CostModel {
    /// Daily bars of a market of `market_rows` symbols, from a provider that has both kinds of call.
    #[must_use]
    pub const fn daily(market_rows: u64) -> Self {
        Self {
            bytes_per_call: 400,
            bytes_per_row: 100,
            market_rows: Some(market_rows),
            bars_per_session: 1,
            bars_per_call: 50_000,
            needs_vwap: true,
            files: None,
        }
    }

    /// Minute bars, 960 in a session with its extended hours; they come by symbol only.
    #[must_use]
    pub const fn minute() -> Self {
        Self {
            bytes_per_call: 400,
            bytes_per_row: 100,
            market_rows: None,
            bars_per_session: 960,
            bars_per_call: 50_000,
            needs_vwap: true,
            files: None,
        }
    }

    /// The same, for bars that may lack a vwap and with these files to choose among.
    #[must_use]
    pub const fn with_files(self, files: Files) -> Self {
        Self { needs_vwap: false, files: Some(files), ..self }
    }

    /// Sessions that one range call can span.
    fn sessions_per_call(&self) -> u64 {
        u64::from(self.bars_per_call / self.bars_per_session.max(1)).max(1)
    }

    fn day(&self, market_rows: u64) -> Cost {
        Cost { calls: 1, bytes: self.bytes_per_call + market_rows * self.bytes_per_row }
    }

    fn range(&self, sessions: u64) -> Cost {
        let rows = sessions * u64::from(self.bars_per_session);
        // A session too large for one call is paged.
        let calls = rows.div_ceil(u64::from(self.bars_per_call.max(1))).max(1);
        Cost { calls, bytes: calls * self.bytes_per_call + rows * self.bytes_per_row }
    }
}

/// Calls first, then bytes: the order of the derive is the order of the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
struct Cost {
    calls: u64,
    bytes: u64,
}

impl Cost {
    fn add(&mut self, other: Self, times: u64) {
        self.calls += other.calls * times;
        self.bytes += other.bytes * times;
    }
}

/// The calls to make and what they will cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cover {
    /// Newest first, by the newest session of each; a market day before ranges that end on it.
    pub calls: Vec<Call>,
    /// Requests that count against the rate limit: files take none, and a call more than one only where a single
    /// session exceeds it and is paged.
    pub requests: u64,
    /// Estimated bytes of all answers.
    pub bytes: u64,
    /// Missing cells that are covered: all of them.
    pub cells: u64,
    /// Whether no cover has fewer calls (and, of those, fewer bytes, a range being charged from the oldest to the
    /// newest missing cell of its symbol, before market days shorten it). False only when the pattern was
    /// so tangled that the search reached its bound (200 million words of bitsets, some tenths of a second): then
    /// the cover is still complete and no worse than days alone or ranges alone.
    pub exact: bool,
}

impl Cover {
    /// How many of its calls are of each kind.
    #[must_use]
    pub fn count(&self) -> Counts {
        let mut counts = Counts::default();
        for call in &self.calls {
            match call {
                Call::Day(_) => counts.days += 1,
                Call::FlatFile(_) => counts.files += 1,
                Call::Range { .. } => counts.ranges += 1,
            }
        }
        counts
    }
}

/// Calls of a cover by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Whole sessions.
    pub days: u64,
    /// Spans of one symbol.
    pub ranges: u64,
    /// Files.
    pub files: u64,
}

/// Finds the calls that cover all of `missing`: fewest that count against the rate limit, then fewest bytes, files
/// joining where a spared call is worth their bytes ([`Files::worth`]).
///
/// Symbols that miss the same sessions are one vertex, and so are sessions that the same symbols miss, which makes
/// the usual patterns (everything, one new day, a few new symbols) a matter of microseconds. A range is contiguous:
/// it spans from the newest to the oldest missing cell that no market day covers, and so fetches again what is held
/// in between, but nothing outside; where a call cannot span that much it is split, and the gaps are left out.
#[must_use]
pub fn cover(missing: &Missing, model: &CostModel) -> Cover {
    let plain = cover_within(missing, model, EFFORT);
    match model.files {
        Some(files) if !model.needs_vwap => file::join(missing, model, &files, plain),
        _ => plain,
    }
}

fn cover_within(missing: &Missing, model: &CostModel, effort: u64) -> Cover {
    let plan = Plan::new(missing, model);
    let (days, ranged, exact) = plan.choose(effort);
    plan.calls(&days, &ranged, exact)
}

/// Symbols that miss the same sessions.
struct Group {
    /// One bit per session.
    row: Vec<u64>,
    symbols: Vec<SymbolId>,
}

struct Plan<'a> {
    missing: &'a Missing,
    model: &'a CostModel,
    groups: Vec<Group>,
    /// Position of each session among all sessions of the exchange, so that a span counts those not listed too.
    positions: Vec<u64>,
}

impl<'a> Plan<'a> {
    fn new(missing: &'a Missing, model: &'a CostModel) -> Self {
        let mut groups: Vec<Group> = Vec::new();
        let mut by_row: HashMap<Vec<u64>, usize> = HashMap::new();
        // Symbols without cells of their own miss the whole sessions only.
        let mut plain: Option<usize> = None;
        for symbol in (0..missing.symbols() as u32).map(SymbolId) {
            let index = match (missing.own(symbol), plain) {
                (None, Some(index)) => index,
                (own, _) => {
                    let row = missing.row(symbol);
                    let index = *by_row.entry(row).or_insert_with_key(|row| {
                        groups.push(Group { row: row.clone(), symbols: Vec::new() });
                        groups.len() - 1
                    });
                    if own.is_none() {
                        plain = Some(index);
                    }
                    index
                }
            };
            groups[index].symbols.push(symbol);
        }
        groups.retain(|group| group.row.iter().any(|&word| word != 0));
        let calendar = Calendar::us_equities();
        let mut positions = Vec::with_capacity(missing.sessions().len());
        let mut position = 0;
        for pair in std::iter::once(None).chain(missing.sessions().windows(2).map(Some)) {
            if let Some(pair) = pair {
                // At least one apart, also for dates that the calendar does not know.
                position += (calendar.count(pair[0], pair[1]) as u64).saturating_sub(1).max(1);
            }
            positions.push(position);
        }
        Self { missing, model, groups, positions }
    }

    /// Which sessions are fetched by day (bits), which groups by range, and whether that is the best choice.
    fn choose(&self, effort: u64) -> (Vec<u64>, Vec<bool>, bool) {
        let mut days = vec![0_u64; self.missing.words()];
        let Some(market_rows) = self.model.market_rows else {
            return (days, vec![true; self.groups.len()], true);
        };
        let columns = self.columns();
        let right: Vec<Cost> = self
            .groups
            .iter()
            .map(|group| {
                let mut cost = Cost::default();
                let symbols = group.symbols.len() as u64;
                self.segments(&group.row, |from, to| cost.add(self.span_cost(from, to), symbols));
                cost
            })
            .collect();
        let left: Vec<Cost> = columns
            .iter()
            .map(|column| {
                let mut cost = Cost::default();
                cost.add(self.model.day(market_rows), column.sessions.len() as u64);
                cost
            })
            .collect();
        // One call outweighs all bytes there are.
        let bytes: u128 = left.iter().chain(&right).map(|cost| u128::from(cost.bytes)).sum();
        let weight = |cost: &Cost| u128::from(cost.calls) * (bytes + 1) + u128::from(cost.bytes);
        let graph = Graph::new(
            columns.iter().map(|column| column.groups.as_slice()),
            left.iter().map(weight).collect(),
            right.iter().map(weight).collect(),
        );
        let chosen = graph.cover(effort);
        for (column, _) in columns.iter().zip(&chosen.left).filter(|(_, chosen)| **chosen) {
            for &session in &column.sessions {
                days[session / 64] |= 1 << (session % 64);
            }
        }
        (days, chosen.right, chosen.exact)
    }

    /// Sessions that the same groups miss, with one bit per group; sessions that none misses are left out.
    fn columns(&self) -> Vec<Column> {
        let words = self.groups.len().div_ceil(64);
        let mut bits = vec![0_u64; self.missing.sessions().len() * words];
        for (index, group) in self.groups.iter().enumerate() {
            for session in ones(&group.row) {
                bits[session * words + index / 64] |= 1 << (index % 64);
            }
        }
        let mut columns: Vec<Column> = Vec::new();
        let mut by_bits: HashMap<&[u64], usize> = HashMap::new();
        for (session, groups) in bits.chunks_exact(words.max(1)).enumerate() {
            if groups.iter().all(|&word| word == 0) {
                continue;
            }
            let index = *by_bits.entry(groups).or_insert_with(|| {
                columns.push(Column { groups: groups.to_vec(), sessions: Vec::new() });
                columns.len() - 1
            });
            columns[index].sessions.push(session);
        }
        columns
    }

    /// The fewest spans that hold all of `row` and fit a call each, newest first. Starting each at the newest cell
    /// that is still uncovered is optimal: no other choice reaches farther back.
    fn segments(&self, row: &[u64], mut span: impl FnMut(usize, usize)) {
        let fits = self.model.sessions_per_call();
        let mut open: Option<(usize, usize)> = None;
        for session in ones(row).rev() {
            open = match open {
                Some((_, to)) if self.positions[to] - self.positions[session] < fits => Some((session, to)),
                other => {
                    if let Some((from, to)) = other {
                        span(from, to);
                    }
                    Some((session, session))
                }
            };
        }
        if let Some((from, to)) = open {
            span(from, to);
        }
    }

    fn span_cost(&self, from: usize, to: usize) -> Cost {
        self.model.range(self.positions[to] - self.positions[from] + 1)
    }

    fn calls(&self, days: &[u64], ranged: &[bool], exact: bool) -> Cover {
        let sessions = self.missing.sessions();
        let mut calls = Vec::new();
        let mut cost = Cost::default();
        for day in ones(days) {
            calls.push(Call::Day(sessions[day]));
            cost.add(self.model.day(self.model.market_rows.unwrap_or(0)), 1);
        }
        for (group, _) in self.groups.iter().zip(ranged).filter(|(_, ranged)| **ranged) {
            let rest: Vec<u64> = group.row.iter().zip(days).map(|(row, days)| row & !days).collect();
            self.segments(&rest, |from, to| {
                cost.add(self.span_cost(from, to), group.symbols.len() as u64);
                let (from, to) = (sessions[from], sessions[to]);
                calls.extend(group.symbols.iter().map(|&symbol| Call::Range { symbol, from, to }));
            });
        }
        sort(&mut calls);
        Cover { calls, requests: cost.calls, bytes: cost.bytes, cells: self.missing.cells(), exact }
    }
}

/// Newest first; what serves the whole market before ranges that end with it.
fn sort(calls: &mut [Call]) {
    calls.sort_by_key(|call| {
        let symbol = match call {
            Call::Day(_) | Call::FlatFile(_) => None,
            Call::Range { symbol, .. } => Some(*symbol),
        };
        (std::cmp::Reverse(call.newest()), symbol)
    });
}

/// Sessions that the same groups miss.
struct Column {
    /// One bit per group.
    groups: Vec<u64>,
    /// Their indices.
    sessions: Vec<usize>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_cut_short_still_covers_and_beats_the_plain_choices() {
        // Every symbol misses its own scattered days, so that nothing groups.
        let sessions: Vec<SessionDate> = (0..40).map(SessionDate::from_days).collect();
        let mut missing = Missing::new(60, sessions.clone()).unwrap();
        let mut state = 7_u32;
        for symbol in 0..60 {
            for session in 0..40 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                if state >> 28 == 0 {
                    missing.mark(SymbolId(symbol), session);
                }
            }
        }
        let model = CostModel::daily(60);
        let best = cover(&missing, &model);
        let quick = cover_within(&missing, &model, 0);
        assert!(best.exact && !quick.exact);
        assert!(best.calls.len() <= quick.calls.len() && quick.calls.len() <= 40);
        for (symbol, index) in (0..60).flat_map(|s| (0..40).map(move |i| (SymbolId(s), i))) {
            let covered = quick.calls.iter().any(|call| match *call {
                Call::Day(day) | Call::FlatFile(day) => day == sessions[index],
                Call::Range { symbol: of, from, to } => {
                    of == symbol && (from..=to).contains(&sessions[index])
                }
            });
            assert!(covered || !missing.is_missing(symbol, index));
        }
    }
}
