//! The plan: a scan after parsing and checking, as a graph of typed nodes in which equal sub-expressions are one
//! node. A backend needs nothing else; how text becomes a plan is in [`crate::expr`].
//!
//! In columns NaN is null, booleans are 1.0, 0.0 and null, and no value is infinite: an operation whose result
//! would be infinite gives null.

use std::fmt;
use std::sync::Arc;

use crate::bar::Field;
use crate::scan::{Adjustment, Order, UniverseSelector};
use crate::time::Timeframe;
use crate::universe::{TextAttribute, Universe};

/// Nodes of one plan at most, after sharing.
pub const NODES_MAX: usize = 512;

/// Position of a node in [`Plan::nodes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

impl NodeId {
    /// As an index.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A 128-bit name of a canonical text (FNV-1a): stable over processes and versions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub u128);

impl Digest {
    /// The digest of a text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self::of_words(text.bytes().map(u64::from))
    }

    /// The digest of numbers.
    #[must_use]
    pub fn of_words(words: impl Iterator<Item = u64>) -> Self {
        let mut hash: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
        for word in words {
            hash ^= u128::from(word);
            hash = hash.wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
        }
        Self(hash)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ValueKind {
    /// A number.
    Number,
    /// A number that is always whole.
    Integer,
    /// True or false.
    Bool,
    /// Text of a universe attribute.
    Text,
}

/// How many values a node has per symbol, and on what they depend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shape {
    /// The same for every symbol and bar.
    Constant,
    /// One per bar of the symbol.
    Series,
    /// One per symbol.
    Scalar,
    /// One per symbol that depends on the others.
    Cross,
}

/// When a node can be computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Over universe attributes and constants, before any bar is touched.
    Attribute,
    /// Over one symbol's bars.
    Series,
    /// Over one number of every symbol.
    CrossSection,
    /// After the cross-section, per symbol.
    Scalar,
}

/// How much of a series node's history its consumers read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tail {
    /// The last so many rows.
    Rows(u32),
    /// From the symbol's first bar on.
    All,
}

/// A numeric attribute of a symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NumberAttribute {
    /// Market capitalisation, USD.
    MarketCap,
    /// Shares outstanding.
    SharesOutstanding,
    /// Sessions since the list date, up to the newest session.
    DaysListed,
    /// Whether it still trades, as a bool.
    Active,
}

/// A text that a symbol has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TextSource {
    /// The ticker itself.
    Symbol,
    /// An attribute.
    Attribute(TextAttribute),
}

/// Element-wise functions of one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unary {
    /// -x
    Negate,
    /// |x|
    Abs,
    /// -1, 0 or 1
    Sign,
    /// Square root; null below zero.
    Sqrt,
    /// e to the x.
    Exp,
    /// Natural logarithm; null at and below zero.
    Log,
    /// Largest whole number not above x.
    Floor,
    /// Smallest whole number not below x.
    Ceil,
    /// Logical not; null stays null.
    Not,
    /// 1 where x is null, else 0.
    IsNull,
}

/// Element-wise functions of two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Binary {
    /// a + b
    Add,
    /// a - b
    Subtract,
    /// a * b
    Multiply,
    /// a / b; null when b is zero.
    Divide,
    /// a to the b; null where it is not finite.
    Power,
    /// a < b
    Less,
    /// a <= b
    LessEqual,
    /// a > b
    Greater,
    /// a >= b
    GreaterEqual,
    /// a == b
    Equal,
    /// a != b
    NotEqual,
    /// Three-valued and: false with null is false.
    And,
    /// Three-valued or: true with null is true.
    Or,
    /// The smaller; null if either is.
    Minimum,
    /// The larger; null if either is.
    Maximum,
    /// a, or b where a is null.
    Coalesce,
}

