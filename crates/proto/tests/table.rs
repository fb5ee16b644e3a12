//! Ranked rows over the wire: both forms carry the same cells, nothing but finite numbers leaves, and no message
//! grows beyond its bound.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its input has failed")]

use std::sync::Arc;

use panscan_core::panel::{Panel, Splits};
use panscan_core::plan::{
    Digest, Node, NodeId, NumberAttribute, Op, Output, Plan, Shape, Stage, Tail, TextSource, ValueKind,
};
use panscan_core::rank::{Cells, RankedRows};
use panscan_core::scan::{Adjustment, Order, UniverseSelector};
use panscan_core::snapshot::{MarketId, Snapshot, SnapshotId};
use panscan_core::symbol::{Symbol, SymbolId};
use panscan_core::time::{SessionDate, Timeframe, Timestamp};
use panscan_core::universe::{Listing, TextAttribute, Universe};
use panscan_proto::convert::answer;
use panscan_proto::convert::batch::{Batch, Cell};
use panscan_proto::convert::request::Format;
use panscan_proto::convert::table::{MESSAGE_BYTES_MAX, columns, frames, rows};
use panscan_proto::v1::{self, column_data, scan_universe_response::Frame};
use prost::Message;

fn snapshot(symbols: usize) -> Snapshot {
    let listings = (0..symbols).map(|i| {
        let mut listing = Listing::new(Symbol::new(&format!("S{i:05}")).unwrap());
        let sector = (i % 7 != 0).then(|| Arc::from(["Energy", "Technology", "Utilities"][i % 3]));
        listing.text[TextAttribute::Sector as usize] = sector;
        listing
    });
    let universe = Arc::new(Universe::new("default", 1, Timestamp::default(), listings));
    let sessions = [SessionDate::from_days(16_804)];
    let (panel, raw) = Panel::build(&universe, &sessions, &[], &Splits::default(), 1);
    Snapshot {
        id: SnapshotId("s".into()),
        epoch: 1,
        market: MarketId::new("test"),
        as_of: Timestamp::from_seconds(1_452_000_000),
        created: Timestamp::default(),
        history_start: SessionDate::from_days(16_804),
        point_in_time: false,
        universe,
        daily: Arc::new(panel),
        daily_raw: Arc::new(raw),
        named: Arc::default(),
        daily_paid: Arc::default(),
        held: Arc::default(),
        provider: "test".into(),
    }
}

fn plan(outputs: &[(&str, ValueKind, Op)]) -> Plan {
    let node = |(name, kind, op): &(&str, ValueKind, Op)| Node {
        op: op.clone(),
        inputs: Vec::new(),
        kind: *kind,
        shape: Shape::Scalar,
        stage: Stage::Scalar,
        lookback: 0,
        settle: 0,
        recursive: false,
        tail: Tail::Rows(1),
        text: (*name).into(),
        digest: Digest::of(name),
    };
    Plan {
        nodes: outputs.iter().map(node).collect(),
        outputs: (0..outputs.len())
            .map(|i| Output { name: outputs[i].0.to_owned(), node: NodeId(i as u32), unit: String::new() })
            .collect(),
        filter: None,
        rank_by: None,
        order: Order::Descending,
        limit: 100,
        group_by: None,
        limit_per_group: 0,
        universe: UniverseSelector::default(),
        timeframe: Timeframe::Day,
        adjustment: Adjustment::Splits,
        fingerprint: Digest::of("test"),
    }
}

