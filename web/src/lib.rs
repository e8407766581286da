//! The HTTP API and the pages.
//!
//! Pages and API read through the same functions. Pages are rendered on the server and work without
//! scripts; scripts only keep them fresh.

mod act;
mod alerts;
mod api;
mod assets;
mod breakers;
mod code;
pub mod dag;
pub mod gantt;
mod guard;
mod html;
mod input;
mod json;
mod live;
mod logs;
mod metaflow;
mod metrics;
mod pages;
mod problem;
mod read;
mod remote;
mod resume_plan;
mod router;
mod routes;
mod state;
mod text;
mod words;

pub use alerts::{AlertRuleView, ChannelView, Channels, TestView};
pub use breakers::{BreakerView, Breakers, ByHand};
pub use guard::events_token;
pub use metaflow::{
    About, Artifact, Artifacts, CardFile, Deployed, Deployment, KeptTask, Later, MetaflowFlows,
    TaskData,
};
pub use remote::{Following, OrphanJob, Remote, ResumedExecution};
pub use router::router;
pub use state::{LogFiles, SourceState, Sources, Stream, WebState};
