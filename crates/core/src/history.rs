//! One plan as of many past sessions: the bars of all of them side by side, what each session may see of them, and
//! the steps after the bars, session by session.
//!
//! A session's answer is, to the bit, that of a scan on a snapshot which ends with it: bars from its own history
//! start, splits and dividends effective by then, symbols listed then. Not here: kernels; a backend that has none of
//! its own for many sessions takes [`one_by_one`].

use std::sync::{Arc, OnceLock};

use crate::bar::Field;
use crate::block::WIDTH;
use crate::calendar::Calendar;
use crate::cross::{self, Column};
use crate::dividend::{Dividends, factors};
use crate::panel::{Panel, Splits};
use crate::plan::{NodeId, NumberAttribute, Op, Plan};
use crate::port::{Cancel, Compute, ComputeError, ScanJob};
use crate::rank::{self, RankedRows};
use crate::scan::Adjustment;
use crate::select::{DOLLAR_VOLUME_BARS, Named, reads_bars, select};
use crate::snapshot::{Held, Snapshot};
use crate::symbol::SymbolId;
use crate::time::SessionDate;
use crate::universe::Universe;

/// Price factors by date, ascending.
pub type Steps = Arc<[(SessionDate, f64)]>;

/// The bars that a range of sessions is scanned on.
#[derive(Debug)]
pub struct HistoryBars {
    /// A snapshot whose raw panel reaches from the first history start to the last session; attributes are today's.
    snapshot: Snapshot,
    splits: Arc<Splits>,
    dividends: Option<Arc<Dividends>>,
    /// From this session on the universe is what it is today.
    latest: SessionDate,
    /// Splits of each symbol that has one, ascending by symbol.
    split: Vec<(SymbolId, Steps)>,
    /// The same of cash, by ex-date.
    cash: Vec<(SymbolId, Steps)>,
}

/// A session to scan as of its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Its place among the panel's sessions.
    pub session: usize,
    /// The place of its history start.
    pub start: usize,
}

/// A plan over many sessions.
#[derive(Clone, Copy)]
pub struct HistoryJob<'a> {
    /// What to compute.
    pub plan: &'a Arc<Plan>,
    /// On what.
    pub bars: &'a Arc<HistoryBars>,
    /// Who can take part.
    pub named: &'a Arc<Named>,
    /// As of which sessions, ascending.
    pub moments: &'a [Moment],
    /// Asked between tiles and sessions.
    pub cancel: &'a Cancel,
}

/// One session's answer.
#[derive(Debug, Clone)]
pub struct SessionRows {
    /// As of its end.
    pub session: SessionDate,
    /// Symbols of the population.
    pub scanned: usize,
    /// Those of them with fewer bars than the longest lookback takes.
    pub short: usize,
    /// Its rows.
    pub rows: RankedRows,
}

/// What the steps after the bars need besides the plan's own columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Beside {
    /// Closes adjusted for splits: the selector looks at prices.
    pub closes: bool,
    /// Mean dollar volume.
    pub volumes: bool,
    /// Closes as they traded: market capitalisation is made of them.
    pub traded: bool,
}

impl Beside {
    /// What a plan needs on such a universe.
    #[must_use]
    pub fn of(plan: &Plan, universe: &Universe) -> Self {
        let (closes, volumes) = reads_bars(&plan.universe);
        let bounded = plan.universe.min_market_cap.is_some() || plan.universe.max_market_cap.is_some();
        let is_cap = |op: &Op| matches!(op, Op::Attribute(NumberAttribute::MarketCap));
        let worth = bounded || plan.nodes.iter().any(|node| is_cap(&node.op));
        Self { closes, volumes, traded: worth && universe.is_valued() }
    }
}

/// What a backend found for one session: one value per symbol each.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// Columns of the nodes that [`cross::ground_of_series`] names, in its order.
    pub columns: Vec<Column>,
    /// Bars since history start.
    pub bars: Vec<u32>,
    /// See [`Beside::closes`].
    pub closes: Vec<f64>,
    /// See [`Beside::volumes`].
    pub volumes: Vec<f64>,
    /// See [`Beside::traded`].
    pub traded: Vec<f64>,
}

impl HistoryBars {
    /// The raw bars of `snapshot` with what they are adjusted for. `latest` is the session from which on the
    /// universe is today's.
    #[must_use]
    pub fn new(
        snapshot: Snapshot,
        splits: Arc<Splits>,
        dividends: Option<Arc<Dividends>>,
        latest: SessionDate,
    ) -> Self {
        let universe = &snapshot.universe;
        let named = |symbol: &str, steps: &[(SessionDate, f64)]| {
            Some((universe.find(symbol)?, Steps::from(steps))).filter(|(_, steps)| !steps.is_empty())
        };
        let split = splits.iter().filter_map(|(symbol, steps)| named(symbol.as_str(), steps)).collect();
        let paid = dividends.iter().flat_map(|dividends| dividends.iter());
        let cash = paid.filter_map(|(symbol, steps)| named(symbol.as_str(), steps)).collect();
        Self { split, cash, snapshot, splits, dividends, latest }
    }

