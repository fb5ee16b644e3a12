//! The reference endpoints: the list of tickers, one ticker's details, splits and dividends.

use panscan_core::time::SessionDate;
use serde_json::{Map, Value, json};

use crate::ask::{Answer, Ask, cursor, encode, find, params, uncursor};
use crate::company;
use crate::damage;
use crate::fault::FaultName;
use crate::listing::Listing;
use crate::market::{Split, View};
use crate::rng::hash;
use crate::sector;

const PAGE_MAX: usize = 1_000;

/// Parameters of a page: those held in the cursor win, as the cursor carries all of the first request's.
fn paged(ask: &Ask) -> Result<Vec<(String, String)>, Answer> {
    match ask.param("cursor") {
        Some(text) => Ok(params(&uncursor(text).ok_or_else(|| ask.bad("Could not parse 'cursor'"))?)),
        None => Ok(ask.params.clone()),
    }
}

/// The link to the page that starts behind `marker`.
fn next_link(ask: &Ask, held: &[(String, String)], marker: &str) -> String {
    let mut all: Vec<String> = held
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "apiKey" | "page_marker" | "cursor"))
        .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
        .collect();
    all.push(format!("page_marker={}", encode(marker)));
    all.sort_unstable();
    format!("{}/{}?cursor={}", ask.origin, ask.segments.join("/"), cursor(&all.join("&")))
}

/// The body that lists share.
fn list(ask: &Ask, mut results: Vec<Value>, mut next: Option<String>) -> Answer {
    let mut tweaked = damage::next_url(ask, &mut next);
    if ask.tweaked(FaultName::EmptyPage) && !results.is_empty() {
        results.clear();
        tweaked = true;
    }
    let rows = results.len() as u64;
    let mut body = Map::new();
    if ask.tweaked(FaultName::NullResults) {
        body.insert("results".into(), Value::Null);
        tweaked = true;
    } else {
        body.insert("results".into(), Value::Array(results));
    }
    body.insert("status".into(), ask.status.into());
    body.insert("request_id".into(), ask.request_id.as_str().into());
    body.insert("count".into(), rows.into());
    if let Some(next) = next {
        body.insert("next_url".into(), next.into());
    }
    Answer { rows, tweaked, ..Answer::json(200, &Value::Object(body)) }
}

/// Whether `value` lies within `name`, `name.gt`, `name.gte`, `name.lt` and `name.lte`, as far as they are
/// given.
fn within(held: &[(String, String)], name: &str, value: &str) -> bool {
    let given = |suffix: &str| find(held, &format!("{name}{suffix}")).filter(|text| !text.is_empty());
    given("").is_none_or(|text| value == text)
        && given(".gt").is_none_or(|text| value > text)
        && given(".gte").is_none_or(|text| value >= text)
        && given(".lt").is_none_or(|text| value < text)
        && given(".lte").is_none_or(|text| value <= text)
}

fn descending(ask: &Ask, held: &[(String, String)], default: bool) -> Result<bool, Answer> {
    match find(held, "order") {
        None => Ok(default),
        Some("asc") => Ok(false),
        Some("desc") => Ok(true),
        Some(_) => Err(ask.bad("Could not parse 'order': expected asc or desc")),
    }
}

