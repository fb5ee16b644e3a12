//! Universes: what each is, and those that callers name, change and remove.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use panscan_core::catalog::{CatalogError, Membership, NamedUniverse, Rule};
use panscan_core::error::shortened;
use panscan_core::expr::{ExprError, PlanError};
use panscan_core::named::{Definition, is_default};
use panscan_core::scan::SYMBOLS_MAX;
use panscan_core::snapshot::Snapshot;
use panscan_core::symbol::Symbol;
use panscan_core::time::Timestamp;
use panscan_core::universe::TextAttribute;
use panscan_proto::convert::expression::plan_status;
use panscan_proto::convert::saved::{changes, description, new_id};
use panscan_proto::convert::wire_timestamp;
use panscan_proto::{Violations, v1};
use tonic::Status;

use super::status::{of, of_catalog};
use crate::host::Host;

/// What stands before the id.
const PREFIX: &str = "universes/";

/// Describes a universe that the snapshot has.
pub(super) async fn described(
    host: &Arc<Host>,
    snapshot: &Snapshot,
    id: &str,
) -> Result<v1::Universe, Status> {
    let mut universe = counted(snapshot, id);
    if is_default(id) {
        // What is not known for lack of the database is said as not known.
        let since = host.catalog.recorded_since(snapshot.market.clone()).await;
        let since =
            since.inspect_err(|error| tracing::warn!(%error, "no history of the universe")).ok().flatten();
        universe.point_in_time_since = since.map(|on| on.to_string()).unwrap_or_default();
        return Ok(universe);
    }
    if let Some(definition) = snapshot.named.find(id) {
        let named = &definition.universe;
        universe.description.clone_from(&named.description);
        universe.etag = named.etag();
        universe.create_time = Some(wire_timestamp(named.created));
        universe.update_time = Some(wire_timestamp(named.updated));
        let now = |m: &&Membership| m.until.is_none();
        universe.definition = Some(match &named.rule {
            Rule::Filter(filter) => v1::UniverseDefinition { filter: filter.clone(), symbols: Vec::new() },
            Rule::Symbols(members) => v1::UniverseDefinition {
                symbols: members.iter().filter(now).map(|m| m.symbol.to_string()).collect(),
                filter: String::new(),
            },
        });
        if let Rule::Symbols(members) = &named.rule {
            let first = members.iter().flat_map(|m| [m.since, m.until]).flatten().min();
            universe.point_in_time_since = first.map(|on| on.to_string()).unwrap_or_default();
        }
    }
    Ok(universe)
}

/// How many symbols, in which groups, and how much is known of them.
fn counted(snapshot: &Snapshot, id: &str) -> v1::Universe {
    let universe = &snapshot.universe;
    let members = snapshot.named.members(id, snapshot);
    let is_member = |at: usize| members.as_ref().is_none_or(|members| members[at]);
    let count = (0..universe.len()).filter(|at| is_member(*at)).count();
    let total = count.max(1) as f64;
    let mut groups = BTreeMap::new();
    let mut attributes = Vec::new();
    for attribute in TextAttribute::ALL {
        let column = universe.text(attribute);
        let mut counts: HashMap<u32, i64> = HashMap::new();
        let codes = column.codes().iter().enumerate().filter(|(at, _)| is_member(*at));
        codes.for_each(|(_, code)| *counts.entry(*code).or_default() += 1);
        let unknown = counts.remove(&0).unwrap_or(0);
        attributes.push(v1::AttributeInfo {
            name: attribute.name().to_owned(),
            r#type: v1::ColumnType::String.into(),
            unit: String::new(),
            coverage: (count as f64 - unknown as f64) / total,
        });
        if attribute.is_group() {
            let named = |(code, n): (u32, i64)| (column.dictionary()[code as usize].to_string(), n);
            let counts = v1::GroupCounts { counts: counts.into_iter().map(named).collect() };
            groups.insert(attribute.name().to_owned(), counts);
        }
    }
    for (name, unit, values) in [
        ("market_cap", "USD", universe.market_cap()),
        ("shares_outstanding", "shares", universe.shares_outstanding()),
    ] {
        let known = values.iter().enumerate().filter(|(at, v)| is_member(*at) && !v.is_nan()).count();
        attributes.push(v1::AttributeInfo {
            name: name.to_owned(),
            r#type: v1::ColumnType::Number.into(),
            unit: unit.to_owned(),
            coverage: known as f64 / total,
        });
    }
    v1::Universe {
        name: format!("{PREFIX}{id}"),
        description: "the symbols that the provider lists".to_owned(),
        symbols: i32::try_from(count).unwrap_or(i32::MAX),
        groups,
        update_time: Some(wire_timestamp(universe.updated())),
        attributes,
        ..Default::default()
    }
}