    /// The bars as they traded.
    #[must_use]
    pub fn panel(&self) -> &Arc<Panel> {
        &self.snapshot.daily_raw
    }

    /// Attributes as they are today.
    #[must_use]
    pub fn universe(&self) -> &Arc<Universe> {
        &self.snapshot.universe
    }

    /// The snapshot that the panel is of.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Sessions of the panel.
    #[must_use]
    pub fn sessions(&self) -> &[SessionDate] {
        self.snapshot.daily_raw.sessions()
    }

    /// The splits of a symbol.
    #[must_use]
    pub fn splits_of(&self, id: SymbolId) -> &[(SessionDate, f64)] {
        steps(&self.split, id)
    }

    /// Lanes of a tile that split, with their factors.
    pub fn splits_in(&self, tile: usize) -> impl Iterator<Item = (usize, &Steps)> {
        lanes(&self.split, tile)
    }

    /// Lanes of a tile that paid, with the cash a share.
    pub fn cash_in(&self, tile: usize) -> impl Iterator<Item = (usize, &Steps)> {
        lanes(&self.cash, tile)
    }

    /// Price factors of a symbol's dividends as of a session, where it paid after its first bar.
    #[must_use]
    pub fn paid(&self, id: SymbolId, moment: Moment) -> Vec<(SessionDate, f64)> {
        let (sessions, cash) = (self.sessions(), steps(&self.cash, id));
        let Some((tile, lane)) = self.panel().place(id).filter(|_| !cash.is_empty()) else {
            return Vec::new();
        };
        let last = sessions[moment.session];
        let closes: Vec<_> = tile
            .lane(sessions, lane, Field::Close)
            .filter(|(session, _)| *session >= sessions[moment.start] && *session <= last)
            .collect();
        factors(cash, self.splits_of(id), &closes, last)
    }

