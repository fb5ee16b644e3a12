//! `panscan.v1.Universes`: what can be scanned, its attributes, and the bars held of it.

use std::cmp::Ordering;
use std::sync::Arc;

use panscan_core::calendar::Calendar;
use panscan_core::plan::Digest;
use panscan_core::scan::{DataPolicy, LIMIT_MAX, Order, ScanSpec, UniverseSelector};
use panscan_core::snapshot::Snapshot;
use panscan_core::symbol::SymbolId;
use panscan_core::time::SessionDate;
use panscan_core::universe::{TextAttribute, Universe};
use panscan_engine::{EngineError, Pin as Snapshots, Published, ScanRequest};
use panscan_proto::convert::listing::page_size_of_list;
use panscan_proto::convert::mask::Mask;
use panscan_proto::convert::read_timestamp;
use panscan_proto::convert::universe::{Coverage, SymbolsRequest, symbol};
use panscan_proto::token::{self, Page};
use panscan_proto::v1;
use panscan_proto::v1::universes_server::Universes as Service;
use tonic::{Request, Response, Status};

use super::{call, named, statistics, status};
use crate::host::Host;

/// The name that binds page tokens to this method.
const LIST_SYMBOLS: &str = "Universes.ListSymbols";
/// The same of the list of universes.
const LIST_UNIVERSES: &str = "Universes.ListUniverses";

/// The service.
pub(super) struct Universes(pub(super) Arc<Host>);

#[tonic::async_trait]
impl Service for Universes {
    async fn list_universes(
        &self,
        request: Request<v1::ListUniversesRequest>,
    ) -> Result<Response<v1::ListUniversesResponse>, Status> {
        let asked = request.get_ref();
        let snapshot = &self.current()?.snapshot;
        let size = page_size_of_list(asked.page_size)?;
        let after = match asked.page_token.as_str() {
            "" => String::new(),
            text => token::read(LIST_UNIVERSES, Digest(0), text)?.snapshot,
        };
        let mut names: Vec<&str> = snapshot.named.names().filter(|id| *id > after.as_str()).collect();
        names.sort_unstable();
        let more = names.len() > size;
        names.truncate(size);
        let next = Page { snapshot: names.last().copied().unwrap_or_default().to_owned(), ..Page::default() };
        let mut universes = Vec::with_capacity(names.len());
        for id in names {
            universes.push(named::described(&self.0, snapshot, id).await?);
        }
        Ok(Response::new(v1::ListUniversesResponse {
            universes,
            next_page_token: token::following(LIST_UNIVERSES, Digest(0), &next, more),
        }))
    }

    async fn get_universe(
        &self,
        request: Request<v1::GetUniverseRequest>,
    ) -> Result<Response<v1::Universe>, Status> {
        let name = &request.get_ref().name;
        let current = self.current()?;
        match name.strip_prefix("universes/") {
            Some(id) if !id.is_empty() && current.snapshot.named.knows(id) => {
                named::described(&self.0, &current.snapshot, id).await.map(Response::new)
            }
            _ => Err(no_universe(name)),
        }
    }

    async fn create_universe(
        &self,
        request: Request<v1::CreateUniverseRequest>,
    ) -> Result<Response<v1::Universe>, Status> {
        call::admitted(&self.0)?;
        named::create(&self.0, request.get_ref()).await.map(Response::new)
    }

    async fn update_universe(
        &self,
        request: Request<v1::UpdateUniverseRequest>,
    ) -> Result<Response<v1::Universe>, Status> {
        call::admitted(&self.0)?;
        named::update(&self.0, request.get_ref()).await.map(Response::new)
    }

    async fn delete_universe(
        &self,
        request: Request<v1::DeleteUniverseRequest>,
    ) -> Result<Response<()>, Status> {
        call::admitted(&self.0)?;
        named::delete(&self.0, request.get_ref()).await.map(Response::new)
    }

    async fn get_group_statistics(
        &self,
        request: Request<v1::GetGroupStatisticsRequest>,
    ) -> Result<Response<v1::GroupStatistics>, Status> {
        call::admitted(&self.0)?;
        statistics::answer(&self.0, &request).await.map(Response::new)
    }

