//! Every problem of a scan at once: fields of the message, expressions, and names of universes.

use std::sync::Arc;

use panscan_core::expr::{self, ERRORS_MAX, unknown_universes};
use panscan_core::plan::Plan;
use panscan_core::scan::ScanSpec;
use panscan_proto::convert::answer::columns;
use panscan_proto::convert::expression::ExpressionFault;
use panscan_proto::convert::spec::checked;
use panscan_proto::{Violation, v1};

use crate::host::Host;

/// The answer about a scan.
pub(super) fn answer(host: &Arc<Host>, scan: &v1::ScanSpec) -> v1::ValidateScanResponse {
    match problems(host, scan) {
        Ok((spec, plan)) => v1::ValidateScanResponse {
            valid: true,
            errors: Vec::new(),
            columns: columns(&plan).iter().map(Into::into).collect(),
            canonical: Some((&spec).into()),
        },
        Err(errors) => {
            v1::ValidateScanResponse { errors: errors.iter().map(Into::into).collect(), ..Default::default() }
        }
    }
}

/// The scan and its plan, or what is wrong: expressions first, in the order of their places, then other fields.
pub(super) fn problems(
    host: &Arc<Host>,
    scan: &v1::ScanSpec,
) -> Result<(ScanSpec, Box<Plan>), Vec<ExpressionFault>> {
    let (spec, violations) = checked("scan", scan);
    let planned = expr::plan(&spec);
    let mut errors: Vec<ExpressionFault> = match &planned {
        Ok(_) => Vec::new(),
        Err(error) => error.errors.iter().map(ExpressionFault::from).collect(),
    };
    // Which universes there are is known once there is a snapshot.
    if let Ok(current) = host.engine().and_then(|engine| engine.current()) {
        let named = &current.snapshot.named;
        let known: Vec<&str> = named.names().collect();
        errors.extend(unknown_universes(&spec, &known).iter().map(ExpressionFault::from));
        let id = &spec.universe.universe;
        if !named.knows(id) {
            errors.push(ExpressionFault {
                field: "scan.universe.universe".to_owned(),
                reason: "NOT_FOUND".to_owned(),
                message: format!("universe `{id}` does not exist"),
                suggestion: expr::nearest(id, known)
                    .map(|near| format!("universes/{near}"))
                    .unwrap_or_default(),
                ..Default::default()
            });
        }
    }
    let of_field = |violation: &Violation| ExpressionFault {
        field: violation.field.clone(),
        reason: violation.reason.clone(),
        message: violation.message.clone(),
        ..Default::default()
    };
    // Some fields are looked at on both ways.
    let fresh = |v: &&Violation| !errors.iter().any(|error| error.field == v.field);
    let more: Vec<ExpressionFault> = violations.as_slice().iter().filter(fresh).map(of_field).collect();
    errors.extend(more);
    errors.truncate(ERRORS_MAX);
    match planned {
        Ok(plan) if errors.is_empty() => Ok((spec, Box::new(plan))),
        _ => Err(errors),
    }
}
