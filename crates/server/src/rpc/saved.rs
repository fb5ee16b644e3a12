//! Saved scans: made, read, changed and removed, and looked up for a scan that runs one. Presets stand among them and
//! stay as they are.

use std::borrow::Cow;
use std::sync::Arc;

use panscan_core::Kind;
use panscan_core::catalog::{CatalogError, SAVED_SCAN_BYTES_MAX, SavedScan};
use panscan_core::error::shortened;
use panscan_core::plan::Digest;
use panscan_core::preset::{PREFIX as PRESET, PRESETS, Preset};
use panscan_core::time::Timestamp;
use panscan_proto::convert::expression::ExpressionFault;
use panscan_proto::convert::listing::page_size_of_list;
use panscan_proto::convert::saved::{self as wire, changes, kept, overridden, saved_scan, sparse, stored};
use panscan_proto::kind::{Details, status};
use panscan_proto::token::{self, Page};
use panscan_proto::{Violation, Violations, v1};
use tonic::Status;

use super::{call, validate};
use crate::host::Host;

/// The name that binds page tokens to this method.
const LIST: &str = "Scanner.ListSavedScans";
/// Owner of what is there from the start.
const BUILT_IN: &str = "panscan";

/// The scan of a request: the saved one with what the request sets in place of its own, or the request's.
pub(super) async fn merged(
    host: &Arc<Host>,
    name: &str,
    scan: Option<&v1::ScanSpec>,
) -> Result<Option<v1::ScanSpec>, Status> {
    if name.is_empty() {
        return Ok(scan.cloned());
    }
    let mut found = Violations::default();
    let id = wire::id(&mut found, "saved_scan", name);
    found.or(())?;
    let saved = read(host, id).await?;
    let saved = stored(&saved).map_err(Status::from)?;
    Ok(Some(match scan {
        Some(scan) => overridden(saved, scan),
        None => saved,
    }))
}

/// A request with its saved scan filled in.
pub(super) async fn filled<'r>(
    host: &Arc<Host>,
    request: &'r v1::ScanUniverseRequest,
) -> Result<Cow<'r, v1::ScanUniverseRequest>, Status> {
    if request.saved_scan.is_empty() {
        return Ok(Cow::Borrowed(request));
    }
    let scan = merged(host, &request.saved_scan, request.scan.as_ref()).await?;
    Ok(Cow::Owned(v1::ScanUniverseRequest { scan, saved_scan: String::new(), ..request.clone() }))
}

/// Stores a scan under a new name.
pub(super) async fn create(
    host: &Arc<Host>,
    request: &v1::CreateSavedScanRequest,
) -> Result<v1::SavedScan, Status> {
    call::admitted(host)?;
    let mut found = Violations::default();
    let id = &request.saved_scan_id;
    wire::new_id(&mut found, "saved_scan_id", id);
    if id.starts_with(PRESET) {
        let message = format!("begins with {PRESET}, as only built-in scans do; choose another name");
        found.push("saved_scan_id", "RESERVED_NAME", message);
    }
    let given = request.saved_scan.clone().unwrap_or_default();
    let name = format!("scans/{id}");
    if !given.name.is_empty() && given.name != name {
        found.push(
            "saved_scan.name",
            "CONTRADICTION",
            format!("differs from saved_scan_id; leave it out or say {name}"),
        );
    }
    let scan = given.scan.clone().unwrap_or_default();
    check(host, found, &given.description, &scan)?;
    let saved = SavedScan {
        id: id.clone(),
        description: given.description,
        scan: kept(&scan),
        owner: String::new(),
        revision: 0,
        created: Timestamp::default(),
        updated: Timestamp::default(),
    };
    let catalog = &host.catalog;
    if !request.validate_only {
        let now = now(host)?;
        let made = catalog.create_saved_scan(saved, now).await.map_err(super::status::of_catalog)?;
        return Ok(saved_scan(&made)?);
    }
    match catalog.saved_scan(id.clone()).await {
        Err(CatalogError::NotFound { .. }) => Ok(v1::SavedScan {
            etag: String::new(),
            create_time: None,
            update_time: None,
            ..saved_scan(&saved)?
        }),
        Err(error) => Err(super::status::of_catalog(error)),
        Ok(_) => {
            Err(super::status::of_catalog(CatalogError::Exists { what: "saved scan", name: id.clone() }))
        }
    }
}

/// Returns one.
pub(super) async fn get(
    host: &Arc<Host>,
    request: &v1::GetSavedScanRequest,
) -> Result<v1::SavedScan, Status> {
    call::admitted(host)?;
    let mut found = Violations::default();
    let id = wire::id(&mut found, "name", &request.name);
    found.or(())?;
    Ok(saved_scan(&read(host, id).await?)?)
}

/// Lists them by name. A page goes on after the name that ended the one before, so that none comes twice and none is
/// skipped, whatever is made and removed meanwhile.
pub(super) async fn list(
    host: &Arc<Host>,
    request: &v1::ListSavedScansRequest,
) -> Result<v1::ListSavedScansResponse, Status> {
    call::admitted(host)?;
    let size = page_size_of_list(request.page_size)?;
    let after = match request.page_token.as_str() {
        "" => String::new(),
        text => token::read(LIST, Digest(0), text)?.snapshot,
    };
    let mut all =
        host.catalog.saved_scans(after.clone(), size + 1).await.map_err(super::status::of_catalog)?;
    all.extend(PRESETS.iter().filter(|preset| *preset.id > *after).map(preset));
    all.sort_by(|a, b| a.id.cmp(&b.id));
    let more = all.len() > size;
    all.truncate(size);
    let last = all.last().map(|saved| saved.id.clone()).unwrap_or_default();
    let next = Page { snapshot: last, ..Page::default() };
    Ok(v1::ListSavedScansResponse {
        saved_scans: all.iter().map(saved_scan).collect::<Result<_, _>>()?,
        next_page_token: token::following(LIST, Digest(0), &next, more),
    })
}

