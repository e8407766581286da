//! What a plan is made from: flows are in memory, past runs only in the store.

use crate::handle::AskError;
use dalsegno_scheduler::backfill::{Plan, PlanRequest};
use dalsegno_scheduler::{Scheduler, Timestamp};
use dalsegno_store::{Error, Store};

/// Works out what a backfill would run as the world is now.
pub(crate) async fn plan(
    core: &Scheduler,
    store: &dyn Store,
    request: &PlanRequest,
    now: Timestamp,
) -> Result<Plan, AskError> {
    let failed = |error: Error| AskError::Store(error.to_string());
    let flows = core.backfill_flows(request)?;
    let history = store
        .runs_in(&flows, request.from, request.to)
        .await
        .map_err(failed)?;
    let durations = store.typical_durations(&flows).await.map_err(failed)?;
    Ok(core.plan_backfill(request, &history, &durations, now)?)
}
