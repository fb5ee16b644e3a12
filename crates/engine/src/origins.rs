//! Who the held bars came from: the provenance of the blocks that a panel was made of.
//!
//! Not here: provenance of minutes, which is that of a symbol's one block.

use std::collections::BTreeMap;
use std::sync::Arc;

use panscan_core::block::{BarKey, Block, Provenance};
use panscan_core::diagnostic::{Diagnostic, Reason};
use panscan_core::snapshot::Snapshot;
use panscan_core::symbol::Symbol;
use panscan_core::time::SessionDate;
use panscan_core::universe::Population;

use crate::bars::SymbolBars;

/// Provenance by market day and by symbol that was fetched on its own.
#[derive(Debug, Default)]
pub(crate) struct Origins {
    days: BTreeMap<SessionDate, Provenance>,
    symbols: BTreeMap<Symbol, (Arc<[BarKey]>, Provenance)>,
}

impl Origins {
    /// Of market days and of single symbols' blocks; the latter win where both hold a cell, as they do in a panel.
    pub(crate) fn of(blocks: &[Block], days: usize) -> Self {
        let (market, own) = blocks.split_at(days.min(blocks.len()));
        let session = |block: &Block| block.rows().first().map(|key| key.as_session());
        let days = market.iter().filter_map(|block| Some((session(block)?, block.provenance().clone())));
        let symbols = own.iter().filter_map(|block| {
            Some((block.symbols().first()?.clone(), (block.rows().clone(), block.provenance().clone())))
        });
        Self { days: days.collect(), symbols: symbols.collect() }
    }

    /// Where a symbol's bar of a session came from.
    pub(crate) fn at(&self, symbol: &Symbol, session: SessionDate) -> Option<&Provenance> {
        let own = self
            .symbols
            .get(symbol)
            .filter(|(rows, _)| rows.binary_search_by_key(&session, |key| key.as_session()).is_ok());
        own.map(|(_, provenance)| provenance).or_else(|| self.days.get(&session))
    }

    /// Sessions from `since` on, and symbols of the population, that came from another provider than `primary`.
    pub(crate) fn elsewhere(
        &self,
        snapshot: &Snapshot,
        primary: &str,
        population: &Population,
        since: SessionDate,
    ) -> Vec<Diagnostic> {
        let mut found: BTreeMap<&str, (Vec<SessionDate>, Vec<&Symbol>)> = BTreeMap::new();
        for (session, provenance) in self.days.range(since..) {
            if *provenance.provider != *primary {
                found.entry(&provenance.provider).or_default().0.push(*session);
            }
        }
        for (symbol, (rows, provenance)) in &self.symbols {
            let wanted = snapshot.universe.find(symbol.as_str()).is_some_and(|id| population.contains(id));
            let recent = rows.last().is_some_and(|key| key.as_session() >= since);
            if *provenance.provider != *primary && wanted && recent {
                found.entry(&provenance.provider).or_default().1.push(symbol);
            }
        }
        let told = |(provider, (sessions, symbols)): (&str, (Vec<SessionDate>, Vec<&Symbol>))| {
            let days = match (sessions.first(), sessions.last()) {
                (Some(first), Some(last)) => format!("{} sessions from {first} to {last}", sessions.len()),
                _ => format!("bars of {} symbols", symbols.len()),
            };
            fallback(provider, primary, &format!("{days} came"), symbols)
        };
        found.into_iter().map(told).collect()
    }
}

/// Series that came from another provider than `primary`, by provider.
#[derive(Debug, Default)]
pub(crate) struct Elsewhere(BTreeMap<Arc<str>, Vec<Symbol>>);

impl Elsewhere {
    /// Counts these.
    pub(crate) fn add(&mut self, series: &[SymbolBars], primary: &str) {
        for found in series.iter().filter(|found| !found.bars.sessions.is_empty()) {
            if *found.provider != *primary {
                self.0.entry(found.provider.clone()).or_default().push(found.symbol.clone());
            }
        }
    }

    /// What to say about them.
    pub(crate) fn diagnostics(&self, primary: &str) -> impl Iterator<Item = Diagnostic> {
        self.0.iter().map(move |(provider, symbols)| {
            fallback(
                provider,
                primary,
                &format!("the newest bars of {} symbols came", symbols.len()),
                symbols,
            )
        })
    }
}

fn fallback<'a>(
    provider: &str,
    primary: &str,
    what: &str,
    symbols: impl IntoIterator<Item = &'a Symbol>,
) -> Diagnostic {
    let message = format!("{what} from {provider}, in place of {primary}");
    let mut found = Diagnostic::new(Reason::ProviderFallback, message).about(symbols);
    found.subject = provider.to_owned();
    found
}
