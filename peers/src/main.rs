//! The last values of sma(5), sma(20), rsi(14) and vwap(20) by other libraries, as their users would write it: one
//! symbol after the other, spread over two threads. Started by `panscan bench scan`, which says on standard input
//! what to run and reads times from standard output, so that both take turns within one run.
//!
//! `panscan-peers DATA SYMBOLS BARS THREADS`: DATA holds f64, little-endian, `[field][symbol][bar]`, of high, low, close,
//! volume and vwap. Lines in: `check NAME FILE` writes the values, `time NAME RUNS` answers nanoseconds.

use std::io::{BufRead, Write};
use std::time::Instant;

use rayon::prelude::*;
use ta::Next;
use yata::core::Method;
use yata::methods::{RMA, SMA};

/// One symbol's bars.
#[derive(Clone, Copy)]
struct Bars<'a> {
    high: &'a [f64],
    low: &'a [f64],
    close: &'a [f64],
    volume: &'a [f64],
    vwap: &'a [f64],
}

impl Bars<'_> {
    fn price(&self, at: usize) -> f64 {
        let vwap = self.vwap[at];
        if vwap.is_nan() { (self.high[at] + self.low[at] + self.close[at]) / 3.0 } else { vwap }
    }

    /// Price times volume of each bar.
    fn traded(&self) -> Vec<f64> {
        (0..self.close.len()).map(|at| self.price(at) * self.volume[at]).collect()
    }
}

type Last = [f64; 4];

fn last(values: &[f64]) -> f64 {
    values.last().copied().unwrap_or(f64::NAN)
}

fn of_yata(bars: Bars<'_>) -> Option<Last> {
    let close = bars.close;
    let (mut five, mut twenty) = (SMA::new(5, &close[0]).ok()?, SMA::new(20, &close[0]).ok()?);
    let (mut traded, mut shares) = (SMA::new(20, &0.0).ok()?, SMA::new(20, &0.0).ok()?);
    let mut out = [f64::NAN; 4];
    for at in 0..close.len() {
        out[0] = five.next(&close[at]);
        out[1] = twenty.next(&close[at]);
        out[3] = traded.next(&(bars.price(at) * bars.volume[at])) / shares.next(&bars.volume[at]);
    }
    // Its average starts with a value that it is given: the mean of the first changes, as Wilder's does.
    let change = |at: usize| close[at] - close[at - 1];
    let seed = |sign: f64| (1..=14).map(|at| (sign * change(at)).max(0.0)).sum::<f64>() / 14.0;
    let (mut up, mut down) = (RMA::new(14, &seed(1.0)).ok()?, RMA::new(14, &seed(-1.0)).ok()?);
    let (mut gain, mut loss) = (seed(1.0), seed(-1.0));
    for at in 15..close.len() {
        gain = up.next(&change(at).max(0.0));
        loss = down.next(&(-change(at)).max(0.0));
    }
    out[2] = if gain + loss == 0.0 { 0.0 } else { 100.0 * gain / (gain + loss) };
    Some(out)
}

#[cfg(feature = "vector-ta")]
fn of_vector_ta(bars: Bars<'_>) -> Option<Last> {
    use vector_ta::indicators::moving_averages::sma::{SmaInput, SmaParams, sma};
    use vector_ta::indicators::moving_averages::vwma::{VwmaInput, VwmaParams, vwma};
    use vector_ta::indicators::rsi::{RsiInput, RsiParams, rsi};
    let mean = |n| sma(&SmaInput::from_slice(bars.close, SmaParams { period: Some(n) })).ok();
    let prices: Vec<f64> = (0..bars.close.len()).map(|at| bars.price(at)).collect();
    let strength = rsi(&RsiInput::from_slice(bars.close, RsiParams { period: Some(14) })).ok()?;
    let weighted = vwma(&VwmaInput::from_slice(&prices, bars.volume, VwmaParams { period: Some(20) })).ok()?;
    Some([last(&mean(5)?.values), last(&mean(20)?.values), last(&strength.values), last(&weighted.values)])
}

