//! The structured prefilter: which symbols of a snapshot a scan looks at. Arithmetic over columns; texts are
//! compared once per dictionary entry and never per symbol. Not here: the filter expression.

use std::collections::HashSet;

use crate::bar::Field;
use crate::block::WIDTH;
use crate::named::is_default;
use crate::panel::{Panel, Tile};
use crate::scan::UniverseSelector;
use crate::snapshot::Snapshot;
use crate::time::SessionDate;
use crate::universe::{Population, TextAttribute, TextColumn, Universe};

/// Bars over which dollar volume is averaged.
pub(crate) const DOLLAR_VOLUME_BARS: usize = 20;

/// Who takes part in a scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// One flag per symbol of the snapshot's universe.
    pub population: Population,
    /// Symbols asked for by name that the universe does not have, each once, in the order of the request.
    pub unknown_symbols: Vec<String>,
}

/// Applies every condition of `selector` to the symbols of `snapshot`. A symbol of which a condition's value is
/// not known does not meet it.
///
/// Prices are those of the newest bar, dollar volume is the mean of close times volume over the newest 20 bars
/// (fewer where there are fewer).
#[must_use]
pub fn select(selector: &UniverseSelector, snapshot: &Snapshot) -> Selection {
    let named = Named::new(selector, &snapshot.universe);
    let closes = || {
        per_lane(&snapshot.daily, |tile, out| {
            if let Some(last) = tile.field(Field::Close).rchunks_exact(WIDTH).next() {
                out.copy_from_slice(last);
            }
        })
    };
    let volumes = || per_lane(&snapshot.daily, dollar_volume);
    let mut population = named.narrowed(selector, &snapshot.universe, snapshot.newest(), closes, volumes);
    if !is_default(&selector.universe) {
        let mut members = population.members().to_vec();
        match snapshot.named.members(&selector.universe, snapshot) {
            Some(named) => keep(&mut members, named.iter().copied()),
            None => members.fill(false),
        }
        population = Population::new(members);
    }
    Selection { population, unknown_symbols: named.unknown_symbols }
}

/// Whether a selector looks at prices, and whether at dollar volume.
#[must_use]
pub fn reads_bars(selector: &UniverseSelector) -> (bool, bool) {
    (selector.min_price.is_some() || selector.max_price.is_some(), selector.min_dollar_volume.is_some())
}

/// Who passes the conditions that do not change from session to session.
#[derive(Debug, Clone)]
pub struct Named {
    members: Vec<bool>,
    /// Symbols asked for by name that the universe does not have, each once, in the order of the request.
    pub unknown_symbols: Vec<String>,
}

impl Named {
    /// Applies names and texts.
    #[must_use]
    pub fn new(selector: &UniverseSelector, universe: &Universe) -> Self {
        let mut unknown_symbols = Vec::new();
        let mut members = vec![true; universe.len()];
        if !selector.symbols.is_empty() {
            members.fill(false);
            let mut seen = HashSet::new();
            for symbol in &selector.symbols {
                match universe.find(symbol) {
                    Some(id) => members[id.index()] = true,
                    None if seen.insert(symbol) => unknown_symbols.push(symbol.clone()),
                    None => {}
                }
            }
        }
        for id in selector.exclude_symbols.iter().filter_map(|symbol| universe.find(symbol)) {
            members[id.index()] = false;
        }
        let texts = [
            (&selector.sectors, TextAttribute::Sector),
            (&selector.industries, TextAttribute::Industry),
            (&selector.exchanges, TextAttribute::Exchange),
            (&selector.types, TextAttribute::Type),
        ];
        for (wanted, attribute) in texts.into_iter().filter(|(wanted, _)| !wanted.is_empty()) {
            keep_texts(&mut members, universe.text(attribute), wanted);
        }
        Self { members, unknown_symbols }
    }

    /// One flag per symbol: whether it can take part at all.
    #[must_use]
    pub fn members(&self) -> &[bool] {
        &self.members
    }

    /// Applies what changes from session to session: who is listed, what they are worth and cost. `closes` and
    /// `volumes` are asked for where the selector [looks at them](reads_bars).
    #[must_use]
    pub fn narrowed(
        &self,
        selector: &UniverseSelector,
        universe: &Universe,
        newest: Option<SessionDate>,
        closes: impl FnOnce() -> Vec<f64>,
        volumes: impl FnOnce() -> Vec<f64>,
    ) -> Population {
        let mut members = listed(selector, universe, newest);
        keep(&mut members, self.members.iter().copied());
        keep_between(&mut members, universe.market_cap(), selector.min_market_cap, selector.max_market_cap);
        let (prices, dollars) = reads_bars(selector);
        if prices {
            keep_between(&mut members, &closes(), selector.min_price, selector.max_price);
        }
        if dollars {
            keep_between(&mut members, &volumes(), selector.min_dollar_volume, None);
        }
        Population::new(members)
    }
}

