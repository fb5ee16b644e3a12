//! `panscan store export`: bars of the store as files for other programs. Reads beside a server. Not here: what such a file
//! looks like inside.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use panscan_cache::{CacheError, Census, Holding};
use panscan_core::bar::Field;
use panscan_core::block::Block;
use panscan_core::calendar::Calendar;
use panscan_core::minutes;
use panscan_core::panel::Splits;
use panscan_core::port::BlockKey;
use panscan_core::resample::Series;
use panscan_core::snapshot::MarketId;
use panscan_core::symbol::Symbol;
use panscan_core::time::{SessionDate, Timeframe};
use panscan_engine::{SPLITS_NOTE, splits_from_note};
use serde_json::json;

use super::super::args::{Adjusted, ExportArgs};
use super::super::exit::Exit;
use super::super::failure::Failure;
use super::super::output::Notes;
use super::super::symbols;
use super::sheet::{Sheet, Times};
use super::steps::Steps;
use super::{failed, lines, say, shown};

/// Writes the files.
pub(super) fn run(args: &ExportArgs, dir: &Path) -> Result<Exit, Failure> {
    let census = Census::take(dir).map_err(failed)?;
    let market = market(&census, args.market.as_deref())?;
    let wanted = Wanted::read(args, &census, &market)?;
    let (mut files, mut damaged, mut seen) = (Vec::new(), Vec::new(), BTreeSet::new());
    for (timeframe, path) in targets(args, &census, &market)? {
        let Some(holding) = census.holdings.get(&(market.clone(), timeframe)) else { continue };
        let times = if timeframe == Timeframe::Day { Times::Sessions } else { Times::Starts };
        let mut job = Job {
            census: &census,
            market: &market,
            wanted: &wanted,
            sheet: Sheet::create(&path, args.output, times)?,
            steps: Steps::new("exporting"),
            damaged: &mut damaged,
            seen: &mut seen,
        };
        match timeframe {
            Timeframe::Day => job.days(holding)?,
            _ => job.minutes(timeframe, holding)?,
        }
        job.steps.end();
        let (rows, bytes) = job.sheet.finish()?;
        files.push((timeframe, path, rows, bytes));
    }
    let notes = Notes::new(false);
    let absent: Vec<&Symbol> =
        wanted.symbols.iter().flatten().filter(|symbol| !seen.contains(*symbol)).collect();
    if !absent.is_empty() {
        let names: Vec<&str> = absent.iter().take(20).map(|symbol| symbol.as_str()).collect();
        notes.say(format_args!("{} symbols have no bars there: {} ...", absent.len(), names.join(" ")));
    }
    for error in &damaged {
        notes.say(format_args!("left out: {error}"));
    }
    if args.at.json {
        let files = files.iter().map(|(timeframe, path, rows, bytes)| {
            json!({"path": shown(path), "timeframe": timeframe.to_string(), "rows": rows, "bytes": bytes})
        });
        say(&json!({
            "ok": damaged.is_empty(),
            "market": market.as_str(),
            "files": files.collect::<Vec<_>>(),
            "symbols_without_bars": absent.len(),
            "damaged": damaged.iter().map(ToString::to_string).collect::<Vec<_>>(),
        }))?;
    } else {
        let told = |(timeframe, path, rows, _): &(Timeframe, PathBuf, u64, u64)| {
            format!("{rows} bars of {timeframe} in {}", path.display())
        };
        lines(&files.iter().map(told).collect::<Vec<_>>())?;
    }
    Ok(if damaged.is_empty() { Exit::Done } else { Exit::Incomplete })
}

/// The market that is exported: the one that was named, or the only one.
fn market(census: &Census, named: Option<&str>) -> Result<MarketId, Failure> {
    let markets = census.markets();
    let list = || markets.iter().map(MarketId::as_str).collect::<Vec<_>>().join(", ");
    match (named, &markets[..]) {
        (Some(name), _) => markets.iter().find(|market| market.as_str() == name).cloned().ok_or_else(|| {
            Failure::Usage(format!("--market: the store has no bars of {name:?}; it has those of {}", list()))
        }),
        (None, [only]) => Ok(only.clone()),
        (None, []) => {
            Err(Failure::Usage("the store has no bars; fetch some first (panscan fetch)".to_owned()))
        }
        (None, _) => Err(Failure::Usage(format!("--market: the store has bars of {}; name one", list()))),
    }
}

