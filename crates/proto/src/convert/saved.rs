//! Saved scans: how they stand on the wire, and what a scan of one's own changes in one.

use panscan_core::catalog::{DESCRIPTION_BYTES_MAX, SavedScan, is_id};
use panscan_core::scan::ScanSpec;
use panscan_core::time::Timestamp;
use prost::Message;

use super::{read_timestamp, wire_timestamp};
use crate::error::{Error, Violations};
use crate::v1;

/// What stands before the id.
pub const PREFIX: &str = "scans/";

/// Reads the id out of a name that must be there.
#[must_use]
pub fn id(found: &mut Violations, field: &str, name: &str) -> String {
    let id = name.strip_prefix(PREFIX).unwrap_or_default();
    if !is_id(id) {
        let shown = panscan_core::error::shortened(name);
        let message = format!("is {shown:?}; expected {PREFIX} and an id such as oversold-tech");
        found.push(field, "INVALID_NAME", message);
    }
    id.to_owned()
}

/// Checks the id of something new.
pub fn new_id(found: &mut Violations, field: &str, id: &str) {
    if !is_id(id) {
        let shown = panscan_core::error::shortened(id);
        let message =
            format!("is {shown:?}; expected a small letter, then up to 62 small letters, digits and -");
        found.push(field, "INVALID_NAME", message);
    }
}

/// Checks the length of a description.
pub fn description(found: &mut Violations, field: &str, text: &str) {
    if text.len() > DESCRIPTION_BYTES_MAX {
        let message = format!("has {} bytes; at most {DESCRIPTION_BYTES_MAX} are kept", text.len());
        found.push(field, "TOO_MANY", message);
    }
}

