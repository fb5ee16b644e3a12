//! Messages of a stream as a client reads them. That they come in the right order is the client's to see to.

use panscan_core::time::Timestamp;

use super::answer::{Column, Cost, Diagnostic, Header, Summary, unsigned};
use super::bars::{Bars, BarsSummary};
use super::batch::Batch;
use super::read_timestamp;
use crate::error::Error;
use crate::v1::{self, batch_get_bars_response, scan_universe_response};

/// A message of a scan stream.
#[derive(Debug, Clone, PartialEq)]
pub enum ScanFrame {
    /// The first one.
    Header(Box<Header>),
    /// Rows of consecutive ranks.
    Batch(Batch),
    /// Something to know.
    Diagnostic(Diagnostic),
    /// The last one.
    Summary(Box<Summary>),
}

impl ScanFrame {
    /// Reads a message; `columns` are those of the header, `None` before it.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] when it breaks the contract or holds Arrow data, which this client never asks for.
    pub fn read(message: v1::ScanUniverseResponse, columns: Option<&[Column]>) -> Result<Self, Error> {
        use scan_universe_response::Frame;
        let malformed = |message: &str| Error::malformed("scan stream", message);
        let frame = message.frame.ok_or_else(|| malformed("a message without a known frame"))?;
        let columns = match (&frame, columns) {
            (Frame::Header(_), _) => &[],
            (_, Some(columns)) => columns,
            (_, None) => return Err(malformed("it does not start with a header")),
        };
        Ok(match frame {
            Frame::Header(header) => Self::Header(Box::new(header.try_into()?)),
            Frame::Rows(batch) => Self::Batch(Batch::from_rows(batch, columns)?),
            Frame::Columns(batch) => Self::Batch(Batch::from_columns(batch, columns)?),
            Frame::Arrow(_) => return Err(malformed("Arrow data that was not asked for")),
            Frame::Diagnostic(diagnostic) => Self::Diagnostic(diagnostic.into()),
            Frame::Summary(summary) => Self::Summary(Box::new(summary.into())),
        })
    }
}

/// The first message of many symbols' bars.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BarsHeader {
    /// The snapshot that they are of.
    pub snapshot_id: String,
    /// Its instant.
    pub as_of: Option<Timestamp>,
    /// Symbols asked for.
    pub symbols: u64,
    /// What the answer touches and costs.
    pub cost: Cost,
}

impl From<v1::BarsHeader> for BarsHeader {
    fn from(wire: v1::BarsHeader) -> Self {
        Self {
            as_of: wire.as_of.as_ref().and_then(read_timestamp),
            symbols: unsigned(wire.symbols.into()),
            cost: wire.cost.as_ref().map(Cost::from).unwrap_or_default(),
            snapshot_id: wire.snapshot_id,
        }
    }
}

/// A message of many symbols' bars.
#[derive(Debug, Clone, PartialEq)]
pub enum BarsFrame {
    /// The first one.
    Header(BarsHeader),
    /// Bars of one symbol.
    Bars(Bars),
    /// Something to know.
    Diagnostic(Diagnostic),
    /// The last one.
    Summary(BarsSummary),
}

impl TryFrom<v1::BatchGetBarsResponse> for BarsFrame {
    type Error = Error;

    fn try_from(message: v1::BatchGetBarsResponse) -> Result<Self, Error> {
        use batch_get_bars_response::Frame;
        let none = || Error::malformed("bars stream", "a message without a known frame");
        Ok(match message.frame.ok_or_else(none)? {
            Frame::Header(header) => Self::Header(header.into()),
            Frame::Bars(bars) => Self::Bars(bars.try_into()?),
            Frame::Diagnostic(diagnostic) => Self::Diagnostic(diagnostic.into()),
            Frame::Summary(summary) => Self::Summary(summary.into()),
        })
    }
}

/// A page of one symbol's bars.
#[derive(Debug, Clone, PartialEq)]
pub struct BarsPage {
    /// The bars.
    pub bars: Bars,
    /// Continues behind them; empty at the end.
    pub next_page_token: String,
    /// Things to know.
    pub diagnostics: Vec<Diagnostic>,
    /// The snapshot that they are of.
    pub snapshot_id: String,
}

impl TryFrom<v1::GetBarsResponse> for BarsPage {
    type Error = Error;

    fn try_from(wire: v1::GetBarsResponse) -> Result<Self, Error> {
        Ok(Self {
            bars: wire.bars.unwrap_or_default().try_into()?,
            next_page_token: wire.next_page_token,
            diagnostics: wire.diagnostics.into_iter().map(Into::into).collect(),
            snapshot_id: wire.snapshot_id,
        })
    }
}

/// A page of symbols.
#[derive(Debug, Clone, PartialEq)]
pub struct SymbolsPage {
    /// The symbols; fields that the mask left out are not known.
    pub symbols: Vec<panscan_core::universe::Listing>,
    /// Continues behind them; empty at the end.
    pub next_page_token: String,
    /// Symbols on all pages.
    pub total: u64,
}

impl TryFrom<v1::ListSymbolsResponse> for SymbolsPage {
    type Error = Error;

    fn try_from(wire: v1::ListSymbolsResponse) -> Result<Self, Error> {
        let listing = |symbol: &v1::Symbol| {
            super::universe::listing(symbol)
                .ok_or_else(|| Error::malformed("list of symbols", "a symbol without a ticker"))
        };
        Ok(Self {
            symbols: wire.symbols.iter().map(listing).collect::<Result<_, Error>>()?,
            next_page_token: wire.next_page_token,
            total: unsigned(wire.total_size),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_that_nobody_asked_for_are_refused() {
        let frame = |frame| v1::ScanUniverseResponse { frame };
        assert!(ScanFrame::read(frame(None), Some(&[])).is_err());
        let arrow = scan_universe_response::Frame::Arrow(v1::ArrowBatch::default());
        assert!(ScanFrame::read(frame(Some(arrow)), Some(&[])).is_err());
        let summary = scan_universe_response::Frame::Summary(v1::ScanSummary::default());
        let summary = frame(Some(summary));
        assert!(matches!(ScanFrame::read(summary.clone(), Some(&[])), Ok(ScanFrame::Summary(_))));
        assert!(ScanFrame::read(summary, None).is_err());
        assert!(BarsFrame::try_from(v1::BatchGetBarsResponse::default()).is_err());
        let nameless = v1::ListSymbolsResponse { symbols: vec![v1::Symbol::default()], ..Default::default() };
        assert!(SymbolsPage::try_from(nameless).is_err());
    }
}