/// Answers `/v3/reference/tickers`.
pub(crate) fn tickers(ask: &Ask) -> Result<Answer, Answer> {
    let held = paged(ask)?;
    let limit = ask.limit(find(&held, "limit"), 100, PAGE_MAX)?;
    let descending = descending(ask, &held, false)?;
    if !matches!(find(&held, "sort"), None | Some("ticker")) {
        return Err(ask.bad("Could not parse 'sort': only ticker is simulated"));
    }
    let date = match find(&held, "date") {
        None => ask.view.today(),
        Some(text) => text.parse().map_err(|_| ask.bad("Could not parse the time parameter: 'date'"))?,
    };
    let marker = find(&held, "page_marker");
    let search = find(&held, "search").map(str::to_ascii_lowercase);
    let equal =
        |name: &str, value: &str| find(&held, name).is_none_or(|text| text.is_empty() || text == value);
    // all are US stocks, and only a ticker that was given up is not active
    let inactive = matches!(find(&held, "active"), Some("false"));
    let none = !equal("market", "stocks") || !equal("locale", "us");
    let fits = |(symbol, listing, _): &Named<'_>| {
        let symbol = *symbol;
        let behind = marker.is_none_or(|marker| if descending { symbol < marker } else { symbol > marker });
        behind
            && !none
            && within(&held, "ticker", symbol)
            && equal("type", &listing.kind)
            && equal("exchange", &listing.exchange)
            && listing.list_date.is_none_or(|listed| listed <= date)
            && search.as_ref().is_none_or(|text| {
                symbol.to_ascii_lowercase().contains(text) || listing.name.to_ascii_lowercase().contains(text)
            })
    };
    let mut found = if inactive { given_up(&ask.view, date) } else { named(&ask.view, date) };
    if descending {
        found.reverse();
    }
    found.retain(fits);
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|last| next_link(ask, &held, last.0));
    let rows = found.into_iter().map(|(name, listing, gone)| Value::Object(row(listing, name, gone)));
    Ok(list(ask, rows.collect(), next))
}

/// A ticker, whose it is, and since when it is not any more.
type Named<'a> = (&'a str, &'a Listing, Option<SessionDate>);

/// The tickers of a day in order.
fn named(view: &View, date: SessionDate) -> Vec<Named<'_>> {
    let listings = view.market.listings.iter().enumerate().filter(|(symbol, _)| view.is_listed(*symbol));
    let mut all: Vec<Named<'_>> =
        listings.map(|(symbol, listing)| (view.name(symbol, date), listing, None)).collect();
    all.sort_unstable_by_key(|named| named.0);
    all
}

/// The tickers that were given up by that day and that nobody else took on, in order.
fn given_up(view: &View, date: SessionDate) -> Vec<Named<'_>> {
    let mut all = Vec::new();
    for rename in view.changes.renames.iter().filter(|rename| rename.date <= date) {
        let symbol = rename.symbol as usize;
        let before = view.name(symbol, rename.date.plus(-1));
        if view.bearer(before, date).is_none() {
            all.push((before, &view.market.listings[symbol], Some(rename.date)));
        }
    }
    all.sort_unstable_by_key(|named| named.0);
    all
}

/// The fields that the list and the details share.
fn row(listing: &Listing, name: &str, delisted: Option<SessionDate>) -> Map<String, Value> {
    let mut row = Map::new();
    let mut put = |name: &str, value: Value| row.insert(name.to_owned(), value);
    put("ticker", name.into());
    put("name", listing.name.as_str().into());
    put("market", "stocks".into());
    put("locale", "us".into());
    if !listing.exchange.is_empty() {
        put("primary_exchange", listing.exchange.as_ref().into());
    }
    put("type", listing.kind.as_ref().into());
    put("active", delisted.is_none().into());
    if let Some(date) = delisted {
        put("delisted_utc", format!("{date}T00:00:00Z").into());
    }
    put("currency_name", listing.currency.to_lowercase().into());
    let id = identity(listing);
    if listing.kind != "ETF" {
        put("cik", format!("{:010}", id % 2_000_000).into());
    }
    put("composite_figi", figi_of(listing).into());
    put("share_class_figi", figi(id ^ 0x5555).into());
    // seen with and without nanoseconds
    let stamp = if id & 3 == 0 { "2022-04-27T00:00:00.123456789Z" } else { "2022-04-27T00:00:00Z" };
    put("last_updated_utc", stamp.into());
    row
}

/// Outlives every ticker of the company.
fn identity(listing: &Listing) -> u64 {
    hash(listing.symbol.as_str().as_bytes(), 0x6669_6769)
}

/// The figi of a listing.
pub(crate) fn figi_of(listing: &Listing) -> String {
    figi(identity(listing))
}

