//! Blocks on the axes of a panel.
//!
//! Not here: which of two blocks wins a cell; that is the order in which they are laid out.

use crate::block::{BarKey, Block};
use crate::life::{Histories, Stretch};
use crate::time::SessionDate;
use crate::universe::Universe;

/// A block with its symbols and rows placed on the panel's axes.
pub(super) struct Joined<'a> {
    pub(super) block: &'a Block,
    /// Symbol of the universe to symbol of the block; `u32::MAX` where the block has none.
    pub(super) symbol: Vec<u32>,
    /// Row of the block, session of the panel.
    pub(super) rows: Vec<(usize, usize)>,
    /// Universe ids that it holds, first and last.
    pub(super) span: (usize, usize),
}

impl<'a> Joined<'a> {
    pub(super) fn new(
        block: &'a Block,
        universe: &Universe,
        sessions: &[SessionDate],
        histories: &Histories,
    ) -> Option<Self> {
        let row = |(r, key): (usize, &BarKey)| sessions.binary_search(&key.as_session()).ok().map(|s| (r, s));
        let rows: Vec<_> = block.rows().iter().enumerate().filter_map(row).collect();
        let mut symbol = vec![u32::MAX; universe.len()];
        let mut span = (usize::MAX, 0);
        let mut place = |theirs: usize, ours: usize| {
            symbol[ours] = u32::try_from(theirs).unwrap_or(u32::MAX);
            span = (span.0.min(ours), span.1.max(ours));
        };
        if block.symbols().len() * 16 < universe.len() {
            for (theirs, name) in block.symbols().iter().enumerate() {
                if let Some(ours) = universe.find(name.as_str()) {
                    place(theirs, ours.index());
                }
            }
        } else {
            let mut ours = universe.symbols().iter().enumerate().peekable();
            for (theirs, name) in block.symbols().iter().enumerate() {
                while ours.next_if(|(_, s)| *s < name).is_some() {}
                if let Some((id, _)) = ours.next_if(|(_, s)| *s == name) {
                    place(theirs, id);
                }
            }
        }
        // Whose ticker depends on the day has no place here; see `within`.
        for id in histories.ids() {
            symbol[id.index()] = u32::MAX;
            span = (span.0.min(id.index()), span.1.max(id.index()));
        }
        (!rows.is_empty() && span.0 <= span.1).then_some(Self { block, symbol, rows, span })
    }

    /// A ticker's place in the block, and the rows and sessions of a stretch of days.
    pub(super) fn within<'s>(
        &'s self,
        stretch: &Stretch,
        sessions: &'s [SessionDate],
    ) -> Option<(usize, impl Iterator<Item = (usize, usize)> + use<'s, 'a>)> {
        let theirs = self.block.symbols().binary_search(&stretch.symbol).ok()?;
        let (from, to) = (stretch.from, stretch.to);
        let inside = move |(_, session): &(usize, usize)| (from..=to).contains(&sessions[*session]);
        Some((theirs, self.rows.iter().copied().filter(inside)))
    }
}
