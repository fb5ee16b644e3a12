//! Suspicions about a whole panel: the same measures, symbol by symbol, with the many that cannot be suspicious set
//! aside by a comparison each.

use super::{DAYS_MIN, RATIO, VolumeSpike, unlisted_split, volume_spike};
use crate::bar::{Bar, Field};
use crate::block::WIDTH;
use crate::panel::{Panel, Splits, Tile};
use crate::symbol::SymbolId;
use crate::time::SessionDate;
use crate::universe::Universe;

/// Days before a day that its volume is measured by.
const USUAL: usize = 30;
/// A step of the price from one session's close to the next one's open that no split of whole numbers explains lies
/// between these.
const ORDINARY: std::ops::Range<f64> = 0.7..1.8;

/// A step of the price that a split would explain, where none is listed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cliff {
    /// Whose price.
    pub symbol: SymbolId,
    /// First session after the step.
    pub session: SessionDate,
    /// Shares before, and after, that would explain it.
    pub ratio: (f64, f64),
}

/// The symbols whose volume in the newest session of `panel`, adjusted for splits, looks counted twice or more.
#[must_use]
pub fn volume_spikes(panel: &Panel) -> Vec<(SymbolId, VolumeSpike)> {
    let Some(newest) = panel.sessions().len().checked_sub(1) else { return Vec::new() };
    let mut found = Vec::new();
    let mut earlier = Vec::with_capacity(USUAL);
    for (id, tile, lane) in lanes(panel) {
        let (rows, bars) = (tile.rows(), tile.bars()[lane] as usize);
        if bars <= DAYS_MIN || usize::from(tile.session()[(rows - 1) * WIDTH + lane]) != newest {
            continue;
        }
        let first = rows - bars.min(USUAL + 1);
        let volume = tile.field(Field::Volume);
        let least = volume[(rows - 1) * WIDTH + lane] / RATIO;
        let below = (first..rows - 1).filter(|row| volume[row * WIDTH + lane] <= least).count();
        if below * 2 < rows - 1 - first {
            continue;
        }
        earlier.clear();
        earlier.extend((first..rows - 1).filter_map(|row| bar(tile, lane, row)));
        let spike = bar(tile, lane, rows - 1).and_then(|day| volume_spike(&earlier, &day));
        found.extend(spike.map(|spike| (id, spike)));
    }
    found
}

/// The steps from one session to the next of raw bars that a split would explain and no listed one does.
#[must_use]
pub fn cliffs(raw: &Panel, universe: &Universe, splits: &Splits) -> Vec<Cliff> {
    let mut found = Vec::new();
    let Some(last) = raw.sessions().last() else { return found };
    let mut steps = Vec::new();
    for (index, tile) in raw.tiles().iter().enumerate() {
        steps.clear();
        unordinary(tile, &mut steps);
        for (row, lane) in steps.iter().copied() {
            let id = SymbolId((index * WIDTH + lane) as u32);
            let (before, after) = ((row - 1) * WIDTH + lane, row * WIDTH + lane);
            let (held, next) = (usize::from(tile.session()[before]), usize::from(tile.session()[after]));
            let (Some(earlier), Some(later)) = (bar(tile, lane, row - 1), bar(tile, lane, row)) else {
                continue;
            };
            let Some(ratio) = unlisted_split(&earlier, &later).filter(|_| next == held + 1) else { continue };
            let (from, session) = (raw.sessions()[held], raw.sessions()[next]);
            let symbol = universe.symbol(id).as_str();
            let mut listed = splits.until(symbol, *last).iter();
            if !listed.any(|(execution, _)| *execution > from && *execution <= session) {
                found.push(Cliff { symbol: id, session, ratio });
            }
        }
    }
    found.sort_by_key(|cliff| (cliff.symbol, cliff.session));
    found
}

