//! A seeded synthetic market as a snapshot: the same seed gives the same bits on every machine. All bars go
//! through the production constructors, so none is one that a provider could not have sent.

use std::sync::Arc;

use panscan_core::block::{BarKey, Block, BlockBuilder, Provenance};
use panscan_core::calendar::Calendar;
use panscan_core::panel::{Panel, Split, Splits};
use panscan_core::plan::Plan;
use panscan_core::port::{Cancel, ScanJob};
use panscan_core::snapshot::{Held, MarketId, Snapshot, SnapshotId};
use panscan_core::symbol::Symbol;
use panscan_core::time::{SessionDate, Timeframe, Timestamp};
use panscan_core::universe::{Listing, Population, TextAttribute, Universe};

/// Symbols per block while building: bounds what is in memory twice.
const BLOCK_SYMBOLS: usize = 1024;

/// What to build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorldSpec {
    /// How many symbols.
    pub symbols: usize,
    /// How many sessions, ending with the last of 2025.
    pub sessions: usize,
    /// Same seed, same bits.
    pub seed: u64,
    /// Whether symbols are of all [`Habit`]s; else every one has a full, plain history.
    pub habits: bool,
}

/// How a symbol trades. Symbol `i` has habit `i % Habit::ALL.len()`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Habit {
    /// Every session.
    Plain,
    /// Misses one session in ten.
    Gaps,
    /// Listed late.
    Late,
    /// Halted for a stretch.
    Halted,
    /// The provider sends no vwap.
    NoVwap,
    /// It sends one now and then.
    SomeVwap,
    /// Never changes its price.
    Constant,
    /// Only rises.
    Rising,
    /// Only falls.
    Falling,
    /// Has one bar.
    OneBar,
    /// Has 15 bars: one value of `rsi(14)`.
    WarmedUp,
    /// Has 14 bars: one too few.
    NotQuite,
    /// Gone before the newest session.
    Delisted,
    /// Has no bar at all.
    Silent,
    /// Splits 4 for 1 in the middle.
    Splits,
    /// Sessions without volume.
    NoVolume,
    /// The provider sends no trade count.
    NoTrades,
}

impl Habit {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::Plain,
        Self::Gaps,
        Self::Late,
        Self::Halted,
        Self::NoVwap,
        Self::SomeVwap,
        Self::Constant,
        Self::Rising,
        Self::Falling,
        Self::OneBar,
        Self::WarmedUp,
        Self::NotQuite,
        Self::Delisted,
        Self::Silent,
        Self::Splits,
        Self::NoVolume,
        Self::NoTrades,
    ];

    /// Whether it has a bar at session `at` of `count`.
    fn trades(self, at: usize, count: usize, draw: f64) -> bool {
        match self {
            Self::Gaps => draw >= 0.1,
            Self::Late => at >= count / 3,
            Self::Halted => !(count / 2..count / 2 + count / 8).contains(&at),
            Self::OneBar => at + 1 == count,
            Self::WarmedUp => at + 15 >= count,
            Self::NotQuite => at + 14 >= count,
            Self::Delisted => at < count / 2,
            Self::Silent => false,
            _ => true,
        }
    }
}

/// A snapshot with everybody in its population.
#[derive(Debug, Clone)]
pub struct World {
    /// Its bars and symbols.
    pub snapshot: Snapshot,
    /// Who takes part; everybody at first.
    pub population: Population,
    /// Never cancelled unless a test does.
    pub cancel: Cancel,
}

impl World {
    /// Symbols of every habit.
    #[must_use]
    pub fn with_habits(symbols: usize, sessions: usize, seed: u64) -> Self {
        Self::build(WorldSpec { symbols, sessions, seed, habits: true })
    }

    /// Symbols with a full, plain history.
    #[must_use]
    pub fn plain(symbols: usize, sessions: usize, seed: u64) -> Self {
        Self::build(WorldSpec { symbols, sessions, seed, habits: false })
    }

    /// Builds a market.
    ///
    /// # Panics
    ///
    /// When more sessions are asked for than the calendar has before 2026.
    #[must_use]
    pub fn build(spec: WorldSpec) -> Self {
        let names: Vec<String> = (0..spec.symbols).map(|i| format!("T{i:05}")).collect();
        let sessions = sessions(spec.sessions);
        let mut blocks = Vec::new();
        let mut splits = Vec::new();
        let mut listings = Vec::new();
        for (part, names) in names.chunks(BLOCK_SYMBOLS).enumerate() {
            let mut builder = BlockBuilder::new(Timeframe::Day);
            for (at, name) in names.iter().enumerate() {
                let index = part * BLOCK_SYMBOLS + at;
                let habit = if spec.habits { Habit::ALL[index % Habit::ALL.len()] } else { Habit::Plain };
                let mut random = Random::new(spec.seed, index as u64);
                bars(&mut builder, name, habit, &sessions, &mut random);
                if let Ok(symbol) = Symbol::new(name) {
                    if habit == Habit::Splits
                        && let Some(execution) = sessions.get(sessions.len() / 2)
                    {
                        splits.push(Split {
                            symbol: symbol.clone(),
                            execution: *execution,
                            from: 1.0,
                            to: 4.0,
                        });
                    }
                    listings.push(listing(symbol, index, habit, spec.habits, &mut random));
                }
            }
            let provenance = Provenance { provider: "test".into(), fetched_at: Timestamp::default() };
            let (block, refused) = builder.finish(None, Some(&keys(&sessions)), provenance);
            assert!(refused.is_empty(), "the generator made a bar that is none: {:?}", refused.first());
            blocks.push(block);
        }
        Self::of(listings, &sessions, &blocks, &splits)
    }

