//! The request case of the scan suite: a filter over the whole universe, four indicators, three factors with robust
//! scores, the best hundred; whole calls over real gRPC, memo off, against a bare round trip on the same connection.

use std::time::Duration;

use panscan_client::Client;
use panscan_core::scan::{Factor, FactorTransform, Order, ScanSpec};
use panscan_proto::convert::request::{Format, ScanRequest};

use super::scan::SEED_SET;
use super::stream::{against_bare, endpoint};
use super::{BenchError, Case, Options};
use crate::app;
use crate::cli::args::DemoArgs;
use crate::cli::stage::Stage;

/// Longest wait for the market to be fetched.
const COLD_TIMEOUT: Duration = Duration::from_secs(600);
/// Sessions of the market: the longest factor looks 252 bars back.
const SESSIONS: u32 = 300;
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
    let failed = |error: &dyn std::fmt::Display| BenchError::Failed {
        what: "the request",
        message: error.to_string(),
    };
    let args = DemoArgs {
        symbols: u32::try_from(options.symbols).unwrap_or(u32::MAX),
        sessions: SESSIONS,
        seed: 1,
        rate: "1000/s".to_owned(),
        filter: None,
        port: 0,
        once: true,
        json: false,
        keep: false,
        data: Vec::new(),
        universe: None,
    };
    let stage = Stage::set(&args).await.map_err(|e| failed(&e))?;
    let running = app::start(&stage.settings).await.map_err(|e| failed(&e))?;
    let measured = async {
        running.ready().await.map_err(|e| failed(&e))?;
        let address = format!("http://{}", running.grpc);
        let client = Client::connect(address.as_str()).await.map_err(|e| failed(&e))?;
        let request = ScanRequest {
            spec: spec(),
            format: Format::Columns,
            batch_rows: Some(256),
            ..ScanRequest::default()
        };
        let cold = client.scan("").with_request(request.clone()).timeout(COLD_TIMEOUT);
        let cold = cold.collect().await.map_err(|e| failed(&e))?;
        if !cold.summary.complete || cold.rows.len() < 100.min(options.symbols) {
            return Err(failed(&format!("{} rows of a market that was not fetched whole", cold.rows.len())));
        }
        let mut request = request;
        request.spec.limit = cold.rows.len();
        let channel = endpoint(&address).connect().await.map_err(|e| failed(&e))?;
        let rounds = options.iterations.unwrap_or(400);
        let (taken, bare) = against_bare(&channel, &request, rounds).await?;
        let case = Case::time("request_top100", taken, rounds, ("bare_tonic", bare)).above_by_at_most(ABOVE);
        Ok(case.note("earlier Python clients: 450 stocks/s, and 172 s for 5,277 symbols"))
    };
    let case = measured.await;
    running.stop().await;
    let case = case?;
    progress(&case);
    Ok(vec![case])
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
