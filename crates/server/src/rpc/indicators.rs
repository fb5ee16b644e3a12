//! `panscan.v1.Indicators`: the registry of functions. Series of values are not in this build.

use std::pin::Pin;
use std::sync::Arc;

use futures::Stream;
use panscan_core::indicator;
use panscan_core::plan::Digest;
use panscan_proto::convert::listing::{function, page};
use panscan_proto::v1;
use panscan_proto::v1::indicators_server::Indicators as Service;
use tonic::{Request, Response, Status};

use super::token::{self, Page};
use super::{call, status};
use crate::host::Host;

/// The name that binds page tokens to this method.
const LIST_FUNCTIONS: &str = "Indicators.ListFunctions";

/// The service.
pub(super) struct Indicators(pub(super) Arc<Host>);

#[tonic::async_trait]
impl Service for Indicators {
    type ComputeIndicatorsStream =
        Pin<Box<dyn Stream<Item = Result<v1::ComputeIndicatorsResponse, Status>> + Send>>;

    async fn compute_indicators(
        &self,
        _: Request<v1::ComputeIndicatorsRequest>,
    ) -> Result<Response<Self::ComputeIndicatorsStream>, Status> {
        Err(status::not_in_this_build("ComputeIndicators"))
    }

    async fn list_functions(
        &self,
        request: Request<v1::ListFunctionsRequest>,
    ) -> Result<Response<v1::ListFunctionsResponse>, Status> {
        call::admitted(&self.0)?;
        let asked = request.get_ref();
        // The registry is that of the build: a token of another version belongs to another list.
        let list = Digest::of(env!("CARGO_PKG_VERSION"));
        let skip = token::skip(LIST_FUNCTIONS, list, &asked.page_token)?;
        let functions: Vec<_> = indicator::all().filter(|d| d.is_present()).collect();
        let (range, more) = page(asked.page_size, skip, functions.len())?;
        let next = Page { skip: range.end, ..Page::default() };
        Ok(Response::new(v1::ListFunctionsResponse {
            next_page_token: token::following(LIST_FUNCTIONS, list, &next, more),
            functions: functions[range].iter().map(|definition| function(definition)).collect(),
        }))
    }
}
