//! What a plan is made from: flows are in memory, past runs only in the store.

use crate::handle::AskError;
use dalsegno_scheduler::backfill::{Plan, PlanRequest};
use dalsegno_scheduler::{Scheduler, Timestamp};
use dalsegno_store::{Error, Store};

/// Works out what a backfill would run as the world is now. The store is asked only when there is something to plan,
/// and the long part of the work keeps no other task of the process waiting.
pub(crate) async fn plan(
    core: &Scheduler,
    store: &dyn Store,
    request: &PlanRequest,
    now: Timestamp,
) -> Result<Plan, AskError> {
    let failed = |error: Error| AskError::Store(error.to_string());
    let past = core.backfill_past(request, now)?;
    let flows = past.flows;
    let history = store
        .runs_in(&flows, past.from, past.to)
        .await
        .map_err(failed)?;
    let durations = store.typical_durations(&flows).await.map_err(failed)?;
    let (core, request) = (core.clone(), request.clone());
    let planned = tokio::task::spawn_blocking(move || {
        core.plan_backfill(&request, &history, &durations, now)
    });
    match planned.await {
        Ok(plan) => Ok(plan?),
        Err(ended) => match ended.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(AskError::Stopped),
        },
    }
}
