//! The planner against exhaustive search on small patterns, and on the patterns that it is made for.

#![expect(clippy::unwrap_used, reason = "literals of the test itself")]

use panscan_core::calendar::Calendar;
use panscan_core::cover::{Call, CostModel, Counts, Cover, Files, Missing, cover};
use panscan_core::symbol::SymbolId;
use panscan_core::time::SessionDate;
use proptest::prelude::*;

/// `count` sessions in a row from the start of 2016.
fn sessions(count: usize) -> Vec<SessionDate> {
    let calendar = Calendar::us_equities();
    calendar.sessions(SessionDate::from_ymd(2016, 1, 1).unwrap(), calendar.last())[..count].to_vec()
}

fn missing(pattern: &[Vec<bool>]) -> Missing {
    let mut missing = Missing::new(pattern.len(), sessions(pattern.first().map_or(0, Vec::len))).unwrap();
    for (symbol, row) in pattern.iter().enumerate() {
        for (session, _) in row.iter().enumerate().filter(|(_, missing)| **missing) {
            missing.mark(SymbolId(symbol as u32), session);
        }
    }
    missing
}

fn covers(call: &Call, symbol: SymbolId, session: SessionDate) -> bool {
    match *call {
        Call::Day(day) | Call::FlatFile(day) => day == session,
        Call::Range { symbol: of, from, to } => of == symbol && (from..=to).contains(&session),
    }
}

fn complete(missing: &Missing, cover: &Cover) -> bool {
    (0..missing.symbols() as u32).map(SymbolId).all(|symbol| {
        (0..missing.sessions().len()).all(|index| {
            !missing.is_missing(symbol, index)
                || cover.calls.iter().any(|call| covers(call, symbol, missing.sessions()[index]))
        })
    })
}

/// (calls, bytes) of fetching these sessions by day and the named symbols over their whole missing span.
fn price(pattern: &[Vec<bool>], model: &CostModel, days: u32, symbols: impl Fn(usize) -> bool) -> (u64, u64) {
    let day = model.bytes_per_call + model.market_rows.unwrap() * model.bytes_per_row;
    let mut price = (u64::from(days.count_ones()), u64::from(days.count_ones()) * day);
    for (_, row) in pattern.iter().enumerate().filter(|(symbol, _)| symbols(*symbol)) {
        let from = row.iter().position(|&missing| missing).unwrap();
        let to = row.iter().rposition(|&missing| missing).unwrap();
        price = (price.0 + 1, price.1 + model.bytes_per_call + (to - from + 1) as u64 * model.bytes_per_row);
    }
    price
}

/// The cheapest of all choices of days, each with the ranges that it then needs.
fn exhaustive(pattern: &[Vec<bool>], model: &CostModel) -> (u64, u64) {
    let width = pattern.first().map_or(0, Vec::len);
    (0..1_u32 << width)
        .map(|days| {
            let left_over = |symbol: usize| (0..width).any(|s| pattern[symbol][s] && days >> s & 1 == 0);
            price(pattern, model, days, left_over)
        })
        .min()
        .unwrap()
}

/// The price of the choice that a cover made.
fn chosen(pattern: &[Vec<bool>], model: &CostModel, cover: &Cover) -> (u64, u64) {
    let all = sessions(pattern.first().map_or(0, Vec::len));
    let mut days = 0;
    let mut symbols = vec![false; pattern.len()];
    for call in &cover.calls {
        match *call {
            Call::Day(day) => days |= 1 << all.iter().position(|&session| session == day).unwrap(),
            Call::FlatFile(_) => unreachable!("no files in this model"),
            Call::Range { symbol, .. } => symbols[symbol.index()] = true,
        }
    }
    price(pattern, model, days, |symbol| symbols[symbol])
}

fn count_days(cover: &Cover) -> usize {
    cover.calls.iter().filter(|call| matches!(call, Call::Day(_))).count()
}

#[test]
fn a_cold_market_is_fetched_by_days_newest_first() {
    let mut missing = Missing::new(5_277, sessions(252)).unwrap();
    (0..252).for_each(|session| missing.mark_session(session));
    let plan = cover(&missing, &CostModel::daily(5_277));
    assert_eq!((plan.calls.len(), count_days(&plan), plan.cells, plan.exact), (252, 252, 5_277 * 252, true));
    assert_eq!(plan.calls[0], Call::Day(sessions(252)[251]));
    assert!(plan.calls.is_sorted_by_key(|call| std::cmp::Reverse(call.newest())));
    // The same, told cell by cell.
    let mut cells = Missing::new(5_277, sessions(252)).unwrap();
    (0..5_277).for_each(|symbol| cells.mark_span(SymbolId(symbol), 0..252));
    assert_eq!(cover(&cells, &CostModel::daily(5_277)), plan);
}

