//! Many past sessions at once. Sessions with one history start are one piece: its bars are cut out of each tile, the
//! program runs once on them with as many rows of result as the piece has sessions, and each session takes the row of
//! every lane's newest bar. Then the sessions are filtered and ranked side by side.
//!
//! Tiles come first and pieces after, so that a tile is read from memory once. A split or dividend inside a piece cuts
//! it in two for the tile that it is in. Not here: the steps after the bars, which are the core's.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use panscan_core::bar::Field;
use panscan_core::block::WIDTH;
use panscan_core::cross::{self, Column};
use panscan_core::history::{
    Beside, Found, HistoryBars, HistoryJob, Moment, SessionRows, finish, one_by_one,
};
use panscan_core::panel::{Bounds, Panel, Reads, Tile};
use panscan_core::plan::{NodeId, Op, Plan};
use panscan_core::port::{Cancel, Compute, ComputeError};
use panscan_core::rank;
use panscan_core::scan::Adjustment;
use panscan_core::select::Named;
use panscan_core::symbol::SymbolId;

use crate::crew::{Crew, Work};
use crate::lanes::{Row, finite};
use crate::program::{Action, Given, Program};
use crate::simd::Isa;
use crate::tile::{self, Scratch};

/// Sessions of a piece at most: a result has as many rows.
const SPAN_MAX: usize = 64;

