//! The backend: splits a panel into parts of tiles, runs the plan's program on them, and ranks what comes out.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use panscan_core::block::WIDTH;
use panscan_core::cross::{self, Column};
use panscan_core::history::{HistoryJob, SessionRows};
use panscan_core::panel::Panel;
use panscan_core::plan::{Digest, NodeId, Op, Plan, Tail};
use panscan_core::port::{Cancel, Compute, ComputeError, ScanJob, SeriesJob};
use panscan_core::rank::{self, RankedRows};
use panscan_core::universe::Population;

use crate::crew::{Crew, Work};
use crate::element;
use crate::error::CpuError;
use crate::floor;
use crate::history;
use crate::program::{Given, Program};
use crate::series;
use crate::simd::{Isa, Level};
use crate::tile::{self, Scratch};

/// Most threads that a backend takes.
pub const THREADS_MAX: usize = 1024;

/// Tiles in a part at most: small enough that threads end together, large enough that a part is several
/// microseconds and reads memory in order.
const PART_TILES_MAX: usize = 4;

/// Evaluates plans on the processor, with its own threads and the vectors found at construction.
pub struct CpuBackend {
    isa: Isa,
    crew: Crew,
}

impl fmt::Debug for CpuBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CpuBackend({})", self.describe())
    }
}

impl CpuBackend {
    /// A backend of `threads` threads (the calling one counts) with the widest vectors of this machine.
    ///
    /// # Errors
    ///
    /// [`CpuError::Threads`] for none or too many, [`CpuError::Spawn`] when the system gives no thread.
    pub fn new(threads: usize) -> Result<Self, CpuError> {
        Self::with_level(threads, Level::detect())
    }

    /// The same with chosen vectors.
    ///
    /// # Errors
    ///
    /// Those of [`CpuBackend::new`], and [`CpuError::Level`] when this machine lacks them.
    pub fn with_level(threads: usize, level: Level) -> Result<Self, CpuError> {
        if threads == 0 || threads > THREADS_MAX {
            return Err(CpuError::Threads { given: threads, max: THREADS_MAX });
        }
        let isa = Isa::new(level).ok_or(CpuError::Level { level, available: Level::detect() })?;
        Ok(Self { isa, crew: Crew::new(threads)? })
    }

    /// The vectors it uses.
    #[must_use]
    pub fn level(&self) -> Level {
        self.isa.level()
    }