/// A page of every kind of column, with holes and with values that no column should have.
fn page(symbols: usize) -> (Snapshot, Plan, RankedRows) {
    let snapshot = snapshot(symbols);
    let number = |a| Op::Attribute(a);
    let plan = plan(&[
        ("z", ValueKind::Number, number(NumberAttribute::MarketCap)),
        ("days", ValueKind::Integer, number(NumberAttribute::DaysListed)),
        ("active", ValueKind::Bool, number(NumberAttribute::Active)),
        ("sector", ValueKind::Text, Op::Text(TextSource::Attribute(TextAttribute::Sector))),
        ("symbol", ValueKind::Text, Op::Text(TextSource::Symbol)),
        ("all", ValueKind::Number, number(NumberAttribute::SharesOutstanding)),
        ("chosen", ValueKind::Text, Op::If),
    ]);
    // Ranked backwards, so that a rank is no symbol id.
    let ids: Vec<SymbolId> = (0..symbols as u32).rev().map(SymbolId).collect();
    let odd = |i: usize, v: f64| match i % 5 {
        0 => f64::NAN,
        1 if v > 3.0 => f64::INFINITY,
        _ => v,
    };
    let numbers = |f: &dyn Fn(usize) -> f64| Cells::Numbers((0..symbols).map(f).collect());
    let text = snapshot.universe.text(TextAttribute::Sector);
    let sectors: Vec<_> = ids.iter().map(|id| text.get(*id).cloned()).collect();
    let page = RankedRows {
        columns: vec![
            numbers(&|i| odd(i, i as f64 * 0.1)),
            numbers(&|i| odd(i, i as f64)),
            numbers(&|i| odd(i, f64::from(i % 2 == 0))),
            Cells::Texts(sectors.clone()),
            Cells::Texts(ids.iter().map(|id| Some(snapshot.universe.symbol(*id).as_str().into())).collect()),
            numbers(&|i| -(i as f64)),
            Cells::Texts(sectors),
        ],
        symbols: ids,
        matched: symbols,
        ..RankedRows::default()
    };
    (snapshot, plan, page)
}

/// What a cell of the page must be at the other end.
fn expected<'a>(plan: &Plan, page: &'a RankedRows, column: usize, row: usize) -> Cell<'a> {
    match (&page.columns[column], plan.nodes[column].kind) {
        (Cells::Texts(texts), _) => texts[row].as_deref().map_or(Cell::Null, Cell::Text),
        (Cells::Numbers(values), _) if !values[row].is_finite() => Cell::Null,
        (Cells::Numbers(values), ValueKind::Integer) => Cell::Integer(values[row] as i64),
        (Cells::Numbers(values), ValueKind::Bool) => Cell::Bool(values[row] != 0.0),
        (Cells::Numbers(values), _) => Cell::Number(values[row]),
    }
}

#[test]
fn both_forms_carry_the_same_cells() {
    let (snapshot, plan, page) = page(101);
    let header = answer::columns(&plan);
    for range in [0..101, 0..0, 5..6, 37..101] {
        let by_row = rows(&page, &plan, &snapshot, range.clone(), 501);
        let by_row = v1::RowBatch::decode(by_row.encode_to_vec().as_slice()).unwrap();
        let by_column = columns(&page, &plan, &snapshot, range.clone(), 501);
        let by_column = v1::ColumnBatch::decode(by_column.encode_to_vec().as_slice()).unwrap();
        assert_eq!(by_column.data.len(), 7);
        let from_rows = Batch::from_rows(by_row, &header).unwrap();
        let from_columns = Batch::from_columns(by_column, &header).unwrap();
        for batch in [&from_rows, &from_columns] {
            assert_eq!(batch.symbols.len(), range.len());
            for (i, row) in range.clone().enumerate() {
                assert_eq!(batch.first_rank + i, 501 + row);
                assert_eq!(batch.symbols[i], snapshot.universe.symbol(page.symbols[row]).as_str());
                for column in 0..plan.outputs.len() {
                    let cell = batch.columns[column].cell(i);
                    assert_eq!(cell, expected(&plan, &page, column, row), "column {column}, row {row}");
                }
            }
        }
    }
}

#[test]
fn what_is_not_finite_stands_as_zero_with_its_bit_off() {
    let (snapshot, plan, page) = page(40);
    let batch = columns(&page, &plan, &snapshot, 0..40, 1);
    let Some(column_data::Values::Doubles(doubles)) = &batch.data[0].values else { panic!("no doubles") };
    assert!(doubles.values.iter().all(|v| v.is_finite()));
    assert_eq!(batch.data[0].validity.len(), 5);
    // Rows 0 and 5 are NaN; the lowest bit is the first row.
    assert_eq!(batch.data[0].validity[0], 0b1101_1110);
    assert!(batch.data[5].validity.is_empty(), "all are there");
    let Some(column_data::Values::Strings(sectors)) = &batch.data[3].values else { panic!("no strings") };
    assert_eq!(sectors.dictionary.len(), 3);
}