    /// Places of sessions that are the first to see another factor of a tile's lanes than the one before, between
    /// `from` (left out) and `to`, ascending.
    #[must_use]
    pub fn turns(&self, tile: usize, adjustment: Adjustment, from: usize, to: usize) -> Vec<usize> {
        let splits = self.splits_in(tile).filter(|_| adjustment != Adjustment::Raw);
        let cash = self.cash_in(tile).filter(|_| adjustment == Adjustment::SplitsAndDividends);
        let sessions = self.sessions();
        let mut found = Vec::new();
        for (_, steps) in splits.chain(cash) {
            let first = steps.partition_point(|(date, _)| *date <= sessions[from]);
            let inside = steps[first..].iter().take_while(|(date, _)| *date <= sessions[to]);
            found.extend(inside.map(|(date, _)| sessions.partition_point(|session| session < date)));
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// What a selector sees of a symbol as of a moment: the close adjusted for splits, and with `volumes` the mean
    /// of close times volume over its newest bars. `last` is the row of its newest bar by then, the last of `bars`.
    #[must_use]
    pub fn prices(
        &self,
        (index, lane): (usize, usize),
        last: usize,
        bars: usize,
        moment: Moment,
        volumes: bool,
    ) -> (f64, f64) {
        let (tile, sessions) = (&self.panel().tiles()[index], self.sessions());
        let id = SymbolId(u32::try_from(index * WIDTH + lane).unwrap_or(u32::MAX));
        let of = |field: Field, row: usize| tile.field(field)[row * WIDTH + lane];
        let splits = self.splits_of(id);
        let mut pending = &splits[..splits.partition_point(|(at, _)| *at <= sessions[moment.session])];
        let mut factor = 1.0;
        let mut adjusted = |row: usize| {
            if pending.is_empty() {
                return (of(Field::Close, row) * factor, of(Field::Volume, row) / factor);
            }
            let session = sessions[usize::from(tile.session()[row * WIDTH + lane])];
            while let Some(((at, next), rest)) = pending.split_last()
                && *at > session
            {
                factor *= next;
                pending = rest;
            }
            (of(Field::Close, row) * factor, of(Field::Volume, row) / factor)
        };
        let newest = adjusted(last);
        if !volumes {
            return (newest.0, f64::NAN);
        }
        let count = bars.min(DOLLAR_VOLUME_BARS);
        let mut traded = [0.0; DOLLAR_VOLUME_BARS];
        traded[0] = newest.0 * newest.1;
        for (back, traded) in traded.iter_mut().enumerate().take(count).skip(1) {
            let (close, volume) = adjusted(last - back);
            *traded = close * volume;
        }
        let known = |traded: &f64| if traded.is_nan() { 0.0 } else { *traded };
        let sum: f64 = traded[..count].iter().rev().map(known).fold(0.0, |sum, traded| sum + traded);
        (newest.0, sum / count as f64)
    }

    /// The universe as of a session; `traded` gives each symbol's raw close where market capitalisation is read.
    fn universe_at(&self, session: SessionDate, traded: &[f64]) -> Arc<Universe> {
        let universe =
            if session >= self.latest { self.universe().clone() } else { self.universe().at(session) };
        if traded.is_empty() {
            return universe;
        }
        universe.valued(|id| traded.get(id.index()).copied().unwrap_or(f64::NAN))
    }

    /// A snapshot as of a session.
    #[must_use]
    pub fn snapshot_at(&self, moment: Moment, threads: usize) -> Snapshot {
        let universe = self.universe();
        let raw = self.panel();
        let (daily, raw) = raw.between(moment.start, moment.session, universe, &self.splits, threads);
        let session = self.sessions()[moment.session];
        let paid = OnceLock::new();
        if let Some(dividends) = &self.dividends {
            let made = daily.paid(&raw, universe, &self.splits, dividends, threads);
            paid.get_or_init(|| Arc::new(made));
        }
        let closes: Vec<f64> = universe.ids().map(|id| raw.last_close(id)).collect();
        Snapshot {
            universe: self.universe_at(session, &closes),
            daily: Arc::new(daily),
            daily_raw: Arc::new(raw),
            daily_paid: Arc::new(paid),
            ..self.outline(moment, Vec::new())
        }
    }

    /// The same without its bars.
    fn outline(&self, moment: Moment, bars: Vec<u32>) -> Snapshot {
        let session = self.sessions()[moment.session];
        let panel = Arc::new(Panel::outline(session, bars));
        let paid = OnceLock::from(panel.clone());
        Snapshot {
            as_of: Calendar::us_equities().close(session),
            history_start: self.sessions()[moment.start],
            daily: panel.clone(),
            daily_raw: panel,
            daily_paid: Arc::new(paid),
            held: Arc::new(Held::default()),
            ..self.snapshot.clone()
        }
    }
}

fn steps(all: &[(SymbolId, Steps)], id: SymbolId) -> &[(SessionDate, f64)] {
    all.binary_search_by_key(&id, |(id, _)| *id).map_or(&[], |at| &all[at].1)
}

fn lanes(all: &[(SymbolId, Steps)], tile: usize) -> impl Iterator<Item = (usize, &Steps)> {
    let from = all.partition_point(|(id, _)| id.index() < tile * WIDTH);
    let inside = all[from..].iter().take_while(move |(id, _)| id.index() < (tile + 1) * WIDTH);
    inside.map(|(id, steps)| (id.index() % WIDTH, steps))
}

/// The steps after the bars for one session: who takes part, what compares them, filter, order and cut.
#[must_use]
pub fn finish(plan: &Plan, bars: &HistoryBars, named: &Named, moment: Moment, found: Found) -> SessionRows {
    let session = bars.sessions()[moment.session];
    let universe = bars.universe_at(session, &found.traded);
    let snapshot = Snapshot { universe: universe.clone(), ..bars.outline(moment, found.bars) };
    let (closes, volumes) = (found.closes, found.volumes);
    let population = named.narrowed(&plan.universe, &universe, Some(session), || closes, || volumes);
    let roots: Vec<NodeId> = plan.roots().into_iter().filter(|root| rank::is_numeric(plan, *root)).collect();
    let mut columns: Vec<Option<Column>> = vec![None; plan.nodes.len()];
    for (node, column) in cross::ground_of_series(plan, &roots).into_iter().zip(found.columns) {
        columns[node.index()] = Some(column);
    }
    let open: Vec<NodeId> = roots.into_iter().filter(|root| columns[root.index()].is_none()).collect();
    if !open.is_empty() {
        cross::raise(plan, &snapshot, &population, &open, &mut columns);
    }
    let column = |node: NodeId| columns[node.index()].as_deref().unwrap_or_default();
    let rows = rank::select(plan, &snapshot, &population, 0, &column);
    let needed = plan.bars_needed() as usize;
    let short = population.ids().filter(|id| snapshot.daily.bars(*id) < needed).count();
    SessionRows { session, scanned: population.count(), short, rows }
}

/// Every session on a snapshot of its own: right, and as dear as so many scans on panels that nobody has made yet.
///
/// # Errors
///
/// Those of [`Compute::scan`].
pub fn one_by_one(compute: &dyn Compute, job: &HistoryJob<'_>) -> Result<Vec<SessionRows>, ComputeError> {
    let mut answers = Vec::with_capacity(job.moments.len());
    for moment in job.moments {
        if job.cancel.is_cancelled() {
            return Err(ComputeError::Cancelled);
        }
        let snapshot = job.bars.snapshot_at(*moment, 2);
        let population = select(&job.plan.universe, &snapshot).population;
        let rows = compute.scan(&ScanJob {
            plan: job.plan,
            snapshot: &snapshot,
            population: &population,
            skip: 0,
            memo: None,
            cancel: job.cancel,
        })?;
        let needed = job.plan.bars_needed() as usize;
        let short = population.ids().filter(|id| snapshot.daily.bars(*id) < needed).count();
        let session = job.bars.sessions()[moment.session];
        answers.push(SessionRows { session, scanned: population.count(), short, rows });
    }
    Ok(answers)
}
