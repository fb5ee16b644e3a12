//! The provider's flat files: CSV text, fed in pieces of any size, to one block of a session's bars.
//!
//! Columns are found by the names in the first line. Memory beside the bars is one line; the number of bars,
//! the length of a line and the size of the block are bounded. Not here: the compression around the text, and
//! where it comes from.

use std::io;

use panscan_core::bar::{BarFault, Field};
use panscan_core::block::{BarKey, Block, BlockBuilder, Provenance, Quarantined, WIDTH};
use panscan_core::calendar::Calendar;
use panscan_core::time::{SessionDate, Timeframe};

use super::number;
use crate::error::FetchError;

/// Longest line, in bytes; real ones have a hundred.
const LINE_MAX: usize = 4 << 10;
/// Most bars of a file; the whole market's minutes are about two million.
const BARS_MAX: usize = 8_000_000;
/// Most numbers of a block, 2 GiB: twelve thousand symbols with a bar in every minute from 4:00 to 20:00 are a
/// third of it.
const NUMBERS_MAX: usize = 1 << 28;
/// Refused rows that are kept with their reason; more only count.
const QUARANTINED_MAX: usize = 10_000;
/// Most columns.
const COLUMNS_MAX: usize = 64;
const MINUTE_MS: i64 = 60_000;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Ticker,
    Start,
    Number(Field),
    Other,
}

impl Column {
    fn named(name: &str) -> Self {
        match name {
            "ticker" => Self::Ticker,
            "window_start" => Self::Start,
            "open" => Self::Number(Field::Open),
            "high" => Self::Number(Field::High),
            "low" => Self::Number(Field::Low),
            "close" => Self::Number(Field::Close),
            "volume" => Self::Number(Field::Volume),
            "vwap" => Self::Number(Field::Vwap),
            "transactions" => Self::Number(Field::Trades),
            _ => Self::Other,
        }
    }
}

/// Reads the text of one file.
#[derive(Debug)]
pub struct FlatFile {
    timeframe: Timeframe,
    session: SessionDate,
    /// Milliseconds of the session's civil day, the end excluded.
    day: (i64, i64),
    columns: Vec<Column>,
    /// The line that the pieces so far have cut.
    carry: Vec<u8>,
    builder: BlockBuilder,
    /// Which minutes of the day have a bar.
    minutes: Vec<bool>,
    refused: usize,
    rows: usize,
}

impl FlatFile {
    /// For the file of one session: daily bars, or minute bars for any other timeframe.
    #[must_use]
    pub fn new(timeframe: Timeframe, session: SessionDate) -> Self {
        let calendar = Calendar::us_equities();
        let begin = calendar.midnight(session).as_millis();
        let end = calendar.midnight(session.plus(1)).as_millis();
        Self {
            timeframe,
            session,
            day: (begin, end),
            columns: Vec::new(),
            carry: Vec::new(),
            builder: BlockBuilder::new(timeframe),
            minutes: vec![false; usize::try_from((end - begin) / MINUTE_MS).unwrap_or(0) + 1],
            refused: 0,
            rows: 0,
        }
    }

