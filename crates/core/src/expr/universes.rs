//! Universes that expressions name: whether each is there. A plan does not depend on it; a snapshot does.

use super::ast::ExprKind;
use super::error::{ERRORS_MAX, ExprError, ExprReason, Fault};
use super::parser::parse;
use super::suggest::nearest;
use crate::scan::ScanSpec;

/// Every `in_universe` of a scan whose universe is not among `known`, with its place and the nearest name.
#[must_use]
pub fn unknown_universes(spec: &ScanSpec, known: &[&str]) -> Vec<ExprError> {
    let columns = spec.columns.iter().enumerate().map(|(i, text)| (format!("scan.columns[{i}]"), text, true));
    let defined = spec.define.iter().map(|(name, text)| (format!("scan.define[{name}]"), text, false));
    let factors =
        spec.factors.iter().enumerate().map(|(i, f)| (format!("scan.factors[{i}].expr"), &f.expr, false));
    let texts = [("scan.filter".to_owned(), &spec.filter, false)]
        .into_iter()
        .chain(columns)
        .chain(defined)
        .chain([("scan.rank_by".to_owned(), &spec.rank_by, false)])
        .chain(factors);
    let mut found = Vec::new();
    // Most texts name none; those are not read a second time.
    for (field, text, named) in texts.filter(|(_, text, _)| text.to_ascii_lowercase().contains("in_universe"))
    {
        let Some(expr) = parse(text, named).expr else { continue };
        expr.walk(&mut |expr| {
            let ExprKind::Call { name, args, .. } = &expr.kind else { return };
            let ("in_universe", Some(ExprKind::Text(id))) =
                (name.as_str(), args.first().map(|a| &a.value.kind))
            else {
                return;
            };
            let bare = id.strip_prefix("universes/").unwrap_or(id);
            if known.contains(&bare) || found.len() >= ERRORS_MAX {
                return;
            }
            let span = args.first().map_or(expr.span, |a| a.value.span);
            let message = format!("unknown universe `{}`", crate::error::shortened(bare));
            let mut fault = Fault::new(span, ExprReason::UnknownName, message);
            if let Some(near) = nearest(bare, known.iter().copied()) {
                fault = fault.suggest(near);
            }
            found.push(ExprError::locate(&field, text, fault));
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_universe_is_named_with_its_place_and_the_nearest() {
        let spec = ScanSpec {
            filter: "close > 1 and not IN_UNIVERSE('techh')".to_owned(),
            columns: vec![
                "a = in_universe(id='nothing')".to_owned(),
                "in_universe('universes/tech')".to_owned(),
            ],
            ..ScanSpec::default()
        };
        let found = unknown_universes(&spec, &["default", "tech"]);
        let brief: Vec<_> = found
            .iter()
            .map(|e| (e.field.as_str(), e.start, e.end, e.suggestion.as_str(), e.reason))
            .collect();
        assert_eq!(
            brief,
            [
                ("scan.filter", 30, 37, "tech", ExprReason::UnknownName),
                ("scan.columns[0]", 19, 28, "", ExprReason::UnknownName),
            ]
        );
    }
}
