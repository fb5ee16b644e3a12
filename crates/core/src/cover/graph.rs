//! Minimum weight vertex cover of a bipartite graph, by maximum flow.
//!
//! Edges are bitsets, never lists: a graph of 2,600 x 50,000 vertices takes 16 MB however dense it is, and a search
//! step handles 64 edges. Flow runs from a source through left vertices (capacity: their weight) over edges
//! (unbounded) through right vertices (capacity: their weight) to a sink; by König's theorem with weights, the least
//! cut is the lightest cover. The flow is found by Dinic's method: shortest paths in layers, one layering after the
//! other. Not here: what the vertices mean.

use super::missing::ones;

/// A bipartite graph with weights on its vertices.
pub(super) struct Graph {
    /// Words of a bitset of right vertices.
    words: usize,
    /// By left vertex, the right vertices that it meets.
    edges: Vec<u64>,
    left: Vec<u128>,
    right: Vec<u128>,
}

/// The vertices of a cover.
pub(super) struct Chosen {
    pub(super) left: Vec<bool>,
    pub(super) right: Vec<bool>,
    /// Whether no cover is lighter.
    pub(super) exact: bool,
}

impl Graph {
    /// `edges` gives one bitset of right vertices for each left vertex.
    pub(super) fn new<'a>(edges: impl Iterator<Item = &'a [u64]>, left: Vec<u128>, right: Vec<u128>) -> Self {
        let mut all = Vec::with_capacity(left.len() * right.len().div_ceil(64));
        edges.for_each(|row| all.extend_from_slice(row));
        Self { words: right.len().div_ceil(64), edges: all, left, right }
    }

    /// The lightest cover, or a good one when finding it takes more than `effort` words of bitsets.
    pub(super) fn cover(&self, effort: u64) -> Chosen {
        let mut flow = Flow::new(self);
        flow.fill_greedily();
        let exact = loop {
            if flow.effort > effort {
                break false;
            }
            let Some(depth) = flow.layer(true) else { break true };
            flow.augment(depth, effort);
        };
        if !exact {
            flow.layer(false);
        }
        // What the source still reaches lies before the cut: cut are left vertices not reached, right ones reached.
        let chosen = Chosen {
            left: flow.left_level.iter().map(|&level| level == UNSEEN).collect(),
            right: flow.right_seen(),
            exact,
        };
        if exact { chosen } else { self.tidied(chosen) }
    }

    fn row(&self, left: usize) -> &[u64] {
        &self.edges[left * self.words..(left + 1) * self.words]
    }

    fn weight(&self, chosen: &Chosen) -> u128 {
        let sum = |weights: &[u128], chosen: &[bool]| -> u128 {
            weights.iter().zip(chosen).filter(|(_, chosen)| **chosen).map(|(weight, _)| weight).sum()
        };
        sum(&self.left, &chosen.left) + sum(&self.right, &chosen.right)
    }

    /// Drops what an unfinished search chose in vain; falls back on one whole side where that is lighter.
    fn tidied(&self, mut chosen: Chosen) -> Chosen {
        for left in 0..self.left.len() {
            if chosen.left[left] && ones(self.row(left)).all(|right| chosen.right[right]) {
                chosen.left[left] = false;
            }
        }
        let mut needed = vec![false; self.right.len()];
        for left in (0..self.left.len()).filter(|&left| !chosen.left[left]) {
            ones(self.row(left)).for_each(|right| needed[right] = true);
        }
        chosen.right = needed;
        let side = |left: bool| Chosen {
            left: vec![left; self.left.len()],
            right: vec![!left; self.right.len()],
            exact: false,
        };
        for other in [side(true), side(false)] {
            if self.weight(&other) < self.weight(&chosen) {
                chosen = other;
            }
        }
        chosen
    }
}

const UNSEEN: u32 = u32::MAX;

/// A flow through a [`Graph`] and the layers of its shortest unfilled paths.
struct Flow<'a> {
    graph: &'a Graph,
    /// Capacity left from the source and to the sink.
    left_rest: Vec<u128>,
    right_rest: Vec<u128>,
    /// By right vertex, the left vertices that send flow to it and how much; zeros are removed between layerings.
    sent: Vec<Vec<(u32, u128)>>,
    /// Layer of each left vertex; [`UNSEEN`] when the source does not reach it.
    left_level: Vec<u32>,
    /// By layer, the right vertices in it that may still lead to the sink.
    layers: Vec<Vec<u64>>,
    /// By right vertex, the first entry of `sent` that may still lead to the sink.
    entry: Vec<usize>,
    /// By left vertex, the first word of its row that may still lead to the sink.
    word: Vec<usize>,
    effort: u64,
}

impl<'a> Flow<'a> {
    fn new(graph: &'a Graph) -> Self {
        Self {
            graph,
            left_rest: graph.left.clone(),
            right_rest: graph.right.clone(),
            sent: vec![Vec::new(); graph.right.len()],
            left_level: vec![UNSEEN; graph.left.len()],
            layers: Vec::new(),
            entry: vec![0; graph.right.len()],
            word: vec![0; graph.left.len()],
            effort: 0,
        }
    }

    /// Sends what goes straight through. Where one side is much the lighter this already fills it, and is the proof
    /// that taking it whole is best.
    fn fill_greedily(&mut self) {
        let graph = self.graph;
        let mut free = vec![u64::MAX; graph.words];
        for left in 0..graph.left.len() {
            for (index, &word) in graph.row(left).iter().enumerate() {
                let mut bits = word & free[index];
                while bits != 0 && self.left_rest[left] > 0 {
                    let right = index * 64 + bits.trailing_zeros() as usize;
                    bits &= bits - 1;
                    let amount = self.left_rest[left].min(self.right_rest[right]);
                    self.left_rest[left] -= amount;
                    self.right_rest[right] -= amount;
                    self.sent[right].push((left as u32, amount));
                    if self.right_rest[right] == 0 {
                        free[index] &= !(1 << (right % 64));
                    }
                }
            }
        }
    }