/// Changes what the mask names.
pub(super) async fn update(
    host: &Arc<Host>,
    request: &v1::UpdateSavedScanRequest,
) -> Result<v1::SavedScan, Status> {
    call::admitted(host)?;
    let mut found = Violations::default();
    let given = request.saved_scan.clone().unwrap_or_default();
    let id = wire::id(&mut found, "saved_scan.name", &given.name);
    not_built_in(&mut found, "saved_scan.name", &id);
    if given.etag.is_empty() {
        let message = "is missing; read the saved scan and send the etag that it has";
        found.push("saved_scan.etag", "MISSING_ETAG", message);
    }
    let fields = [("description", !given.description.is_empty()), ("scan", given.scan.is_some())];
    let [description, scan] = changes(&mut found, request.update_mask.as_ref(), fields);
    let new_scan = if scan { given.scan.clone().unwrap_or_default() } else { v1::ScanSpec::default() };
    check(host, found, if description { &given.description } else { "" }, &new_scan)?;
    let catalog = &host.catalog;
    let mut saved = catalog.saved_scan(id).await.map_err(super::status::of_catalog)?;
    if saved.etag() != given.etag {
        return Err(changed(&saved.id));
    }
    if description {
        saved.description = given.description;
    }
    if scan {
        saved.scan = kept(&new_scan);
    }
    let written = catalog.update_saved_scan(saved, now(host)?).await;
    Ok(saved_scan(&written.map_err(super::status::of_catalog)?)?)
}

/// Removes one.
pub(super) async fn delete(host: &Arc<Host>, request: &v1::DeleteSavedScanRequest) -> Result<(), Status> {
    call::admitted(host)?;
    let mut found = Violations::default();
    let id = wire::id(&mut found, "name", &request.name);
    not_built_in(&mut found, "name", &id);
    found.or(())?;
    let catalog = &host.catalog;
    let mut revision = None;
    if !request.etag.is_empty() {
        let saved = catalog.saved_scan(id.clone()).await.map_err(super::status::of_catalog)?;
        if saved.etag() != request.etag {
            return Err(changed(&id));
        }
        revision = Some(saved.revision);
    }
    catalog.delete_saved_scan(id, revision).await.map_err(super::status::of_catalog)
}

/// One by its id, built in or not.
async fn read(host: &Arc<Host>, id: String) -> Result<SavedScan, Status> {
    match Preset::find(&id) {
        Some(found) => Ok(preset(found)),
        None => host.catalog.saved_scan(id).await.map_err(super::status::of_catalog),
    }
}

/// A preset as a saved scan.
fn preset(preset: &Preset) -> SavedScan {
    SavedScan {
        id: preset.id.to_owned(),
        description: preset.description.to_owned(),
        scan: kept(&sparse(&preset.spec())),
        owner: BUILT_IN.to_owned(),
        revision: 0,
        created: Timestamp::default(),
        updated: Timestamp::default(),
    }
}

fn not_built_in(found: &mut Violations, field: &str, id: &str) {
    if Preset::find(id).is_some() {
        let message = format!("scans/{id} is built in and stays as it is; create one of your own from it");
        found.push(field, "RESERVED_NAME", message);
    }
}

fn changed(id: &str) -> Status {
    super::status::of_catalog(CatalogError::Changed { what: "saved scan", name: shortened(id) })
}

/// Refuses a scan that could not run, with everything that is wrong.
fn check(
    host: &Arc<Host>,
    mut found: Violations,
    description: &str,
    scan: &v1::ScanSpec,
) -> Result<(), Status> {
    wire::description(&mut found, "saved_scan.description", description);
    let bytes = kept(scan).len();
    if bytes > SAVED_SCAN_BYTES_MAX {
        let message = format!("has {bytes} bytes; at most {SAVED_SCAN_BYTES_MAX} are kept");
        found.push("saved_scan.scan", "TOO_MANY", message);
    }
    let mut expressions = validate::problems(host, scan).err().unwrap_or_default();
    if found.is_empty() && expressions.is_empty() {
        return Ok(());
    }
    expressions.iter_mut().for_each(|e| e.field = format!("saved_scan.{}", e.field));
    let violation = |e: &ExpressionFault| Violation {
        field: e.field.clone(),
        reason: e.reason.clone(),
        message: if e.suggestion.is_empty() {
            e.message.clone()
        } else {
            format!("{}; did you mean `{}`?", e.message, e.suggestion)
        },
    };
    let mut violations = found.as_slice().to_vec();
    violations.extend(expressions.iter().map(violation));
    let reason = violations.first().map_or("INVALID", |v| v.reason.as_str()).to_owned();
    let message: Vec<String> = violations.iter().map(ToString::to_string).collect();
    let details = Details { violations, expressions, ..Details::default() };
    Err(status(Kind::BadRequest, &reason, message.join("; "), details))
}

/// What time it is, by the engine's clock.
fn now(host: &Arc<Host>) -> Result<Timestamp, Status> {
    Ok(host.engine().map_err(super::status::of)?.clock().now())
}
