//! `/api/v1`: the same reads as the pages, as JSON; and everything that changes something.

pub(crate) mod alerts;
mod backfills;
pub(crate) mod breakers;
mod dry_run;
mod events;
pub(crate) mod flows;
mod held;
mod live;
pub(crate) mod logs;
pub(crate) mod metaflow;
mod occurrences;
mod openapi;
mod ops;
mod orphans;
pub(crate) mod runs;
pub(crate) mod slas;
mod sources;
mod turned_down;
pub(crate) mod why;

#[cfg(test)]
pub(crate) use openapi::DOCUMENT;

use crate::routes::Routes;

/// All routes of the API, with the probes and `/metrics`.
pub(crate) fn routes(routes: Routes) -> Routes {
    let routes = flows::routes(routes);
    let routes = runs::routes(routes);
    let routes = logs::routes(routes);
    let routes = occurrences::routes(routes);
    let routes = held::routes(routes);
    let routes = events::routes(routes);
    let routes = sources::routes(routes);
    let routes = orphans::routes(routes);
    let routes = breakers::routes(routes);
    let routes = alerts::routes(routes);
    let routes = slas::routes(routes);
    let routes = dry_run::routes(routes);
    let routes = backfills::routes(routes);
    let routes = metaflow::routes(routes);
    let routes = live::routes(routes);
    let routes = openapi::routes(routes);
    ops::routes(routes)
}
