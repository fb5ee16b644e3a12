//! The catalog in real databases: SQLite in a file, and PostgreSQL where it is installed.

#![expect(clippy::unwrap_used, reason = "a step that fails fails the test, in shared steps too")]

use std::sync::Arc;

use panscan_core::Kind;
use panscan_core::catalog::{Catalog, CatalogError, Membership, NamedUniverse, Recorded, Rule, SavedScan};
use panscan_core::snapshot::MarketId;
use panscan_core::symbol::Symbol;
use panscan_core::time::{SessionDate, Timestamp};
use panscan_core::universe::{Listing, TextAttribute};
use panscan_testkit::postgres::PostgresServer;
use panscan_universe::{LAYOUT, Store};

fn symbol(text: &str) -> Symbol {
    Symbol::new(text).unwrap()
}

fn listing(text: &str) -> Listing {
    let mut listing = Listing::new(symbol(text));
    listing.text[TextAttribute::Sector as usize] = Some(Arc::from("Energy & \"more\""));
    listing.market_cap = Some(1.25e12);
    listing.list_date = "2001-02-03".parse().ok();
    listing.active = Some(true);
    listing
}

fn day(text: &str) -> SessionDate {
    text.parse().unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_seconds(second)
}

fn saved(id: &str) -> SavedScan {
    SavedScan {
        id: id.to_owned(),
        description: "dips".to_owned(),
        scan: vec![0, 255, 10, 39],
        owner: String::new(),
        revision: 0,
        created: at(0),
        updated: at(0),
    }
}

fn members(symbols: &[&str]) -> Rule {
    let member = |s: &&str| Membership { symbol: symbol(s), since: None, until: None };
    Rule::Symbols(symbols.iter().map(member).collect())
}

fn universe(id: &str, rule: Rule) -> NamedUniverse {
    NamedUniverse {
        id: id.to_owned(),
        description: String::new(),
        rule,
        revision: 0,
        created: at(0),
        updated: at(0),
    }
}

/// Runs a test on each database that is there.
#[expect(clippy::print_stdout, reason = "a test says what it leaves out")]
async fn on_each(test: impl AsyncFn(&str)) {
    let folder = tempfile::tempdir().unwrap();
    test(&Store::url_in(folder.path())).await;
    match PostgresServer::start() {
        Some(server) => test(&server.url()).await,
        None => println!("skipped: PostgreSQL is not installed; `cargo xtask test` installs it"),
    }
}

#[tokio::test]
async fn listings_and_who_was_listed_when() {
    on_each(async |url| {
        let store = Store::open(url).await.unwrap();
        let market = MarketId::new("sim-1");
        assert_eq!(store.recorded_since(market.clone()).await.unwrap(), None);
        let (a, b) = (listing("A"), Listing::new(symbol("NA")));
        let record = async |on: &str, listings: Vec<Listing>| {
            store.record(market.clone(), day(on), listings, at(5)).await.unwrap()
        };
        let first = record("2025-01-02", vec![a.clone(), b.clone()]).await;
        assert_eq!(first, Recorded { joined: 2, left: 0, changed: 0 });
        assert_eq!(store.listings(market.clone()).await.unwrap(), [a.clone(), b.clone()]);
        let same = record("2025-01-03", vec![b.clone(), a.clone()]).await;
        assert_eq!(same, Recorded::default());

        let mut changed = a.clone();
        changed.market_cap = Some(2e12);
        let second = record("2025-01-06", vec![changed.clone(), listing("C")]).await;
        assert_eq!(second, Recorded { joined: 1, left: 1, changed: 1 });
        let known = store.listings(market.clone()).await.unwrap();
        assert_eq!(known[0], changed);
        let gone = &known[2];
        assert_eq!(
            (gone.symbol.as_str(), gone.active, gone.delist_date),
            ("NA", Some(false), Some(day("2025-01-06")))
        );
        record("2025-01-08", vec![changed, listing("C"), Listing::new(symbol("NA"))]).await;

        let history = store.history(market.clone()).await.unwrap();
        let on = |date: &str| -> Vec<&str> {
            history.iter().filter(|m| m.holds(day(date))).map(|m| m.symbol.as_str()).collect()
        };
        assert_eq!(on("2001-02-02"), ["NA"], "its list date is not known");
        assert_eq!(on("2025-01-03"), ["A", "NA"]);
        assert_eq!(on("2025-01-07"), ["A", "C"]);
        assert_eq!(on("2025-01-08"), ["A", "C", "NA"]);
        assert_eq!(store.recorded_since(market).await.unwrap(), Some(day("2025-01-02")));
        let other = MarketId::new("sim-2");
        assert_eq!(store.listings(other).await.unwrap(), [], "markets do not mix");
    })
    .await;
}

