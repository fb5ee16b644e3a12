//! Named universes on a snapshot: which of its symbols belong to each, worked out when first asked for.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::attribute::attribute_column;
use crate::catalog::{NamedUniverse, Rule};
use crate::expr::{ExprError, ExprReason, PlanError, plan};
use crate::plan::{Op, Plan, Stage};
use crate::scan::ScanSpec;
use crate::snapshot::Snapshot;

/// The universe of everyone that the provider lists.
pub const DEFAULT: &str = "default";

/// A universe that has a name, checked.
#[derive(Debug, Clone)]
pub struct Definition {
    /// As it is kept.
    pub universe: NamedUniverse,
    /// The plan of its filter.
    plan: Option<Arc<Plan>>,
}

impl Definition {
    /// Checks one.
    ///
    /// # Errors
    ///
    /// [`PlanError`] for a filter that is none, or that needs more than attributes.
    pub fn new(universe: NamedUniverse) -> Result<Self, PlanError> {
        let plan = match &universe.rule {
            Rule::Symbols(_) => None,
            Rule::Filter(filter) => Some(Arc::new(attributes_only(filter)?)),
        };
        Ok(Self { universe, plan })
    }

    /// One flag per symbol of the snapshot.
    fn members(&self, snapshot: &Snapshot) -> Vec<bool> {
        let universe = &*snapshot.universe;
        let mut members = vec![false; universe.len()];
        match &self.universe.rule {
            Rule::Symbols(listed) => {
                let holds = |m: &crate::catalog::Membership| snapshot.newest().is_none_or(|on| m.holds(on));
                for id in listed.iter().filter(|m| holds(m)).filter_map(|m| universe.find(m.symbol.as_str()))
                {
                    members[id.index()] = true;
                }
            }
            Rule::Filter(_) => {
                let filter = self.plan.as_ref().and_then(|plan| Some((plan, plan.filter?)));
                if let Some((plan, node)) = filter {
                    let values = attribute_column(plan, node, snapshot);
                    members.iter_mut().zip(values).for_each(|(member, value)| *member = value == 1.0);
                }
            }
        }
        members
    }
}

/// The plan of a universe's filter.
fn attributes_only(filter: &str) -> Result<Plan, PlanError> {
    let spec =
        ScanSpec { filter: filter.to_owned(), columns: vec!["symbol".to_owned()], ..ScanSpec::default() };
    let bare = |mut error: PlanError| {
        error.errors.iter_mut().for_each(|e| e.field = e.field.replace("scan.filter", "filter"));
        error
    };
    let plan = plan(&spec).map_err(bare)?;
    let refuse =
        |reason, message: &str| PlanError { errors: vec![ExprError::of_field("filter", reason, message)] };
    if filter.trim().is_empty() {
        return Err(refuse(
            ExprReason::Syntax,
            "is empty; a universe needs symbols, or a filter such as market_cap > 10B",
        ));
    }
    if plan.nodes.iter().any(|n| matches!(n.op, Op::InUniverse(_))) {
        return Err(refuse(
            ExprReason::TypeMismatch,
            "names another universe; say what that one says instead",
        ));
    }
    let root = plan.filter.map(|id| plan.node(id).stage);
    if plan.touches_bars() || root != Some(Stage::Attribute) {
        let message =
            "needs more than attributes; only attributes such as sector or market_cap can stand here";
        return Err(refuse(ExprReason::TypeMismatch, message));
    }
    Ok(plan)
}

/// The named universes that a snapshot knows.
#[derive(Default)]
pub struct Named {
    definitions: Arc<[Definition]>,
    members: BTreeMap<String, Place>,
}

/// Where a definition stands, and its members once somebody has asked for them.
type Place = (usize, OnceLock<Arc<[bool]>>);

impl Named {
    /// Those of a snapshot that is being made.
    #[must_use]
    pub fn new(definitions: Arc<[Definition]>) -> Self {
        let place = |(at, d): (usize, &Definition)| (d.universe.id.clone(), (at, OnceLock::new()));
        let members = definitions.iter().enumerate().map(place).collect();
        Self { definitions, members }
    }

    /// Them, by name.
    #[must_use]
    pub fn definitions(&self) -> &Arc<[Definition]> {
        &self.definitions
    }

    /// One of them.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<&Definition> {
        self.members.get(id).and_then(|(at, _)| self.definitions.get(*at))
    }

    /// Whether it is the default universe or one of these.
    #[must_use]
    pub fn knows(&self, id: &str) -> bool {
        is_default(id) || self.members.contains_key(id)
    }

    /// Every name that is known.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(DEFAULT).chain(self.members.keys().map(String::as_str))
    }

    /// One flag per symbol of `snapshot`, which must be the one that these belong to; none for the default universe
    /// and for one that is not known.
    #[must_use]
    pub fn members(&self, id: &str, snapshot: &Snapshot) -> Option<Arc<[bool]>> {
        let (at, members) = self.members.get(id)?;
        let definition = self.definitions.get(*at)?;
        Some(members.get_or_init(|| definition.members(snapshot).into()).clone())
    }
}

impl fmt::Debug for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.members.keys()).finish()
    }
}

/// Whether a name means everyone that the provider lists.
#[must_use]
pub fn is_default(id: &str) -> bool {
    id.is_empty() || id == DEFAULT
}