    async fn list_symbols(
        &self,
        request: Request<v1::ListSymbolsRequest>,
    ) -> Result<Response<v1::ListSymbolsResponse>, Status> {
        let deadline = call::deadline(request.metadata());
        let asked = SymbolsRequest::try_from(request.get_ref())?;
        let digest = {
            let bare = v1::ListSymbolsRequest {
                page_size: 0,
                page_token: String::new(),
                ..request.get_ref().clone()
            };
            token::bound_to(&bare)
        };
        let mut pin = asked.as_of.map_or(Snapshots::Newest, Snapshots::AsOf);
        let mut skip = 0;
        if !asked.page_token.is_empty() {
            let page = token::read(LIST_SYMBOLS, digest, &asked.page_token)?;
            (pin, skip) = (Snapshots::Snapshot(page.snapshot), page.skip);
        }
        // A scan over attributes alone: the filter is checked and evaluated like any other.
        let spec = ScanSpec {
            filter: asked.filter.clone(),
            columns: vec!["symbol".to_owned()],
            limit: LIMIT_MAX,
            universe: UniverseSelector { universe: asked.universe.clone(), ..UniverseSelector::default() },
            ..ScanSpec::default()
        };
        let scan = ScanRequest {
            spec,
            pin,
            policy: DataPolicy::CachedOnly,
            deadline: Some(deadline),
            ..ScanRequest::default()
        };
        let answer = self.0.engine().map_err(status::of)?.scan(&scan).await.map_err(status::of)?;
        if answer.plan.touches_bars() {
            let message = "uses bars; only attributes such as sector or market_cap can stand here".to_owned();
            return Err(status::of(EngineError::BadField { field: "filter", message }));
        }
        let snapshot = &answer.published.snapshot;
        let mut ids = answer.rows.symbols;
        for (name, order) in asked.order_by.iter().rev() {
            ids.sort_by(|a, b| {
                let by_key = by_attribute(&snapshot.universe, name, *a, *b);
                if *order == Order::Descending { by_key.reverse_known() } else { by_key.0 }
            });
        }
        let end = skip.saturating_add(asked.page_size).min(ids.len());
        let page = ids.get(skip..end).unwrap_or_default();
        let symbols = page.iter().map(|id| of(snapshot, *id, &asked.mask)).collect();
        let more = Page { snapshot: snapshot.id.to_string(), skip: end, until: None };
        Ok(Response::new(v1::ListSymbolsResponse {
            symbols,
            next_page_token: if end < ids.len() {
                token::write(LIST_SYMBOLS, digest, &more)
            } else {
                String::new()
            },
            total_size: ids.len() as i64,
        }))
    }

    async fn get_symbol(
        &self,
        request: Request<v1::GetSymbolRequest>,
    ) -> Result<Response<v1::Symbol>, Status> {
        let asked = request.get_ref();
        let published = match asked.as_of.as_ref().map(read_timestamp) {
            None => self.current()?,
            Some(None) => {
                let message = "is no instant between the years 1678 and 2262".to_owned();
                return Err(status::of(EngineError::BadField { field: "as_of", message }));
            }
            Some(Some(at)) => {
                let scan =
                    ScanRequest { pin: Snapshots::AsOf(at), plan_only: true, ..ScanRequest::default() };
                self.0.engine().map_err(status::of)?.scan(&scan).await.map_err(status::of)?.published
            }
        };
        let snapshot = &published.snapshot;
        let id = snapshot.universe.find(&asked.symbol).ok_or_else(|| {
            status::of(EngineError::NotFound { what: "symbol", name: asked.symbol.clone() })
        })?;
        Ok(Response::new(of(snapshot, id, &Mask::default())))
    }
}

impl Universes {
    fn current(&self) -> Result<Arc<Published>, Status> {
        call::admitted(&self.0)?;
        self.0.engine().and_then(|engine| engine.current()).map_err(status::of)
    }
}

fn no_universe(name: &str) -> Status {
    status::of(EngineError::NotFound { what: "universe", name: name.chars().take(80).collect() })
}

/// One symbol with the bars held of it.
fn of(snapshot: &Snapshot, id: SymbolId, mask: &Mask) -> v1::Symbol {
    let panel = &snapshot.daily;
    let calendar = Calendar::us_equities();
    let bars = panel.bars(id);
    let coverage = mask.has("coverage").then(|| Coverage {
        first: panel.oldest(id).map(|d| calendar.midnight(d)),
        last: panel.newest(id).map(|d| calendar.midnight(d)),
        bars: bars as u64,
        gaps: (panel.span(id) - bars) as u64,
    });
    symbol(&snapshot.universe.listing(id), coverage, mask)
}

/// An ordering, and whether null took part in it: null is last both ways.
struct ByKey(Ordering, bool);

impl ByKey {
    fn reverse_known(self) -> Ordering {
        if self.1 { self.0 } else { self.0.reverse() }
    }
}

fn by_attribute(universe: &Universe, name: &str, a: SymbolId, b: SymbolId) -> ByKey {
    let number = |values: &[f64]| {
        let (a, b) = (values[a.index()], values[b.index()]);
        match (a.is_nan(), b.is_nan()) {
            (false, false) => ByKey(a.total_cmp(&b), false),
            (a, b) => ByKey(a.cmp(&b), true),
        }
    };
    let date = |values: &[Option<SessionDate>]| match (values[a.index()], values[b.index()]) {
        (Some(a), Some(b)) => ByKey(a.cmp(&b), false),
        (a, b) => ByKey(a.is_none().cmp(&b.is_none()), true),
    };
    match name {
        "market_cap" => number(universe.market_cap()),
        "shares_outstanding" => number(universe.shares_outstanding()),
        "list_date" => date(universe.list_date()),
        "delist_date" => date(universe.delist_date()),
        "active" => ByKey(universe.active()[a.index()].cmp(&universe.active()[b.index()]), false),
        _ => match TextAttribute::ALL.into_iter().find(|t| t.name() == name) {
            Some(attribute) => {
                let column = universe.text(attribute);
                match (column.get(a), column.get(b)) {
                    (Some(a), Some(b)) => ByKey(a.cmp(b), false),
                    (a, b) => ByKey(a.is_none().cmp(&b.is_none()), true),
                }
            }
            None => ByKey(a.cmp(&b), false),
        },
    }
}
