//! Who is told of what, and what became of it.

use super::{Filter, Frame, Html};
use askama::Template;

/// Channels, rules and deliveries.
#[derive(Template)]
#[template(path = "alerts.html", blocks = ["live"])]
pub(crate) struct AlertsPage {
    pub(crate) frame: Frame,
    pub(crate) channels: Vec<ChannelLine>,
    pub(crate) rules: Vec<RuleLine>,
    /// Which deliveries are shown.
    pub(crate) filters: Vec<Filter>,
    pub(crate) deliveries: Vec<DeliveryLine>,
    pub(crate) next: Option<String>,
}

pub(crate) struct ChannelLine {
    pub(crate) name: String,
    pub(crate) kind: &'static str,
    pub(crate) target: String,
    pub(crate) state: Html,
    pub(crate) delivered: Option<Html>,
    pub(crate) retry: Option<Html>,
    /// `3 on their way, 1 given up`.
    pub(crate) counts: String,
    pub(crate) is_stopped: bool,
    /// What is wrong.
    pub(crate) message: Option<String>,
    /// What a person can do about it.
    pub(crate) cure: Option<&'static str>,
}

pub(crate) struct RuleLine {
    pub(crate) on: String,
    pub(crate) to: String,
    pub(crate) of: Html,
    pub(crate) hold: String,
    pub(crate) group: &'static str,
}

pub(crate) struct DeliveryLine {
    pub(crate) id: String,
    pub(crate) summary: String,
    pub(crate) kind: String,
    pub(crate) flow: Option<Html>,
    pub(crate) channel: String,
    pub(crate) state: Html,
    pub(crate) at: Html,
    pub(crate) due: Option<Html>,
    pub(crate) reason: String,
    pub(crate) log: Vec<SendingLine>,
    pub(crate) may_replay: bool,
}

/// One attempt of a delivery.
pub(crate) struct SendingLine {
    pub(crate) number: u32,
    pub(crate) at: Html,
    pub(crate) took: String,
    pub(crate) status: String,
    pub(crate) message: String,
}

/// What came of a test message.
#[derive(Template)]
#[template(path = "tested.html")]
pub(crate) struct TestedPage {
    pub(crate) frame: Frame,
    pub(crate) channel: String,
    pub(crate) state: Html,
    pub(crate) message: String,
    pub(crate) id: String,
    pub(crate) took: String,
    pub(crate) delivered: bool,
}