#[test]
fn messages_are_split_at_their_bound_without_a_hole() {
    let (snapshot, plan, page) = page(30_000);
    let header = answer::columns(&plan);
    for format in [Format::Columns, Format::Rows] {
        let frames = frames(format, &page, &plan, &snapshot, 0..30_000, 1);
        assert!(frames.len() > 1);
        let mut next = 1;
        for frame in frames {
            assert!(frame.encoded_len() <= MESSAGE_BYTES_MAX);
            let batch = match frame.frame.unwrap() {
                Frame::Columns(batch) => Batch::from_columns(batch, &header).unwrap(),
                Frame::Rows(batch) => Batch::from_rows(batch, &header).unwrap(),
                other => panic!("{other:?}"),
            };
            assert_eq!(batch.first_rank, next);
            next += batch.symbols.len();
        }
        assert_eq!(next, 30_001);
    }
}

#[test]
fn a_batch_that_breaks_the_contract_is_refused() {
    let (snapshot, plan, page) = page(20);
    let header = answer::columns(&plan);
    let good = columns(&page, &plan, &snapshot, 0..20, 1);
    let broken: [&dyn Fn(&mut v1::ColumnBatch); 7] = [
        &|b| b.first_rank = 0,
        &|b| b.symbols.push("X".into()),
        &|b| drop(b.data.pop()),
        &|b| b.data[0].validity = vec![1].into(),
        &|b| b.data[0].values = None,
        &|b| b.data.swap(0, 1),
        &|b| {
            let column = v1::DictionaryColumn { dictionary: Vec::new(), indices: vec![9; 20] };
            b.data[4].values = Some(column_data::Values::Strings(column));
        },
    ];
    for (i, break_it) in broken.iter().enumerate() {
        let mut batch = good.clone();
        break_it(&mut batch);
        assert!(Batch::from_columns(batch, &header).is_err(), "{i}");
    }
    let mut not_finite = good;
    let nan = v1::DoubleColumn { values: vec![f64::NAN; 20] };
    not_finite.data[5].values = Some(column_data::Values::Doubles(nan));
    assert!(Batch::from_columns(not_finite, &header).is_err());

    let mut hole = rows(&page, &plan, &snapshot, 0..20, 1);
    hole.rows.remove(3);
    assert!(Batch::from_rows(hole, &header).is_err());
    let mut wrong = rows(&page, &plan, &snapshot, 0..20, 1);
    let fields = &mut wrong.rows[2].values.as_mut().unwrap().fields;
    fields.insert("all".into(), prost_types::Value { kind: Some(prost_types::value::Kind::BoolValue(true)) });
    assert!(Batch::from_rows(wrong, &header).is_err());
}

#[test]
#[ignore = "a measurement, for `cargo test --release -- --ignored`"]
fn columns_of_a_whole_market_take_a_fraction_of_a_millisecond() {
    let (snapshot, plan, page) = page(5277);
    let mut best = [std::time::Duration::MAX; 3];
    for _ in 0..200 {
        let start = std::time::Instant::now();
        let batch = columns(&page, &plan, &snapshot, 0..5277, 1);
        best[0] = best[0].min(start.elapsed());
        let start = std::time::Instant::now();
        let bytes = batch.encode_to_vec();
        best[1] = best[1].min(start.elapsed());
        let start = std::time::Instant::now();
        let top = rows(&page, &plan, &snapshot, 0..100, 1);
        best[2] = best[2].min(start.elapsed());
        assert!(bytes.len() > 100_000 && top.rows.len() == 100);
    }
    println!("5,277 rows of 7 columns {:?}, encoded {:?}; 100 rows by name {:?}", best[0], best[1], best[2]);
}
