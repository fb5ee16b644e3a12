//! Other providers' tongues: Alpaca, Yahoo and Alpha Vantage, each under its own path prefix, all of them
//! about the market that the Polygon paths serve, so that a bar from each can be compared.
//!
//! Here is the way of one request: key, limit, fault, handler. What a tongue's paths and words are is in the
//! modules below. Not here: Polygon's own paths ([`crate::http`]).

mod alpaca;
mod alphavantage;
mod yahoo;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::header::HOST;
use axum::http::{HeaderMap, Method};
use axum::response::Response;

use crate::ask::{Answer, Ask, decode, params};
use crate::audit::{Admission, Audit, Auditor};
use crate::config::{Plan, Rate};
use crate::error::SimError;
use crate::fault::FaultName;
use crate::http::{self, Shared};
use crate::wire::Cut;

/// A provider whose paths and quirks can be spoken beside Polygon's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Dialect {
    /// Alpaca market data, under `/alpaca`.
    Alpaca,
    /// Yahoo's chart, under `/yahoo`.
    Yahoo,
    /// Alpha Vantage, under `/alphavantage`.
    AlphaVantage,
}

impl Dialect {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Alpaca, Self::Yahoo, Self::AlphaVantage];

    /// Its name, which is also its path prefix.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Alpaca => "alpaca",
            Self::Yahoo => "yahoo",
            Self::AlphaVantage => "alphavantage",
        }
    }

    /// The limit that its provider sets for callers who do not pay.
    #[must_use]
    pub const fn usual_rate(self) -> Rate {
        let (calls, seconds) = match self {
            Self::Alpaca => (200, 60),
            // Nothing is promised; this is about what goes through.
            Self::Yahoo => (60, 60),
            Self::AlphaVantage => (25, 86_400),
        };
        Rate { calls, window: Duration::from_secs(seconds) }
    }

    fn template(self, segments: &[&str]) -> &'static str {
        match self {
            Self::Alpaca => alpaca::template(segments),
            Self::Yahoo => yahoo::template(segments),
            Self::AlphaVantage => alphavantage::template(segments),
        }
    }

    /// Under which key a caller is counted, and the refusal if that key does not open the door.
    fn caller(self, ask: &Ask, headers: &HeaderMap, shared: &Shared) -> (String, Option<Answer>) {
        let known = |key: &str| shared.keys.as_ref().is_none_or(|keys| keys.contains(key));
        match self {
            Self::Alpaca => alpaca::caller(headers, known),
            Self::Yahoo => yahoo::caller(headers),
            Self::AlphaVantage => alphavantage::caller(ask, known),
        }
    }

    fn too_many(self, rate: Option<Rate>) -> Answer {
        match self {
            Self::Alpaca => alpaca::too_many(),
            Self::Yahoo => yahoo::too_many(),
            Self::AlphaVantage => alphavantage::too_many(rate),
        }
    }

    /// The answer that a fault puts in place of the real one; `None` where it has no meaning here.
    fn instead(self, fault: FaultName) -> Option<Answer> {
        let own = match self {
            Self::Alpaca => alpaca::instead(fault),
            Self::Yahoo => yahoo::instead(fault),
            Self::AlphaVantage => alphavantage::instead(fault),
        };
        own.or_else(|| match fault {
            FaultName::TooMany => Some(self.too_many(None)),
            FaultName::TooManyRetryAfter => {
                Some(Answer { status: 429, retry_after: Some(1), ..self.too_many(None) })
            }
            // Polygon's words in another's mouth would be a fault of the simulator's own.
            FaultName::NotAuthorizedOk | FaultName::KeyRevoked => None,
            _ => http::instead(fault, ""),
        })
    }

    fn answer(self, ask: &Ask, plan: Plan) -> Answer {
        match self {
            Self::Alpaca => alpaca::answer(ask, plan),
            Self::Yahoo => yahoo::answer(ask),
            Self::AlphaVantage => alphavantage::answer(ask),
        }
        .unwrap_or_else(|refused| refused)
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Dialect {
    type Err = SimError;

    fn from_str(text: &str) -> Result<Self, SimError> {
        Self::ALL.iter().copied().find(|dialect| dialect.as_str() == text).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|dialect| dialect.as_str()).collect();
            let short: String = text.chars().take(40).collect();
            SimError::setting("dialects", format!("{short:?} is none of polygon, {}", names.join(", ")))
        })
    }
}

/// The dialects that are on, each with its limit and its ledger.
pub(crate) struct Dialects(BTreeMap<Dialect, (Option<Rate>, Auditor)>);

impl Dialects {
    pub(crate) fn new(wanted: &[(Dialect, Option<Rate>)]) -> Self {
        Self(wanted.iter().map(|&(dialect, rate)| (dialect, (rate, Auditor::new(rate)))).collect())
    }