/// The files to write, by timeframe.
fn targets(
    args: &ExportArgs,
    census: &Census,
    market: &MarketId,
) -> Result<Vec<(Timeframe, PathBuf)>, Failure> {
    let held: Vec<Timeframe> = census
        .holdings
        .keys()
        .filter(|(theirs, _)| theirs == market)
        .map(|(_, timeframe)| *timeframe)
        .collect();
    let asked = match &args.timeframe {
        None => None,
        Some(text) => {
            let timeframe: Timeframe =
                text.parse().map_err(|error| Failure::Usage(format!("--timeframe: {error}")))?;
            if !held.contains(&timeframe) {
                let held: Vec<String> = held.iter().map(ToString::to_string).collect();
                return Err(Failure::Usage(format!(
                    "--timeframe: the store holds {}; other timeframes are made of these: panscan fetch --timeframe {timeframe} -o csv",
                    held.join(", ")
                )));
            }
            Some(timeframe)
        }
    };
    let is_folder = args.out.is_dir() || args.out.as_os_str().to_string_lossy().ends_with('/');
    if is_folder {
        std::fs::create_dir_all(&args.out).map_err(|error| Failure::file("create", &args.out, error))?;
        let path = |timeframe: &Timeframe| args.out.join(format!("{timeframe}.{}", args.output.ending()));
        let chosen = asked.map_or(held, |timeframe| vec![timeframe]);
        return Ok(chosen.into_iter().map(|timeframe| (timeframe, path(&timeframe))).collect());
    }
    let timeframe =
        asked.or_else(|| held.contains(&Timeframe::Day).then_some(Timeframe::Day)).or(held.first().copied());
    Ok(timeframe.into_iter().map(|timeframe| (timeframe, args.out.clone())).collect())
}

/// What the flags say, read.
struct Wanted {
    /// Ascending; nothing: all.
    symbols: Option<Vec<Symbol>>,
    from: SessionDate,
    to: SessionDate,
    /// Nothing: prices as they traded.
    splits: Option<Splits>,
    /// Splits executed by this session are applied.
    newest: SessionDate,
}

impl Wanted {
    fn read(args: &ExportArgs, census: &Census, market: &MarketId) -> Result<Self, Failure> {
        let date = |flag: &str, text: &Option<String>, otherwise: i32| match text {
            None => Ok(SessionDate::from_days(otherwise)),
            Some(text) => text.parse().map_err(|error| Failure::Usage(format!("{flag}: {error}"))),
        };
        // Far enough, and still dates of a calendar.
        let (from, to) = (date("--from", &args.from, 0)?, date("--to", &args.to, 40_000)?);
        if to < from {
            return Err(Failure::Usage(format!("--to: {to} lies before --from {from}")));
        }
        let symbols = match &args.symbols {
            None => None,
            Some(text) => {
                let named = symbols::read("--symbols", text)?;
                let mut named: Vec<Symbol> = named.iter().filter_map(|text| Symbol::new(text).ok()).collect();
                named.sort_unstable();
                Some(named)
            }
        };
        let splits = match args.adjustment {
            Adjusted::Raw => None,
            Adjusted::All => {
                return Err(Failure::Usage(
                    "--adjustment: raw and splits are exported; for all, panscan fetch --adjustment all -o csv".to_owned(),
                ));
            }
            Adjusted::Splits => {
                let note = census.note(market, SPLITS_NOTE).map_err(failed)?;
                let listed = note.as_deref().and_then(splits_from_note);
                Some(Splits::new(&listed.ok_or_else(|| {
                    Failure::Usage(
                        "--adjustment splits: the store knows no splits; a server lists them when it starts"
                            .to_owned(),
                    )
                })?))
            }
        };
        let newest = newest(census, market).map_err(failed)?;
        Ok(Self { symbols, from, to, splits, newest })
    }

    fn wants(&self, symbol: &Symbol) -> bool {
        self.symbols.as_ref().is_none_or(|wanted| wanted.binary_search(symbol).is_ok())
    }

    /// Applies the splits of a symbol to some of its bars.
    fn adjust(&self, symbol: &Symbol, series: &mut Series) {
        if let Some(splits) = &self.splits {
            series.adjust(splits.of(symbol.as_str()), self.newest);
        }
    }

    fn is_split(&self, symbol: &Symbol) -> bool {
        self.splits.as_ref().is_some_and(|splits| !splits.of(symbol.as_str()).is_empty())
    }
}