fn of_ta(bars: Bars<'_>) -> Option<Last> {
    use ta::indicators::{RelativeStrengthIndex, SimpleMovingAverage};
    let (mut five, mut twenty) = (SimpleMovingAverage::new(5).ok()?, SimpleMovingAverage::new(20).ok()?);
    let mut strength = RelativeStrengthIndex::new(14).ok()?;
    let (mut traded, mut shares) = (SimpleMovingAverage::new(20).ok()?, SimpleMovingAverage::new(20).ok()?);
    let mut out = [f64::NAN; 4];
    for at in 0..bars.close.len() {
        out[0] = five.next(bars.close[at]);
        out[1] = twenty.next(bars.close[at]);
        out[2] = strength.next(bars.close[at]);
        out[3] = traded.next(bars.price(at) * bars.volume[at]) / shares.next(bars.volume[at]);
    }
    Some(out)
}

fn of_kand(bars: Bars<'_>) -> Option<Last> {
    let rows = bars.close.len();
    let mean = |values: &[f64], n| {
        let mut out = vec![0.0; rows];
        kand::ohlcv::sma::sma(values, n, &mut out).ok()?;
        Some(last(&out))
    };
    let (mut strength, mut gain, mut loss) = (vec![0.0; rows], vec![0.0; rows], vec![0.0; rows]);
    kand::ohlcv::rsi::rsi(bars.close, 14, &mut strength, &mut gain, &mut loss).ok()?;
    let vwap = mean(&bars.traded(), 20)? / mean(bars.volume, 20)?;
    Some([mean(bars.close, 5)?, mean(bars.close, 20)?, last(&strength), vwap])
}

type Peer = fn(Bars<'_>) -> Option<Last>;

const PEERS: &[(&str, Peer)] = &[
    ("yata", of_yata),
    #[cfg(feature = "vector-ta")]
    ("vector_ta", of_vector_ta),
    ("ta", of_ta),
    ("kand", of_kand),
];

fn run(peer: Peer, all: &[Bars<'_>]) -> Vec<Last> {
    all.par_iter().with_min_len(64).map(|bars| peer(*bars).unwrap_or([f64::NAN; 4])).collect()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().collect();
    let [_, data, symbols, bars, threads] = words.as_slice() else {
        return Err("usage: panscan-peers DATA SYMBOLS BARS THREADS".into());
    };
    let (symbols, rows): (usize, usize) = (symbols.parse()?, bars.parse()?);
    rayon::ThreadPoolBuilder::new().num_threads(threads.parse()?).build_global()?;
    let values: Vec<f64> = bytemuck::pod_collect_to_vec(&std::fs::read(data)?);
    if values.len() != 5 * symbols * rows || rows < 21 {
        return Err("the data have another size, or less than 21 bars".into());
    }
    let column = |field: usize, symbol: usize| &values[(field * symbols + symbol) * rows..][..rows];
    let all: Vec<Bars<'_>> = (0..symbols)
        .map(|s| Bars {
            high: column(0, s),
            low: column(1, s),
            close: column(2, s),
            volume: column(3, s),
            vwap: column(4, s),
        })
        .collect();
    let mut out = std::io::stdout().lock();
    writeln!(out, "ready {}", PEERS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" "))?;
    out.flush()?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let find = |name: &str| PEERS.iter().find(|(known, _)| *known == name).map(|(_, peer)| *peer);
        match words.as_slice() {
            ["check", name, file] => {
                let peer = find(name).ok_or("unknown peer")?;
                std::fs::write(file, bytemuck::cast_slice(&run(peer, &all)))?;
                writeln!(out, "written")?;
            }
            ["time", name, runs] => {
                let peer = find(name).ok_or("unknown peer")?;
                let mut taken = Vec::new();
                for _ in 0..runs.parse::<usize>()? {
                    let started = Instant::now();
                    std::hint::black_box(run(peer, &all));
                    taken.push(started.elapsed().as_nanos().to_string());
                }
                writeln!(out, "{}", taken.join(" "))?;
            }
            _ => return Err(format!("not understood: {line}").into()),
        }
        out.flush()?;
    }
    Ok(())
}