    /// Rows so far, refused ones included.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Takes the next piece of the text.
    ///
    /// # Errors
    ///
    /// [`FetchError::Body`] when the first line names no ticker, stamp or price, a line does not end, or there
    /// are more bars than a session has.
    pub fn feed(&mut self, piece: &[u8]) -> Result<(), FetchError> {
        let mut rest = piece;
        if !self.carry.is_empty() {
            let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
                return self.keep(rest);
            };
            let mut line = std::mem::take(&mut self.carry);
            line.extend_from_slice(&rest[..=end]);
            self.line(&line, 0, line.len() - 1)?;
            rest = &rest[end + 1..];
        }
        let mut at = 0;
        while at < rest.len() {
            // The header and odd lines look for their end first; the usual line finds it by reading.
            match self.quick(rest, at) {
                Some(next) => at = next,
                None => match rest[at..].iter().position(|byte| *byte == b'\n') {
                    Some(length) => {
                        self.line(rest, at, at + length)?;
                        at += length + 1;
                    }
                    None => return self.keep(&rest[at..]),
                },
            }
            if self.builder.len() > BARS_MAX {
                return Err(wrong(format!("it has more than {BARS_MAX} bars")));
            }
        }
        Ok(())
    }

    /// Ends the text and lays the bars out: a row for the session, or for each minute in which anything traded.
    ///
    /// # Errors
    ///
    /// [`FetchError::Body`] when the last line is wrong, there was no first one, or the block would be too large.
    pub fn finish(mut self, provenance: Provenance) -> Result<(Block, Vec<Quarantined>), FetchError> {
        if !self.carry.is_empty() {
            let mut line = std::mem::take(&mut self.carry);
            line.push(b'\n');
            self.line(&line, 0, line.len() - 1)?;
        }
        if self.columns.is_empty() {
            return Err(wrong("it is empty".to_owned()));
        }
        let keys: Vec<BarKey> = match self.timeframe {
            Timeframe::Day => vec![BarKey::session(self.session)],
            _ => {
                let set = self.minutes.iter().enumerate().filter(|(_, set)| **set);
                set.map(|(minute, _)| BarKey(self.day.0 + minute as i64 * MINUTE_MS)).collect()
            }
        };
        let symbols = self.builder.symbols();
        if Block::floats(symbols, keys.len(), WIDTH) > NUMBERS_MAX {
            return Err(wrong(format!("{symbols} symbols in {} minutes are too many", keys.len())));
        }
        if self.refused > QUARANTINED_MAX {
            tracing::warn!(session = %self.session, rows = self.refused, "rows refused; not all are listed");
        }
        Ok(self.builder.finish(None, Some(&keys), provenance))
    }

    fn keep(&mut self, rest: &[u8]) -> Result<(), FetchError> {
        if self.carry.len() + rest.len() > LINE_MAX {
            return Err(wrong(format!("a line is longer than {LINE_MAX} bytes")));
        }
        self.carry.extend_from_slice(rest);
        Ok(())
    }

    /// Reads the line at `at` in one pass and says where the next begins; `None`, with nothing done, for the
    /// first line, one that does not end here, and any that is not a ticker and plain numbers.
    #[inline]
    fn quick(&mut self, body: &[u8], mut at: usize) -> Option<usize> {
        if self.columns.is_empty() {
            return None;
        }
        let mut values = [f64::NAN; Field::COUNT];
        let (mut ticker, mut start) = (0..0, None);
        let last = self.columns.len() - 1;
        for (index, column) in self.columns.iter().enumerate() {
            let end = match column {
                Column::Ticker => {
                    let length = body[at..].iter().position(|b| matches!(b, b',' | b'\n' | b'\r' | b'"'))?;
                    ticker = at..at + length;
                    at + length
                }
                Column::Start => {
                    let (nanos, end) = number::integer(body, at)?;
                    start = Some(nanos);
                    end
                }
                Column::Number(field) => {
                    let (value, end) = number::float(body, at)?;
                    values[field.index()] = value;
                    end
                }
                Column::Other => {
                    at + body[at..].iter().position(|b| matches!(b, b',' | b'\n' | b'\r' | b'"'))?
                }
            };
            let separator = if index == last { b'\n' } else { b',' };
            if *body.get(end)? != separator {
                return None;
            }
            at = end + 1;
        }
        let ticker = std::str::from_utf8(&body[ticker]).ok()?;
        self.row(ticker, start.filter(whole).map(|nanos| nanos / 1_000_000), values);
        Some(at)
    }

    /// Reads the line between two positions of a body by the rules of CSV.
    #[cold]
    fn line(&mut self, body: &[u8], begin: usize, end: usize) -> Result<(), FetchError> {
        if end - begin > LINE_MAX {
            return Err(wrong(format!("a line is longer than {LINE_MAX} bytes")));
        }
        let line = &body[begin..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(line);
        let fields = fields(&text);
        if self.columns.is_empty() {
            return self.header(&fields);
        }
        // A line of another length has numbers in the wrong places: none of them is taken.
        let fits = fields.len() == self.columns.len();
        let mut values = [if fits { f64::NAN } else { f64::INFINITY }; Field::COUNT];
        let (mut ticker, mut start) = ("", None);
        for (column, field) in self.columns.iter().zip(&fields) {
            match column {
                Column::Ticker => ticker = field,
                Column::Start => start = field.parse::<u64>().ok().filter(whole),
                Column::Number(of) if fits && !field.is_empty() => {
                    let padded = format!("{field}\n");
                    let read = number::float(padded.as_bytes(), 0).filter(|(_, end)| *end == field.len());
                    values[of.index()] = read.map_or(f64::INFINITY, |(value, _)| value);
                }
                Column::Number(_) | Column::Other => {}
            }
        }
        let ticker = ticker.to_owned();
        self.row(&ticker, start.map(|nanos| nanos / 1_000_000), values);
        Ok(())
    }

    fn header(&mut self, names: &[String]) -> Result<(), FetchError> {
        let names = names.iter().map(|name| name.trim().trim_start_matches('\u{feff}').to_ascii_lowercase());
        let columns: Vec<Column> = names.map(|name| Column::named(&name)).collect();
        let needed = [
            (Column::Ticker, "ticker"),
            (Column::Start, "window_start"),
            (Column::Number(Field::Open), "open"),
            (Column::Number(Field::High), "high"),
            (Column::Number(Field::Low), "low"),
            (Column::Number(Field::Close), "close"),
            (Column::Number(Field::Volume), "volume"),
        ];
        for (column, name) in needed {
            if columns.iter().filter(|named| **named == column).count() != 1 {
                return Err(wrong(format!("its first line does not name one column {name}")));
            }
        }
        if columns.len() > COLUMNS_MAX {
            return Err(wrong(format!("it has more than {COLUMNS_MAX} columns")));
        }
        self.columns = columns;
        Ok(())
    }

    #[inline]
    fn row(&mut self, ticker: &str, start_ms: Option<u64>, values: [f64; Field::COUNT]) {
        self.rows += 1;
        let start = start_ms.and_then(|ms| i64::try_from(ms).ok());
        let within = start.filter(|ms| self.day.0 <= *ms && *ms < self.day.1);
        let key = match (self.timeframe, start) {
            (Timeframe::Day, _) => BarKey::session(self.session),
            (_, Some(ms)) => BarKey(ms),
            (_, None) => BarKey(i64::MIN),
        };
        let minute =
            within.filter(|ms| self.timeframe == Timeframe::Day || (ms - self.day.0) % MINUTE_MS == 0);
        let Some(ms) = minute else {
            self.refuse(ticker, key, BarFault::Foreign);
            return;
        };
        let before = self.builder.len();
        if let Err(fault) = panscan_core::bar::Bar::new(values) {
            self.refuse(ticker, key, fault);
            return;
        }
        self.builder.push(ticker, key, values);
        if self.builder.len() > before {
            self.minutes[((ms - self.day.0) / MINUTE_MS) as usize] = true;
        } else {
            self.refused += 1;
        }
    }

    fn refuse(&mut self, ticker: &str, key: BarKey, fault: BarFault) {
        self.refused += 1;
        if self.refused <= QUARANTINED_MAX {
            self.builder.quarantine(ticker, key, fault);
        }
    }
}