/// The newest session that the store has a whole day of, else the newest of its single symbols.
fn newest(census: &Census, market: &MarketId) -> Result<SessionDate, CacheError> {
    let days = census.holdings.get(&(market.clone(), Timeframe::Day)).and_then(|held| held.days.last());
    if let Some(day) = days {
        return Ok(*day);
    }
    let mut newest = SessionDate::from_days(0);
    for ((theirs, timeframe), held) in &census.holdings {
        for symbol in held.symbols.iter().filter(|_| theirs == market) {
            let block = census.block(market, &BlockKey::Symbol(*timeframe, symbol.clone()));
            let Ok(Some(block)) = block else { continue };
            let Some(last) = block.rows().last() else { continue };
            newest = newest.max(match timeframe {
                Timeframe::Day => last.as_session(),
                _ => Calendar::us_equities().session_of(last.as_start()),
            });
        }
    }
    Ok(newest)
}

/// One file.
struct Job<'a> {
    census: &'a Census,
    market: &'a MarketId,
    wanted: &'a Wanted,
    sheet: Sheet,
    steps: Steps,
    damaged: &'a mut Vec<CacheError>,
    seen: &'a mut BTreeSet<Symbol>,
}

impl Job<'_> {
    /// Reads a block; a damaged one is left out and named.
    fn block(&mut self, key: &BlockKey) -> Result<Option<Block>, Failure> {
        match self.census.block(self.market, key) {
            Ok(block) => Ok(block),
            Err(error @ CacheError::Damaged { .. }) => {
                self.damaged.push(error);
                Ok(None)
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Daily bars, session by session. Where whole sessions and a single symbol have a bar, the latter is served, and
    /// therefore exported.
    fn days(&mut self, holding: &Holding) -> Result<(), Failure> {
        let (from, to) = (self.wanted.from, self.wanted.to);
        let mut singles = Vec::new();
        for symbol in holding.symbols.iter().filter(|symbol| self.wanted.wants(symbol)) {
            singles.extend(self.block(&BlockKey::Symbol(Timeframe::Day, symbol.clone()))?);
        }
        let mut sessions: BTreeSet<SessionDate> = holding.days.iter().copied().collect();
        sessions.extend(singles.iter().flat_map(|block| block.rows().iter().map(|row| row.as_session())));
        sessions.retain(|session| (from..=to).contains(session));
        let total = sessions.len() as u64;
        for (done, session) in sessions.into_iter().enumerate() {
            self.steps.show(done as u64, total);
            let day = match holding.days.binary_search(&session) {
                Ok(_) => self.block(&BlockKey::Day(session))?,
                Err(_) => None,
            };
            let mut bars: BTreeMap<&Symbol, [f64; Field::COUNT]> = BTreeMap::new();
            for block in day.iter().chain(&singles) {
                let Ok(row) = block.rows().binary_search(&panscan_core::block::BarKey::session(session))
                else {
                    continue;
                };
                for (id, symbol) in block.symbols().iter().enumerate() {
                    if let Some(bar) = block.bar(id, row).filter(|_| self.wanted.wants(symbol)) {
                        bars.insert(symbol, *bar.values());
                    }
                }
            }
            for (symbol, mut values) in bars {
                if self.wanted.is_split(symbol) {
                    let mut series = Series::default();
                    series.push(Calendar::us_equities().midnight(session), values);
                    self.wanted.adjust(symbol, &mut series);
                    values = Field::ALL.map(|field| series.column(field)[0]);
                }
                if !self.seen.contains(symbol) {
                    self.seen.insert(symbol.clone());
                }
                self.sheet.push(symbol.as_str(), i64::from(session.days()), &values)?;
            }
        }
        self.steps.show(total, total);
        Ok(())
    }

    /// Shorter bars, symbol by symbol.
    fn minutes(&mut self, timeframe: Timeframe, holding: &Holding) -> Result<(), Failure> {
        let symbols: Vec<&Symbol> =
            holding.symbols.iter().filter(|symbol| self.wanted.wants(symbol)).collect();
        let total = symbols.len() as u64;
        for (done, symbol) in symbols.into_iter().enumerate() {
            self.steps.show(done as u64, total);
            let Some(block) = self.block(&BlockKey::Symbol(timeframe, symbol.clone()))? else { continue };
            let mut series = minutes::series(&block, self.wanted.from, self.wanted.to);
            self.wanted.adjust(symbol, &mut series);
            for row in 0..series.len() {
                let values = Field::ALL.map(|field| series.column(field)[row]);
                self.sheet.push(symbol.as_str(), series.start[row].as_millis(), &values)?;
            }
            if !series.is_empty() {
                self.seen.insert(symbol.clone());
            }
        }
        self.steps.show(total, total);
        Ok(())
    }
}
