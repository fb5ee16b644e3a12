//! `panscan sim`: the simulated provider as a process of its own.

use std::io::{self, Write as _};

use panscan_sim::{BucketKeys, Dialect, MarketSource, Plan, Rate, SimConfig, Simulator, parse_fault};

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
        dialects: dialects(&args.dialects)?,
        keys: args.keys,
        bucket: BucketKeys { access: args.s3_access_key, secret: args.s3_secret_key },
        plan: args.plan.parse::<Plan>()?,
        faults: args.fault.iter().map(|fault| parse_fault(fault)).collect::<Result<_, _>>()?,
        fault_seed: args.seed,
        audit_file: args.audit,
    })
}

/// Reads the providers that are spoken beside Polygon, whose paths are always there.
fn dialects(names: &[String]) -> Result<Vec<(Dialect, Option<Rate>)>, Failure> {
    let mut dialects = Vec::new();
    for text in names {
        let (name, limit) =
            text.split_once('=').map_or((text.as_str(), None), |(name, rate)| (name, Some(rate)));
        match name {
            "polygon" if limit.is_none() => {}
            "polygon" => return Err(Failure::Usage("--dialects: polygon's limit is --rate".to_owned())),
            "xai" | "perplexity" => return Err(Failure::Absent(format!("sim --dialects {name}"))),
            _ => {
                let dialect: Dialect = name.parse()?;
                dialects.push((dialect, limit.map_or(Ok(Some(dialect.usual_rate())), rate)?));
            }
        }
    }
    Ok(dialects)
}

/// Reads the limit of a simulator; `unlimited` is none.
pub fn rate(text: &str) -> Result<Option<Rate>, Failure> {
    if text == "unlimited" {
        return Ok(None);
    }
    Ok(Some(text.parse()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(Dialect, Option<Rate>)>, Failure> {
        dialects(&text.split(',').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn dialects_have_their_usual_limit_or_the_one_that_is_named() {
        let usual = Some(Dialect::AlphaVantage.usual_rate());
        assert_eq!(read("polygon,alphavantage").unwrap(), [(Dialect::AlphaVantage, usual)]);
        assert_eq!(read("yahoo=unlimited").unwrap(), [(Dialect::Yahoo, None)]);
        assert_eq!(read("alpaca=3/s").unwrap(), [(Dialect::Alpaca, Some("3/s".parse().unwrap()))]);
    }

    #[test]
    fn what_is_not_spoken_is_refused_by_name() {
        assert!(matches!(read("polygon,xai"), Err(Failure::Absent(text)) if text.contains("xai")));
        assert!(matches!(read("perplexity"), Err(Failure::Absent(_))));
        assert!(matches!(read("polygon=5/min"), Err(Failure::Usage(_))));
        assert!(read("bloomberg").is_err() && read("alpaca=often").is_err());
    }
}