#[tokio::test]
async fn an_import_replaces_the_one_before_and_many_rows_go_in_at_once() {
    on_each(async |url| {
        let store = Store::open(url).await.unwrap();
        let many: Vec<Listing> = (0..5_000).map(|i| listing(&format!("S{i:05}"))).collect();
        store.import(many.clone(), at(1)).await.unwrap();
        assert_eq!(store.imported().await.unwrap(), many);
        let twice = vec![listing("B"), Listing { market_cap: None, ..listing("B") }];
        store.import(twice, at(2)).await.unwrap();
        assert_eq!(store.imported().await.unwrap(), [listing("B")], "an update erases nothing");
    })
    .await;
}

#[tokio::test]
async fn saved_scans_come_back_and_two_writers_race_on_an_etag() {
    on_each(async |url| {
        let store = Arc::new(Store::open(url).await.unwrap());
        for id in ["dips", "a-1", "a1", "b"] {
            let made = store.create_saved_scan(saved(id), at(7)).await.unwrap();
            assert_eq!((made.revision, made.created, made.updated), (1, at(7), at(7)));
        }
        let again = store.create_saved_scan(saved("dips"), at(8)).await.unwrap_err();
        assert_eq!(again.kind(), Kind::AlreadyExists);
        let page = store.saved_scans("a-1".to_owned(), 2).await.unwrap();
        assert_eq!(page.iter().map(|s| s.id.as_str()).collect::<Vec<_>>(), ["a1", "b"], "byte by byte");

        let before = store.saved_scan("dips".to_owned()).await.unwrap();
        let change = |text: &str| SavedScan { description: text.to_owned(), ..before.clone() };
        let (one, two) = tokio::join!(
            store.update_saved_scan(change("one"), at(9)),
            store.update_saved_scan(change("two"), at(9))
        );
        let (won, lost) = if one.is_ok() { (one, two) } else { (two, one) };
        assert_eq!(lost.unwrap_err().kind(), Kind::Conflict);
        let won = won.unwrap();
        assert_ne!(won.etag(), before.etag());
        drop(store);

        let store = Store::open(url).await.unwrap();
        assert_eq!(store.saved_scan("dips".to_owned()).await.unwrap(), won, "a restart keeps it");
        let stale = store.delete_saved_scan("dips".to_owned(), Some(1)).await.unwrap_err();
        assert_eq!(stale.kind(), Kind::Conflict);
        store.delete_saved_scan("dips".to_owned(), Some(2)).await.unwrap();
        store.delete_saved_scan("b".to_owned(), None).await.unwrap();
        for missing in [
            store.delete_saved_scan("dips".to_owned(), None).await.unwrap_err(),
            store.update_saved_scan(won.clone(), at(10)).await.unwrap_err(),
            store.saved_scan("dips".to_owned()).await.unwrap_err(),
        ] {
            assert_eq!(missing.kind(), Kind::NotFound);
        }
        let anew = store.create_saved_scan(saved("dips"), at(11)).await.unwrap();
        assert_ne!(anew.etag(), before.etag());
        let old = store.update_saved_scan(before, at(12)).await.unwrap_err();
        assert_eq!(old.kind(), Kind::Conflict, "one made again is another, though its revision is the same");
    })
    .await;
}

