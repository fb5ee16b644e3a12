//! One call: its id and deadline, the metadata that it carries, and the loop around its first message.

use std::future::Future;
use std::sync::PoisonError;
use std::time::Duration;

use panscan_proto::Error as ProtoError;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Request, Status};

use crate::connect::Shared;
use crate::error::ClientError;

/// The server ends a call at the deadline and says so; only when it does not, the client does.
const GRACE: Duration = Duration::from_millis(250);

/// One call, through all its tries.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) request_id: String,
    pub(crate) deadline: Option<Instant>,
    /// Known once the server has named it.
    pub(crate) scan_id: Option<String>,
}

impl Call {
    /// A new call that takes `timeout` at most.
    pub(crate) fn new(timeout: Option<Duration>) -> Self {
        Self {
            request_id: format!("{:016x}", fastrand::u64(..)),
            deadline: timeout.and_then(|span| Instant::now().checked_add(span)),
            scan_id: None,
        }
    }

    fn left(&self) -> Option<Duration> {
        self.deadline.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// The error of a status that ended this call.
    pub(crate) fn error(&self, status: &Status) -> ClientError {
        let expired = self.left().is_some_and(|left| left.is_zero());
        ClientError::of(status, &self.request_id, self.scan_id.as_deref(), expired)
    }

    /// The error of an answer that breaks the contract.
    pub(crate) fn broken(&self, error: &ProtoError) -> ClientError {
        ClientError::Broken { message: error.to_string(), request_id: self.request_id.clone() }
    }

    /// The same, in words.
    pub(crate) fn breach(&self, message: &str) -> ClientError {
        ClientError::Broken { message: message.to_owned(), request_id: self.request_id.clone() }
    }

    /// Waits for something of this call until its deadline and a little more.
    pub(crate) async fn within<T>(
        &self,
        wait: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, ClientError> {
        let outcome = match self.deadline {
            Some(at) => timeout_at(at + GRACE, wait).await.unwrap_or_else(|_| {
                Err(Status::deadline_exceeded("the server did not end the call in time"))
            }),
            None => wait.await,
        };
        outcome.map_err(|status| self.error(&status))
    }
}

impl Shared {
    /// A message with the metadata of a call.
    pub(crate) fn request<T>(&self, message: T, call: &Call) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(left) = call.left() {
            request.set_timeout(left);
        }
        let metadata = request.metadata_mut();
        if let Some(key) = &self.key {
            metadata.insert("authorization", key.0.clone());
        }
        if let Ok(id) = MetadataValue::<Ascii>::try_from(call.request_id.as_str()) {
            metadata.insert("x-request-id", id);
        }
        request
    }

    /// Makes `attempt` until it succeeds, its error is final, or tries or time run out.
    pub(crate) async fn retried<T, F>(
        &self,
        call: &Call,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, ClientError>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner).called();
        let mut made = 0;
        loop {
            let error = match attempt().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            made += 1;
            let Some(wait) = self.retry.wait(&error, made, call.left(), fastrand::f64()) else {
                return Err(error);
            };
            if !self.budget.lock().unwrap_or_else(PoisonError::into_inner).retry() {
                return Err(error);
            }
            tracing::debug!(%error, ?wait, made, request_id = call.request_id, "call failed, trying again");
            sleep(wait).await;
        }
    }
}
