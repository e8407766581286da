//! Telling people: which alerts go where, and how they get there.
//!
//! The core writes alerts in the commit that causes them; here they are routed ([`Book`]) into deliveries, which are rows,
//! and sent at least once under a stable id ([`start`]).

mod address;
mod alert;
mod authority;
mod breaker;
mod channel;
mod config;
mod desk;
mod dispatch;
mod http;
mod outbox;
mod rule;
mod schedule;
mod secret;
mod sign;
mod spec;

pub use address::special;
pub use alert::{Alert, Severity, TEST};
pub use channel::{Attempted, Channel, Fifo, Letter, Notice, Sender, TopicError, Topics, Verdict};
pub use config::AlertsConfig;
pub use desk::{ChannelView, Clock, Desk, Tested};
pub use dispatch::{Outbox, deliver, start};
pub use http::{Answer, Client, Resolve, SendError, System, TIMEOUT};
pub use outbox::FromEngine;
pub use rule::{Book, Group, Planned, Rule, Target};
pub use schedule::{TRIES_MAX, wait_after};
pub use secret::{Secret, Vault};
pub use sign::Signer;
pub use spec::{ChannelSpec, OneOrMore, RuleSpec, Specs};