/// Row and lane of every step that may be more than ordinary. Whole rows are compared at once, as they lie: one lane
/// after the other would fetch each cache line eight times.
fn unordinary(tile: &Tile, steps: &mut Vec<(usize, usize)>) {
    let (open, close) = (tile.field(Field::Open), tile.field(Field::Close));
    let (opens, closes) = (open.as_chunks::<WIDTH>().0, close.as_chunks::<WIDTH>().0);
    for (row, (open, close)) in opens.iter().skip(1).zip(closes).enumerate() {
        // A little wider than what is ordinary, because a product is not rounded as a ratio is; null is no step.
        let odd = |open: f64, close: f64| {
            (open < close * (ORDINARY.start + 1e-9)) | (open > close * (ORDINARY.end - 1e-9))
        };
        let any = open.iter().zip(close).fold(false, |any, (open, close)| any | odd(*open, *close));
        if any {
            let lanes = (0..WIDTH).filter(|lane| !ORDINARY.contains(&(open[*lane] / close[*lane])));
            steps.extend(lanes.filter(|lane| odd(open[*lane], close[*lane])).map(|lane| (row + 1, lane)));
        }
    }
}

/// Every symbol with its tile and lane.
fn lanes(panel: &Panel) -> impl Iterator<Item = (SymbolId, &Tile, usize)> {
    let tile = |symbol: usize| (SymbolId(symbol as u32), &*panel.tiles()[symbol / WIDTH], symbol % WIDTH);
    (0..panel.symbols()).map(tile)
}

fn bar(tile: &Tile, lane: usize, row: usize) -> Option<Bar> {
    Bar::new(Field::ALL.map(|field| tile.field(field)[row * WIDTH + lane])).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::{BarKey, BlockBuilder, Provenance};
    use crate::panel::Split;
    use crate::symbol::Symbol;
    use crate::time::{Timeframe, Timestamp};
    use crate::universe::Listing;

    fn day(n: usize) -> SessionDate {
        SessionDate::from_days(20_000 + n as i32)
    }

    /// `TWICE` trades twice its volume on the last of 40 days, `CLIFF` falls to a third on day 20, `CALM` does nothing
    /// and `NEWS` doubles in price on all that volume.
    fn panel(splits: &Splits) -> (Universe, Panel, Panel) {
        let names = ["CALM", "CLIFF", "NEWS", "TWICE"];
        let listings = names.map(|name| Listing::new(Symbol::new(name).unwrap()));
        let universe = Universe::new("default", 1, Timestamp::default(), listings);
        let mut builder = BlockBuilder::new(Timeframe::Day);
        for n in 0..40 {
            for name in names {
                let price = match name {
                    "CLIFF" if n >= 20 => 20.0,
                    "NEWS" if n == 39 => 66.0,
                    _ => 60.0,
                };
                let shares = 1.0e6 * f64::exp(f64::from(n * 7 % 11) * 0.06 - 0.3);
                let volume = match name {
                    "CLIFF" if n >= 20 => 3.0 * shares,
                    "NEWS" | "TWICE" if n == 39 => 2.1 * shares,
                    _ => shares,
                };
                let spread = if name == "NEWS" && n == 39 { 1.1 } else { 1.01 };
                let values = [price, price * spread, price / spread, price, volume, f64::NAN, f64::NAN];
                builder.push(name, BarKey(i64::from(20_000 + n)), values);
            }
        }
        let provenance = Provenance { provider: "test".into(), fetched_at: Timestamp::default() };
        let sessions: Vec<SessionDate> = (0..40).map(day).collect();
        let blocks = [builder.finish(None, None, provenance).0];
        let (adjusted, raw) = Panel::build(&universe, &sessions, &blocks, splits, 1);
        (universe, adjusted, raw)
    }

    #[test]
    fn the_newest_volume_of_every_symbol_is_looked_at() {
        let (universe, adjusted, _) = panel(&Splits::default());
        let found = volume_spikes(&adjusted);
        let names: Vec<&str> = found.iter().map(|(id, _)| universe.symbol(*id).as_str()).collect();
        assert_eq!(names, ["TWICE"]);
        assert!((1.8..3.0).contains(&found[0].1.ratio), "{found:?}");
    }

    #[test]
    fn a_cliff_is_found_unless_a_split_is_listed_there() {
        let (universe, _, raw) = panel(&Splits::default());
        let found = cliffs(&raw, &universe, &Splits::default());
        assert_eq!(found, [Cliff { symbol: SymbolId(1), session: day(20), ratio: (1.0, 3.0) }]);
        let split =
            |execution| Split { symbol: Symbol::new("CLIFF").unwrap(), execution, from: 1.0, to: 3.0 };
        assert_eq!(cliffs(&raw, &universe, &Splits::new(&[split(day(20))])), []);
        assert_eq!(cliffs(&raw, &universe, &Splits::new(&[split(day(19))])).len(), 1);
    }
}
