//! Scans saved on the server: made, read, changed and removed.
//!
//! Reading is tried again as every call is; a change is sent once, as a second one would meet the first.

use panscan_core::scan::ScanSpec;
use panscan_proto::convert::saved::{NamedScan, PREFIX};
use panscan_proto::v1;

use crate::call::Call;
use crate::connect::Client;
use crate::error::ClientError;

/// Saved scans of a page; the most that a server sends.
const PAGE: i32 = 1_000;

impl Client {
    /// Saves a scan under a new name: `[a-z][a-z0-9-]{0,62}`.
    ///
    /// # Errors
    ///
    /// [`ClientError::Precondition`] where there is one of this name, [`ClientError::Invalid`] for a scan that could
    /// not run, and what every call can fail with.
    pub async fn create_saved_scan(
        &self,
        id: &str,
        description: &str,
        spec: &ScanSpec,
    ) -> Result<NamedScan, ClientError> {
        let (shared, call) = (&*self.shared, Call::new(self.shared.timeout));
        let saved = v1::SavedScan {
            description: description.to_owned(),
            scan: Some(spec.into()),
            ..Default::default()
        };
        let message = v1::CreateSavedScanRequest {
            saved_scan_id: id.to_owned(),
            saved_scan: Some(saved),
            validate_only: false,
        };
        let mut stub = shared.scanner();
        let made = call.within(stub.create_saved_scan(shared.request(message, &call))).await?;
        made.into_inner().try_into().map_err(|e| call.broken(&e))
    }

    /// A saved scan, by its name without `scans/`.
    ///
    /// # Errors
    ///
    /// [`ClientError::NotFound`] where there is none, and what every call can fail with.
    pub async fn get_saved_scan(&self, id: &str) -> Result<NamedScan, ClientError> {
        let (shared, call) = (&*self.shared, Call::new(self.shared.timeout));
        let message = v1::GetSavedScanRequest { name: format!("{PREFIX}{id}") };
        let attempt = || async {
            let mut stub = shared.scanner();
            call.within(stub.get_saved_scan(shared.request(message.clone(), &call))).await
        };
        let found = shared.retried(&call, attempt).await?.into_inner();
        found.try_into().map_err(|e| call.broken(&e))
    }

    /// Every saved scan, by name; those that are built in among them.
    ///
    /// # Errors
    ///
    /// What every call can fail with.
    pub async fn saved_scans(&self) -> Result<Vec<NamedScan>, ClientError> {
        let (shared, call) = (&*self.shared, Call::new(self.shared.timeout));
        let mut message = v1::ListSavedScansRequest { page_size: PAGE, ..Default::default() };
        let mut all = Vec::new();
        loop {
            let attempt = || async {
                let mut stub = shared.scanner();
                call.within(stub.list_saved_scans(shared.request(message.clone(), &call))).await
            };
            let page = shared.retried(&call, attempt).await?.into_inner();
            let none = page.saved_scans.is_empty();
            for saved in page.saved_scans {
                all.push(saved.try_into().map_err(|e| call.broken(&e))?);
            }
            if page.next_page_token.is_empty() || none {
                return Ok(all);
            }
            message.page_token = page.next_page_token;
        }
    }

    /// Changes description and scan of a saved scan that was read before, if nobody else has meanwhile.
    ///
    /// # Errors
    ///
    /// [`ClientError::Precondition`] where somebody has, and what every call can fail with.
    pub async fn update_saved_scan(&self, saved: &NamedScan) -> Result<NamedScan, ClientError> {
        let (shared, call) = (&*self.shared, Call::new(self.shared.timeout));
        let wire = v1::SavedScan {
            name: format!("{PREFIX}{}", saved.id),
            description: saved.description.clone(),
            scan: Some((&saved.spec).into()),
            etag: saved.etag.clone(),
            ..Default::default()
        };
        let mask = panscan_proto::prost_types::FieldMask { paths: vec!["*".to_owned()] };
        let message = v1::UpdateSavedScanRequest { saved_scan: Some(wire), update_mask: Some(mask) };
        let mut stub = shared.scanner();
        let written = call.within(stub.update_saved_scan(shared.request(message, &call))).await?;
        written.into_inner().try_into().map_err(|e| call.broken(&e))
    }

    /// Removes a saved scan; with an etag only if it is still the one that was read.
    ///
    /// # Errors
    ///
    /// [`ClientError::NotFound`] where there is none, [`ClientError::Precondition`] for an old etag, and what every
    /// call can fail with.
    pub async fn delete_saved_scan(&self, id: &str, etag: Option<&str>) -> Result<(), ClientError> {
        let (shared, call) = (&*self.shared, Call::new(self.shared.timeout));
        let message = v1::DeleteSavedScanRequest {
            name: format!("{PREFIX}{id}"),
            etag: etag.unwrap_or_default().to_owned(),
        };
        let mut stub = shared.scanner();
        call.within(stub.delete_saved_scan(shared.request(message, &call))).await.map(drop)
    }
}
