//! What people see: text from the API's answers. All of it is pure but [`screen`].

mod alerts;
mod backfills;
mod breakers;
mod checked;
mod diagnosis;
mod events;
mod flows;
mod gantt;
mod next;
mod orphans;
mod plan;
mod progress;
mod runs;
mod screen;
mod show;
mod slas;
mod sources;
#[cfg(test)]
mod stories;
mod table;
mod time;
mod tone;
mod week;
mod why;

pub(crate) use alerts::{alerts, channels, deliveries};
pub(crate) use backfills::{backfill, backfill_plan, backfills};
pub(crate) use breakers::breakers;
pub(crate) use checked::{checked, dynamic, error, not_asked, refused, warning};
pub(crate) use diagnosis::{Finding, Health, diagnosis};
pub(crate) use events::{dry_run, emitted, event, events, refusals, sets};
pub(crate) use flows::{flow, flows, invalid_now};
pub(crate) use next::{next, occurrences, unpausing};
pub(crate) use orphans::orphans;
pub(crate) use plan::{goes_on_with, plan};
pub(crate) use progress::{Tally, earlier};
pub(crate) use runs::{begun, runs, verdict};
pub(crate) use screen::{Screen, choose_color, complain, print, print_json, print_raw, say};
pub(crate) use show::{show, tasks};
pub(crate) use slas::{silences, slas};
pub(crate) use sources::sources;
pub(crate) use time::relative as when;
pub(crate) use tone::{Tone, state};
pub(crate) use week::week;
pub(crate) use why::why;