    /// From parts that a test made itself.
    #[must_use]
    pub fn of(listings: Vec<Listing>, sessions: &[SessionDate], blocks: &[Block], splits: &[Split]) -> Self {
        let universe = Universe::new("default", 1, Timestamp::default(), listings);
        let (daily, daily_raw) = Panel::build(&universe, sessions, blocks, &Splits::new(splits), 2);
        let calendar = Calendar::us_equities();
        let closed = sessions.last().map_or(Timestamp::default(), |last| calendar.close(*last));
        let population = Population::all(universe.len());
        let snapshot = Snapshot {
            id: SnapshotId("test".into()),
            epoch: 1,
            market: MarketId::new("test"),
            as_of: closed,
            created: closed,
            history_start: sessions.first().copied().unwrap_or_default(),
            point_in_time: true,
            universe: Arc::new(universe),
            daily: Arc::new(daily),
            daily_raw: Arc::new(daily_raw),
            named: Arc::default(),
            daily_paid: Arc::default(),
            held: Arc::new(Held { market: vec![true; sessions.len()], ..Held::default() }),
            provider: "test".into(),
        };
        Self { snapshot, population, cancel: Cancel::default() }
    }

    /// The same bars and listings of only those symbols whose flag is set, in id order: they move to other lanes
    /// and tiles.
    ///
    /// # Panics
    ///
    /// When the panel's own rows cannot be laid out again, which would be a fault of the panel.
    #[must_use]
    pub fn keeping(&self, flags: &[bool]) -> Self {
        let universe = &self.snapshot.universe;
        let kept: Vec<_> = universe.ids().filter(|id| flags.get(id.index()) == Some(&true)).collect();
        let sessions = self.snapshot.daily.sessions().clone();
        let mut snapshot = self.snapshot.clone();
        let smaller =
            Universe::new("default", 2, Timestamp::default(), kept.iter().map(|id| universe.listing(*id)));
        for panel in [&mut snapshot.daily, &mut snapshot.daily_raw] {
            let mut builder = BlockBuilder::new(Timeframe::Day);
            for id in &kept {
                let always = (SessionDate::from_days(i32::MIN), SessionDate::from_days(i32::MAX));
                let series = panel.series(*id, always.0, always.1);
                for (row, session) in series.sessions.iter().enumerate() {
                    let values = std::array::from_fn(|field| series.columns[field][row]);
                    builder.push(universe.symbol(*id).as_str(), BarKey::session(*session), values);
                }
            }
            let provenance = Provenance { provider: "test".into(), fetched_at: Timestamp::default() };
            let (block, refused) = builder.finish(None, Some(&keys(&sessions)), provenance);
            assert!(refused.is_empty(), "{refused:?}");
            *panel = Arc::new(Panel::build(&smaller, &sessions, &[block], &Splits::default(), 1).0);
        }
        let population = Population::all(smaller.len());
        snapshot.universe = Arc::new(smaller);
        Self { snapshot, population, cancel: Cancel::default() }
    }

    /// A scan of the first page, without memo.
    #[must_use]
    pub fn job<'a>(&'a self, plan: &'a Plan) -> ScanJob<'a> {
        ScanJob {
            plan,
            snapshot: &self.snapshot,
            population: &self.population,
            skip: 0,
            memo: None,
            cancel: &self.cancel,
        }
    }
}

/// The last `count` sessions up to the end of 2025.
fn sessions(count: usize) -> Vec<SessionDate> {
    let calendar = Calendar::us_equities();
    let end = SessionDate::from_ymd(2025, 12, 31).unwrap_or_default();
    let all = calendar.sessions(calendar.first(), end);
    assert!(all.len() >= count, "the calendar has {} sessions before 2026", all.len());
    all[all.len() - count..].to_vec()
}

fn keys(sessions: &[SessionDate]) -> Vec<BarKey> {
    sessions.iter().map(|session| BarKey::session(*session)).collect()
}

