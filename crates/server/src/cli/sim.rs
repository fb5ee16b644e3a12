//! `panscan sim`: the simulated provider as a process of its own.

use std::io::{self, Write as _};

use panscan_sim::{MarketSource, Plan, Rate, SimConfig, Simulator, parse_fault};

use super::args::SimArgs;
use super::exit::Exit;
use super::failure::Failure;
use super::ready::Ready;
use super::stop::Stop;

/// Serves until it is asked to end.
pub async fn run(args: SimArgs, stop: &Stop) -> Result<Exit, Failure> {
    let ready_file = args.ready_file.clone();
    let config = config(args)?;
    let simulator = tokio::select! {
        started = Simulator::start(config) => started?,
        () = stop.asked() => return Ok(Exit::Done),
    };
    let shape = simulator.shape();
    let line = format!(
        "{} serves market {} ({} symbols, {} sessions {} to {})\n",
        simulator.url(),
        simulator.market_id(),
        shape.symbols,
        shape.sessions,
        shape.first,
        shape.last
    );
    let mut out = io::stdout().lock();
    match out.write_all(line.as_bytes()).and_then(|()| out.flush()) {
        // Nobody reads the line; the service does not depend on that.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        written => written.map_err(Failure::Output)?,
    }
    drop(out);
    if let Some(path) = ready_file {
        Ready { http: Some(simulator.addr()), ..Ready::default() }.write(&path)?;
    }
    stop.asked().await;
    simulator.stop().await?;
    Ok(Exit::Done)
}

fn config(args: SimArgs) -> Result<SimConfig, Failure> {
    let usage = |flag: &str, error: &dyn std::fmt::Display| Failure::Usage(format!("{flag}: {error}"));
    if let Some(other) = args.dialects.iter().find(|name| *name != "polygon") {
        return Err(Failure::Absent(format!("sim --dialects {other}")));
    }
    if args.keys.as_ref().is_some_and(|keys| keys.iter().any(String::is_empty)) {
        return Err(Failure::Usage("--keys: a key is empty; expected K1,K2".to_owned()));
    }
    let market = if args.data.is_empty() {
        MarketSource::Generated {
            symbols: args.symbols as usize,
            sessions: args.sessions as usize,
            seed: args.seed,
            end: args.end.parse().map_err(|error| usage("--end", &error))?,
        }
    } else {
        MarketSource::Recorded { files: args.data, universe: args.universe }
    };
    Ok(SimConfig {
        listen: args.listen,
        market,
        now: args.now.map(|now| now.parse()).transpose().map_err(|error| usage("--now", &error))?,
        rate: rate(&args.rate)?,
        keys: args.keys,
        plan: args.plan.parse::<Plan>()?,
        faults: args.fault.iter().map(|fault| parse_fault(fault)).collect::<Result<_, _>>()?,
        fault_seed: args.seed,
        audit_file: args.audit,
    })
}

/// Reads the limit of a simulator; `unlimited` is none.
pub fn rate(text: &str) -> Result<Option<Rate>, Failure> {
    if text == "unlimited" {
        return Ok(None);
    }
    Ok(Some(text.parse()?))
}
