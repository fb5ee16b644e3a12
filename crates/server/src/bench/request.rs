//! The request case of the scan suite: a filter over the whole universe, four indicators, three factors with robust
//! scores, the best hundred; whole calls over real gRPC, memo off, against a bare round trip on the same connection.

use std::time::Duration;

use panscan_core::scan::{Factor, FactorTransform, Order, ScanSpec};
use panscan_proto::convert::request::{Format, ScanRequest};

use super::scan::SEED_SET;
use super::served::{Served, failed};
use super::stream::{against_bare, endpoint};
use super::{BenchError, Case, Options};

/// Longest wait for the market to be fetched.
const COLD_TIMEOUT: Duration = Duration::from_secs(600);
/// Sessions of the market: the longest factor looks 252 bars back.
const SESSIONS: usize = 300;
/// Milliseconds that a call may take beyond a bare round trip.
const ABOVE: f64 = 0.8;

/// The pipeline of the earlier Python clients.
fn spec() -> ScanSpec {
    let factor = |name: &str, expr: &str, weight| Factor {
        name: name.to_owned(),
        expr: expr.to_owned(),
        weight,
        transform: FactorTransform::RobustZScore,
        winsorize: 0.01,
        by: String::new(),
    };
    ScanSpec {
        filter: "close > 5 and adv(20) > 1M".to_owned(),
        columns: SEED_SET.map(str::to_owned).to_vec(),
        factors: vec![
            factor("momentum", "momentum()", 0.4),
            factor("volatility", "volatility()", -0.3),
            factor("technical", "technical()", 0.3),
        ],
        rank_by: "score()".to_owned(),
        order: Order::Descending,
        limit: 100,
        ..ScanSpec::default()
    }
}

pub(super) async fn run(options: &Options, progress: &dyn Fn(&Case)) -> Result<Vec<Case>, BenchError> {
    let served = Served::start(options.symbols, SESSIONS).await?;
    let case = measured(options, &served).await;
    served.end_server().await;
    let case = case?;
    progress(&case);
    Ok(vec![case])
}

async fn measured(options: &Options, served: &Served) -> Result<Case, BenchError> {
    let failed = failed("the request");
    let mut request = ScanRequest {
        spec: spec(),
        format: Format::Columns,
        batch_rows: Some(256),
        ..ScanRequest::default()
    };
    let cold = served.client().await?.scan("").with_request(request.clone()).timeout(COLD_TIMEOUT);
    let cold = cold.collect().await.map_err(|e| failed(&e))?;
    if !cold.summary.complete || cold.rows.len() < request.spec.limit.min(options.symbols / 2) {
        return Err(failed(&format!("{} rows of a market that was not fetched whole", cold.rows.len())));
    }
    request.spec.limit = cold.rows.len();
    let channel = endpoint(&served.address()).connect().await.map_err(|e| failed(&e))?;
    let rounds = options.iterations.unwrap_or(400);
    let (taken, bare) = against_bare(&channel, &request, rounds).await?;
    let case = Case::time("request_top100", taken, rounds, ("bare_tonic", bare)).above_by_at_most(ABOVE);
    Ok(case.note("earlier Python clients: 450 stocks/s, and 172 s for 5,277 symbols"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pipeline_is_a_scan() {
        let plan = panscan_core::expr::plan(&spec()).unwrap();
        assert_eq!(plan.outputs.len(), SEED_SET.len() + 3, "four indicators and a column for each factor");
    }
}
