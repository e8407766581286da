//! Errors as they cross HTTP: problem details of RFC 9457 with a stable code.

use crate::handle::AskError;
use dalsegno_scheduler::Rejected;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// An error as a client sees it: `application/problem+json`.
///
/// `code` is stable and listed in docs/errors.md; `detail` says what happened this time and what to do.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Problem {
    #[serde(rename = "type")]
    pub kind: String,
    pub title: &'static str,
    pub status: u16,
    pub code: Code,
    pub detail: String,
    /// More members, by code: `did_you_mean`, `errors`, `line`, `limit_bytes` …
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl Problem {
    /// A problem of this code; `detail` is a sentence for a person.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let (status, title, _) = code.about();
        Self {
            kind: format!("/docs/errors#{}", code.as_str()),
            title,
            status,
            code,
            detail: detail.into(),
            more: Map::new(),
        }
    }

    /// The same problem with one more member.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.more.insert(name.to_owned(), value.into());
        self
    }

    /// After how many seconds the same request may succeed, for `Retry-After`.
    pub const fn retry_after_s(&self) -> Option<u32> {
        match self.code {
            Code::Busy => Some(1),
            Code::NotLeader | Code::NotReady | Code::FlowNotReady => Some(2),
            _ => None,
        }
    }
}

macro_rules! codes {
    ($($variant:ident = $text:literal, $status:literal, $title:literal, $cure:literal;)*) => {
        /// The stable codes of [`Problem`]s. Codes are added, never renamed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
        pub enum Code { $(#[doc = $title] #[serde(rename = $text)] $variant,)* }

        impl Code {
            pub const ALL: &[Self] = &[$(Self::$variant,)*];
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
            /// HTTP status, title, and what to do.
            pub const fn about(self) -> (u16, &'static str, &'static str) {
                match self { $(Self::$variant => ($status, $title, $cure),)* }
            }
        }
    };
}

codes! {
    InvalidJson = "invalid_json", 400, "The body is not valid JSON",
        "Correct the body at the `line` and `column` given; send UTF-8.";
    BadRequest = "bad_request", 400, "The request is not understood",
        "`detail` names the part of the path, query, header or body that is wrong, and what was expected.";
    BadEvent = "bad_event", 400, "The event is not valid",
        "`attribute` names what is missing or wrong: an attribute of a CloudEvent, a field of an OpenLineage event, a key of a webhook's mapping. In a batch, `index` says which event; none of the batch was accepted.";
    BadCursor = "bad_cursor", 400, "The cursor is not one of ours",
        "Use `next` of the page before exactly as it was given, or leave `cursor` out to start from the beginning.";
    Unauthorized = "unauthorized", 401, "A token is needed",
        "Send `Authorization: Bearer TOKEN`; in a browser open the page once with `?token=TOKEN`.";
    BadSignature = "bad_signature", 401, "The delivery is not signed as it must be",
        "Sign the body as it is sent with the secret that the webhook's configuration names; `detail` says what was wrong. Nothing of the body was read.";
    CrossSite = "cross_site", 403, "The request comes from another site",
        "Without a token only the daemon's own pages and programs on this machine may change anything. Configure a token to call the API from elsewhere.";
    ForbiddenHost = "forbidden_host", 403, "The Host header is not a name of this machine",
        "The daemon listens on loopback: use localhost, 127.0.0.1 or [::1]. To reach it by another name, configure a token and a listen address.";
    UnknownRoute = "unknown_route", 404, "There is nothing at this address",
        "The list of routes is at `/api/v1/openapi.json`.";
    UnknownWebhook = "unknown_webhook", 404, "There is no such webhook",
        "Webhooks are configured in dalsegno.toml, each in a section `[[webhooks]]` with a `name`; `GET /api/v1/sources` lists them.";
    UnknownFlow = "unknown_flow", 404, "There is no such flow",
        "`GET /api/v1/flows` lists all flows; `did_you_mean` names the closest one. A new file must be in the flows folder and pass `dalsegno check`.";
    UnknownRun = "unknown_run", 404, "There is no such run",
        "`GET /api/v1/runs` lists runs.";
    UnknownTask = "unknown_task", 404, "There is no such task in this run",
        "`GET /api/v1/runs/{id}/tasks` lists the tasks that exist so far. Encode `[`, `]` and `@` in addresses.";
    UnknownAttempt = "unknown_attempt", 404, "There is no such attempt of this task",
        "Attempts are numbered from 1; the task's `attempt` is the newest one.";
    UnknownEvent = "unknown_event", 404, "There is no such event",
        "`GET /api/v1/events` lists events by their number.";
    UnknownBackfill = "unknown_backfill", 404, "There is no such backfill, or it is over",
        "`GET /api/v1/backfills` lists backfills; one that is over cannot be changed any more.";
    UnknownSla = "unknown_sla", 404, "There is no such open promise or silence",
        "`GET /api/v1/slas?open=true` and `GET /api/v1/silences?open=true` list them; one that is over cannot be changed any more.";
    UnknownStep = "unknown_step", 404, "The flow has no such step",
        "`GET /api/v1/flows/{name}` lists the steps of the active version; a run keeps the steps of its own version.";
    UnknownOrphan = "unknown_orphan", 404, "There is no such orphan",
        "`GET /api/v1/orphans` lists the jobs on AWS that carry this installation's name and that no task wants; it asks AWS each time.";
    UnknownBreaker = "unknown_breaker", 404, "There is no such circuit breaker",
        "`GET /api/v1/breakers` lists them: one for each service, and one for each of its calls.";
    UnknownChannel = "unknown_channel", 404, "There is no such channel",
        "Channels are configured in dalsegno.toml, each in a section `[channels.NAME]`; `GET /api/v1/channels` lists them.";
    UnknownDelivery = "unknown_delivery", 404, "There is no such delivery",
        "`GET /api/v1/deliveries` lists them: one for each alert and channel, named `msg_ALERT_CHANNEL`.";
    NotEnded = "not_ended", 409, "The delivery is on its way",
        "Only what was delivered, dropped or given up is sent again. One that was told with another (`told_with`) is sent again with that one; one that is grouped or waits needs nothing.";
    NoLog = "no_log", 404, "This attempt has no log here",
        "The attempt was never started, or its log files were removed.";
    MethodNotAllowed = "method_not_allowed", 405, "This address does not take that method",
        "The header `Allow` lists the methods it takes.";
    NotFinished = "not_finished", 409, "The run is not finished",
        "Wait for it to end (`GET /api/v1/runs/{id}/wait`) or cancel it first.";
    AlreadyFinished = "already_finished", 409, "The run is finished",
        "There is nothing left to cancel. A finished run can be resumed.";
    AlreadySucceeded = "already_succeeded", 409, "The run succeeded",
        "There is nothing to resume. To repeat a step and all that follows, name it: `{\"from\": \"STEP\"}`.";
    PlanChanged = "plan_changed", 409, "The world changed since the plan was made",
        "Plan again, look at what is different, and apply the new plan's token.";
    NoVersion = "no_version", 409, "The flow has no valid version",
        "Correct its file: `dalsegno check` says what is wrong.";
    FlowRemoved = "flow_removed", 409, "The flow's file is gone",
        "Put the file back into the flows folder.";
    FlowNotReady = "flow_not_ready", 409, "The flow is still being read",
        "Metaflow is asked for what every run needs, which takes seconds; the first time an environment may have to be made. Repeat the request; the flow's page shows how it goes.";
    FlowInFolder = "flow_in_folder", 409, "The flow lies in the flows folder",
        "Only flows that were deployed over HTTP are removed over HTTP. Remove the file that `file` names.";
    NameTaken = "name_taken", 409, "Another flow has this name",
        "`detail` names the other one. Rename one of the classes, remove the file or the deployment, or give the flow a @project and a branch of its own.";
    FlowCycle = "flow_cycle", 409, "Flows would wait for each other",
        "Remove one of the triggers that `detail` names.";
    FlowLoop = "flow_loop", 409, "Flows would run each other for ever, or too deep",
        "Take away one of the steps or triggers that `detail` names. A trigger on the way may also get a `where`, such as `event.data.trigger != \"sub_flow\"`.";
    PoolTooSmall = "pool_too_small", 409, "A pool is smaller than what the flow wants of it",
        "Make the pool larger in the configuration, or ask for less in the flow file.";
    NoAws = "no_aws", 409, "The daemon is not configured for AWS",
        "Add `[aws]` to dalsegno.toml (docs/aws.md) and restart.";
    NotAdopted = "not_adopted", 409, "No task has a use for this job",
        "`detail` says why. Cancel the job, or leave it.";
    BodyTooLarge = "body_too_large", 413, "The body is too large",
        "`limit_bytes` is the most that is accepted. Send large data by reference, events in smaller batches.";
    UnsupportedMediaType = "unsupported_media_type", 415, "This content type is not accepted",
        "`detail` lists the content types that are.";
    BadParams = "bad_params", 422, "Parameters do not fit their declaration",
        "`errors` has one entry per parameter: its `name` and a `message`.";
    BadBackfill = "bad_backfill", 422, "The backfill cannot be made",
        "The detail says what is wrong and how to put it right.";
    BadDeployment = "bad_deployment", 422, "The flow cannot be deployed as it is",
        "`detail` says what is wrong; `errors` has one entry per finding, with `line`, `message` and `help`.";
    Panic = "internal_error", 500, "Something broke inside Dalsegno",
        "Nothing was changed by this request. Please report it with the daemon's log.";
    AwsFailed = "aws_failed", 502, "AWS did not do what it was asked for",
        "`detail` has its answer; `dalsegno doctor` looks at credentials, permissions and everything that the configuration names.";
    Storage = "storage", 503, "The change could not be made durable",
        "Nothing was changed. `detail` says what is wrong: a full disk, a read-only folder, a database that does not answer.";
    NotLeader = "not_leader", 503, "Another instance is in charge",
        "This instance only reads. Send the request to the instance that holds the lease, or repeat it after `Retry-After`.";
    NotReady = "not_ready", 503, "The daemon is not ready",
        "It is starting, stopping, or cannot go on; `detail` says which.";
    Busy = "busy", 503, "Too much to do",
        "Repeat the request after `Retry-After` seconds.";
}

impl From<AskError> for Problem {
    fn from(error: AskError) -> Self {
        let text = error.to_string();
        match error {
            AskError::Rejected(rejected) => rejected.into(),
            AskError::UnknownEvent(_) => Self::new(Code::UnknownEvent, text),
            AskError::Busy => Self::new(Code::Busy, text),
            AskError::Stopped => Self::new(Code::NotReady, text),
            AskError::NotLeader => Self::new(Code::NotLeader, text),
            AskError::Store(_) => Self::new(Code::Storage, text),
        }
    }
}

impl From<Rejected> for Problem {
    fn from(rejected: Rejected) -> Self {
        let detail = rejected.to_string();
        match rejected {
            Rejected::Stale(_) => Self::new(Code::UnknownAttempt, detail),
            Rejected::UnknownFlow { similar, .. } => {
                let problem = Self::new(Code::UnknownFlow, detail);
                match similar {
                    Some(name) => problem.with("did_you_mean", name.as_str()),
                    None => problem,
                }
            }
            Rejected::UnknownRun(_) => Self::new(Code::UnknownRun, detail),
            Rejected::NoVersion(_) => Self::new(Code::NoVersion, detail),
            Rejected::FlowRemoved(_) => Self::new(Code::FlowRemoved, detail),
            Rejected::NotFinished(_) => Self::new(Code::NotFinished, detail),
            Rejected::AlreadySucceeded(_) => Self::new(Code::AlreadySucceeded, detail),
            Rejected::UnknownStep { .. } => Self::new(Code::UnknownStep, detail),
            Rejected::BadParams(errors) => {
                let errors: Vec<Value> = errors
                    .into_iter()
                    .map(|it| json!({"name": it.name, "message": it.message}))
                    .collect();
                Self::new(Code::BadParams, detail).with("errors", errors)
            }
            Rejected::ReservedEvent(_) => Self::new(Code::BadEvent, detail),
            Rejected::UnknownBackfill(_) => Self::new(Code::UnknownBackfill, detail),
            Rejected::UnknownSla(_) | Rejected::UnknownSilence(_) => {
                Self::new(Code::UnknownSla, detail)
            }
            Rejected::EmptySilence { .. } => Self::new(Code::BadRequest, detail),
            Rejected::Backfill(_) => Self::new(Code::BadBackfill, detail),
            Rejected::PlanChanged(_) => Self::new(Code::PlanChanged, detail),
            Rejected::FlowCycle(..) => Self::new(Code::FlowCycle, detail),
            Rejected::FlowLoop { .. } | Rejected::SubFlowDepth { .. } => {
                Self::new(Code::FlowLoop, detail)
            }
            Rejected::Pool { .. } => Self::new(Code::PoolTooSmall, detail),
            Rejected::TooLarge(_, limit) => {
                Self::new(Code::BodyTooLarge, detail).with("limit_bytes", limit)
            }
        }
    }
}

impl From<dalsegno_store::Error> for Problem {
    fn from(error: dalsegno_store::Error) -> Self {
        let code = match error {
            dalsegno_store::Error::BadCursor(_) => Code::BadCursor,
            _ => Code::Storage,
        };
        Self::new(code, error.to_string())
    }
}