/// So that a decompressor can write into it.
impl io::Write for FlatFile {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.feed(piece).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether a stamp in nanoseconds is one in milliseconds.
fn whole(nanos: &u64) -> bool {
    nanos.is_multiple_of(1_000_000)
}

fn wrong(message: String) -> FetchError {
    FetchError::Body { message }
}

/// The fields of a line; within quotes a comma is text and two quotes are one.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                if let Some(field) = fields.last_mut() {
                    field.push('"');
                }
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            _ => {
                if let Some(field) = fields.last_mut() {
                    field.push(letter);
                }
            }
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use panscan_core::time::Timestamp;
    use proptest::prelude::*;

    use super::*;

    const HEADER: &str = "ticker,volume,open,close,high,low,window_start,transactions\n";

    fn provenance() -> Provenance {
        Provenance { provider: Arc::from("flatfiles"), fetched_at: Timestamp::from_seconds(0) }
    }

    fn read(text: &str, piece: usize) -> Result<(Block, Vec<Quarantined>), FetchError> {
        let mut file = FlatFile::new(Timeframe::Minutes(1), "2025-04-16".parse().unwrap());
        text.as_bytes().chunks(piece).try_for_each(|piece| file.feed(piece))?;
        file.finish(provenance())
    }

    const START: i64 = 1_744_792_500_000;

    #[test]
    fn the_published_sample_reads_whatever_the_pieces() {
        let text = format!(
            "{HEADER}AAPL,4930,200.29,200.5,200.63,200.29,1744792500000000000,129\n\
             AAPL,1815,200.39,200.34,200.61,200.34,1744792560000000000,57\n\
             MSFT,17798.430378,1,1,1,1,1744792500000000000,\n"
        );
        for piece in 1..text.len() {
            let (block, refused) = read(&text, piece).unwrap();
            assert!(refused.is_empty(), "{refused:?}");
            assert_eq!(block.rows().as_ref(), [BarKey(START), BarKey(START + 60_000)]);
            let values = block.bar(0, 0).unwrap();
            let bits = |field| values.get(field);
            assert_eq!([bits(Field::Open), bits(Field::Close), bits(Field::High)], [200.29, 200.5, 200.63]);
            assert_eq!((bits(Field::Volume), bits(Field::Trades)), (4930.0, 129.0));
            assert!(bits(Field::Vwap).is_nan());
            assert_eq!(block.get(1, 0, Field::Volume), 17_798.430_378);
            assert!(block.get(1, 0, Field::Trades).is_nan() && block.bar(1, 1).is_none());
        }
    }

    #[test]
    fn columns_go_by_name_and_unknown_ones_are_passed_over() {
        let text = "low,high,extra,window_start,ticker,close,open,volume\r\n1,4,x,1744792500000000000,A,3,2,5\r\n\
                    1,4,\"x,y\",1744792500000000000,\"B\",3,2,5";
        let (block, refused) = read(text, 7).unwrap();
        assert!(refused.is_empty(), "{refused:?}");
        for symbol in 0..2 {
            let bar = *block.bar(symbol, 0).unwrap().values();
            assert_eq!(bar[..5], [2.0, 4.0, 1.0, 3.0, 5.0]);
        }
    }

    #[test]
    fn what_is_no_bar_of_the_session_is_refused_with_the_reason() {
        let good = "1,1,1,1,1,1744792500000000000,1";
        for (line, fault) in [
            ("A,1,1,1,1,1,1744878900000000000,1", BarFault::Foreign),
            ("A,1,1,1,1,1,1744792500000000001,1", BarFault::Foreign),
            ("A,1,1,1,1,1,1744792530000000000,1", BarFault::Foreign),
            ("A,1,1,1,1,1,,1", BarFault::Foreign),
            ("A,1,1,1,1,1,1.7447925e18,1", BarFault::Foreign),
            ("A,1,,1,1,1,1744792500000000000,1", BarFault::Missing(Field::Open)),
            ("A,1,x,1,1,1,1744792500000000000,1", BarFault::NotFinite(Field::Open)),
            ("A,1,2,1,1,1,1744792500000000000,1", BarFault::OutsideRange(Field::Open)),
            ("A,-1,1,1,1,1,1744792500000000000,1", BarFault::Negative(Field::Volume)),
            ("A,1,1,1,1,1,1744792500000000000,1,9", BarFault::NotFinite(Field::Open)),
            (",1,1,1,1,1,1744792500000000000,1", BarFault::BadSymbol),
        ] {
            let (block, refused) = read(&format!("{HEADER}B,{good}\n{line}\n"), 64).unwrap();
            assert_eq!(block.count_bars(), 1, "{line}");
            assert_eq!(refused.iter().map(|row| row.fault).collect::<Vec<_>>(), [fault], "{line}");
        }
    }

    #[test]
    fn a_text_that_is_no_such_file_is_refused() {
        for text in ["", "<html><body>Maintenance</body></html>\n", "ticker,open\nA,1\n"] {
            assert!(read(text, 5).is_err(), "{text}");
        }
        assert!(read(&format!("{HEADER}{}", "x".repeat(9_000)), 100).is_err());
        let (block, _) = read(HEADER, 5).unwrap();
        assert_eq!(block.symbols().len(), 0);
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(rows in proptest::collection::vec("[A-C]{1,2},[0-9.e-]{1,9},2,2,[2-9],[0-2],17447925[0-9]0000000000?,[0-9]?", 0..12), piece in 1_usize..200) {
            let text = format!("{HEADER}{}", rows.join("\n"));
            let (whole, refused) = read(&text, usize::MAX).unwrap();
            let (cut, refused_too) = read(&text, piece).unwrap();
            prop_assert_eq!(refused, refused_too);
            prop_assert_eq!(whole.symbols(), cut.symbols());
            let bits = |block: &Block| block.data().iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(&whole), bits(&cut));
        }
    }
}