    /// The threads it uses, the calling one included.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.crew.threads()
    }

    /// The last values of `nodes` for every symbol, in their order: a scan without filter, ranking and memo.
    /// NaN where there is no value; symbols outside the population may have any.
    ///
    /// # Errors
    ///
    /// Those of [`Compute::scan`].
    pub fn columns(&self, job: &ScanJob<'_>, nodes: &[NodeId]) -> Result<Vec<Column>, ComputeError> {
        self.evaluate(job, nodes).map(|(columns, _)| columns)
    }

    /// Reads the last rows of some fields of every tile and returns a sum that depends on all of them: how long
    /// this takes is what no scan that needs those rows can go below.
    #[must_use]
    pub fn read_floor(&self, panel: &Arc<Panel>, fields: &[(panscan_core::bar::Field, Tail)]) -> f64 {
        let tiles = panel.tiles().len();
        let size = part_tiles(tiles, self.threads());
        let read = Arc::new(floor::Read::new(self.isa, panel.clone(), fields, size));
        self.crew.run(read.clone(), tiles.div_ceil(size));
        read.sum()
    }

    /// Columns of `nodes`, and whether every tile was computed.
    fn evaluate(&self, job: &ScanJob<'_>, nodes: &[NodeId]) -> Result<(Vec<Column>, bool), ComputeError> {
        if job.cancel.is_cancelled() {
            return Err(ComputeError::Cancelled);
        }
        let panel = job.snapshot.panel(job.plan.adjustment).ok_or_else(|| ComputeError::NoPanel {
            what: format!("{:?} adjusted {}", job.plan.adjustment, job.plan.timeframe),
        })?;
        let given = self.longer(job, panel, nodes)?;
        self.run(job, panel, nodes, &given)
    }

    /// What the roots need of longer bars, each on a panel of those.
    fn longer(&self, job: &ScanJob<'_>, panel: &Arc<Panel>, roots: &[NodeId]) -> Result<Given, ComputeError> {
        let plan = job.plan;
        let mut given = Given::new();
        if !plan.nodes.iter().any(|node| matches!(node.op, Op::At(_))) {
            return Ok(given);
        }
        let mut needed = vec![false; plan.nodes.len()];
        roots.iter().for_each(|root| needed[root.index()] = true);
        for (index, node) in plan.nodes.iter().enumerate().rev() {
            if needed[index] {
                node.inputs.iter().for_each(|input| needed[input.index()] = true);
            }
        }
        for (index, node) in plan.nodes.iter().enumerate().filter(|(index, _)| needed[*index]) {
            let (Op::At(longer), [input]) = (&node.op, node.inputs.as_slice()) else { continue };
            let joined = panel
                .longer(longer.timeframe, longer.closed)
                .ok_or_else(|| ComputeError::NoPanel { what: longer.timeframe.to_string() })?;
            let (columns, _) = self.run(job, joined, &[*input], &given)?;
            given.extend(columns.into_iter().next().map(|column| (index, column)));
        }
        Ok(given)
    }

    /// Columns of `nodes` on the bars of a panel, and whether every tile was computed.
    fn run(
        &self,
        job: &ScanJob<'_>,
        panel: &Arc<Panel>,
        nodes: &[NodeId],
        given: &Given,
    ) -> Result<(Vec<Column>, bool), ComputeError> {
        let program = Program::new(job.plan, nodes, job.snapshot, panel, given)?;
        let size = part_tiles(panel.tiles().len(), self.threads());
        let parts = panel.tiles().len().div_ceil(size);
        let evaluation = Arc::new(Evaluation {
            isa: self.isa,
            program,
            panel: panel.clone(),
            wanted: wanted(job.population, panel.tiles().len()),
            cancel: job.cancel.clone(),
            cancelled: AtomicBool::new(false),
            size,
            results: (0..parts).map(|_| Mutex::new(Vec::new())).collect(),
        });
        if !self.crew.run(evaluation.clone(), parts) {
            return Err(ComputeError::Device {
                device: self.describe(),
                message: "a kernel failed; the scan's plan is not usable on this backend".to_owned(),
            });
        }
        if evaluation.cancelled.load(Ordering::Relaxed) {
            return Err(ComputeError::Cancelled);
        }
        let complete = evaluation.wanted.iter().all(|wanted| *wanted);
        Ok((evaluation.columns(), complete))
    }
}

impl Compute for CpuBackend {
    fn describe(&self) -> String {
        let threads = self.threads();
        format!("cpu {}, {threads} thread{}", self.level(), if threads == 1 { "" } else { "s" })
    }

    fn rouse(&self) {
        self.crew.rouse();
    }

    fn scan(&self, job: &ScanJob<'_>) -> Result<RankedRows, ComputeError> {
        let plan: &Plan = job.plan;
        let mut columns: Vec<Option<Column>> = vec![None; plan.nodes.len()];
        let mut memoized: Vec<NodeId> = Vec::new();
        let keys = Keys::new(job);
        let symbols = job.snapshot.universe.len();
        let mut recall = |root: NodeId, columns: &mut [Option<Column>]| {
            // Anything of another length is of another universe and cannot be used.
            let known = keys.get(root).filter(|values| values.len() == symbols);
            if known.is_some() && columns[root.index()].is_none() {
                memoized.push(root);
                columns[root.index()] = known;
            }
        };
        let roots: Vec<NodeId> =
            plan.roots().into_iter().filter(|root| rank::is_numeric(plan, *root)).collect();
        roots.iter().for_each(|root| recall(*root, &mut columns));
        let ground = cross::ground(plan, &roots, &|node| columns[node.index()].is_some());
        ground.iter().for_each(|node| recall(*node, &mut columns));
        let missing: Vec<NodeId> =
            ground.into_iter().filter(|node| columns[node.index()].is_none()).collect();
        if !missing.is_empty() {
            let (computed, complete) = self.evaluate(job, &missing)?;
            for (root, values) in missing.into_iter().zip(computed) {
                if complete {
                    keys.put(root, &values);
                }
                columns[root.index()] = Some(values);
            }
        }
        if plan.is_cross_sectional() {
            let open: Vec<NodeId> =
                roots.into_iter().filter(|root| columns[root.index()].is_none()).collect();
            cross::raise(plan, job.snapshot, job.population, &open, &mut columns);
            for root in open {
                if let Some(values) = &columns[root.index()] {
                    keys.put(root, values);
                }
            }
        }
        let column = |node: NodeId| columns[node.index()].as_deref().unwrap_or_default();
        let mut rows = rank::select(plan, job.snapshot, job.population, job.skip, &column);
        rows.memoized = memoized;
        Ok(rows)
    }