/// Names a universe.
pub(super) async fn create(
    host: &Arc<Host>,
    request: &v1::CreateUniverseRequest,
) -> Result<v1::Universe, Status> {
    let mut found = Violations::default();
    let id = &request.universe_id;
    new_id(&mut found, "universe_id", id);
    if is_default(id) {
        let message = "is the universe that the provider lists; choose another name";
        found.push("universe_id", "RESERVED_NAME", message);
    }
    let given = request.universe.clone().unwrap_or_default();
    description(&mut found, "universe.description", &given.description);
    let rule = rule(&mut found, given.definition.as_ref());
    let rule = found.or(rule)?;
    let new = NamedUniverse {
        id: id.clone(),
        description: given.description,
        rule,
        revision: 0,
        created: Timestamp::default(),
        updated: Timestamp::default(),
    };
    let definition = checked(new)?;
    let snapshot = current(host)?;
    if request.validate_only {
        if snapshot.named.knows(id) {
            return Err(of_catalog(CatalogError::Exists { what: "universe", name: id.clone() }));
        }
        let shown = v1::Universe { name: format!("{PREFIX}{id}"), ..Default::default() };
        let named = definition.universe;
        return Ok(v1::Universe { description: named.description, definition: given.definition, ..shown });
    }
    host.catalog.create_universe(definition.universe, now(host)?).await.map_err(of_catalog)?;
    shown(host, id).await
}

/// Changes what the mask names.
pub(super) async fn update(
    host: &Arc<Host>,
    request: &v1::UpdateUniverseRequest,
) -> Result<v1::Universe, Status> {
    let mut found = Violations::default();
    let given = request.universe.clone().unwrap_or_default();
    let id = id(&mut found, "universe.name", &given.name);
    if given.etag.is_empty() {
        let message = "is missing; read the universe and send the etag that it has";
        found.push("universe.etag", "MISSING_ETAG", message);
    }
    let fields = [("description", !given.description.is_empty()), ("definition", given.definition.is_some())];
    let [describes, defines] = changes(&mut found, request.update_mask.as_ref(), fields);
    description(&mut found, "universe.description", &given.description);
    let rule = if defines { Some(rule(&mut found, given.definition.as_ref())) } else { None };
    let rule = found.or(rule)?;
    let mut named = kept(host, &id).await?;
    if named.etag() != given.etag {
        return Err(of_catalog(CatalogError::Changed { what: "universe", name: id }));
    }
    if describes {
        named.description = given.description;
    }
    if let Some(rule) = rule {
        named.rule = rule;
    } else if let Rule::Symbols(members) = &named.rule {
        named.rule = Rule::Symbols(members.iter().filter(|m| m.until.is_none()).cloned().collect());
    }
    let definition = checked(named)?;
    let on = current(host)?.newest().unwrap_or_default();
    host.catalog.update_universe(definition.universe, on, now(host)?).await.map_err(of_catalog)?;
    shown(host, &id).await
}