#[tokio::test]
async fn a_named_universe_keeps_its_history() {
    on_each(async |url| {
        let store = Store::open(url).await.unwrap();
        let made = store.create_universe(universe("tech", members(&["B", "A", "B"])), at(1)).await.unwrap();
        let filter = Rule::Filter("sector == 'Energy'".to_owned());
        store.create_universe(universe("energy", filter.clone()), at(1)).await.unwrap();
        let twice = store.create_universe(universe("tech", filter.clone()), at(2)).await.unwrap_err();
        assert_eq!(twice.kind(), Kind::AlreadyExists);

        let next = NamedUniverse { rule: members(&["A", "C"]), ..made.clone() };
        let changed = store.update_universe(next.clone(), day("2025-03-03"), at(3)).await.unwrap();
        let stale = store.update_universe(next, day("2025-03-04"), at(4)).await.unwrap_err();
        assert_eq!(stale.kind(), Kind::Conflict);
        let Rule::Symbols(history) = &changed.rule else { panic!("{changed:?}") };
        let on = |date: &str| -> Vec<&str> {
            history.iter().filter(|m| m.holds(day(date))).map(|m| m.symbol.as_str()).collect()
        };
        assert_eq!(on("2025-03-02"), ["A", "B"]);
        assert_eq!(on("2025-03-03"), ["A", "C"]);

        let all = store.universes().await.unwrap();
        assert_eq!(all.iter().map(|u| u.id.as_str()).collect::<Vec<_>>(), ["energy", "tech"]);
        assert_eq!((&all[0].rule, &all[1]), (&filter, &changed));
        store.delete_universe("tech".to_owned(), Some(changed.revision)).await.unwrap();
        let gone = store.delete_universe("tech".to_owned(), None).await.unwrap_err();
        assert_eq!(gone.kind(), Kind::NotFound);
        let anew = store.create_universe(universe("tech", members(&["Z"])), at(5)).await.unwrap();
        assert_eq!(store.universes().await.unwrap()[1].rule, anew.rule, "nothing is left of the old one");
    })
    .await;
}

#[tokio::test]
async fn an_older_database_is_brought_up_and_a_newer_one_is_refused() {
    on_each(async |url| {
        let old = Store::open_at(url, 1).await.unwrap();
        old.import(vec![listing("A")], at(1)).await.unwrap();
        let lacking = old.create_saved_scan(saved("a"), at(1)).await.unwrap_err();
        assert_eq!(lacking.kind(), Kind::Upstream, "layout 1 has no saved scans");
        old.close().await;
        let store = Store::open(url).await.unwrap();
        assert_eq!(store.imported().await.unwrap(), [listing("A")]);
        store.create_saved_scan(saved("a"), at(1)).await.unwrap();
        store.close().await;
        let Err(error) = Store::open_at(url, 1).await else { panic!("a newer database was opened") };
        assert_eq!(error, CatalogError::Newer { found: LAYOUT, known: 1 });
        assert!(error.to_string().contains("PANSCAN_DATABASE_URL"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn servers_that_start_together_make_the_tables_once() {
    on_each(async |url| {
        let opened = tokio::join!(Store::open(url), Store::open(url), Store::open(url));
        for store in [opened.0, opened.1, opened.2] {
            store.unwrap().create_saved_scan(saved("a"), at(1)).await.err();
        }
    })
    .await;
}

#[tokio::test]
async fn what_was_answered_outlives_a_crash_of_the_database() {
    let Some(mut server) = PostgresServer::start() else {
        println!("skipped: PostgreSQL is not installed; `cargo xtask test` installs it");
        return;
    };
    let store = Store::open(&server.url()).await.unwrap();
    let made = store.create_saved_scan(saved("a"), at(1)).await.unwrap();
    server.crash_and_restart();
    // The connections that it had are broken; each is found out once.
    let mut found = store.saved_scan("a".to_owned()).await;
    for _ in 0..8 {
        if found.is_ok() {
            break;
        }
        found = store.saved_scan("a".to_owned()).await;
    }
    assert_eq!(found.unwrap(), made);
}

#[tokio::test]
async fn a_database_that_is_not_there_says_what_to_do() {
    let error = Store::open("sqlite:///no/such/folder/x.db?mode=rwc").await.err().unwrap();
    assert_eq!(error.kind(), Kind::Upstream);
    assert!(error.to_string().contains("PANSCAN_DATABASE_URL"), "{error}");
    let error = Store::open("postgres://me:hidden@127.0.0.1:1/x").await.err().unwrap();
    assert!(!error.to_string().contains("hidden"), "{error}");
}