/// Functions of the last `n` values; a null among them makes the result null.
///
/// Sums run from the oldest to the newest value, so that every backend rounds alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Window {
    /// Sum.
    Sum,
    /// Mean: the sum over n.
    Mean,
    /// Mean of the squared distances from the mean, divided by n.
    Variance,
    /// Square root of that.
    StdDev,
    /// Largest.
    Highest,
    /// Smallest.
    Lowest,
    /// Mean with weights 1 to n, the newest weighs n.
    Weighted,
    /// Mean of the distances from the mean.
    MeanDeviation,
    /// Bars since the largest; the newest of equals.
    HighestAgo,
    /// Bars since the smallest; the newest of equals.
    LowestAgo,
    /// Slope of the least-squares line over times 0 to n-1.
    Slope,
    /// The share of the variance that this line explains; null where there is none.
    Fit,
    /// 100 * (average rank of the newest among all, ascending, - 0.5) / n.
    Rank,
    /// Largest of the up to n last values that are there; null where the newest is.
    Peak,
    /// Smallest of them, likewise.
    Trough,
    /// Smallest ratio of one of them to the largest before it or itself, likewise.
    Fall,
}

impl Window {
    /// Whether fewer than n values will do: those that are not there are left out.
    #[must_use]
    pub const fn is_partial(self) -> bool {
        matches!(self, Self::Peak | Self::Trough | Self::Fall)
    }

    /// Values before the first result, relative to the input's first.
    #[must_use]
    pub const fn lookback(self, n: u32) -> u32 {
        if self.is_partial() { 0 } else { n - 1 }
    }
}

/// Functions of the last `n` values of two series; a null among them makes the result null.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pair {
    /// Mean product of the distances from the means.
    Covariance,
    /// That over both deviations; null where one of them is 0.
    Correlation,
}

/// Functions of a price and the benchmark's at the same bars, over the last n + 1 bars that have both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Against {
    /// Covariance of simple returns over the variance of the benchmark's; null where that is 0.
    Beta,
    /// Correlation of simple returns; null where one of them does not vary.
    Correlation,
    /// The return over all of them minus the benchmark's, in per cent.
    Excess,
}

/// Functions of one number per symbol over a population, or over each group of it. Nulls take no part and stay
/// null. Sums run in the order of symbols.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cross {
    /// 1 + the number of larger values.
    Rank,
    /// 100 * (average ascending rank - 0.5) / N.
    Percentile,
    /// Distance from the mean in deviations (divided by N); null below two values or where all are equal.
    ZScore,
    /// Distance from the median in 1.4826 median distances from it; null where that is 0. Limited to plus and
    /// minus `clip` where that is above 0.
    RobustZScore {
        /// The limit, or 0.
        clip: f64,
    },
    /// Limited to the sorted values at floor(lo * N) and ceil(hi * N) - 1.
    Winsorize {
        /// Share below.
        lo: f64,
        /// Share at and below the upper limit.
        hi: f64,
    },
    /// Distance from the mean.
    Demean,
    /// 1 + floor(percentile * n / 100), n at most.
    Bucket(u32),
    /// Mean of all.
    Mean,
    /// Median of all.
    Median,
    /// Sum of all.
    Sum,
    /// How many there are.
    Count,
}

/// Functions whose value depends on every earlier one. They start at the first non-null input of the symbol's
/// series; a null input gives a null result and leaves the state as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Recursive {
    /// First value = mean of the first n; then e += 2/(n+1) * (x - e).
    Ema,
    /// The same with 1/n (Wilder).
    Rma,
    /// Wilder's relative strength index: G and D start as the means of the first n gains and losses, then
    /// G = (G * (n-1) + g) / n, likewise D; 100 * G / (G + D), 0 when G + D is 0.
    Rsi,
    /// `Ema` that leaves out so many values at the start.
    Late(u32),
    /// Wilder's sum: first the sum of n-1 values, then S - S/n + x with each further one.
    WilderSum,
    /// Sum of all so far; its length does not matter.
    Total,
}

impl Recursive {
    /// Values before the first result, relative to the input's first.
    #[must_use]
    pub const fn lookback(self, n: u32) -> u32 {
        match self {
            Self::Ema | Self::Rma | Self::WilderSum => n - 1,
            Self::Rsi => n,
            Self::Late(skip) => skip + (n - 1),
            Self::Total => 0,
        }
    }

