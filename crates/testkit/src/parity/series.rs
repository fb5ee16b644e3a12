//! Whole series against the reference, and their last values against a scan.

use panscan_core::port::Compute;
use panscan_core::rank::Cells;
use panscan_core::reference::Reference;
use panscan_core::scan::{LIMIT_MAX, ScanSpec};
use panscan_core::series::Resident;

use super::{BESIDE, EXPRESSIONS, close_enough, planned, same_bits, scan, worlds};

/// Every value of a series is the reference's, and the last one has the bits of the scan.
pub(super) fn series(compute: &dyn Compute) {
    for (at, world) in worlds().iter().enumerate() {
        for columns in EXPRESSIONS.chunks(30).chain([&BESIDE[..BESIDE.len() - 1]]) {
            let spec = ScanSpec {
                columns: columns.iter().map(|c| (*c).to_owned()).collect(),
                benchmark: "T00001".to_owned(),
                limit: LIMIT_MAX,
                ..ScanSpec::default()
            };
            let plan = planned(&spec);
            let nodes: Vec<_> = plan.outputs.iter().map(|output| output.node).collect();
            let job = world.job(&plan);
            let rows = scan(compute, &job);
            let resident = Resident::new(&plan, job.snapshot, &nodes).unwrap_or_else(|e| panic!("{e}"));
            for (row, id) in rows.symbols.iter().enumerate() {
                let of = |compute: &dyn Compute| {
                    resident.of(compute, *id, job.cancel).unwrap_or_else(|e| panic!("{e}"))
                };
                let (got, expected) = (of(compute), of(&Reference));
                for (column, cells) in rows.columns.iter().enumerate() {
                    let what = format!("{}, world {at}, {id:?}: {}", compute.describe(), columns[column]);
                    let (got, expected) = (&got.columns[column], &expected.columns[column]);
                    assert_eq!(got.len(), expected.len(), "{what}");
                    let apart = got.iter().zip(expected).position(|(a, b)| !close_enough(*a, *b));
                    assert!(
                        apart.is_none_or(|bar| panic!("{what}: bar {bar}: {} {}", got[bar], expected[bar]))
                    );
                    if let (Cells::Numbers(values), Some(last)) = (cells, got.last()) {
                        assert!(same_bits(*last, values[row]), "{what}: {last}, scanned {}", values[row]);
                    }
                }
            }
        }
    }
}
