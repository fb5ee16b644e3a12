//! Plans that were made before: the same scan asked again is not parsed again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use panscan_core::expr::{PlanError, plan};
use panscan_core::plan::Plan;
use panscan_core::scan::ScanSpec;

/// Plans kept; a desk runs few distinct scans at a time.
const KEPT_MAX: usize = 64;

/// The most recent plans, newest first.
#[derive(Debug, Default)]
pub(crate) struct Plans(Mutex<VecDeque<(ScanSpec, Arc<Plan>)>>);

impl Plans {
    /// The plan of a scan.
    pub(crate) fn get(&self, spec: &ScanSpec) -> Result<Arc<Plan>, PlanError> {
        if let Some(known) = self.known(spec) {
            return Ok(known);
        }
        let made = Arc::new(plan(spec)?);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.truncate(KEPT_MAX - 1);
        kept.push_front((spec.clone(), made.clone()));
        Ok(made)
    }

    fn known(&self, spec: &ScanSpec) -> Option<Arc<Plan>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().position(|(known, _)| known == spec)?;
        if at > 0
            && let Some(entry) = kept.remove(at)
        {
            kept.push_front(entry);
        }
        kept.front().map(|(_, plan)| plan.clone())
    }
}
