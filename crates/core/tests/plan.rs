//! Plans: sharing, shapes, lookbacks, tails, default columns and fingerprints.

use panscan_core::expr::{explain, plan};
use panscan_core::scan::ScanSpec;

#[test]
fn a_scan_of_several_indicators_is_planned() {
    let spec = ScanSpec {
        filter: "rsi(14) < 30 and close > sma(200) and sector == `Technology` and rel_volume(20) > 2".into(),
        columns: vec![
            "r = rsi(14)".into(),
            "vwap(20)".into(),
            "bbands(20).upper".into(),
            "mfi()".into(),
            "stoch().k".into(),
        ],
        rank_by: "roc(63) * 2".into(),
        ..ScanSpec::default()
    };
    let text = explain(&plan(&spec).unwrap());
    assert!(text.contains("vwap(20) = vwap(20)"), "{text}");
    let bad = ScanSpec { filter: "rsi(14) < 30 and smaa(20) > close and 20 < rsi(14) < 30".into(), ..spec };
    assert_eq!(plan(&bad).unwrap_err().errors.len(), 2);
}