    fn history(&self, job: &HistoryJob<'_>) -> Result<Vec<SessionRows>, ComputeError> {
        history::run(self, self.isa, &self.crew, job)
    }

    /// On the calling thread alone: symbols are what there are many of.
    fn series(&self, job: &SeriesJob<'_>) -> Result<Vec<Vec<f64>>, ComputeError> {
        series::run(self.isa, job)
    }
}

/// Under which names a scan's columns are kept: what depends on other symbols is of one population.
struct Keys<'a> {
    job: &'a ScanJob<'a>,
    population: String,
}

impl<'a> Keys<'a> {
    fn new(job: &'a ScanJob<'a>) -> Self {
        let matters = job.memo.is_some() && job.plan.is_cross_sectional();
        let population = if matters { job.population.digest().to_string() } else { String::new() };
        Self { job, population }
    }

    fn key(&self, node: NodeId) -> Digest {
        let digest = self.job.plan.node(node).digest;
        if cross::is_upper(self.job.plan, node) {
            Digest::of(&format!("{digest} over {}", self.population))
        } else {
            digest
        }
    }

    fn get(&self, node: NodeId) -> Option<Column> {
        self.job.memo?.get(self.job.snapshot.epoch, self.key(node))
    }

    fn put(&self, node: NodeId, values: &Column) {
        if let Some(memo) = self.job.memo {
            memo.put(self.job.snapshot.epoch, self.key(node), values.clone());
        }
    }
}

/// Tiles per part.
fn part_tiles(tiles: usize, threads: usize) -> usize {
    tiles.div_ceil(threads * 8).clamp(1, PART_TILES_MAX)
}

/// For each tile whether a member of the population is in it.
fn wanted(population: &Population, tiles: usize) -> Vec<bool> {
    if population.is_all() {
        return vec![true; tiles];
    }
    let mut wanted: Vec<bool> =
        population.members().chunks(WIDTH).map(|lanes| lanes.contains(&true)).collect();
    wanted.resize(tiles, false);
    wanted
}

/// A program on all tiles of a panel, in parts of `size` tiles.
struct Evaluation {
    isa: Isa,
    program: Program,
    panel: Arc<Panel>,
    wanted: Vec<bool>,
    cancel: Cancel,
    cancelled: AtomicBool,
    size: usize,
    /// Per part, `[root][tile of the part][lane]`.
    results: Vec<Mutex<Vec<f64>>>,
}

impl Evaluation {
    fn tiles(&self, part: usize) -> std::ops::Range<usize> {
        part * self.size..(part * self.size + self.size).min(self.panel.tiles().len())
    }

    /// Joins the parts into one column per root.
    fn columns(&self) -> Vec<Column> {
        let symbols = self.panel.symbols();
        let parts: Vec<_> =
            self.results.iter().map(|p| p.lock().unwrap_or_else(PoisonError::into_inner)).collect();
        (0..self.program.roots)
            .map(|root| {
                let mut column: Column = std::iter::repeat_n(f64::NAN, symbols).collect();
                if let Some(column) = Arc::get_mut(&mut column) {
                    for (values, lanes) in parts.iter().zip(column.chunks_mut(self.size * WIDTH)) {
                        let each = values.len() / self.program.roots;
                        let len = lanes.len();
                        lanes.copy_from_slice(&values[root * each..][..len]);
                    }
                }
                column
            })
            .collect()
    }
}

impl Work for Evaluation {
    fn part(&self, part: usize, scratch: &mut Scratch) {
        let tiles = self.tiles(part);
        let each = tiles.len() * WIDTH;
        let mut values = vec![f64::NAN; each * self.program.roots];
        for (at, index) in tiles.enumerate() {
            if self.cancel.is_cancelled() {
                self.cancelled.store(true, Ordering::Relaxed);
                break;
            }
            if !self.wanted[index] {
                continue;
            }
            tile::run(self.isa, &self.program, &self.panel.tiles()[index], index, scratch, |root, rows| {
                let out = values[root * each + at * WIDTH..].as_chunks_mut::<WIDTH>().0.first_mut();
                if let (Some(row), Some(out)) = (rows.last(), out) {
                    element::finite(self.isa, row, out);
                }
            });
        }
        *self.results[part].lock().unwrap_or_else(PoisonError::into_inner) = values;
    }
}