    /// The weight of a new value; 1 where the seed never loses its own.
    #[must_use]
    pub fn alpha(self, n: u32) -> f64 {
        match self {
            Self::Ema | Self::Late(_) => 2.0 / (f64::from(n) + 1.0),
            Self::Rma | Self::Rsi | Self::WilderSum => 1.0 / f64::from(n),
            Self::Total => 1.0,
        }
    }

    /// Bars after the seed until its weight is below 1e-6.
    #[must_use]
    pub fn settle(self, n: u32) -> u32 {
        let keep = 1.0 - self.alpha(n);
        if keep <= 0.0 {
            return 0;
        }
        (1e-6_f64.ln() / keep.ln()).ceil() as u32
    }
}

/// Bars of a longer interval than the scan's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Longer {
    /// The interval.
    pub timeframe: Timeframe,
    /// Whether the newest bar is left out where it has not ended.
    pub closed: bool,
}

impl Longer {
    /// Sessions in one of its bars at most.
    #[must_use]
    pub const fn sessions(self) -> u32 {
        match self.timeframe {
            Timeframe::Month => 23,
            Timeframe::Week => 5,
            Timeframe::Day | Timeframe::Minutes(_) => 1,
        }
    }
}

/// What a node does with its inputs.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// A literal; bools are 1 and 0.
    Constant(f64),
    /// A column of bars.
    Field(Field),
    /// A numeric attribute.
    Attribute(NumberAttribute),
    /// A text attribute; only outputs and the text operations read it.
    Text(TextSource),
    /// Whether the text is one of these, exactly.
    TextIn(TextSource, Arc<[Arc<str>]>),
    /// Whether the text holds this, ignoring ASCII case.
    TextContains(TextSource, Arc<str>),
    /// Whether the text starts with this, ignoring ASCII case.
    TextStartsWith(TextSource, Arc<str>),
    /// Whether the text is not known.
    TextIsNull(TextSource),
    /// Whether the symbol belongs to the universe of this name.
    InUniverse(Arc<str>),
    /// Element-wise, one input.
    Unary(Unary),
    /// Element-wise, two inputs.
    Binary(Binary),
    /// Rounds half away from zero to this many decimals; one input.
    Round(i32),
    /// Inputs condition, then, else; null where the condition is.
    If,
    /// The input so many bars earlier.
    Lag(u32),
    /// A function of the input's last n values.
    Window(Window, u32),
    /// The share q between the sorted last n values, linear between neighbours, at position q * (n-1).
    Quantile(f64, u32),
    /// A function of the last n values of two inputs.
    Pair(Pair, u32),
    /// A function of all the input's values.
    Recursive(Recursive, u32),
    /// A column of this symbol's bars at the sessions of the bars of the symbol that is looked at; null where it
    /// has none.
    Benchmark(Arc<str>, Field),
    /// A function of a price and the benchmark's.
    Against(Against, u32),
    /// A column of bars of a longer interval. What is made of it has one value per such bar.
    Longer(Longer, Field),
    /// The last value of an input over bars of a longer interval.
    At(Longer),
    /// Over the population, or over each group of equal attributes. Inputs: the values, and where it is given the
    /// condition under which a symbol takes part.
    Cross(Cross, Arc<[TextAttribute]>),
}

impl Op {
    /// Bars before its first value, relative to its inputs' first.
    #[must_use]
    pub fn lookback(&self) -> u32 {
        match self {
            Self::Lag(k) => *k,
            Self::Window(window, n) => window.lookback(*n),
            Self::Quantile(_, n) | Self::Pair(_, n) => n - 1,
            Self::Recursive(recursive, n) => recursive.lookback(*n),
            Self::Against(_, n) => *n,
            _ => 0,
        }
    }

    /// Further bars until a seed's weight is below 1e-6.
    #[must_use]
    pub fn settle(&self) -> u32 {
        match self {
            Self::Recursive(recursive, n) => recursive.settle(*n),
            _ => 0,
        }
    }

