//! Share splits: which are applied, and which are doubtful.
//!
//! Not here: the panels that they are applied to, and whether the price bears a split out.

use std::collections::BTreeMap;

use crate::symbol::Symbol;
use crate::time::SessionDate;

/// A share split: prices before `execution` are multiplied by `from / to`, volumes by `to / from`.
#[derive(Debug, Clone, PartialEq)]
pub struct Split {
    /// The ticker it applies to.
    pub symbol: Symbol,
    /// First session at the new price level.
    pub execution: SessionDate,
    /// Shares before.
    pub from: f64,
    /// Shares after.
    pub to: f64,
}

/// The splits that are applied, by symbol. Equal repeats count once; of two that differ on one date neither is
/// applied, nor is a factor that is not finite and positive: those are kept as suspicious.
#[derive(Debug, Clone, Default)]
pub struct Splits {
    applied: BTreeMap<Symbol, Vec<(SessionDate, f64)>>,
    suspicious: Vec<Split>,
}

impl Splits {
    /// Sorts out what a provider listed.
    #[must_use]
    pub fn new(listed: &[Split]) -> Self {
        let mut by_cell: BTreeMap<(Symbol, SessionDate), Vec<&Split>> = Default::default();
        for split in listed {
            by_cell.entry((split.symbol.clone(), split.execution)).or_default().push(split);
        }
        let mut splits = Self::default();
        for ((symbol, execution), rows) in by_cell {
            let factor = rows[0].from / rows[0].to;
            let sound = rows.iter().all(|s| {
                s.from > 0.0
                    && s.to > 0.0
                    && s.from.is_finite()
                    && s.to.is_finite()
                    && s.from / s.to == factor
            });
            if !sound {
                splits.suspicious.extend(rows.into_iter().cloned());
            } else if factor != 1.0 {
                splits.applied.entry(symbol).or_default().push((execution, factor));
            }
        }
        splits
    }

    /// Price factors by execution date, ascending.
    #[must_use]
    pub fn of(&self, symbol: &str) -> &[(SessionDate, f64)] {
        self.applied.get(symbol).map_or(&[], Vec::as_slice)
    }

    /// Every symbol with its price factors.
    pub fn iter(&self) -> impl Iterator<Item = (&Symbol, &[(SessionDate, f64)])> {
        self.applied.iter().map(|(symbol, steps)| (symbol, steps.as_slice()))
    }

    /// What was listed and not applied.
    #[must_use]
    pub fn suspicious(&self) -> &[Split] {
        &self.suspicious
    }

    /// Price factors by execution date, ascending, of those executed by `last`.
    #[must_use]
    pub fn until(&self, symbol: &str, last: SessionDate) -> &[(SessionDate, f64)] {
        let all = self.of(symbol);
        &all[..all.partition_point(|(at, _)| *at <= last)]
    }
}