fn figi(id: u64) -> String {
    const LETTERS: &[u8; 32] = b"0123456789BCDFGHJKLMNPQRSTVWXYZ0";
    (0..9).fold("BBG".to_owned(), |text, at| {
        text + &char::from(LETTERS[(id >> (at * 5) & 31) as usize]).to_string()
    })
}

/// Answers `/v3/reference/tickers/{ticker}`.
pub(crate) fn details(ask: &Ask) -> Result<Answer, Answer> {
    let missing = || Answer::not_found(&ask.request_id, "Ticker not found.");
    let date = match ask.param("date") {
        None => ask.view.today(),
        Some(text) => text.parse().map_err(|_| ask.bad("Could not parse the time parameter: 'date'"))?,
    };
    let at = ask.view.bearer(&ask.segments[3], date).filter(|at| ask.view.is_listed(*at));
    let at = at.ok_or_else(missing)?;
    let listing = &ask.view.market.listings[at];
    if listing.list_date.is_some_and(|listed| listed > date) {
        return Err(missing());
    }
    let name = ask.view.name(at, date);
    let mut row = row(listing, name, None);
    let mut put = |name: &str, value: Value| row.insert(name.to_owned(), value);
    if !listing.market_cap.is_nan() {
        put("market_cap", listing.market_cap.into());
    }
    if let Some(industry) = sector::by_name(&listing.industry) {
        put("sic_code", industry.sic.to_string().into());
        put("sic_description", industry.sic_text.into());
    } else if !listing.industry.is_empty() {
        put("sic_description", listing.industry.to_uppercase().into());
    }
    let (root, class) = name.split_once('.').unwrap_or((name, ""));
    put("ticker_root", root.into());
    if !class.is_empty() {
        put("ticker_suffix", class.into());
    }
    put("round_lot", 100.into());
    if !listing.shares.is_nan() {
        put("share_class_shares_outstanding", whole(listing.shares));
        put("weighted_shares_outstanding", whole(listing.shares));
    }
    if let Some(date) = listing.list_date {
        put("list_date", date.to_string().into());
    }
    let body = json!({"results": row, "status": ask.status, "request_id": ask.request_id});
    Ok(Answer { rows: 1, ..Answer::json(200, &body) })
}

/// An integer where it is one.
fn whole(x: f64) -> Value {
    if x.fract() == 0.0 && x.abs() < 9.0e15 { (x as i64).into() } else { x.into() }
}

/// Answers `/v3/reference/splits` and its newer form.
pub(crate) fn splits(ask: &Ask, form: Form) -> Result<Answer, Answer> {
    let held = paged(ask)?;
    let limit = form.limit(ask, &held)?;
    let by_ticker = match find(&held, "sort") {
        None | Some("execution_date") => false,
        Some("ticker") => true,
        Some(_) => return Err(ask.bad("Could not parse 'sort': expected execution_date or ticker")),
    };
    let descending = descending(ask, &held, !by_ticker)?;
    let skip: usize = match find(&held, "page_marker") {
        None => 0,
        Some(text) => text.parse().map_err(|_| ask.bad("Could not parse 'cursor'"))?,
    };
    let reverse = find(&held, "reverse_split").map(|text| text == "true");
    // listed under today's ticker, whatever the company's was at the time
    let today = ask.view.today();
    let name = |split: &Split| ask.view.name(split.symbol as usize, today);
    // a split is announced about two weeks ahead
    let known = today.plus(14);
    let mut found: Vec<(&Split, String)> = ask
        .view
        .splits()
        .filter(|split| split.date <= known)
        .map(|split| (split, split.date.to_string()))
        .filter(|(split, date)| {
            within(&held, "execution_date", date)
                && within(&held, "ticker", name(split))
                && reverse.is_none_or(|reverse| reverse == (split.from > split.to))
        })
        .collect();
    found.sort_by(|a, b| {
        let order = if by_ticker {
            name(a.0).cmp(name(b.0)).then(a.0.date.cmp(&b.0.date))
        } else {
            a.0.date.cmp(&b.0.date).then(name(a.0).cmp(name(b.0)))
        };
        if descending { order.reverse() } else { order }
    });
    let more = found.len() > skip.saturating_add(limit);
    let next = more.then(|| next_link(ask, &held, &(skip + limit).to_string()));
    let rows = found.into_iter().skip(skip).take(limit).map(|(split, date)| {
        let id = hash(format!("{}|{date}", name(split)).as_bytes(), 0x7370);
        let mut row = json!({
            "execution_date": date,
            "id": format!("E{id:016x}"),
            "split_from": whole(split.from),
            "split_to": whole(split.to),
            "ticker": name(split),
        });
        if form == Form::Newer {
            let forward = split.from < split.to;
            row["adjustment_type"] = if forward { "forward_split" } else { "reverse_split" }.into();
            let factor = ask.view.factor(split.symbol as usize, split.date.plus(-1));
            row["historical_adjustment_factor"] = factor.into();
        }
        row
    });
    Ok(form.dress(ask, list(ask, rows.collect(), next)))
}

