//! The fetching itself: the server is asked to hold what is missing, and says how far it has come.

use std::fmt;
use std::time::{Duration, Instant};

use panscan_core::Kind;
use panscan_proto::convert::answer::Diagnostic;
use panscan_proto::convert::read_duration;
use panscan_proto::v1;
use panscan_proto::v1::admin_client::AdminClient;
use tonic::transport::Endpoint;
use tonic::{Request, Status};

use super::progress::Progress;
use super::{LONGEST, Wanted};
use crate::cli::answer;
use crate::cli::failure::Failure;
use crate::cli::output::Notes;

/// Time left of a deadline from which on a stream that ends early is taken to have ended for it.
const SLACK: Duration = Duration::from_millis(500);

/// How far it has come.
#[derive(Debug, Clone, Default)]
pub(super) struct Warmed {
    pub(super) cells_done: u64,
    pub(super) cells_total: u64,
    pub(super) calls: u64,
    /// How long the rest takes at the configured limit.
    pub(super) remaining: Duration,
    took: Duration,
    ran_out: bool,
}

impl Warmed {
    /// Whether the time was over before the work was.
    pub(super) fn late(&self) -> bool {
        self.ran_out && self.cells_done < self.cells_total
    }

    /// What to say of it.
    pub(super) fn failure(&self, timeout: Option<Duration>) -> Failure {
        let left = self.cells_total - self.cells_done;
        let what = format!("{left} of {} cells (the others are kept)", self.cells_total);
        Failure::Deadline { what, timeout: timeout.unwrap_or(LONGEST) }
    }
}

impl fmt::Display for Warmed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.cells_total == 0 {
            return write!(f, "nothing is missing");
        }
        let (done, total, calls) = (self.cells_done, self.cells_total, self.calls);
        write!(
            f,
            "{done} of {total} cells fetched, {calls} provider calls, {:.1} s",
            self.took.as_secs_f64()
        )?;
        if done < total { write!(f, "; not complete") } else { Ok(()) }
    }
}

/// Has the server fetch what is missing. `None`: it does not let this caller ask for that.
///
/// # Errors
///
/// A server that is not there, or what the provider said that ends all fetching.
pub(super) async fn run(
    wanted: &Wanted,
    address: &str,
    timeout: Option<Duration>,
    quiet: bool,
) -> Result<Option<Warmed>, Failure> {
    let (began, limit) = (Instant::now(), timeout.unwrap_or(LONGEST));
    let notes = Notes::new(quiet);
    let endpoint = Endpoint::from_shared(address.to_owned())
        .map_err(|_| Failure::Usage(format!("{address:?} is no address; expected http://HOST:PORT")))?;
    let channel = endpoint.connect().await.map_err(|error| Failure::unreachable(address, &error))?;
    let mut request = Request::new(v1::WarmCacheRequest {
        symbols: wanted.symbols.clone(),
        timeframes: vec![wanted.timeframe.to_string()],
        range: Some(wanted.range.into()),
        ..v1::WarmCacheRequest::default()
    });
    request.set_timeout(limit);
    let mut seen = Warmed::default();
    let mut stream = match AdminClient::new(channel).warm_cache(request).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => match panscan_proto::kind::read(&status).kind {
            Kind::Denied | Kind::Unauthenticated | Kind::Unimplemented => return Ok(None),
            Kind::Timeout => return Ok(Some(Warmed { ran_out: true, ..seen })),
            _ => return Err(Failure::status(&status)),
        },
    };
    let mut progress = Progress::new(quiet);
    loop {
        let ended = match stream.message().await {
            Ok(Some(message)) => {
                if let Some(diagnostic) = &message.diagnostic {
                    let said = Diagnostic::from(diagnostic.clone());
                    progress.aside(|| notes.say(answer::diagnostic_line(&said)));
                }
                seen = read(&message, began.elapsed());
                message.done
            }
            Ok(None) => true,
            Err(status) if is_late(&status, began.elapsed(), limit) => true,
            Err(status) => return Err(Failure::status(&status)),
        };
        if ended {
            break;
        }
        progress.show(&seen);
    }
    progress.end();
    seen.took = began.elapsed();
    seen.ran_out = seen.took + SLACK >= limit;
    Ok(Some(seen))
}

/// Whether a stream ended as its time was over; a cut one looks like many things.
fn is_late(status: &Status, took: Duration, limit: Duration) -> bool {
    panscan_proto::kind::read(status).kind == Kind::Timeout || took >= limit
}

fn read(message: &v1::WarmCacheResponse, took: Duration) -> Warmed {
    let count = |n: i64| u64::try_from(n).unwrap_or(0);
    Warmed {
        cells_done: count(message.cells_done),
        cells_total: count(message.cells_total),
        calls: count(message.provider_calls),
        remaining: message.remaining.as_ref().and_then(read_duration).unwrap_or_default(),
        took,
        ran_out: false,
    }
}
