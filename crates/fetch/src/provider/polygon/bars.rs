//! Raw bars as the engine asks for them: one session of every symbol, or one symbol over a range.

use panscan_core::bar::BarFault;
use panscan_core::block::{Block, Provenance, Quarantined};
use panscan_core::calendar::Calendar;
use panscan_core::port::{BarAsk, Errand, Fetched, SourceError};
use panscan_core::time::{SessionDate, Timeframe};
use tokio::time::Instant;

use super::plan::Part;
use super::resume;
use super::rows::Asked;
use super::{NAME, Polygon, in_path};
use crate::caller::Topic;
use crate::decode::{self, Aggregates, Rows};
use crate::provider::paging::Pages;

pub(super) const RANGE: &str = "/v2/aggs/ticker/{ticker}/range/{n}/{span}/{from}/{to}";
const GROUPED: &str = "/v2/aggs/grouped/locale/us/market/stocks/{date}";

/// A question as it is sent.
pub(super) struct Question<'a> {
    pub(super) what: &'a str,
    pub(super) template: &'static str,
    /// Path and query.
    pub(super) query: String,
    /// The one ticker that it is about.
    pub(super) ticker: Option<&'a str>,
    pub(super) adjusted: bool,
    pub(super) sessions: (SessionDate, SessionDate),
    pub(super) errand: Errand,
}

impl Polygon {
    pub(super) async fn bars(&self, ask: &BarAsk, errand: Errand) -> Result<Fetched, SourceError> {
        let what = ask.to_string();
        let not_offered = || SourceError::NotOffered { provider: self.name.clone(), what: what.clone() };
        let asked = Asked::new(ask).ok_or_else(not_offered)?;
        let (template, query, sessions) = match ask {
            BarAsk::Day(session) => (
                GROUPED,
                format!(
                    "/v2/aggs/grouped/locale/us/market/stocks/{session}?adjusted=false&include_otc=false"
                ),
                (*session, *session),
            ),
            BarAsk::FlatFile { .. } => return Err(not_offered()),
            BarAsk::Range { symbol, timeframe, from, to } => {
                let span = match timeframe {
                    Timeframe::Minutes(n) => format!("{n}/minute"),
                    Timeframe::Day => "1/day".to_owned(),
                    Timeframe::Week | Timeframe::Month => {
                        let message = "bars of weeks and months are made from days; ask for 1d";
                        return Err(self.scribe.refused(&what, message));
                    }
                };
                if to < from {
                    return Err(self.scribe.refused(&what, "to is before from"));
                }
                let ticker = in_path(symbol);
                (
                    RANGE,
                    format!(
                        "/v2/aggs/ticker/{ticker}/range/{span}/{from}/{to}?\
                         adjusted=false&sort=asc&limit=50000"
                    ),
                    (*from, *to),
                )
            }
        };
        if holds_no_session(sessions) {
            let (block, quarantined) = asked.block(&[], self.provenance());
            return Ok(Fetched { block, quarantined, calls: 0 });
        }
        let ticker = asked.symbol().map(|symbol| symbol.as_str());
        let question = Question { what: &what, template, query, ticker, adjusted: false, sessions, errand };
        let (block, quarantined, mut calls) = self.laid_out(&question, &asked).await?;
        let mut fetched = Fetched { block, quarantined, calls };
        if is_torn(&fetched.quarantined) {
            // Two different bars of one interval: one of them may have been damage on the way.
            tracing::info!(provider = NAME, what, "two different bars for one interval; asking once more");
            let (block, quarantined, again) = self.laid_out(&question, &asked).await?;
            calls += again;
            fetched = Fetched { block, quarantined, calls };
        }
        if !fetched.quarantined.is_empty() {
            tracing::info!(provider = NAME, what, rows = fetched.quarantined.len(), "rows quarantined");
        }
        Ok(fetched)
    }

    fn provenance(&self) -> Provenance {
        Provenance { provider: self.name.clone(), fetched_at: self.caller.clock().now() }
    }

    async fn laid_out(
        &self,
        question: &Question<'_>,
        asked: &Asked,
    ) -> Result<(Block, Vec<Quarantined>, u32), SourceError> {
        let (rows, calls) = self.pages(question).await?;
        let (asked, provenance) = (asked.clone(), self.provenance());
        let task = tokio::task::spawn_blocking(move || asked.block(&rows, provenance));
        let (block, quarantined) =
            task.await.map_err(|error| self.scribe.unreadable(question.what, &error.to_string()))?;
        Ok((block, quarantined, calls))
    }

    /// The rows of all pages, and the calls that it took. When a page cannot be had, those before it are kept for
    /// the next time that the same is asked for.
    pub(super) async fn pages(&self, question: &Question<'_>) -> Result<(Vec<Rows>, u32), SourceError> {
        let Question { what, template, sessions, .. } = *question;
        let part = Part { what, template, sessions: Some(sessions) };
        self.plan.check(&self.name, part, self.caller.clock().now())?;
        let topic = Topic::data(template, what, question.errand);
        let first = self.caller.url(&question.query)?;
        let adjusted = if question.adjusted { "true" } else { "false" };
        let (mut rows, mut pages, mut next) = match self.unfinished.take(&first, Instant::now()) {
            Some(part) => (part.rows, part.pages, Some(part.next)),
            None => {
                let pages = Pages::new(self.caller.base(), &first, Some(("adjusted", adjusted)));
                (Vec::new(), pages, Some(first.clone()))
            }
        };
        let (mut calls, mut asked_twice) = (0, false);
        while let Some(url) = next.take() {
            calls += 1;
            let page = match self.caller.call(topic, &url, decode::aggregates).await {
                Ok(Some((page, _))) => page,
                Ok(None) => break,
                Err(error) => {
                    if !rows.is_empty() && is_passing(&error) {
                        let since = Instant::now();
                        self.unfinished.keep(&first, resume::Part { rows, pages, next: url, since });
                    }
                    return Err(self.plan.learn(part, error, self.caller.clock().now()));
                }
            };
            self.verdict
                .check_page(question, &page)
                .map_err(|error| self.plan.learn(part, error, self.caller.clock().now()))?;
            self.note_status(page.status.as_deref());
            if page.is_suspiciously_empty() && page.next_url.is_none() && !asked_twice {
                asked_twice = true;
                next = Some(url);
                continue;
            }
            let Aggregates { next_url, rows: read, .. } = page;
            rows.push(read);
            next =
                pages.next(next_url.as_deref()).map_err(|message| self.scribe.unreadable(what, &message))?;
        }
        Ok((rows, calls))
    }
}

/// Whether nothing was traded on any of the days, as far as the calendar knows: then no call is worth making.
fn holds_no_session((from, to): (SessionDate, SessionDate)) -> bool {
    let calendar = Calendar::us_equities();
    calendar.first() <= from && to <= calendar.last() && calendar.sessions(from, to).is_empty()
}

fn is_torn(quarantined: &[Quarantined]) -> bool {
    quarantined.iter().any(|row| row.fault == BarFault::Conflicting)
}

/// Whether the same page may be had later.
fn is_passing(error: &SourceError) -> bool {
    matches!(
        error,
        SourceError::RateLimited { .. }
            | SourceError::Unavailable { .. }
            | SourceError::Unreadable { .. }
            | SourceError::Suspended { .. }
    )
}