/// Removes one.
pub(super) async fn delete(host: &Arc<Host>, request: &v1::DeleteUniverseRequest) -> Result<(), Status> {
    let mut found = Violations::default();
    let id = id(&mut found, "name", &request.name);
    found.or(())?;
    let mut revision = None;
    if !request.etag.is_empty() {
        let named = kept(host, &id).await?;
        if named.etag() != request.etag {
            return Err(of_catalog(CatalogError::Changed { what: "universe", name: id }));
        }
        revision = Some(named.revision);
    }
    host.catalog.delete_universe(id, revision).await.map_err(of_catalog)?;
    refresh(host).await
}

/// One as the database has it now.
async fn kept(host: &Arc<Host>, id: &str) -> Result<NamedUniverse, Status> {
    let all = host.catalog.universes().await.map_err(of_catalog)?;
    let found = all.into_iter().find(|universe| universe.id == id);
    found.ok_or_else(|| of_catalog(CatalogError::NotFound { what: "universe", name: id.to_owned() }))
}

/// Has the next snapshot show what the database has.
async fn refresh(host: &Arc<Host>) -> Result<(), Status> {
    let universes = host.catalog.universes().await.map_err(of_catalog)?;
    host.engine().map_err(of)?.define_universes(universes).await.map_err(of)
}

/// A universe that was just written, as the snapshot shows it.
async fn shown(host: &Arc<Host>, id: &str) -> Result<v1::Universe, Status> {
    refresh(host).await?;
    described(host, &*current(host)?, id).await
}

fn current(host: &Arc<Host>) -> Result<Arc<Snapshot>, Status> {
    let current = host.engine().and_then(|engine| engine.current()).map_err(of)?;
    Ok(current.snapshot.clone())
}

fn now(host: &Arc<Host>) -> Result<Timestamp, Status> {
    Ok(host.engine().map_err(of)?.clock().now())
}

/// The id of a universe that can be changed.
fn id(found: &mut Violations, field: &str, name: &str) -> String {
    let id = name.strip_prefix(PREFIX).unwrap_or_default();
    if is_default(id) && !id.is_empty() {
        found.push(field, "RESERVED_NAME", "is the universe that the provider lists; it cannot be changed");
    } else if !panscan_core::catalog::is_id(id) {
        let message = format!("is {:?}; expected {PREFIX} and an id such as energy-large", shortened(name));
        found.push(field, "INVALID_NAME", message);
    }
    id.to_owned()
}

/// Reads who belongs.
fn rule(found: &mut Violations, definition: Option<&v1::UniverseDefinition>) -> Rule {
    let field = "universe.definition";
    let empty = v1::UniverseDefinition::default();
    let given = definition.unwrap_or(&empty);
    if given.symbols.is_empty() == given.filter.is_empty() {
        let message = "needs symbols or a filter, and not both";
        found.push(field, "CONTRADICTION", message);
        return Rule::Filter(String::new());
    }
    if !given.filter.is_empty() {
        return Rule::Filter(given.filter.clone());
    }
    if given.symbols.len() > SYMBOLS_MAX {
        let message = format!("has {} entries; at most {SYMBOLS_MAX} are accepted", given.symbols.len());
        found.push(format!("{field}.symbols"), "TOO_MANY", message);
        return Rule::Symbols(Arc::from([]));
    }
    let mut members = BTreeMap::new();
    for (at, text) in given.symbols.iter().enumerate() {
        match Symbol::new(text) {
            Ok(symbol) => {
                members.insert(symbol.clone(), Membership { symbol, since: None, until: None });
            }
            Err(error) => found.push(format!("{field}.symbols[{at}]"), "INVALID_SYMBOL", error.to_string()),
        }
    }
    Rule::Symbols(members.into_values().collect())
}

/// A universe whose filter can be evaluated.
fn checked(universe: NamedUniverse) -> Result<Definition, Status> {
    Definition::new(universe).map_err(|error| {
        let place =
            |e: &ExprError| ExprError { field: format!("universe.definition.{}", e.field), ..e.clone() };
        plan_status(&PlanError { errors: error.errors.iter().map(place).collect() })
    })
}
