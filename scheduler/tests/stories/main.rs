//! Short stories of the core: a few inputs, and the journal that they leave.
//!
//! Each line is one changed row (`+3s task.ready 1/a`) or one command (`+3s > submit 1/a/1`).

mod alerts;
mod backfill_plans;
mod backfills;
mod calendars;
mod cancelling;
mod classes;
mod deadlines;
mod events;
mod events_sets;
mod events_sources;
mod failures;
mod foreach;
mod graphs;
mod hooks;
mod limits;
mod metaflow;
mod metaflow_events;
mod promises;
mod promises_corners;
mod remote;
mod reruns;
mod resumes;
mod schedules;
mod strategies;
mod subflows;
mod submissions;
mod switches;
mod timeouts;
mod why;
mod why_causes;
mod world;