/// Checks a mask of an update, and says for each of `fields` whether it changes. Without a mask it is what is set.
#[must_use]
pub fn changes<const N: usize>(
    found: &mut Violations,
    mask: Option<&prost_types::FieldMask>,
    fields: [(&'static str, bool); N],
) -> [bool; N] {
    let paths = mask.map(|mask| mask.paths.as_slice()).unwrap_or_default();
    if paths.is_empty() {
        return fields.map(|(_, set)| set);
    }
    let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
    for path in paths.iter().filter(|path| *path != "*" && !names.contains(&path.as_str())) {
        let shown = panscan_core::error::shortened(path);
        let message = format!("{shown:?} cannot be changed; expected * or some of {}", names.join(", "));
        found.push("update_mask", "UNKNOWN_PATH", message);
    }
    fields.map(|(name, _)| paths.iter().any(|path| path == "*" || path == name))
}

/// A saved scan for the wire.
///
/// # Errors
///
/// When what is kept is no scan.
pub fn saved_scan(saved: &SavedScan) -> Result<v1::SavedScan, Error> {
    Ok(v1::SavedScan {
        name: format!("{PREFIX}{}", saved.id),
        description: saved.description.clone(),
        scan: Some(stored(saved)?),
        etag: saved.etag(),
        create_time: Some(wire_timestamp(saved.created)),
        update_time: Some(wire_timestamp(saved.updated)),
        owner: saved.owner.clone(),
    })
}

/// The scan as it was saved.
///
/// # Errors
///
/// When what is kept is no scan.
pub fn stored(saved: &SavedScan) -> Result<v1::ScanSpec, Error> {
    v1::ScanSpec::decode(saved.scan.as_slice())
        .map_err(|error| Error::malformed("saved scan", error.to_string()))
}

/// A scan as it is kept.
#[must_use]
pub fn kept(scan: &v1::ScanSpec) -> Vec<u8> {
    scan.encode_to_vec()
}

/// A saved scan as a client reads it.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedScan {
    /// Its name without `scans/`.
    pub id: String,
    /// In words.
    pub description: String,
    /// The scan, with every default filled in.
    pub spec: ScanSpec,
    /// What an update must name to be made.
    pub etag: String,
    /// Who made it; empty where callers are not told apart.
    pub owner: String,
    /// When it was made.
    pub created: Timestamp,
    /// When it was changed last.
    pub updated: Timestamp,
}

impl TryFrom<v1::SavedScan> for NamedScan {
    type Error = Error;

    fn try_from(wire: v1::SavedScan) -> Result<Self, Error> {
        let spec = wire.scan.as_ref().map(ScanSpec::try_from).transpose()?.unwrap_or_default();
        let at =
            |at: &Option<prost_types::Timestamp>| at.as_ref().and_then(read_timestamp).unwrap_or_default();
        Ok(Self {
            id: wire.name.strip_prefix(PREFIX).unwrap_or(&wire.name).to_owned(),
            created: at(&wire.create_time),
            updated: at(&wire.update_time),
            description: wire.description,
            spec,
            etag: wire.etag,
            owner: wire.owner,
        })
    }
}

/// A saved scan with the fields of `over` that are set in place of its own. A list, a map and the prefilter are
/// replaced as a whole.
#[must_use]
pub fn overridden(saved: v1::ScanSpec, over: &v1::ScanSpec) -> v1::ScanSpec {
    fn text(saved: String, over: &str) -> String {
        if over.is_empty() { saved } else { over.to_owned() }
    }
    fn list<T: Clone>(saved: Vec<T>, over: &[T]) -> Vec<T> {
        if over.is_empty() { saved } else { over.to_vec() }
    }
    fn number(saved: i32, over: i32) -> i32 {
        if over == 0 { saved } else { over }
    }
    v1::ScanSpec {
        filter: text(saved.filter, &over.filter),
        columns: list(saved.columns, &over.columns),
        define: if over.define.is_empty() { saved.define } else { over.define.clone() },
        rank_by: text(saved.rank_by, &over.rank_by),
        order: number(saved.order, over.order),
        limit: number(saved.limit, over.limit),
        limit_per_group: number(saved.limit_per_group, over.limit_per_group),
        group_by: text(saved.group_by, &over.group_by),
        factors: list(saved.factors, &over.factors),
        missing_factor: number(saved.missing_factor, over.missing_factor),
        universe: over.universe.clone().or(saved.universe),
        timeframe: text(saved.timeframe, &over.timeframe),
        adjustment: number(saved.adjustment, over.adjustment),
        bars: number(saved.bars, over.bars),
        session: number(saved.session, over.session),
        benchmark: text(saved.benchmark, &over.benchmark),
    }
}

/// A scan with what is the default left unset, so that over a saved scan it changes only the rest.
#[must_use]
pub fn sparse(spec: &ScanSpec) -> v1::ScanSpec {
    let (wire, default) = (v1::ScanSpec::from(spec), v1::ScanSpec::from(&ScanSpec::default()));
    let number = |value: i32, default: i32| if value == default { 0 } else { value };
    let text = |value: String, default: &str| if value == default { String::new() } else { value };
    v1::ScanSpec {
        order: number(wire.order, default.order),
        limit: number(wire.limit, default.limit),
        missing_factor: number(wire.missing_factor, default.missing_factor),
        universe: wire.universe.filter(|universe| Some(universe) != default.universe.as_ref()),
        timeframe: text(wire.timeframe, &default.timeframe),
        adjustment: number(wire.adjustment, default.adjustment),
        bars: number(wire.bars, default.bars),
        session: number(wire.session, default.session),
        benchmark: text(wire.benchmark, &default.benchmark),
        ..wire
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_set_stays_as_it_was_saved() {
        let saved = v1::ScanSpec {
            filter: "rsi(14) < 30".to_owned(),
            columns: vec!["close".to_owned(), "volume".to_owned()],
            limit: 7,
            order: v1::SortOrder::Asc.into(),
            timeframe: "1w".to_owned(),
            universe: Some(v1::UniverseSelector { min_price: Some(5.0), ..Default::default() }),
            ..Default::default()
        };
        assert_eq!(overridden(saved.clone(), &v1::ScanSpec::default()), saved);
        assert_eq!(overridden(saved.clone(), &sparse(&ScanSpec::default())), saved);
        let over = v1::ScanSpec { columns: vec!["open".to_owned()], limit: 3, ..Default::default() };
        let both = overridden(saved.clone(), &over);
        assert_eq!((both.filter.as_str(), both.limit, both.order), ("rsi(14) < 30", 3, saved.order));
        assert_eq!(both.columns, ["open"]);
        assert_eq!(both.universe, saved.universe);
    }

    #[test]
    fn a_sparse_scan_means_the_same() {
        let spec = ScanSpec { filter: "close > 1".to_owned(), limit: 5, ..ScanSpec::default() };
        assert_eq!(ScanSpec::try_from(&sparse(&spec)).unwrap(), spec);
        assert_eq!(sparse(&ScanSpec::default()), v1::ScanSpec::default());
    }

    #[test]
    fn a_mask_says_what_changes() {
        let mask = |paths: &[&str]| prost_types::FieldMask {
            paths: paths.iter().map(|p| (*p).to_owned()).collect(),
        };
        let mut found = Violations::default();
        let fields = [("description", true), ("scan", false)];
        assert_eq!(changes(&mut found, None, fields), [true, false]);
        assert_eq!(changes(&mut found, Some(&mask(&["scan"])), fields), [false, true]);
        assert_eq!(changes(&mut found, Some(&mask(&["*"])), fields), [true, true]);
        assert!(found.is_empty());
        let _ = changes(&mut found, Some(&mask(&["owner", "scan.filter"])), fields);
        assert_eq!(found.as_slice().len(), 2);
    }

    #[test]
    fn names_have_an_id() {
        let mut found = Violations::default();
        assert_eq!(id(&mut found, "name", "scans/dips-1"), "dips-1");
        assert!(found.is_empty());
        for bad in ["", "dips", "scans/", "scans/Dips", "universes/x"] {
            let _ = id(&mut found, "name", bad);
        }
        new_id(&mut found, "saved_scan_id", "A");
        description(&mut found, "saved_scan.description", &"x".repeat(1001));
        assert_eq!(found.as_slice().len(), 7);
    }
}
