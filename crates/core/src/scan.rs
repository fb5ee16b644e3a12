//! A scan as a caller asks for it: the domain form of the wire's `ScanSpec`, before it is planned.

use crate::time::Timeframe;

/// Rows returned when a scan does not say.
pub const LIMIT_DEFAULT: usize = 100;
/// Rows returned at most.
pub const LIMIT_MAX: usize = 50_000;
/// Symbols in a request at most.
pub const SYMBOLS_MAX: usize = 50_000;

/// How prices are adjusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Adjustment {
    /// As traded.
    Raw,
    /// For splits.
    #[default]
    Splits,
    /// For splits and dividends.
    SplitsAndDividends,
}

/// Whether the unfinished bar takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum BarSelection {
    /// It does.
    #[default]
    IncludeForming,
    /// It does not.
    ClosedOnly,
}

/// Which hours of a day count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum SessionHours {
    /// The exchange's own session.
    #[default]
    Regular,
    /// The provider's whole day.
    Extended,
}

/// Direction of a ranking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Order {
    /// Largest first.
    #[default]
    Descending,
    /// Smallest first.
    Ascending,
}

/// What to do about bars that are not held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DataPolicy {
    /// Fetch until the deadline and name what is still missing.
    #[default]
    BestEffort,
    /// Make no provider call.
    CachedOnly,
    /// Answer only when nothing is missing.
    RequireComplete,
}

/// What runs a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Backend {
    /// The processor.
    Cpu,
    /// An NVIDIA GPU.
    Cuda,
}

/// Width of the arithmetic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Precision {
    /// 64 bits.
    #[default]
    F64,
    /// 32 bits.
    F32,
}

/// Structured prefilter: all conditions must hold; an empty list does not restrict. It also fixes the
/// population of the cross-sectional functions.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct UniverseSelector {
    /// Name without `universes/`; empty is `default`.
    pub universe: String,
    /// Only these.
    pub symbols: Vec<String>,
    /// Not these.
    pub exclude_symbols: Vec<String>,
    /// Only these sectors, compared ignoring ASCII case.
    pub sectors: Vec<String>,
    /// Only these industries.
    pub industries: Vec<String>,
    /// Only these exchanges (market identifier codes).
    pub exchanges: Vec<String>,
    /// Only these security types.
    pub types: Vec<String>,
    /// USD.
    pub min_market_cap: Option<f64>,
    /// USD.
    pub max_market_cap: Option<f64>,
    /// Close of the last closed session, USD.
    pub min_price: Option<f64>,
    /// Close of the last closed session, USD.
    pub max_price: Option<f64>,
    /// Mean dollar volume of the last 20 closed sessions, USD.
    pub min_dollar_volume: Option<f64>,
    /// Delisted symbols that were listed at the as-of instant take part.
    pub include_delisted: bool,
}

/// A weighted factor of `score()`.
#[derive(Debug, Clone, PartialEq)]
pub struct Factor {
    /// Identifier; becomes the column `factor_<name>`.
    pub name: String,
    /// Numeric expression.
    pub expr: String,
    /// Any finite number; 0 keeps the factor as a column only.
    pub weight: f64,
    /// What is done with its values before they are weighted.
    pub transform: FactorTransform,
    /// Share of the values at either end that is limited before that, at least 0 and below 0.25.
    pub winsorize: f64,
    /// Group attribute inside which this is done; empty: the population.
    pub by: String,
}

/// What makes a factor comparable with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum FactorTransform {
    /// Distance from the median in median deviations.
    #[default]
    RobustZScore,
    /// Distance from the mean in deviations.
    ZScore,
    /// Place among the others, 0 to 100.
    Percentile,
    /// Its values as they are.
    None,
}

impl FactorTransform {
    /// What stands for a missing value that shall neither help nor harm.
    #[must_use]
    pub const fn center(self) -> f64 {
        match self {
            Self::Percentile => 50.0,
            Self::RobustZScore | Self::ZScore | Self::None => 0.0,
        }
    }
}

/// What a factor without a value does to the score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum MissingFactor {
    /// It makes it null.
    #[default]
    Null,
    /// It counts as [`FactorTransform::center`].
    Center,
}

/// What to scan.
#[derive(Debug, Clone, PartialEq)]
pub struct ScanSpec {
    /// Boolean expression; empty keeps all.
    pub filter: String,
    /// `expr` or `name = expr`, in output order.
    pub columns: Vec<String>,
    /// Named sub-expressions that are not output.
    pub define: std::collections::BTreeMap<String, String>,
    /// Numeric expression; empty: the symbol, ascending.
    pub rank_by: String,
    /// Direction of the ranking.
    pub order: Order,
    /// Rows to return, 1 to [`LIMIT_MAX`].
    pub limit: usize,
    /// Rows per group; 0: no bound.
    pub limit_per_group: usize,
    /// Group attribute, or empty.
    pub group_by: String,
    /// Factors of `score()`.
    pub factors: Vec<Factor>,
    /// What a factor without a value does to the score.
    pub missing_factor: MissingFactor,
    /// Structured prefilter.
    pub universe: UniverseSelector,
    /// Interval of the bars.
    pub timeframe: Timeframe,
    /// How prices are adjusted.
    pub adjustment: Adjustment,
    /// Whether the forming bar takes part.
    pub bars: BarSelection,
    /// Which hours count.
    pub session: SessionHours,
    /// Benchmark symbol.
    pub benchmark: String,
}

impl Default for ScanSpec {
    fn default() -> Self {
        Self {
            filter: String::new(),
            columns: Vec::new(),
            define: std::collections::BTreeMap::new(),
            rank_by: String::new(),
            order: Order::Descending,
            limit: LIMIT_DEFAULT,
            limit_per_group: 0,
            group_by: String::new(),
            factors: Vec::new(),
            missing_factor: MissingFactor::Null,
            universe: UniverseSelector::default(),
            timeframe: Timeframe::Day,
            adjustment: Adjustment::Splits,
            bars: BarSelection::IncludeForming,
            session: SessionHours::Regular,
            benchmark: "SPY".to_owned(),
        }
    }
}
