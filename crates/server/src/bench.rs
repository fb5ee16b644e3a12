//! `panscan bench`: what this machine does, as ratios against baselines taken in the same run.
//!
//! A case and its baseline take turns in bursts, so that a machine whose speed drifts slows both.

mod beside;
mod codec;
mod decode;
mod enhanced;
mod history;
mod http;
mod market;
mod peers;
mod report;
mod request;
mod scan;
mod served;
mod stream;
mod tiers;
mod turbo;
mod wide;

use std::path::PathBuf;
use std::time::{Duration, Instant};

pub use self::report::{Case, Report};

/// What to measure, and how large.
#[derive(Debug, Clone)]
pub struct Options {
    /// Symbols of the market.
    pub symbols: usize,
    /// Bars per symbol.
    pub bars: usize,
    /// Samples per case; none: the suite's own number.
    pub iterations: Option<usize>,
    /// Threads of the backend.
    pub threads: usize,
    /// The folder of recorded data.
    pub recorded: PathBuf,
    /// Where other people's libraries are installed to be measured beside.
    pub peers: PathBuf,
    /// A filter instead of the standard scan's columns.
    pub scan: Option<String>,
}

/// Why a suite was not measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// There is no such suite.
    #[error(
        "there is no suite {name:?}; this build has scan, decode, codec, tiers, stream, turbo and enhanced"
    )]
    NoSuite {
        /// The name as given.
        name: String,
    },
    /// The filter is wrong.
    #[error(transparent)]
    Plan(#[from] panscan_core::expr::PlanError),
    /// A part that is measured failed.
    #[error("{what}: {message}")]
    Failed {
        /// Which.
        what: &'static str,
        /// How.
        message: String,
    },
}

impl BenchError {
    fn of(what: &'static str) -> impl Fn(&dyn std::error::Error) -> Self {
        move |error| Self::Failed { what, message: error.to_string() }
    }
}

/// Measures a suite; `progress` is told each case as it is done.
///
/// # Errors
///
/// [`BenchError`] when a part that is measured fails: a wrong answer is never a time.
pub async fn run(suite: &str, options: &Options, progress: &dyn Fn(&Case)) -> Result<Report, BenchError> {
    let cases = match suite {
        "scan" => scan::run(options, progress).await?,
        "decode" => decode::run(options, progress).await?,
        "codec" => codec::run(&options.recorded, options, progress)?,
        "tiers" => tiers::run(options, progress).await?,
        "enhanced" => enhanced::run(options, progress).await?,
        "stream" => stream::run(options, progress).await?,
        "turbo" => turbo::run(options, progress).await?,
        name => return Err(BenchError::NoSuite { name: name.to_owned() }),
    };
    Ok(Report::new(suite, cases))
}

/// Runs of one part before the next has its turn: what is measured is warm, and a part is not charged for the
/// caches that another one filled.
const BURST: usize = 10;

/// The median time of each of the `parts`, taking turns in bursts; the first run of a burst is not counted.
fn alternate(rounds: usize, parts: &mut [&mut dyn FnMut()]) -> Vec<Duration> {
    let mut taken: Vec<Vec<Duration>> = vec![Vec::with_capacity(rounds); parts.len()];
    for _ in 0..rounds.div_ceil(BURST) {
        for (part, taken) in parts.iter_mut().zip(&mut taken) {
            part();
            for _ in 0..BURST {
                let started = Instant::now();
                part();
                taken.push(started.elapsed());
            }
        }
    }
    taken.into_iter().map(|mut t| median(&mut t)).collect()
}

/// The middle of the times; of an even number the upper one.
fn median(taken: &mut [Duration]) -> Duration {
    taken.sort_unstable();
    taken.get(taken.len() / 2).copied().unwrap_or_default()
}