/// Answers `/v3/reference/dividends` and its newer form.
pub(crate) fn dividends(ask: &Ask, form: Form) -> Result<Answer, Answer> {
    let held = paged(ask)?;
    let limit = form.limit(ask, &held)?;
    for name in ["ex_dividend_date", "ex_dividend_date.gte", "ex_dividend_date.lte"] {
        if find(&held, name).is_some_and(|text| text.parse::<SessionDate>().is_err()) {
            return Err(ask.bad("Could not parse the time parameter: 'ex_dividend_date'"));
        }
    }
    let descending = descending(ask, &held, true)?;
    let skip: usize = match find(&held, "page_marker") {
        None => 0,
        Some(text) => text.parse().map_err(|_| ask.bad("Could not parse 'cursor'"))?,
    };
    let (view, today) = (&ask.view, ask.view.today());
    let mut found: Vec<(String, &str, f64, SessionDate)> = company::dividends(view)
        .into_iter()
        .map(|paid| (paid.ex.to_string(), view.name(paid.symbol, today), paid.cash, paid.ex))
        .filter(|(ex, name, ..)| within(&held, "ex_dividend_date", ex) && within(&held, "ticker", name))
        .collect();
    found.sort_by(|a, b| {
        let order = (&a.0, a.1).cmp(&(&b.0, b.1));
        if descending { order.reverse() } else { order }
    });
    let more = found.len() > skip.saturating_add(limit);
    let next = more.then(|| next_link(ask, &held, &(skip + limit).to_string()));
    let rows = found.into_iter().skip(skip).take(limit).map(|(ex, name, cash, date)| {
        let mut row = json!({
            "cash_amount": cash,
            "currency": "USD",
            "declaration_date": date.plus(-30).to_string(),
            "ex_dividend_date": ex,
            "frequency": 4,
            "id": format!("E{:016x}", hash(format!("{name}|{ex}").as_bytes(), 0x6469)),
            "pay_date": date.plus(20).to_string(),
            "record_date": ex,
            "ticker": name,
        });
        match form {
            Form::Older => row["dividend_type"] = "CD".into(),
            Form::Newer => {
                row["distribution_type"] = "recurring".into();
                row["split_adjusted_cash_amount"] = cash.into();
            }
        }
        row
    });
    Ok(form.dress(ask, list(ask, rows.collect(), next)))
}

/// Which of the two paths of splits and dividends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Below `/v3/reference`.
    Older,
    /// Below `/stocks/v1`.
    Newer,
}

impl Form {
    fn limit(self, ask: &Ask, held: &[(String, String)]) -> Result<usize, Answer> {
        let (default, max) = match self {
            Self::Older => (10, PAGE_MAX),
            Self::Newer => (100, 5 * PAGE_MAX),
        };
        ask.limit(find(held, "limit"), default, max)
    }

    /// The newer form numbers its requests.
    fn dress(self, ask: &Ask, mut answer: Answer) -> Answer {
        if self == Self::Newer {
            let (text, number) = (format!("\"request_id\":\"{}\"", ask.request_id), "\"request_id\":1");
            answer.body = String::from_utf8_lossy(&answer.body).replace(&text, number).into_bytes();
        }
        answer
    }
}
