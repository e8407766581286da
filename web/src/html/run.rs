//! The page of one run.

use super::{Fact, Filter, Frame, Html, Notice, Why};
use askama::Template;

#[derive(Template)]
#[template(path = "run.html", blocks = ["live"])]
pub(crate) struct RunPage {
    pub(crate) frame: Frame,
    pub(crate) notice: Option<Notice>,
    pub(crate) id: String,
    pub(crate) flow: String,
    pub(crate) flow_href: String,
    pub(crate) state: Html,
    /// Its time line grows without events.
    pub(crate) aging: bool,
    pub(crate) can_cancel: bool,
    pub(crate) can_resume: bool,
    pub(crate) steps: Vec<String>,
    /// Parameters that a new run made from this one may have otherwise.
    pub(crate) fields: Vec<Html>,
    /// The flow's version and the run's, where a resume has to choose.
    pub(crate) versions: Option<(String, String)>,
    /// Step Functions has a say in how it goes on.
    pub(crate) asks_step_functions: bool,
    pub(crate) facts: Vec<Fact>,
    pub(crate) why_title: &'static str,
    pub(crate) whys: Vec<Why>,
    pub(crate) graph: Option<Html>,
    pub(crate) graph_note: String,
    pub(crate) gantt: Option<Html>,
    pub(crate) no_tasks: String,
    pub(crate) panel: Option<TaskPanel>,
    pub(crate) tasks_note: String,
    pub(crate) filters: Vec<Filter>,
    pub(crate) filtered: bool,
    pub(crate) tasks: Vec<TaskLine>,
}

pub(crate) struct TaskLine {
    pub(crate) name: String,
    pub(crate) label: Option<String>,
    pub(crate) href: String,
    pub(crate) state: Html,
    pub(crate) attempt: String,
    pub(crate) waited: Html,
    pub(crate) ran: Html,
    pub(crate) why: Html,
    pub(crate) selected: bool,
    /// Succeeded ones of the same step that are left out after this one: how many, and where they are shown.
    pub(crate) folded: Option<(u64, String)>,
}

/// One task opened: attempts, outputs, logs.
pub(crate) struct TaskPanel {
    pub(crate) name: String,
    pub(crate) state: Html,
    pub(crate) close: String,
    pub(crate) why: Option<String>,
    /// Of a task in a foreach: its item in short.
    pub(crate) label: Option<String>,
    pub(crate) facts: Vec<Fact>,
    pub(crate) attempts: Vec<AttemptLine>,
    /// In place of attempts.
    pub(crate) no_attempts: Html,
    pub(crate) outputs: Vec<Pair>,
    /// Steps of Metaflow have no outputs of their own to speak of.
    pub(crate) without_outputs: bool,
    /// What Metaflow keeps of the task; `None` for what is no task there.
    pub(crate) kept: Option<Kept>,
    pub(crate) logs: Vec<Log>,
    pub(crate) log_note: Option<String>,
}

pub(crate) struct AttemptLine {
    pub(crate) number: u32,
    pub(crate) href: String,
    pub(crate) here: bool,
    pub(crate) state: Html,
    pub(crate) times: Html,
    pub(crate) why: Option<String>,
    /// What it is called in Metaflow.
    pub(crate) metaflow: Option<String>,
}

/// Artifacts and cards of a Metaflow task.
#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) artifacts: Vec<ArtifactLine>,
    /// In place of artifacts, or about those that are left out.
    pub(crate) note: Option<Html>,
    pub(crate) cards: Vec<Html>,
}

pub(crate) struct ArtifactLine {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) size: String,
}

pub(crate) struct Pair {
    pub(crate) name: String,
    pub(crate) value: String,
}

/// The end of one stream of an attempt.
pub(crate) struct Log {
    pub(crate) title: &'static str,
    pub(crate) text: String,
    /// The beginning was left out.
    pub(crate) cut: bool,
    pub(crate) whole: String,
    /// Address that names this log, to which `&follow=true&offset=N` is added.
    pub(crate) key: String,
    pub(crate) offset: u64,
    pub(crate) follow: bool,
}