#[test]
fn a_new_session_is_one_call_and_few_symbols_are_one_call_each() {
    let mut new = Missing::new(5_277, sessions(252)).unwrap();
    new.mark_session(251);
    assert_eq!(cover(&new, &CostModel::daily(5_277)).calls, [Call::Day(sessions(252)[251])]);

    let mut few = Missing::new(5, sessions(1_260)).unwrap();
    (0..1_260).for_each(|session| few.mark_session(session));
    let plan = cover(&few, &CostModel::daily(5_277));
    let (from, to) = (sessions(1_260)[0], sessions(1_260)[1_259]);
    let ranges: Vec<Call> = (0..5).map(|symbol| Call::Range { symbol: SymbolId(symbol), from, to }).collect();
    assert_eq!(plan.calls, ranges);

    let mut day = Missing::new(5, sessions(1)).unwrap();
    day.mark_session(0);
    assert_eq!(cover(&day, &CostModel::daily(5_277)).calls, [Call::Day(sessions(1)[0])]);

    // With one symbol both take one call; the range is the smaller answer.
    let mut one = Missing::new(1, sessions(1)).unwrap();
    one.mark_session(0);
    let session = sessions(1)[0];
    let range = Call::Range { symbol: SymbolId(0), from: session, to: session };
    assert_eq!(cover(&one, &CostModel::daily(5_277)).calls, [range]);
}

#[test]
fn days_and_ranges_mix_and_days_shorten_ranges() {
    // All miss the two newest sessions; two new listings miss everything.
    let mut missing = Missing::new(100, sessions(50)).unwrap();
    missing.mark_session(48);
    missing.mark_session(49);
    missing.mark_span(SymbolId(7), 0..50);
    missing.mark_span(SymbolId(9), 10..48);
    let plan = cover(&missing, &CostModel::daily(100));
    let s = sessions(50);
    let range = |symbol, from: usize| Call::Range { symbol: SymbolId(symbol), from: s[from], to: s[47] };
    assert_eq!(plan.calls, [Call::Day(s[49]), Call::Day(s[48]), range(7, 0), range(9, 10)]);
    let model = CostModel::daily(100);
    let rows = 2 * 100 + 48 + 38;
    assert_eq!(plan.bytes, 4 * model.bytes_per_call + rows * model.bytes_per_row);
}

#[test]
fn nothing_missing_takes_no_call() {
    let nothing = Missing::new(5_277, sessions(252)).unwrap();
    assert!(nothing.is_empty());
    assert!(cover(&nothing, &CostModel::daily(5_277)).calls.is_empty());
    let nobody = Missing::new(0, Vec::new()).unwrap();
    assert!(cover(&nobody, &CostModel::daily(5_277)).calls.is_empty());
    let mut unheard = Missing::new(0, sessions(3)).unwrap();
    unheard.mark_session(1);
    assert!(cover(&unheard, &CostModel::daily(5_277)).calls.is_empty());
}

#[test]
fn minute_ranges_are_split_where_a_call_ends_and_skip_gaps() {
    let mut missing = Missing::new(1, sessions(120)).unwrap();
    // 52 sessions of 960 minutes fit a call: 60 in a row take two, and a lone old one its own.
    missing.mark_span(SymbolId(0), 60..120);
    missing.mark(SymbolId(0), 0);
    let plan = cover(&missing, &CostModel::minute());
    let s = sessions(120);
    let range = |from: usize, to: usize| Call::Range { symbol: SymbolId(0), from: s[from], to: s[to] };
    assert_eq!(plan.calls, [range(68, 119), range(60, 67), range(0, 0)]);
    assert_eq!((plan.requests, plan.cells), (3, 61));
}

#[test]
fn spans_count_the_sessions_that_are_not_listed() {
    // Only two sessions listed, but a year apart: one call cannot span them.
    let year = sessions(252);
    let mut missing = Missing::new(1, vec![year[0], year[251]]).unwrap();
    missing.mark_span(SymbolId(0), 0..2);
    assert_eq!(cover(&missing, &CostModel::minute()).calls.len(), 2);
}