    /// Rows of its inputs that are read for its last `rows` rows.
    #[must_use]
    pub fn reads(&self, rows: Tail) -> Tail {
        let more = match self {
            Self::Recursive(..) | Self::Against(..) => return Tail::All,
            Self::Lag(k) => *k,
            Self::Window(_, n) | Self::Quantile(_, n) | Self::Pair(_, n) => n - 1,
            _ => 0,
        };
        match rows {
            Tail::All => Tail::All,
            Tail::Rows(rows) => Tail::Rows(rows.saturating_add(more)),
        }
    }
}

/// One computation.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// What it does.
    pub op: Op,
    /// What it reads; always earlier nodes.
    pub inputs: Vec<NodeId>,
    /// What its values are.
    pub kind: ValueKind,
    /// How many there are.
    pub shape: Shape,
    /// When it can be computed.
    pub stage: Stage,
    /// Bars before its first value.
    pub lookback: u32,
    /// Further bars until a seed's weight is below 1e-6; 0 if nothing below it is recursive.
    pub settle: u32,
    /// Whether it, or anything that it reads, depends on every bar since history start.
    pub recursive: bool,
    /// Rows of it that are read; one for an output.
    pub tail: Tail,
    /// Canonical text.
    pub text: Arc<str>,
    /// Digest of the canonical text, the timeframe and the adjustment: the memo's key.
    pub digest: Digest,
}

impl Node {
    /// Whether it is one number per symbol that does not come from the bars that a series is computed on: an
    /// attribute, or the last value on longer bars.
    #[must_use]
    pub fn is_given(&self) -> bool {
        matches!(self.op, Op::At(_))
            || (self.stage == Stage::Attribute && !matches!(self.op, Op::Constant(_)))
    }
}

/// A column of the answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// Its value.
    pub node: NodeId,
    /// Unit, e.g. `USD`, `%`, `0..100`; empty where it has none.
    pub unit: String,
}

/// A scan that can be run.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Nodes in an order in which every input comes before its reader.
    pub nodes: Vec<Node>,
    /// Columns in output order.
    pub outputs: Vec<Output>,
    /// Rows are kept where this is true; none keeps all.
    pub filter: Option<NodeId>,
    /// Rows are ordered by this; none: by symbol, ascending.
    pub rank_by: Option<NodeId>,
    /// Direction of the ranking.
    pub order: Order,
    /// Rows to return.
    pub limit: usize,
    /// Of rows alike in this, only the first [`limit_per_group`](Self::limit_per_group) are returned.
    pub group_by: Option<TextAttribute>,
    /// Rows per group; 0: no bound.
    pub limit_per_group: usize,
    /// Prefilter.
    pub universe: UniverseSelector,
    /// Interval of the bars.
    pub timeframe: Timeframe,
    /// How prices are adjusted.
    pub adjustment: Adjustment,
    /// Hash of the canonical scan.
    pub fingerprint: Digest,
}

impl Plan {
    /// A node.
    #[must_use]
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// The nodes whose last value the answer needs, each once: filter, rank key and columns.
    #[must_use]
    pub fn roots(&self) -> Vec<NodeId> {
        let mut roots: Vec<NodeId> =
            self.filter.into_iter().chain(self.rank_by).chain(self.outputs.iter().map(|o| o.node)).collect();
        roots.sort_unstable();
        roots.dedup();
        roots
    }

    /// Bars per symbol that must be held for every value: 0 when no bar is touched.
    #[must_use]
    pub fn bars_needed(&self) -> u32 {
        let series = self.nodes.iter().filter(|n| n.shape == Shape::Series);
        series.map(|n| n.lookback + 1).max().unwrap_or(0)
    }

    /// Newest bars per symbol that a value can depend on, where it does not depend on all: as many as
    /// [`bars_needed`](Self::bars_needed), or more where a window takes what there is.
    #[must_use]
    pub fn bars_read(&self) -> u32 {
        let read = self.nodes.iter().map(|node| match (&node.op, node.tail) {
            (Op::Field(_), Tail::Rows(rows)) => rows,
            (Op::Longer(longer, _), Tail::Rows(rows)) => rows.saturating_mul(longer.sessions()),
            _ => 0,
        });
        self.bars_needed().max(read.max().unwrap_or(0))
    }

