//! `panscan.v1.Indicators`: the registry of functions. Series of values are not in this build.

use std::pin::Pin;

use futures::Stream;
use panscan_proto::v1;
use panscan_proto::v1::indicators_server::Indicators as Service;
use tonic::{Request, Response, Status};

use super::status;

/// The service.
pub(super) struct Indicators;

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
        _: Request<v1::ListFunctionsRequest>,
    ) -> Result<Response<v1::ListFunctionsResponse>, Status> {
        Err(status::not_in_this_build("ListFunctions"))
    }
}