#[test]
fn tangled_patterns_of_a_whole_market_stay_exact() {
    // Every symbol misses its own 40 % of 500 sessions: nothing groups, and days are best.
    let mut missing = Missing::new(6_000, sessions(500)).unwrap();
    let mut state = 1_u64;
    for symbol in 0..6_000 {
        for session in 0..500 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            if state >> 33 & 1023 < 410 {
                missing.mark(SymbolId(symbol), session);
            }
        }
    }
    let plan = cover(&missing, &CostModel::daily(6_000));
    assert!(plan.exact);
    assert_eq!(plan.calls.len(), 500);
    // Sparse and square, where neither side is the obvious one.
    let mut missing = Missing::new(600, sessions(600)).unwrap();
    for _ in 0..1_500 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        missing.mark(SymbolId((state >> 33) as u32 % 600), (state >> 45) as usize % 600);
    }
    let plan = cover(&missing, &CostModel::daily(600));
    assert!(plan.exact && plan.calls.len() < 600 && complete(&missing, &plan));
    assert!(0 < count_days(&plan) && count_days(&plan) < plan.calls.len());
}

/// Files of the sessions `from` to `to` by index, weighed by calls alone.
fn files(from: usize, to: usize, bytes: u64) -> Files {
    let all = sessions(to + 1);
    Files { from: all[from], to: all[to], bytes, worth: u64::MAX }
}

#[test]
fn files_spare_calls_where_they_serve() {
    let mut missing = Missing::new(500, sessions(20)).unwrap();
    (0..20).for_each(|session| missing.mark_session(session));
    // The file of the newest session is not there yet: ranges of that session only, 500 calls.
    let model = CostModel::minute().with_files(files(0, 18, 2_000_000));
    let plan = cover(&missing, &model);
    // The ranges have to be made anyway and could reach back in the same calls; the files are fewer bytes.
    assert_eq!((plan.count(), plan.requests), (Counts { ranges: 500, days: 0, files: 19 }, 500));
    let large = CostModel::minute().with_files(files(0, 18, 60_000_000));
    assert_eq!(cover(&missing, &large).count(), Counts { ranges: 500, days: 0, files: 0 });
    let whole = cover(&missing, &CostModel::minute().with_files(files(0, 19, 2_000_000)));
    assert_eq!((whole.count(), whole.requests), (Counts { files: 20, days: 0, ranges: 0 }, 0));
    assert_eq!((whole.bytes, whole.cells), (40_000_000, 10_000));
    assert_eq!(whole.calls[0], Call::FlatFile(sessions(20)[19]));
    // Bars without vwap do not serve who needs it.
    let needy = cover(&missing, &CostModel { needs_vwap: true, ..model });
    assert_eq!(needy, cover(&missing, &CostModel::minute()));
}

#[test]
fn files_shorten_long_histories_and_are_weighed_against_the_calls_they_spare() {
    let mut missing = Missing::new(500, sessions(200)).unwrap();
    (0..200).for_each(|session| missing.mark_session(session));
    let files = files(0, 198, 2_000_000);
    // Four calls a symbol alone; with files only the newest session is left.
    let plan = cover(&missing, &CostModel::minute().with_files(files));
    assert_eq!((plan.count(), plan.requests), (Counts { files: 199, ranges: 500, days: 0 }, 500));
    assert!(complete(&missing, &plan));
    let mut one = Missing::new(500, sessions(200)).unwrap();
    one.mark_span(SymbolId(3), 0..199);
    let weighed = Files { worth: Files::WORTH, ..files };
    let plan = cover(&one, &CostModel::minute().with_files(weighed));
    assert_eq!(plan.count(), Counts { ranges: 4, days: 0, files: 0 }, "199 files for four calls");
    assert_eq!(cover(&one, &CostModel::minute().with_files(files)).requests, 0);
    // Grouped days hold a vwap and daily files do not: they join only where that is allowed.
    let allowed = cover(&missing, &CostModel::daily(500).with_files(Files { bytes: 11_000, ..files }));
    assert_eq!((allowed.count(), allowed.requests), (Counts { files: 199, days: 1, ranges: 0 }, 1));
}

#[test]
fn unordered_sessions_are_refused() {
    let mut twice = sessions(2);
    twice[1] = twice[0];
    assert!(Missing::new(1, twice).is_err());
}

