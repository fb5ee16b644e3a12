//! Where two providers disagree about the same bars. Differences are reported, never averaged or repaired.

use std::sync::Arc;

use panscan_core::bar::Field;
use panscan_core::block::{BarKey, Block};
use panscan_core::symbol::Symbol;

/// How far two numbers may lie apart and still be the same.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tolerance {
    /// Of prices, relative to the larger one.
    pub price: f64,
    /// Of volumes, in shares: providers cut fractions off.
    pub shares: f64,
}

impl Default for Tolerance {
    /// As fine as prices that went through an f32, and one share.
    fn default() -> Self {
        Self { price: 2.0e-7, shares: 1.0 }
    }
}

impl Tolerance {
    /// Nothing but the same bits.
    pub const EXACT: Self = Self { price: 0.0, shares: 0.0 };

    fn covers(self, field: Field, a: f64, b: f64) -> bool {
        let apart = (a - b).abs();
        match field {
            Field::Volume => apart <= self.shares,
            Field::Trades => apart == 0.0,
            _ => apart <= self.price * a.abs().max(b.abs()),
        }
    }
}

/// One number that two providers tell differently.
#[derive(Debug, Clone, PartialEq)]
pub struct Disagreement {
    /// Whose bar.
    pub symbol: Symbol,
    /// Its session or start.
    pub key: BarKey,
    /// Which number. A bar that only one has differs in its close.
    pub field: Field,
    /// What the first provider says; NaN where it has no bar.
    pub first: f64,
    /// What the second provider says; NaN where it has no bar.
    pub second: f64,
}

/// Two providers side by side.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// The first provider.
    pub first: Arc<str>,
    /// The second provider.
    pub second: Arc<str>,
    /// Bars that at least one of them has.
    pub bars: usize,
    /// Where they differ, by symbol, key and field.
    pub disagreements: Vec<Disagreement>,
}

/// Compares the bars of the symbols and keys that both blocks were asked for. Vwap and trades count only where both
/// tell them.
#[must_use]
pub fn compare_blocks(first: &Block, second: &Block, tolerance: Tolerance) -> Comparison {
    let mut comparison = Comparison {
        first: first.provenance().provider.clone(),
        second: second.provenance().provider.clone(),
        bars: 0,
        disagreements: Vec::new(),
    };
    for (a, symbol) in first.symbols().iter().enumerate() {
        let Ok(b) = second.symbols().binary_search(symbol) else { continue };
        // Within the day a row is there where a bar is, so that the keys of either count.
        let mut keys: Vec<BarKey> = first.rows().iter().chain(second.rows().iter()).copied().collect();
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            let bar = |block: &Block, at: usize| block.bar(at, block.rows().binary_search(&key).ok()?);
            let (left, right) = (bar(first, a), bar(second, b));
            if left.is_none() && right.is_none() {
                continue;
            }
            comparison.bars += 1;
            let mut differs = |field, first, second| {
                let symbol = symbol.clone();
                comparison.disagreements.push(Disagreement { symbol, key, field, first, second });
            };
            let (Some(left), Some(right)) = (&left, &right) else {
                let close = |bar: &Option<_>| {
                    bar.as_ref().map_or(f64::NAN, |bar: &panscan_core::bar::Bar| bar.get(Field::Close))
                };
                differs(Field::Close, close(&left), close(&right));
                continue;
            };
            for field in Field::ALL {
                let (x, y) = (left.get(field), right.get(field));
                if !x.is_nan() && !y.is_nan() && !tolerance.covers(field, x, y) {
                    differs(field, x, y);
                }
            }
        }
    }
    comparison
}

#[cfg(test)]
mod tests {
    use panscan_core::block::{BlockBuilder, Provenance};
    use panscan_core::time::{Timeframe, Timestamp};

    use super::*;

    fn block(provider: &str, bars: &[(i64, f64, f64, f64)]) -> Block {
        let mut builder = BlockBuilder::new(Timeframe::Day);
        for (key, price, volume, vwap) in bars {
            builder.push("A", BarKey(*key), [*price, *price, *price, *price, *volume, *vwap, f64::NAN]);
        }
        let provenance = Provenance { provider: provider.into(), fetched_at: Timestamp::from_seconds(0) };
        builder.finish(None, None, provenance).0
    }

    #[test]
    fn differences_are_told_and_nothing_is_averaged() {
        let one = block("one", &[(1, 10.0, 100.0, 10.0), (2, 11.0, 100.5, 11.0), (3, 12.0, 1.0, f64::NAN)]);
        let two = block(
            "two",
            &[(1, 10.0, 100.0, 10.5), (2, f64::from(11.0_f32), 100.0, 11.0), (4, 9.0, 1.0, 9.0)],
        );
        let seen = compare_blocks(&one, &two, Tolerance::default());
        assert_eq!((&*seen.first, &*seen.second, seen.bars), ("one", "two", 4));
        let told: Vec<_> = seen.disagreements.iter().map(|d| (d.key.0, d.field, d.first, d.second)).collect();
        assert_eq!(told[0], (1, Field::Vwap, 10.0, 10.5));
        assert_eq!((told[1].0, told[1].1, told[1].2), (3, Field::Close, 12.0));
        assert!(told[1].3.is_nan() && told[2].2.is_nan());
        assert_eq!((told[2].0, told[2].3, told.len()), (4, 9.0, 3));
        let exact = compare_blocks(&one, &two, Tolerance::EXACT);
        assert!(exact.disagreements.iter().any(|d| d.field == Field::Volume && d.key.0 == 2));
    }

    #[test]
    fn a_price_through_an_f32_is_the_same_price() {
        let price = 75.0875;
        let one = block("one", &[(1, price, 1.0, f64::NAN)]);
        let two = block("two", &[(1, f64::from(price as f32), 1.0, f64::NAN)]);
        assert!(compare_blocks(&one, &two, Tolerance::default()).disagreements.is_empty());
        assert_eq!(compare_blocks(&one, &two, Tolerance::EXACT).disagreements.len(), 4);
    }
}
