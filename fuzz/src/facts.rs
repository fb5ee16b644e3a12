//! What providers say about tickers and the market: lists, details, actions, hours, snapshots.

use panscan_fetch::decode;

use crate::tree::{Tree, number};

fn results(tree: &Tree) -> &[Tree] {
    tree.get("results").map(Tree::items).unwrap_or_default()
}

/// Every row of the ticker list is read or counted as refused.
pub(crate) fn tickers(input: &[u8]) {
    let _ = decode::provider_words(input);
    let (Ok(page), Some(tree)) = (decode::tickers_page(input), Tree::read(input)) else { return };
    let sent = results(&tree);
    assert_eq!(page.rows.len() + page.refused, sent.len());
    let named = sent.iter().filter(|row| row.get("ticker").and_then(Tree::text).is_some());
    assert_eq!(page.rows.len(), named.clone().count());
    for (read, sent) in page.rows.iter().zip(named) {
        assert_eq!(Some(read.ticker.as_str()), sent.get("ticker").and_then(Tree::text));
        assert_eq!(read.delisted.as_deref(), sent.get("delisted_utc").and_then(Tree::text));
    }
    assert_eq!(page.next_url.as_deref(), tree.get("next_url").and_then(Tree::text));
}

/// Splits and dividends keep their numbers, and every row is read or counted as refused.
pub(crate) fn actions(input: &[u8]) {
    let Some(tree) = Tree::read(input) else {
        let _ = (decode::splits_page(input), decode::dividends_page(input));
        return;
    };
    let sent = results(&tree);
    let of = |keys: [&'static str; 2]| {
        let has = move |row: &&Tree| keys.iter().all(|key| row.get(key).and_then(Tree::text).is_some());
        sent.iter().filter(has)
    };
    let bits = |row: &Tree, key| number(row.get(key)).to_bits();
    if let Ok(page) = decode::splits_page(input) {
        let rows = of(["ticker", "execution_date"]);
        assert_eq!((page.rows.len(), page.rows.len() + page.refused), (rows.clone().count(), sent.len()));
        for (read, sent) in page.rows.iter().zip(rows) {
            let factors = (bits(sent, "split_from"), bits(sent, "split_to"));
            assert_eq!((read.from.to_bits(), read.to.to_bits()), factors);
        }
    }
    if let Ok(page) = decode::dividends_page(input) {
        let rows = of(["ticker", "ex_dividend_date"]);
        assert_eq!((page.rows.len(), page.rows.len() + page.refused), (rows.clone().count(), sent.len()));
        for (read, sent) in page.rows.iter().zip(rows) {
            assert_eq!(read.cash.to_bits(), bits(sent, "cash_amount"));
        }
    }
}

/// A number is what was sent or nothing, and never zero, negative or infinite.
pub(crate) fn details(input: &[u8]) {
    let (details, events) = (decode::ticker_details(input), decode::ticker_events(input));
    let day = decode::open_close(input);
    let Some(tree) = Tree::read(input) else { return };
    let positive = |of: &Tree, key| Some(number(of.get(key))).filter(|x| x.is_finite() && *x > 0.0);
    if let (Ok(details), Some(sent)) = (details, tree.get("results")) {
        let ticker = sent.get("ticker").and_then(Tree::filled);
        assert_eq!(details.row.as_ref().map(|row| row.ticker.as_str()), ticker);
        if let Some(row) = details.row {
            assert_eq!(row.market_cap, positive(sent, "market_cap"));
            assert_eq!(row.class_shares, positive(sent, "share_class_shares_outstanding"));
            assert_eq!(row.weighted_shares, positive(sent, "weighted_shares_outstanding"));
            assert_eq!(row.list_date.as_deref(), sent.get("list_date").and_then(Tree::filled));
        }
    }
    if let (Ok(events), Some(sent)) = (events, tree.get("results"))
        && let Some(row) = events.row
    {
        let sent = sent.get("events").map(Tree::items).unwrap_or_default();
        assert!(row.changes.len() + row.refused <= sent.len());
        assert!(row.changes.iter().all(|(ticker, date)| !ticker.is_empty() && !date.is_empty()));
    }
    if let Ok(day) = day {
        assert_eq!(
            day.row.as_ref().map(|row| row.ticker.as_str()),
            tree.get("symbol").and_then(Tree::filled)
        );
        if let Some(row) = day.row {
            assert_eq!((row.open, row.high), (positive(&tree, "open"), positive(&tree, "high")));
            assert_eq!((row.low, row.close), (positive(&tree, "low"), positive(&tree, "close")));
        }
    }
}

/// Every holiday is read or counted, and the hours are those that were sent.
pub(crate) fn hours(input: &[u8]) {
    let (status, holidays) = (decode::market_status(input), decode::holidays(input));
    let Some(tree) = Tree::read(input) else { return };
    if let Ok(status) = status {
        assert_eq!(status.market.as_deref(), tree.get("market").and_then(Tree::filled));
        assert_eq!(status.now.as_deref(), tree.get("serverTime").and_then(Tree::filled));
        let flag = |key| tree.get(key) == Some(&Tree::Bool(true));
        assert_eq!((status.early_hours, status.after_hours), (flag("earlyHours"), flag("afterHours")));
    }
    if let Ok((rows, refused)) = holidays {
        assert_eq!(rows.len() + refused, tree.items().len());
        let named = |key: &'static str| move |day: &&Tree| day.get(key).and_then(Tree::filled).is_some();
        let days = tree.items().iter().filter(named("date")).filter(named("exchange"));
        assert_eq!(rows.len(), days.clone().count());
        for (read, sent) in rows.iter().zip(days) {
            assert_eq!(read.status.as_deref(), sent.get("status").and_then(Tree::filled));
            assert_eq!(read.close.as_deref(), sent.get("close").and_then(Tree::filled));
        }
    }
}

/// A price is one or is absent, and every row is read or counted as refused.
pub(crate) fn snapshots(input: &[u8]) {
    let Ok(read) = decode::snapshots(input) else { return };
    for row in &read.rows {
        assert!(!row.ticker.is_empty());
        assert!(row.last_price().is_none_or(|(price, _)| price.is_finite() && price > 0.0));
        for bar in [&row.day, &row.previous, &row.minute] {
            let prices = [bar.open, bar.high, bar.low, bar.close, bar.vwap];
            assert!(prices.into_iter().flatten().all(|price| price.is_finite() && price > 0.0));
            assert!(bar.volume.is_none_or(|volume| volume.is_finite() && volume >= 0.0));
        }
    }
    let Some(tree) = Tree::read(input) else { return };
    if let Some(Tree::List(sent)) = tree.get("tickers") {
        assert_eq!(read.rows.len() + read.refused, sent.len());
    }
}