/// Runs a job.
pub(crate) fn run(
    compute: &dyn Compute,
    isa: Isa,
    crew: &Crew,
    job: &HistoryJob<'_>,
) -> Result<Vec<SessionRows>, ComputeError> {
    let plan = job.plan;
    let roots: Vec<NodeId> = plan.roots().into_iter().filter(|root| rank::is_numeric(plan, *root)).collect();
    let ground = cross::ground_of_series(plan, &roots);
    // A longer bar that is not over yet is another one each session.
    if plan.nodes.iter().any(|node| matches!(node.op, Op::At(_))) {
        return one_by_one(compute, job);
    }
    let beside = Beside::of(plan, job.bars.universe());
    let panel = job.bars.panel();
    let mut wanted: Vec<bool> =
        job.named.members().chunks(WIDTH).map(|lanes| lanes.contains(&true)).collect();
    wanted.resize(panel.tiles().len(), false);
    let tiles = Arc::new(Tiles {
        isa,
        plan: plan.clone(),
        bars: job.bars.clone(),
        pieces: pieces(plan, job.bars, job.moments, &ground)?,
        moments: job.moments.to_vec(),
        columns: ground.len(),
        beside,
        wanted,
        cancel: job.cancel.clone(),
        cancelled: AtomicBool::new(false),
        results: panel.tiles().iter().map(|_| Mutex::default()).collect(),
    });
    let failed = || ComputeError::Device {
        device: compute.describe(),
        message: "a kernel failed; the scan's plan is not usable on this backend".to_owned(),
    };
    if !crew.run(tiles.clone(), panel.tiles().len()) {
        return Err(failed());
    }
    if tiles.cancelled.load(Ordering::Relaxed) {
        return Err(ComputeError::Cancelled);
    }
    let count = job.moments.len();
    let found = tiles.results.iter().map(|found| std::mem::take(&mut *lock(found))).collect();
    let sessions = Arc::new(Sessions {
        tiles,
        found,
        named: job.named.clone(),
        results: (0..count).map(|_| Mutex::default()).collect(),
    });
    if !crew.run(sessions.clone(), count) {
        return Err(failed());
    }
    let taken = |result: &Mutex<Option<SessionRows>>| lock(result).take().ok_or(ComputeError::Cancelled);
    sessions.results.iter().map(taken).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sessions in a row with one history start.
struct Piece {
    /// Which of the job's.
    moments: std::ops::Range<usize>,
    start: usize,
    program: Program,
    reads: Reads,
}

fn pieces(
    plan: &Plan,
    bars: &HistoryBars,
    moments: &[Moment],
    ground: &[NodeId],
) -> Result<Vec<Piece>, ComputeError> {
    // What a benchmark is adjusted by changes for every tile.
    let mut turns = Vec::new();
    if let (Some(first), Some(last)) = (moments.first(), moments.last()) {
        for id in plan.benchmarks().filter_map(|symbol| bars.universe().find(symbol)) {
            turns.extend(bars.turns(id.index() / WIDTH, plan.adjustment, first.session, last.session));
        }
    }
    let together = |a: &Moment, b: &Moment| {
        a.start == b.start && !turns.iter().any(|turn| (a.session + 1..=b.session).contains(turn))
    };
    let mut pieces = Vec::new();
    let mut at = 0;
    while at < moments.len() {
        let first = moments[at];
        let is_in = |moment: &&Moment| moment.session - first.session < SPAN_MAX && together(&first, moment);
        let count = moments[at..].iter().take_while(is_in).count();
        let last = moments[at + count - 1];
        let rows = last.session - first.session + 1;
        let benchmark = |symbol: &str, field| beside(plan, bars, last, symbol, field);
        let program = Program::showing(plan, ground, rows, bars.snapshot(), &benchmark, &Given::default())?;
        let reads = reads(&program);
        pieces.push(Piece { moments: at..at + count, start: first.start, program, reads });
        at += count;
    }
    Ok(pieces)
}

/// What a program reads of its tiles.
fn reads(program: &Program) -> Reads {
    let mut reads = Reads::NONE;
    for step in &program.steps {
        match step.action {
            Action::Field(field) => {
                let rows = &mut reads.fields[field.index()];
                *rows = (*rows).max(step.need);
            }
            Action::Benchmark(_) => reads.sessions = reads.sessions.max(step.need),
            _ => {}
        }
    }
    reads
}

/// A benchmark's values by session from a moment's history start on.
fn beside(plan: &Plan, bars: &HistoryBars, moment: Moment, symbol: &str, field: Field) -> Vec<f64> {
    let mut values = vec![f64::NAN; moment.session + 1 - moment.start];
    let Some(id) = bars.universe().find(symbol) else { return values };
    let Some((tile, lane)) = bars.panel().place(id) else { return values };
    let mut own = Tile::default();
    let bounds = tile.bounds(moment.start, moment.session, bars.sessions().len());
    tile.cut(&bounds, moment.start, &Reads::ALL, &mut own);
    adjust(bars, plan.adjustment, &mut own, id, moment, &Reads::ALL);
    for row in own.rows() - own.bars()[lane] as usize..own.rows() {
        let at = row * WIDTH + lane;
        values[usize::from(own.session()[at])] = own.field(field)[at];
    }
    values
}

/// Adjusts a symbol's lane of a cut tile as of a moment.
fn adjust(
    bars: &HistoryBars,
    adjustment: Adjustment,
    tile: &mut Tile,
    id: SymbolId,
    moment: Moment,
    reads: &Reads,
) {
    let sessions = &bars.sessions()[moment.start..=moment.session];
    let (Some(first), Some(last)) = (sessions.first(), sessions.last()) else { return };
    let lane = id.index() % WIDTH;
    if adjustment == Adjustment::Raw || tile.bars()[lane] == 0 {
        return;
    }
    let splits = bars.splits_of(id);
    let splits = &splits[..splits.partition_point(|(at, _)| at <= last)];
    if splits.last().is_some_and(|(at, _)| at > first) {
        tile.adjust(sessions, lane, true, splits, reads);
    }
    if adjustment == Adjustment::SplitsAndDividends {
        let paid = bars.paid(id, moment);
        if !paid.is_empty() {
            tile.adjust(sessions, lane, false, &paid, reads);
        }
    }
}

/// The pieces on every tile.
struct Tiles {
    isa: Isa,
    plan: Arc<Plan>,
    bars: Arc<HistoryBars>,
    pieces: Vec<Piece>,
    moments: Vec<Moment>,
    /// Of the plan; those beside follow.
    columns: usize,
    beside: Beside,
    wanted: Vec<bool>,
    cancel: Cancel,
    cancelled: AtomicBool,
    results: Vec<Mutex<Lanes>>,
}

/// What was found on one tile.
#[derive(Default)]
struct Lanes {
    /// `[moment][column]`.
    values: Vec<Row>,
    /// `[moment]`.
    bars: Vec<[u32; WIDTH]>,
}

impl Tiles {
    /// Columns of a session, those beside the plan's own included.
    fn each(&self) -> usize {
        let Beside { closes, volumes, traded } = self.beside;
        self.columns + usize::from(closes) + usize::from(volumes) + usize::from(traded)
    }

    /// One piece, or the part of it between two turns, on one tile.
    fn piece(
        &self,
        index: usize,
        piece: &Piece,
        moments: std::ops::Range<usize>,
        scratch: &mut Scratch,
        out: &mut Lanes,
    ) {
        let [(first, last)] = [(self.moments[moments.start], self.moments[moments.end - 1])];
        let (panel, tile) = (self.bars.panel(), &self.bars.panel().tiles()[index]);
        let bounds = tile.bounds(piece.start, last.session, panel.sessions().len());
        let mut cut = std::mem::take(&mut scratch.cut);
        let adjusted = self.adjusted(index, first, last);
        let mut reads = piece.reads;
        if !adjusted.is_empty() {
            reads.sessions = reads.fields.iter().copied().max().unwrap_or(0).max(reads.sessions);
        }
        tile.cut(&bounds, piece.start, &reads, &mut cut);
        for id in adjusted {
            adjust(&self.bars, self.plan.adjustment, &mut cut, id, last, &reads);
        }
        let later = Later::new(tile, &bounds, first.session, last.session);
        let each = self.each();
        tile::run(self.isa, &piece.program, &cut, index, scratch, |column, rows| {
            for at in moments.clone() {
                let to = &mut out.values[at * each + column];
                later.pick(self.moments[at].session, rows, to);
            }
        });
        for at in moments {
            let moment = self.moments[at];
            let own = &mut out.bars[at];
            for (lane, own) in own.iter_mut().enumerate() {
                *own = u32::try_from(later.bars(&bounds, lane, moment.session)).unwrap_or(0);
            }
            self.beside(
                index,
                tile,
                &bounds,
                &later,
                moment,
                &mut out.values[at * each + self.columns..][..each - self.columns],
            );
        }
        scratch.cut = cut;
    }

    /// Symbols of a tile whose bars may be adjusted between a moment's history start and another one.
    fn adjusted(&self, index: usize, first: Moment, last: Moment) -> Vec<SymbolId> {
        if self.plan.adjustment == Adjustment::Raw {
            return Vec::new();
        }
        let sessions = self.bars.sessions();
        let (from, to) = (sessions[first.start], sessions[last.session]);
        let cash =
            self.bars.cash_in(index).filter(|_| self.plan.adjustment == Adjustment::SplitsAndDividends);
        let mut lanes: Vec<usize> = self
            .bars
            .splits_in(index)
            .chain(cash)
            .filter(|(_, steps)| steps.iter().any(|(at, _)| *at > from && *at <= to))
            .map(|(lane, _)| lane)
            .collect();
        lanes.sort_unstable();
        lanes.dedup();
        lanes
            .into_iter()
            .map(|lane| SymbolId(u32::try_from(index * WIDTH + lane).unwrap_or(u32::MAX)))
            .collect()
    }

    /// Columns that the steps after the bars read.
    fn beside(
        &self,
        index: usize,
        tile: &Tile,
        bounds: &Bounds,
        later: &Later,
        moment: Moment,
        out: &mut [Row],
    ) {
        let mut columns = out.iter_mut();
        let Beside { closes, volumes, traded } = self.beside;
        let mut next = |wanted: bool| if wanted { columns.next() } else { None };
        let (mut closes, mut volumes, mut traded) = (next(closes), next(volumes), next(traded));
        if closes.is_none() && volumes.is_none() && traded.is_none() {
            return;
        }
        let close = tile.field(Field::Close);
        for lane in 0..WIDTH {
            let bars = later.bars(bounds, lane, moment.session);
            if bars == 0 {
                // Nothing is known of it; the columns are null already.
                continue;
            }
            let last = bounds.until(lane) - later.of(lane, moment.session) - 1;
            if let Some(traded) = &mut traded {
                traded[lane] = close[last * WIDTH + lane];
            }
            if closes.is_none() && volumes.is_none() {
                continue;
            }
            let (price, mean) = self.bars.prices((index, lane), last, bars, moment, volumes.is_some());
            if let Some(closes) = &mut closes {
                closes[lane] = price;
            }
            if let Some(volumes) = &mut volumes {
                volumes[lane] = mean;
            }
        }
    }
}

impl Work for Tiles {
    fn part(&self, part: usize, scratch: &mut Scratch) {
        if !self.wanted[part] {
            return;
        }
        let mut found = Lanes {
            values: vec![[f64::NAN; WIDTH]; self.moments.len() * self.each()],
            bars: vec![[0; WIDTH]; self.moments.len()],
        };
        for piece in &self.pieces {
            let (first, last) = (self.moments[piece.moments.start], self.moments[piece.moments.end - 1]);
            let turns = self.bars.turns(part, self.plan.adjustment, first.session, last.session);
            let mut at = piece.moments.start;
            while at < piece.moments.end {
                if self.cancel.is_cancelled() {
                    self.cancelled.store(true, Ordering::Relaxed);
                    return;
                }
                let session = self.moments[at].session;
                let until = turns.iter().copied().find(|turn| *turn > session).unwrap_or(usize::MAX);
                let rest = &self.moments[at..piece.moments.end];
                let count = rest.iter().take_while(|moment| moment.session < until).count();
                self.piece(part, piece, at..at + count, scratch, &mut found);
                at += count;
            }
        }
        *lock(&self.results[part]) = found;
    }
}

/// How many of each lane's bars lie between a session and the last one of a piece.
struct Later {
    first: usize,
    last: usize,
    /// `[session]`; empty where every lane has all bars.
    counts: Vec<[u16; WIDTH]>,
    /// Lanes that lack a bar.
    broken: Vec<usize>,
}

impl Later {
    fn new(tile: &Tile, bounds: &Bounds, first: usize, last: usize) -> Self {
        let is_broken = |lane: &usize| {
            tile.bars()[*lane] > 0 && !tile.is_unbroken(*lane, bounds.until(*lane), first, last)
        };
        let broken: Vec<usize> = (0..WIDTH).filter(is_broken).collect();
        let mut counts = Vec::new();
        if !broken.is_empty() {
            counts.resize(last - first + 1, [0; WIDTH]);
            for lane in &broken {
                tile.later(*lane, bounds.until(*lane), first, last, |session, count| {
                    counts[session - first][*lane] = u16::try_from(count).unwrap_or(u16::MAX);
                });
            }
        }
        Self { first, last, counts, broken }
    }

    fn of(&self, lane: usize, session: usize) -> usize {
        match self.broken.binary_search(&lane) {
            Ok(_) => usize::from(self.counts[session - self.first][lane]),
            Err(_) => self.last - session,
        }
    }

    /// Bars of a lane up to a session.
    fn bars(&self, bounds: &Bounds, lane: usize, session: usize) -> usize {
        bounds.bars(lane).saturating_sub(self.of(lane, session))
    }

    /// The values of a session out of the last rows of a column.
    fn pick(&self, session: usize, rows: &[Row], out: &mut Row) {
        let row = |later: usize| rows.len().checked_sub(later + 1).map(|row| &rows[row]);
        if let Some(row) = row(self.last - session) {
            out.iter_mut().zip(row).for_each(|(out, value)| *out = finite(*value));
        }
        for lane in &self.broken {
            let later = usize::from(self.counts[session - self.first][*lane]);
            out[*lane] = row(later).map_or(f64::NAN, |row| finite(row[*lane]));
        }
    }
}

/// The steps after the bars, session by session.
struct Sessions {
    tiles: Arc<Tiles>,
    /// By tile; nothing where nobody takes part.
    found: Vec<Lanes>,
    named: Arc<Named>,
    results: Vec<Mutex<Option<SessionRows>>>,
}

impl Sessions {
    fn column(&self, at: usize, column: usize) -> Column {
        let panel: &Panel = self.tiles.bars.panel();
        let mut values: Column = std::iter::repeat_n(f64::NAN, panel.symbols()).collect();
        if let Some(values) = Arc::get_mut(&mut values) {
            for (found, lanes) in self.found.iter().zip(values.chunks_mut(WIDTH)) {
                if let Some(row) = found.values.get(at * self.tiles.each() + column) {
                    lanes.copy_from_slice(&row[..lanes.len()]);
                }
            }
        }
        values
    }

    fn bars(&self, at: usize) -> Vec<u32> {
        let panel = self.tiles.bars.panel();
        let mut bars = Vec::with_capacity(panel.tiles().len() * WIDTH);
        for found in &self.found {
            bars.extend(found.bars.get(at).unwrap_or(&[0; WIDTH]));
        }
        bars.truncate(panel.symbols());
        bars
    }
}

impl Work for Sessions {
    fn part(&self, at: usize, _: &mut Scratch) {
        let tiles = &*self.tiles;
        if tiles.cancel.is_cancelled() {
            return;
        }
        let mut next = tiles.columns;
        let mut beside = |wanted: bool| {
            next += usize::from(wanted);
            if wanted { self.column(at, next - 1).to_vec() } else { Vec::new() }
        };
        let found = Found {
            closes: beside(tiles.beside.closes),
            volumes: beside(tiles.beside.volumes),
            traded: beside(tiles.beside.traded),
            columns: (0..tiles.columns).map(|column| self.column(at, column)).collect(),
            bars: self.bars(at),
        };
        let rows = finish(&tiles.plan, &tiles.bars, &self.named, tiles.moments[at], found);
        *lock(&self.results[at]) = Some(rows);
    }
}