/// Symbols that trade, and with `include_delisted` those that did at the newest session.
fn listed(selector: &UniverseSelector, universe: &Universe, newest: Option<SessionDate>) -> Vec<bool> {
    let mut members = universe.active().to_vec();
    let Some(newest) = newest.filter(|_| selector.include_delisted) else { return members };
    let dates = universe.list_date().iter().zip(universe.delist_date());
    for (member, (from, to)) in members.iter_mut().zip(dates) {
        *member |= from.is_none_or(|from| from <= newest) && to.is_none_or(|to| to >= newest);
    }
    members
}

fn keep(members: &mut [bool], also: impl Iterator<Item = bool>) {
    for (member, also) in members.iter_mut().zip(also) {
        *member &= also;
    }
}

fn keep_texts(members: &mut [bool], column: &TextColumn, wanted: &[String]) {
    let is_wanted = |text: &str| !text.is_empty() && wanted.iter().any(|w| w.eq_ignore_ascii_case(text));
    let codes: Vec<bool> = column.dictionary().iter().map(|text| is_wanted(text)).collect();
    keep(members, column.codes().iter().map(|code| codes[*code as usize]));
}

fn keep_between(members: &mut [bool], values: &[f64], min: Option<f64>, max: Option<f64>) {
    if let Some(min) = min {
        keep(members, values.iter().map(|v| *v >= min));
    }
    if let Some(max) = max {
        keep(members, values.iter().map(|v| *v <= max));
    }
}

/// One number per symbol, computed a tile at a time.
fn per_lane(panel: &Panel, compute: impl Fn(&Tile, &mut [f64; WIDTH])) -> Vec<f64> {
    let mut values = Vec::with_capacity(panel.tiles().len() * WIDTH);
    for tile in panel.tiles() {
        let mut lanes = [f64::NAN; WIDTH];
        compute(tile, &mut lanes);
        values.extend_from_slice(&lanes);
    }
    values
}

