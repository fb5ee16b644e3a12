//! The reference endpoints: the list of tickers, one ticker's details, splits and dividends.

use panscan_core::time::SessionDate;
use serde_json::{Map, Value, json};

use crate::ask::{Answer, Ask, cursor, encode, find, params, uncursor};
use crate::damage;
use crate::fault::FaultName;
use crate::listing::Listing;
use crate::market::Split;
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
    // every symbol of a simulated market is active, and all are US stocks
    let none = matches!(find(&held, "active"), Some("false"))
        || !equal("market", "stocks")
        || !equal("locale", "us");
    let fits = |listing: &&Listing| {
        let symbol = listing.symbol.as_str();
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
    let listings = ask.view.market.listings.iter();
    let mut found: Vec<&Listing> = if descending {
        listings.rev().filter(fits).take(limit + 1).collect()
    } else {
        listings.filter(fits).take(limit + 1).collect()
    };
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|last| next_link(ask, &held, last.symbol.as_str()));
    Ok(list(ask, found.into_iter().map(|listing| Value::Object(row(listing))).collect(), next))
}

/// The fields that the list and the details share.
fn row(listing: &Listing) -> Map<String, Value> {
    let mut row = Map::new();
    let mut put = |name: &str, value: Value| row.insert(name.to_owned(), value);
    let symbol = listing.symbol.as_str();
    put("ticker", symbol.into());
    put("name", listing.name.as_str().into());
    put("market", "stocks".into());
    put("locale", "us".into());
    if !listing.exchange.is_empty() {
        put("primary_exchange", listing.exchange.as_ref().into());
    }
    put("type", listing.kind.as_ref().into());
    put("active", true.into());
    put("currency_name", listing.currency.to_lowercase().into());
    let id = hash(symbol.as_bytes(), 0x6669_6769);
    if listing.kind != "ETF" {
        put("cik", format!("{:010}", id % 2_000_000).into());
    }
    put("composite_figi", figi(id).into());
    put("share_class_figi", figi(id ^ 0x5555).into());
    // seen with and without nanoseconds
    let stamp = if id & 3 == 0 { "2022-04-27T00:00:00.123456789Z" } else { "2022-04-27T00:00:00Z" };
    put("last_updated_utc", stamp.into());
    row
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
    let at = ask.view.market.find(&ask.segments[3]).ok_or_else(missing)?;
    let date = match ask.param("date") {
        None => ask.view.today(),
        Some(text) => text.parse().map_err(|_| ask.bad("Could not parse the time parameter: 'date'"))?,
    };
    let listing = &ask.view.market.listings[at];
    if listing.list_date.is_some_and(|listed| listed > date) {
        return Err(missing());
    }
    let mut row = row(listing);
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
    let (root, class) = listing.symbol.as_str().split_once('.').unwrap_or((listing.symbol.as_str(), ""));
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

/// Answers `/v3/reference/splits`.
pub(crate) fn splits(ask: &Ask) -> Result<Answer, Answer> {
    let held = paged(ask)?;
    let limit = ask.limit(find(&held, "limit"), 10, PAGE_MAX)?;
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
    let market = &ask.view.market;
    let name = |split: &Split| market.listings[split.symbol as usize].symbol.as_str();
    // a split is announced about two weeks ahead
    let known = ask.view.today().plus(14);
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
        json!({
            "execution_date": date,
            "id": format!("E{id:016x}"),
            "split_from": whole(split.from),
            "split_to": whole(split.to),
            "ticker": name(split),
        })
    });
    Ok(list(ask, rows.collect(), next))
}

/// Answers `/v3/reference/dividends`: a simulated market pays none.
pub(crate) fn dividends(ask: &Ask) -> Result<Answer, Answer> {
    let held = paged(ask)?;
    ask.limit(find(&held, "limit"), 10, PAGE_MAX)?;
    for name in ["ex_dividend_date", "ex_dividend_date.gte", "ex_dividend_date.lte"] {
        if find(&held, name).is_some_and(|text| text.parse::<SessionDate>().is_err()) {
            return Err(ask.bad("Could not parse the time parameter: 'ex_dividend_date'"));
        }
    }
    Ok(list(ask, Vec::new(), None))
}