    /// The dialect that a path belongs to, if it is on.
    pub(crate) fn of(&self, path: &str) -> Option<Dialect> {
        let first = path.strip_prefix('/')?.split('/').next()?;
        self.0.keys().copied().find(|dialect| dialect.as_str() == first)
    }

    /// Adds what was counted here to `audit`: each ledger under its name, and the sums over all providers.
    pub(crate) fn add_to(&self, mut audit: Audit) -> Audit {
        for (dialect, (_, auditor)) in &self.0 {
            let own = auditor.snapshot();
            audit.calls.extend(own.calls.iter().map(|(template, calls)| (*template, *calls)));
            audit.total += own.total;
            audit.rows += own.rows;
            audit.violations += own.violations;
            for (name, count) in &own.faults_injected {
                *audit.faults_injected.entry(name).or_default() += count;
            }
            audit.dialects.insert(dialect.as_str(), own);
        }
        audit
    }

    pub(crate) fn reset(&self) {
        self.0.values().for_each(|(_, auditor)| auditor.reset());
    }
}

/// Answers a request to one of the dialects' paths.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    dialect: Dialect,
    cut: &Cut,
    method: &Method,
    headers: &HeaderMap,
    path: &str,
    query: &str,
) -> Response {
    let segments: Vec<String> = path.split('/').skip(1).map(|segment| decode(segment, false)).collect();
    let template = dialect.template(&segments.iter().map(String::as_str).collect::<Vec<_>>());
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("127.0.0.1");
    let gzip = http::accepts(headers, "gzip").then_some(());
    let mut ask = Ask {
        segments,
        params: params(query),
        origin: format!("http://{host}"),
        target: path.to_owned(),
        request_id: String::new(),
        view: shared.view(false),
        status: "",
        csv: false,
        tweak: None,
    };
    let Some((rate, auditor)) = shared.dialects.0.get(&dialect) else {
        return http::finish(&shared, Answer::new(404, Vec::new()), "", gzip);
    };
    let (key, refusal) = dialect.caller(&ask, headers, &shared);
    let admission = auditor.call(&key, template, false);
    let dress = |response: Response| match dialect {
        Dialect::Alpaca => alpaca::with_rate_headers(response, auditor.room(&key)),
        Dialect::Yahoo | Dialect::AlphaVantage => response,
    };
    let refusal = refusal
        .or_else(|| matches!(admission, Admission::Refused { .. }).then(|| dialect.too_many(*rate)))
        .or_else(|| (method != Method::GET).then(|| Answer::new(405, Vec::new())));
    if let Some(refusal) = refusal {
        return dress(http::finish(&shared, refusal, "", gzip));
    }

    let fault = shared.faults.draw();
    if let Some((fault, answer)) = fault.and_then(|fault| Some((fault, dialect.instead(fault)?))) {
        auditor.fault(fault.as_str());
        return dress(http::finish(&shared, answer, "", gzip));
    }
    if fault == Some(FaultName::DropSocket) {
        auditor.fault(FaultName::DropSocket.as_str());
        cut.now();
        // the connection ends at its next read; this answer is never written
        std::future::pending::<()>().await;
    }
    ask.tweak = fault;
    let plan = shared.plan;
    let built = tokio::task::spawn_blocking(move || {
        let mut answer = dialect.answer(&ask, plan);
        if ask.tweak == Some(FaultName::BadJson) {
            answer.body.truncate(answer.body.len() / 2);
            answer.tweaked = true;
        }
        let packed =
            gzip.filter(|()| http::worth_packing(&answer.body)).and_then(|()| http::pack(&answer.body));
        (answer, packed)
    })
    .await;
    let Ok((answer, packed)) = built else {
        return http::finish(&shared, Answer::new(500, Vec::new()), "", None);
    };
    auditor.rows(answer.rows);
    if let (true, Some(fault)) = (answer.tweaked, fault) {
        auditor.fault(fault.as_str());
    }
    dress(http::wounded(&shared, answer, packed, "", fault).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_the_unknown_is_refused_with_the_list() {
        for &dialect in Dialect::ALL {
            assert_eq!(dialect.as_str().parse::<Dialect>().unwrap(), dialect);
        }
        let fault = "bloomberg".parse::<Dialect>().unwrap_err().to_string();
        assert!(fault.contains("bloomberg") && fault.contains("alphavantage"), "{fault}");
    }

    #[test]
    fn a_path_belongs_to_a_dialect_that_is_on() {
        let dialects = Dialects::new(&[(Dialect::Yahoo, None)]);
        assert_eq!(dialects.of("/yahoo/v8/finance/chart/SPY"), Some(Dialect::Yahoo));
        assert_eq!(dialects.of("/alpaca/v2/stocks/bars"), None);
        assert_eq!(dialects.of("/v2/aggs"), None);
    }
}