/// Mean of close times volume over a lane's newest bars; NaN for a lane without one.
fn dollar_volume(tile: &Tile, out: &mut [f64; WIDTH]) {
    let from = tile.rows().saturating_sub(DOLLAR_VOLUME_BARS) * WIDTH;
    let close = tile.field(Field::Close)[from..].chunks_exact(WIDTH);
    let volume = tile.field(Field::Volume)[from..].chunks_exact(WIDTH);
    let mut sums = [0.0; WIDTH];
    for (close, volume) in close.zip(volume) {
        for ((sum, close), volume) in sums.iter_mut().zip(close).zip(volume) {
            let traded = close * volume;
            *sum += if traded.is_nan() { 0.0 } else { traded };
        }
    }
    for ((out, sum), bars) in out.iter_mut().zip(sums).zip(tile.bars()) {
        // No bar: 0 / 0, which no bound accepts.
        *out = sum / f64::from((*bars).min(DOLLAR_VOLUME_BARS as u32));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::block::{BarKey, BlockBuilder, Provenance};
    use crate::panel::Splits;
    use crate::snapshot::{Held, MarketId, SnapshotId};
    use crate::symbol::Symbol;
    use crate::time::{SessionDate, Timeframe, Timestamp};
    use crate::universe::Listing;

    const SESSIONS: i32 = 30;

    /// 70 symbols; symbol i closes at i + 1 with volume 100, is in sector i % 3, and has i % 7 billion.
    fn snapshot() -> Snapshot {
        let listings = (0..70_u32).map(|i| {
            let mut listing = Listing::new(Symbol::new(&format!("S{i:02}")).unwrap());
            let sector = [Some("Energy"), Some("Health Care"), None][i as usize % 3];
            listing.text[TextAttribute::Sector as usize] = sector.map(Arc::from);
            let exchange = if i < 40 { "XNAS" } else { "XNYS" };
            listing.text[TextAttribute::Exchange as usize] = Some(Arc::from(exchange));
            listing.market_cap = (i % 7 > 0).then(|| f64::from(i % 7) * 1e9);
            if i >= 68 {
                listing.active = Some(false);
                let last = if i == 68 { 5 } else { SESSIONS + 5 };
                listing.delist_date = Some(SessionDate::from_days(last));
            }
            listing
        });
        let universe = Universe::new("default", 1, Timestamp::default(), listings);
        let mut builder = BlockBuilder::new(Timeframe::Day);
        for session in 0..SESSIONS {
            for i in (0..70).filter(|i| *i != 10 && (*i != 11 || session > 26)) {
                let price = f64::from(i) + 1.0;
                let volume = if session < 10 { 1e9 } else { 100.0 };
                builder.push(
                    &format!("S{i:02}"),
                    BarKey(session.into()),
                    [price, price, price, price, volume, f64::NAN, 1.0],
                );
            }
        }
        let provenance = Provenance { provider: "test".into(), fetched_at: Timestamp::default() };
        let (block, _) = builder.finish(None, None, provenance);
        let sessions: Vec<_> = (0..SESSIONS).map(SessionDate::from_days).collect();
        let (panel, _) = Panel::build(&universe, &sessions, &[block], &Splits::default(), 1);
        let panel = Arc::new(panel);
        Snapshot {
            id: SnapshotId("test".into()),
            epoch: 1,
            market: MarketId::new("test"),
            as_of: Timestamp::default(),
            created: Timestamp::default(),
            history_start: sessions[0],
            point_in_time: true,
            universe: Arc::new(universe),
            daily: panel.clone(),
            daily_raw: panel,
            named: Arc::default(),
            daily_paid: Arc::default(),
            held: Arc::new(Held::default()),
            provider: "test".into(),
        }
    }

    fn chosen(change: impl FnOnce(&mut UniverseSelector)) -> Vec<u32> {
        let mut selector = UniverseSelector::default();
        change(&mut selector);
        select(&selector, &snapshot()).population.ids().map(|id| id.0).collect()
    }

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|t| (*t).to_owned()).collect()
    }

    #[test]
    fn no_condition_is_everyone_that_trades() {
        assert_eq!(chosen(|_| ()), (0..68).collect::<Vec<_>>());
        let delisted = chosen(|s| s.include_delisted = true);
        assert_eq!(delisted, (0..68).chain([69]).collect::<Vec<_>>(), "68 was gone at the as-of");
    }

    #[test]
    fn named_symbols_and_unknown_ones() {
        let selector = UniverseSelector {
            symbols: texts(&["S05", "s05", "NOPE", "S03", "NOPE", "S69"]),
            exclude_symbols: texts(&["S03", "WHAT"]),
            ..UniverseSelector::default()
        };
        let selection = select(&selector, &snapshot());
        assert_eq!(selection.population.ids().map(|id| id.0).collect::<Vec<_>>(), [5]);
        assert_eq!(selection.unknown_symbols, ["s05", "NOPE"]);
    }

    #[test]
    fn texts_ignore_ascii_case_and_unknown_is_none_of_them() {
        let energy = chosen(|s| s.sectors = texts(&["ENERGY", "Utilities"]));
        assert_eq!(energy, (0..68).step_by(3).collect::<Vec<_>>());
        assert!(chosen(|s| s.sectors = texts(&[""])).is_empty());
        assert!(chosen(|s| s.industries = texts(&["Oil"])).is_empty());
        assert_eq!(chosen(|s| s.exchanges = texts(&["xnys"])), (40..68).collect::<Vec<_>>());
        let both = chosen(|s| {
            s.sectors = texts(&["energy"]);
            s.exchanges = texts(&["XNYS"]);
        });
        assert_eq!(both, (42..68).step_by(3).collect::<Vec<_>>());
    }

    #[test]
    fn bounds_include_their_ends_and_never_the_unknown() {
        let six = chosen(|s| s.min_market_cap = Some(6e9));
        assert_eq!(six, (6..68).step_by(7).collect::<Vec<_>>());
        let small = chosen(|s| s.max_market_cap = Some(1e9));
        assert_eq!(small, (1..68).step_by(7).collect::<Vec<_>>(), "a cap of 0 is not known");
        let priced = chosen(|s| (s.min_price, s.max_price) = (Some(9.0), Some(13.0)));
        assert_eq!(priced, [8, 9, 11, 12], "10 has no bar");
    }

    #[test]
    fn dollar_volume_is_the_mean_of_twenty_bars_or_of_those_there_are() {
        assert_eq!(chosen(|s| s.min_dollar_volume = Some(6600.0)), [65, 66, 67]);
        let all = chosen(|s| s.min_dollar_volume = Some(1200.0));
        assert_eq!(all, (11..68).collect::<Vec<_>>(), "11 has three bars of 12 x 100");
    }

    #[test]
    fn an_empty_panel_meets_no_price() {
        let mut snapshot = snapshot();
        snapshot.daily = Arc::new(Panel::build(&snapshot.universe, &[], &[], &Splits::default(), 1).0);
        for selector in [
            UniverseSelector { min_price: Some(0.0), ..UniverseSelector::default() },
            UniverseSelector { min_dollar_volume: Some(0.0), ..UniverseSelector::default() },
        ] {
            assert_eq!(select(&selector, &snapshot).population.count(), 0);
        }
    }
}