    /// Layers all vertices by their distance from the source; with `stop`, only up to the first layer that meets the
    /// sink, which is returned. `None` when the sink is out of reach.
    fn layer(&mut self, stop: bool) -> Option<usize> {
        let graph = self.graph;
        self.left_level.fill(UNSEEN);
        self.layers.clear();
        self.entry.fill(0);
        self.word.fill(0);
        let mut unseen = vec![u64::MAX; graph.words];
        let mut frontier: Vec<usize> =
            (0..graph.left.len()).filter(|&left| self.left_rest[left] > 0).collect();
        frontier.iter().for_each(|&left| self.left_level[left] = 0);
        while !frontier.is_empty() {
            let depth = self.layers.len();
            let mut layer = vec![0_u64; graph.words];
            self.effort += (frontier.len() * graph.words) as u64;
            for left in frontier.drain(..) {
                for ((new, unseen), &word) in layer.iter_mut().zip(&mut unseen).zip(graph.row(left)) {
                    *new |= word & *unseen;
                    *unseen &= !word;
                }
            }
            let mut meets_sink = false;
            for right in ones(&layer) {
                meets_sink |= self.right_rest[right] > 0;
                self.sent[right].retain(|&(_, amount)| amount > 0);
                self.effort += self.sent[right].len() as u64;
                for &(left, _) in &self.sent[right] {
                    let left = left as usize;
                    if self.left_level[left] == UNSEEN {
                        self.left_level[left] = depth as u32 + 1;
                        frontier.push(left);
                    }
                }
            }
            self.layers.push(layer);
            if stop && meets_sink {
                return Some(depth);
            }
        }
        None
    }

    /// Right vertices in any layer.
    fn right_seen(&self) -> Vec<bool> {
        let mut seen = vec![false; self.graph.right.len()];
        for layer in &self.layers {
            ones(layer).for_each(|right| seen[right] = true);
        }
        seen
    }

    /// Fills paths through the layers up to `depth` until none is left or the effort is spent.
    fn augment(&mut self, depth: usize, effort: u64) {
        // (left vertex, right vertex, entry of `sent` by which the path goes on)
        let mut path: Vec<(usize, usize, usize)> = Vec::new();
        let roots: Vec<usize> = (0..self.left_rest.len()).filter(|&left| self.left_rest[left] > 0).collect();
        for root in roots {
            path.clear();
            let mut at = root;
            while self.left_rest[root] > 0 && self.effort <= effort {
                let Some(right) = self.next_right(at, path.len()) else {
                    // Dead end: go back, and never come this way again in this layering.
                    self.left_level[at] = UNSEEN;
                    let Some((left, ..)) = path.pop() else { break };
                    at = left;
                    continue;
                };
                if path.len() < depth {
                    match self.next_entry(right, path.len() + 1) {
                        Some(entry) => {
                            path.push((at, right, entry));
                            at = self.sent[right][entry].0 as usize;
                        }
                        None => self.layers[path.len()][right / 64] &= !(1 << (right % 64)),
                    }
                } else if self.right_rest[right] > 0 {
                    self.send(root, &path, at, right);
                    path.clear();
                    at = root;
                } else {
                    self.layers[depth][right / 64] &= !(1 << (right % 64));
                }
            }
        }
    }

    /// A right vertex of layer `depth` that `left` meets and that may lead on.
    fn next_right(&mut self, left: usize, depth: usize) -> Option<usize> {
        let row = self.graph.row(left);
        let from = self.word[left];
        let found = (from..row.len()).find(|&index| row[index] & self.layers[depth][index] != 0);
        self.word[left] = found.unwrap_or(row.len());
        self.effort += (self.word[left] - from) as u64 + 1;
        found.map(|index| index * 64 + (row[index] & self.layers[depth][index]).trailing_zeros() as usize)
    }

    /// An entry of what was sent to `right` whose sender lies in layer `level`.
    fn next_entry(&mut self, right: usize, level: usize) -> Option<usize> {
        let from = self.entry[right];
        let sent = &self.sent[right];
        let found = (from..sent.len()).find(|&index| {
            let (left, amount) = sent[index];
            amount > 0 && self.left_level[left as usize] == level as u32
        });
        self.entry[right] = found.unwrap_or(sent.len());
        self.effort += (self.entry[right] - from) as u64 + 1;
        found
    }

    /// Sends as much as the path carries: along it, flow moves from the later left vertex to the earlier one.
    fn send(&mut self, root: usize, path: &[(usize, usize, usize)], last: usize, target: usize) {
        let mut amount = self.left_rest[root].min(self.right_rest[target]);
        for &(_, right, entry) in path {
            amount = amount.min(self.sent[right][entry].1);
        }
        self.left_rest[root] -= amount;
        self.right_rest[target] -= amount;
        for &(left, right, entry) in path {
            self.sent[right][entry].1 -= amount;
            self.add(left, right, amount);
        }
        self.add(last, target, amount);
    }

    fn add(&mut self, left: usize, right: usize, amount: u128) {
        let sent = &mut self.sent[right];
        self.effort += sent.len() as u64;
        match sent.iter_mut().find(|(sender, _)| *sender as usize == left) {
            Some((_, sum)) => *sum += amount,
            None => sent.push((left as u32, amount)),
        }
    }
}