fn bars(builder: &mut BlockBuilder, name: &str, habit: Habit, sessions: &[SessionDate], random: &mut Random) {
    let cents = |price: f64| (price * 100.0).round().max(1.0) / 100.0;
    let mut price = cents(5.0 + 295.0 * random.unit());
    for (at, session) in sessions.iter().enumerate() {
        let before = price;
        let drift = 0.04 * (random.unit() - 0.5);
        price = cents(match habit {
            Habit::Constant => price,
            Habit::Rising => price + 0.01 + price * drift.abs() * 0.1,
            Habit::Falling => price * 0.9995 - 0.01,
            Habit::Splits if at == sessions.len() / 2 => price * (1.0 + drift) / 4.0,
            _ => price * (1.0 + drift),
        });
        let (low, high) = (before.min(price), before.max(price));
        let spread = if habit == Habit::Constant { 0.0 } else { 0.01 * random.unit() };
        let (high, low) = (cents(high * (1.0 + spread)).max(high), cents(low * (1.0 - spread)).min(low));
        let volume = (1e3 + 1e6 * random.unit()).floor();
        let volume = if habit == Habit::NoVolume && random.unit() < 0.5 { 0.0 } else { volume };
        let vwap = match habit {
            Habit::NoVwap => f64::NAN,
            Habit::SomeVwap if random.unit() < 0.7 => f64::NAN,
            _ => (high + low + price) / 3.0 * (1.0 + 0.001 * (random.unit() - 0.5)),
        };
        let trades = if habit == Habit::NoTrades { f64::NAN } else { (volume / 100.0).ceil() };
        if habit.trades(at, sessions.len(), random.unit()) {
            builder.push(name, BarKey::session(*session), [before, high, low, price, volume, vwap, trades]);
        }
    }
}

fn listing(symbol: Symbol, index: usize, habit: Habit, gaps: bool, random: &mut Random) -> Listing {
    const SECTORS: [&str; 5] = ["Technology", "Energy", "Health Care", "Utilities", "Financials"];
    let mut listing = Listing::new(symbol);
    let mut set = |attribute: TextAttribute, text: &str| {
        listing.text[attribute as usize] = Some(Arc::from(text));
    };
    set(TextAttribute::Name, &format!("Company {index}"));
    set(TextAttribute::Exchange, if index.is_multiple_of(3) { "XNYS" } else { "XNAS" });
    set(TextAttribute::Type, if index % 10 == 9 { "ETF" } else { "CS" });
    set(TextAttribute::Country, "US");
    set(TextAttribute::Currency, "USD");
    if !(gaps && index % 7 == 3) {
        set(TextAttribute::Sector, SECTORS[index % SECTORS.len()]);
    }
    listing.market_cap = (!(gaps && index % 11 == 5)).then(|| (1e8 * (10.0 * random.unit()).exp()).floor());
    listing.shares_outstanding = Some((1e6 + 1e9 * random.unit()).floor());
    listing.list_date = SessionDate::from_ymd(2001, 1, 2);
    listing.active = Some(habit != Habit::Delisted);
    listing
}

/// A small generator (SplitMix64), so that worlds depend on no crate's idea of randomness.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The stream `stream` of a seed.
    #[must_use]
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut random = Self(seed ^ stream.wrapping_mul(0xd134_2543_de82_ef95));
        random.bits();
        random
    }

    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to below 1.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// From 0 to below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.bits() % n.max(1) as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use panscan_core::symbol::SymbolId;

    #[test]
    fn the_same_seed_gives_the_same_world_and_every_habit_is_in_it() {
        let world = World::with_habits(40, 60, 7);
        let again = World::with_habits(40, 60, 7);
        let bars = |world: &World, i: u32| world.snapshot.daily.bars(SymbolId(i));
        for (i, habit) in Habit::ALL.into_iter().enumerate() {
            let i = i as u32;
            let expected = match habit {
                Habit::Silent => 0,
                Habit::OneBar => 1,
                Habit::WarmedUp => 15,
                Habit::NotQuite => 14,
                Habit::Late => 40,
                Habit::Delisted => 30,
                Habit::Halted => 53,
                Habit::Gaps => bars(&world, i),
                _ => 60,
            };
            assert_eq!(bars(&world, i), expected, "{habit:?}");
            let last = world.snapshot.daily.last_close(SymbolId(i));
            assert_eq!(last.to_bits(), again.snapshot.daily.last_close(SymbolId(i)).to_bits());
        }
        assert!(bars(&world, 1) < 60 && bars(&world, 1) > 40);
        let tiles = (world.snapshot.daily.tiles(), world.snapshot.daily_raw.tiles());
        assert!(!Arc::ptr_eq(&tiles.0[0], &tiles.1[0]), "symbol 14 splits");
    }

    #[test]
    fn a_plain_world_has_every_bar() {
        let world = World::plain(33, 20, 1);
        assert_eq!(world.snapshot.daily.total_bars(), 33 * 20);
    }
}
