//! The enhanced suite: the provider calls of a desk's morning, against one call for each symbol and question, which is
//! what a client without a store makes. The earlier clients claim 90 % fewer.

use panscan_core::range::BarRange;

use super::scan::SEED_SET;
use super::served::{Served, failed};
use super::{BenchError, Case, Options};

/// Scans of everything.
const SCANS: usize = 10;
/// Questions for bars, each about so many symbols.
const QUESTIONS: usize = 5;
const ASKED: usize = 100;
/// Ten times fewer calls: the claim.
const CLAIM: f64 = 10.0;
/// Longest wait for an answer.
const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(600);

pub(super) async fn run(options: &Options, progress: &dyn Fn(&Case)) -> Result<Vec<Case>, BenchError> {
    let served = Served::start(options.symbols, options.bars).await?;
    let cases = measured(options, &served).await;
    served.end_server().await;
    let cases = cases?;
    cases.iter().for_each(progress);
    Ok(cases)
}

async fn measured(options: &Options, served: &Served) -> Result<Vec<Case>, BenchError> {
    let failed = failed("the client");
    let client = served.client().await?;
    let mut cold = 0;
    for scan in 0..SCANS {
        let asked = client.scan("").columns(SEED_SET).rank_by("rsi(14)").timeout(TIMEOUT);
        let answer = asked.collect().await.map_err(|e| failed(&e))?;
        if !answer.summary.complete {
            return Err(failed(&"the market was not fetched whole"));
        }
        if scan == 0 {
            cold = served.calls();
        }
    }
    let listed = client.symbols().send().await.map_err(|e| failed(&e))?;
    let names: Vec<String> = listed.symbols.iter().map(|s| s.symbol.to_string()).collect();
    let asked = ASKED.min(names.len());
    for question in 0..QUESTIONS {
        let from = question * 37 % (names.len() - asked + 1);
        let names = names[from..][..asked].iter().map(String::as_str);
        let mut stream = client
            .batch_bars(names)
            .range(BarRange::Last(options.bars))
            .timeout(TIMEOUT)
            .send()
            .await
            .map_err(|e| failed(&e))?;
        while stream.next_bars().await.map_err(|e| failed(&e))?.is_some() {}
    }
    let calls = served.calls();
    let count = |name, made: u64, plain: usize| {
        Case::count(name, made as f64, "calls", 1, ("call_per_symbol", plain as f64))
    };
    Ok(vec![
        count("first_scan", cold, names.len()),
        count("morning", calls, SCANS * names.len() + QUESTIONS * asked)
            .at_least(CLAIM)
            .note("ten scans of everything and five questions for the bars of a hundred symbols; the claim is 90 % fewer"),
    ])
}
