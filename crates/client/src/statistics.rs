//! Statistics of groups: percentiles of expressions by sector and the like.

use std::time::Duration;

use panscan_proto::v1;

use crate::call::Call;
use crate::connect::Client;
use crate::error::ClientError;

/// Statistics to be asked for.
#[derive(Debug, Clone)]
pub struct StatisticsQuery {
    client: Client,
    request: v1::GetGroupStatisticsRequest,
    timeout: Option<Duration>,
}

/// The statistics of each expression.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupStatistics {
    /// The snapshot that all of it comes from.
    pub snapshot_id: String,
    /// The percentiles, in the order in which each group has its values.
    pub percentiles: Vec<f64>,
    /// One entry per expression, in the order of the request.
    pub expressions: Vec<Statistics>,
    /// Whether no cell that the expressions need was missing.
    pub complete: bool,
}

/// One expression's groups.
#[derive(Debug, Clone, PartialEq)]
pub struct Statistics {
    /// Canonical text.
    pub expr: String,
    /// Unit of its values.
    pub unit: String,
    /// Groups, by their text.
    pub groups: Vec<GroupStatistic>,
    /// Whether they were kept from an earlier call on the same snapshot.
    pub memoized: bool,
}

/// The values of one group.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupStatistic {
    /// Its text, e.g. `Technology`.
    pub group: String,
    /// Symbols with a value.
    pub count: u64,
    /// Symbols without one.
    pub missing: u64,
    /// Mean of the values.
    pub mean: Option<f64>,
    /// Their deviation, divided by their number.
    pub deviation: Option<f64>,
    /// Their median distance from their median.
    pub median_deviation: Option<f64>,
    /// The percentiles; empty where there is no value.
    pub percentiles: Vec<f64>,
}

impl StatisticsQuery {
    fn new(client: Client, exprs: Vec<String>) -> Self {
        let timeout = client.shared.timeout;
        Self { client, request: v1::GetGroupStatisticsRequest { exprs, ..Default::default() }, timeout }
    }

    /// Groups by another attribute than the sector: industry, exchange, type or country.
    #[must_use]
    pub fn by(mut self, attribute: impl Into<String>) -> Self {
        self.request.by = attribute.into();
        self
    }

    /// Looks at another universe than the default one.
    #[must_use]
    pub fn universe(mut self, id: &str) -> Self {
        self.request.universe = format!("universes/{id}");
        self
    }

    /// Asks for these percentiles, from 0 to 100.
    #[must_use]
    pub fn percentiles(mut self, percentiles: impl IntoIterator<Item = f64>) -> Self {
        self.request.percentiles = percentiles.into_iter().collect();
        self
    }

    /// Runs on exactly this snapshot.
    #[must_use]
    pub fn snapshot(mut self, id: &str) -> Self {
        self.request.snapshot_id = id.to_owned();
        self
    }

    /// Ends the call after this long.
    #[must_use]
    pub fn timeout(mut self, span: Duration) -> Self {
        self.timeout = Some(span);
        self
    }

    /// Sends it, and waits for the answer.
    ///
    /// # Errors
    ///
    /// What the server refuses or fails with.
    pub async fn send(self) -> Result<GroupStatistics, ClientError> {
        let shared = &*self.client.shared;
        let call = Call::new(self.timeout);
        let attempt = || async {
            let mut stub = shared.universes();
            call.within(stub.get_group_statistics(shared.request(self.request.clone(), &call))).await
        };
        Ok(read(shared.retried(&call, attempt).await?.into_inner()))
    }
}

impl Client {
    /// Statistics of expressions by sector; of the built-in factors where none is named.
    #[must_use]
    pub fn group_statistics(&self, exprs: impl IntoIterator<Item = impl Into<String>>) -> StatisticsQuery {
        StatisticsQuery::new(self.clone(), exprs.into_iter().map(Into::into).collect())
    }
}

fn read(wire: v1::GroupStatistics) -> GroupStatistics {
    let count = |n: i64| u64::try_from(n).unwrap_or(0);
    let group = |g: v1::GroupStatistic| GroupStatistic {
        group: g.group,
        count: count(g.count),
        missing: count(g.missing),
        mean: g.mean,
        deviation: g.deviation,
        median_deviation: g.median_deviation,
        percentiles: g.percentiles,
    };
    let statistics = |e: v1::ExpressionStatistics| Statistics {
        expr: e.expr,
        unit: e.unit,
        groups: e.groups.into_iter().map(group).collect(),
        memoized: e.memoized,
    };
    GroupStatistics {
        snapshot_id: wire.snapshot_id,
        percentiles: wire.percentiles,
        expressions: wire.expressions.into_iter().map(statistics).collect(),
        complete: wire.complete,
    }
}