/// A pattern of up to `symbols` x `width` cells, as dense as it comes.
fn pattern(symbols: usize, width: usize) -> impl Strategy<Value = Vec<Vec<bool>>> {
    (1..=symbols, 1..=width, 0.05..1.0_f64).prop_flat_map(|(symbols, width, density)| {
        let row = proptest::collection::vec(proptest::bool::weighted(density), width);
        proptest::collection::vec(row, symbols)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn small_patterns_cost_what_exhaustive_search_finds(
        pattern in pattern(4, 5),
        market_rows in 1_u64..50,
        bytes_per_call in 0_u64..2_000,
    ) {
        let model = CostModel { bytes_per_call, ..CostModel::daily(market_rows) };
        let missing = missing(&pattern);
        let plan = cover(&missing, &model);
        prop_assert!(plan.exact && complete(&missing, &plan));
        let best = exhaustive(&pattern, &model);
        prop_assert_eq!(plan.calls.len() as u64, best.0);
        prop_assert_eq!(chosen(&pattern, &model, &plan), best);
        prop_assert!(plan.bytes <= best.1);
    }

    #[test]
    fn small_patterns_with_files_cost_what_exhaustive_search_finds(
        pattern in pattern(4, 5),
        market_rows in 1_u64..50,
        bytes in 0_u64..5_000,
        span in (0_usize..5, 0_usize..5),
    ) {
        let width = pattern[0].len();
        let (from, to) = (span.0.min(span.1), span.0.max(span.1));
        let model = CostModel::daily(market_rows).with_files(files(from, to, bytes));
        let missing = missing(&pattern);
        let plan = cover(&missing, &model);
        prop_assert!(plan.exact && complete(&missing, &plan));
        let with = |taken: u32| {
            let left: Vec<Vec<bool>> =
                pattern.iter().map(|row| (0..width).map(|s| row[s] && taken >> s & 1 == 0).collect()).collect();
            let (calls, more) = exhaustive(&left, &model);
            (calls, more + u64::from(taken.count_ones()) * bytes)
        };
        let offered = (0..1_u32 << width).filter(|t| (0..width).all(|s| t >> s & 1 == 0 || (from <= s && s <= to)));
        let best = offered.map(with).min().unwrap();
        prop_assert_eq!(plan.requests, best.0);
        prop_assert!(plan.bytes <= best.1, "{} above {}", plan.bytes, best.1);
        for call in &plan.calls {
            if let Call::FlatFile(session) = call {
                let at = missing.sessions().iter().position(|s| s == session).unwrap();
                prop_assert!((from..=to).contains(&at) && pattern.iter().any(|row| row[at]));
            }
        }
    }

    #[test]
    fn covers_are_complete_newest_first_and_beat_the_plain_choices(
        pattern in pattern(30, 40),
        market_rows in 1_u64..100,
        bars_per_call in 1_u32..60,
        whole in proptest::collection::vec(0_usize..40, 0..4),
    ) {
        let model = CostModel { bars_per_call, ..CostModel::daily(market_rows) };
        let mut missing = missing(&pattern);
        let width = missing.sessions().len();
        whole.iter().filter(|&&session| session < width).for_each(|&session| missing.mark_session(session));
        let plan = cover(&missing, &model);
        prop_assert!(plan.exact && complete(&missing, &plan));
        prop_assert!(plan.calls.is_sorted_by_key(|call| std::cmp::Reverse(call.newest())));
        prop_assert_eq!(plan.requests, plan.calls.len() as u64);
        let holes = |index: usize| (0..missing.symbols() as u32).any(|s| missing.is_missing(SymbolId(s), index));
        let days = (0..width).filter(|&index| holes(index)).count() as u64;
        let day_bytes = model.bytes_per_call + market_rows * model.bytes_per_row;
        prop_assert!((plan.requests, plan.bytes) <= (days, days * day_bytes));
        let ranges = cover(&missing, &CostModel { market_rows: None, ..model });
        prop_assert!(complete(&missing, &ranges) && count_days(&ranges) == 0);
        prop_assert!((plan.requests, plan.bytes) <= (ranges.requests, ranges.bytes));
        let cells = (0..missing.symbols() as u32)
            .map(|symbol| (0..width).filter(|&index| missing.is_missing(SymbolId(symbol), index)).count())
            .sum::<usize>();
        prop_assert_eq!(plan.cells, cells as u64);
        // Every call is needed: each range starts and ends on a missing cell, each day holds one.
        for call in &plan.calls {
            match *call {
                Call::FlatFile(_) => prop_assert!(false, "no files in this model"),
                Call::Day(day) => prop_assert!((0..width).any(|i| missing.sessions()[i] == day && holes(i))),
                Call::Range { symbol, from, to } => {
                    let at = |date| missing.sessions().iter().position(|&session| session == date).unwrap();
                    prop_assert!(missing.is_missing(symbol, at(from)) && missing.is_missing(symbol, at(to)));
                }
            }
        }
    }
}