    /// The symbols other than the one looked at whose bars are read.
    pub fn benchmarks(&self) -> impl Iterator<Item = &Arc<str>> {
        self.nodes
            .iter()
            .filter_map(|n| if let Op::Benchmark(symbol, _) = &n.op { Some(symbol) } else { None })
    }

    /// The universes that expressions name, each once.
    pub fn universes(&self) -> impl Iterator<Item = &Arc<str>> {
        // Equal nodes are one, so no name comes twice.
        self.nodes.iter().filter_map(|n| if let Op::InUniverse(id) = &n.op { Some(id) } else { None })
    }

    /// Whether anything in it looks across symbols.
    #[must_use]
    pub fn is_cross_sectional(&self) -> bool {
        self.nodes.iter().any(|n| n.stage == Stage::CrossSection)
    }

    /// Bars per symbol from which on no value depends on a seed by more than 1e-6 of it.
    #[must_use]
    pub fn bars_settled(&self) -> u32 {
        let series = self.nodes.iter().filter(|n| n.shape == Shape::Series);
        series.map(|n| n.lookback + n.settle + 1).max().unwrap_or(0)
    }

    /// Whether every bar since history start is needed.
    #[must_use]
    pub fn is_recursive(&self) -> bool {
        self.nodes.iter().any(|n| n.recursive)
    }

    /// Whether any bar is touched.
    #[must_use]
    pub fn touches_bars(&self) -> bool {
        self.nodes.iter().any(|n| matches!(n.op, Op::Field(_) | Op::Longer(..)))
    }

    /// Whether a universe of which only today's attributes are known is, to this plan, what it was at every past
    /// session: it reads none of them but who was listed and since when, and that is known.
    #[must_use]
    pub fn is_point_in_time(&self, universe: &Universe) -> bool {
        let dated =
            |op: &Op| matches!(op, Op::Attribute(NumberAttribute::DaysListed | NumberAttribute::Active));
        let texts = |op: &Op| match op {
            Op::Attribute(_) => !dated(op),
            Op::Text(s) | Op::TextIn(s, _) | Op::TextContains(s, _) | Op::TextStartsWith(s, _) => {
                *s != TextSource::Symbol
            }
            Op::TextIsNull(s) => *s != TextSource::Symbol,
            Op::Cross(_, by) => !by.is_empty(),
            _ => false,
        };
        let selector = &self.universe;
        let selects = [&selector.sectors, &selector.industries, &selector.exchanges, &selector.types];
        !self.nodes.iter().any(|node| texts(&node.op))
            && self.group_by.is_none()
            && selects.iter().all(|texts| texts.is_empty())
            && selector.min_market_cap.is_none()
            && selector.max_market_cap.is_none()
            && universe.knows_membership()
    }

    /// Whether any attribute other than the ticker is read.
    #[must_use]
    pub fn touches_attributes(&self) -> bool {
        self.nodes.iter().any(|n| match &n.op {
            Op::Attribute(_) | Op::InUniverse(_) => true,
            Op::Text(s)
            | Op::TextIn(s, _)
            | Op::TextContains(s, _)
            | Op::TextStartsWith(s, _)
            | Op::TextIsNull(s) => *s != TextSource::Symbol,
            Op::Cross(_, by) => !by.is_empty(),
            _ => false,
        }) || self.group_by.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settling_lengths_are_those_of_the_contract() {
        assert_eq!(Recursive::Rsi.settle(14), 187);
        assert_eq!(Recursive::Ema.settle(20), 139);
        assert_eq!(Recursive::Ema.settle(200), 1382);
        assert_eq!(Recursive::Ema.settle(1), 0);
    }

    #[test]
    fn digests_are_fnv_1a() {
        assert_eq!(Digest::of("").to_string(), "6c62272e07bb014262b821756295c58d");
        assert_eq!(Digest::of("a").to_string(), "d228cb696f1a8caf78912b704e4a8964");
    }
}
