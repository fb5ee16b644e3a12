//! Days of many symbols in the order asked for: each symbol leaves as soon as all before it have.
//!
//! Groups of symbols are made ready two at a time, as they are where order does not matter; what is ready waits in
//! portions. Not here: how symbols are grouped.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use panscan_core::symbol::Symbol;
use panscan_core::time::Timestamp;
use tokio::task::JoinSet;

use crate::bars::{BarsRequest, Settled, SymbolBars};
use crate::error::EngineError;
use crate::market::Engine;
use crate::origins::Elsewhere;
use crate::series::{SeriesRequest, of_days};
use crate::stream::{GROUPS_AT_ONCE, Gone, Reader, TAKEN_AT_ONCE, Tally};

/// A group of symbols that are made ready together.
struct Group {
    /// Those that were not taken out yet, in order.
    left: VecDeque<Symbol>,
    state: State,
}

enum State {
    Waits,
    Ready(Box<Settled>),
    Failed,
}

impl Engine {
    pub(crate) async fn send_days_in_order(
        self,
        request: Arc<SeriesRequest>,
        days: BarsRequest,
        until: Timestamp,
        (symbols, groups): (Vec<Symbol>, Vec<Vec<Symbol>>),
        mut tally: Tally,
        reader: &Reader,
    ) -> Result<Tally, Gone> {
        let groups = groups.into_iter().filter(|group| !group.is_empty());
        let mut groups: Vec<Group> =
            groups.map(|group| Group { left: group.into(), state: State::Waits }).collect();
        let places =
            groups.iter().enumerate().flat_map(|(at, g)| g.left.iter().map(move |s| (s.clone(), at)));
        let places: HashMap<Symbol, usize> = places.collect();
        let mut tasks = JoinSet::new();
        let mut next = 0;
        let mut ready: HashMap<Symbol, SymbolBars> = HashMap::new();
        let mut elsewhere: Option<(Elsewhere, Arc<str>)> = None;
        for symbol in symbols {
            let Some(&at) = places.get(&symbol) else { continue };
            loop {
                while tasks.len() < GROUPS_AT_ONCE && next < groups.len() {
                    let (engine, place) = (self.clone(), next);
                    let named = groups[next].left.iter().map(ToString::to_string).collect();
                    let days = BarsRequest { symbols: named, ..days.clone() };
                    tasks.spawn(async move { (place, engine.settle(&days).await) });
                    next += 1;
                }
                if !matches!(groups[at].state, State::Waits) {
                    break;
                }
                match tasks.join_next().await {
                    Some(Ok((place, Ok(settled)))) => {
                        tally.settled(&settled);
                        groups[place].state = State::Ready(Box::new(settled));
                    }
                    Some(Ok((place, Err(error)))) => {
                        tally.failed(error);
                        groups[place].state = State::Failed;
                    }
                    Some(Err(error)) => {
                        tally.failed(EngineError::Internal(error.to_string()));
                        groups[at].state = State::Failed;
                    }
                    None => groups[at].state = State::Failed,
                }
            }
            if !ready.contains_key(&symbol)
                && let Group { left, state: State::Ready(settled) } = &mut groups[at]
            {
                let portion: Vec<Symbol> = left.drain(..left.len().min(TAKEN_AT_ONCE)).collect();
                let series = self.take(settled, &portion, &days).await;
                let primary = settled.published.snapshot.provider.clone();
                let (found, primary) = elsewhere.get_or_insert_with(|| (Elsewhere::default(), primary));
                found.add(&series, primary);
                ready.extend(portion.into_iter().zip(series));
            }
            if let Some(found) = ready.remove(&symbol) {
                tally.bars(of_days(found, &request, until), reader).await?;
            }
        }
        tally.elsewhere(elsewhere.iter().flat_map(|(found, primary)| found.diagnostics(primary)));
        Ok(tally)
    }
}
