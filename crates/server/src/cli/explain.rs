//! `panscan scan --explain`: the plan and what it would cost.

use std::io::{self, Write as _};
use std::time::Duration;

use panscan_client::{Header, ScanRequest};
use panscan_proto::v1;
use panscan_proto::v1::scanner_client::ScannerClient;
use serde_json::json;
use tonic::Request;
use tonic::transport::Endpoint;

use super::answer;
use super::args::Format;
use super::exit::Exit;
use super::failure::Failure;

/// A plan with its cost.
pub struct Explained {
    /// The header that the scan would have.
    pub header: Header,
    /// The plan as indented text.
    pub text: String,
}

/// Asks for the plan of a scan.
pub async fn ask(request: &ScanRequest, address: &str, timeout: Duration) -> Result<Explained, Failure> {
    let wire = v1::ScanUniverseRequest::from(request);
    let mut asked = Request::new(v1::ExplainScanRequest {
        scan: wire.scan,
        saved_scan: wire.saved_scan,
        as_of: wire.as_of,
    });
    asked.set_timeout(timeout);
    let endpoint = Endpoint::from_shared(address.to_owned())
        .map_err(|_| Failure::Usage(format!("{address:?} is no address; expected http://HOST:PORT")))?;
    let channel = endpoint.connect().await.map_err(|error| Failure::unreachable(address, &error))?;
    let answer = ScannerClient::new(channel).explain_scan(asked).await;
    let answer = answer.map_err(|status| Failure::status(&status))?.into_inner();
    let header = answer.header.ok_or_else(|| Failure::Unexpected("the plan has no header".to_owned()))?;
    let header = Header::try_from(header).map_err(|error| Failure::Unexpected(error.to_string()))?;
    Ok(Explained { header, text: answer.text })
}

/// Shows the plan: as text, or as one object with `-o json` and `-o ndjson`.
pub async fn run(
    request: &ScanRequest,
    format: Format,
    address: &str,
    timeout: Duration,
) -> Result<Exit, Failure> {
    let explained = ask(request, address, timeout).await?;
    let text = match format {
        Format::Json | Format::Ndjson => {
            json!({"header": answer::header_value(&explained.header), "text": explained.text}).to_string()
        }
        Format::Table => format!("{}\n{}", explained.text.trim_end(), cost_line(&explained.header)),
        Format::Csv | Format::Arrow => {
            return Err(Failure::Usage("--explain is text; use -o table or -o json".to_owned()));
        }
    };
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(Failure::Output)?;
    Ok(Exit::Done)
}

/// The cost of a plan in one line.
#[must_use]
pub fn cost_line(header: &Header) -> String {
    let cost = &header.cost;
    format!(
        "{} of {} symbols, {} bars each, {} cells missing: {} provider calls, about {:.1} s",
        cost.population_symbols,
        cost.universe_symbols,
        cost.lookback_bars,
        cost.missing_cells,
        cost.provider_calls,
        cost.fetch_time.as_secs_f64()
    )
}
