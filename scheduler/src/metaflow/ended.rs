//! What is told of the end of a Metaflow run: the event that Metaflow itself emits on Argo, field by field.

use super::{MetaflowFlow, ids};
use crate::id::FlowName;
use crate::row::{RunRow, TaskRow, TaskState};
use crate::time::Timestamp;
use serde_json::{Map, Value, json};

/// An event of Metaflow's.
pub(crate) struct Ended {
    /// `metaflow.<flow>.end`; under a name of its own for an end step that is called otherwise.
    pub(crate) kind: String,
    /// The pathspec of the end task: the same however often it is told.
    pub(crate) id: String,
    pub(crate) data: Value,
}

/// Where a run is to be found in Metaflow, for the event that every run's end gives: all that Metaflow tells of a
/// success, else only the run.
pub(crate) fn about(
    name: &FlowName,
    flow: &MetaflowFlow,
    run: &RunRow,
    end: Option<&TaskRow>,
    now: Timestamp,
) -> Value {
    match success(name, flow, run, end, now).pop() {
        Some(ended) => ended.data,
        None => {
            let run_id = ids::run_id_in(flow, run);
            let mut data = Map::new();
            data.insert("pathspec".into(), format!("{}/{run_id}", flow.class).into());
            data.insert("flow_name".into(), json!(flow.class));
            data.insert("run_id".into(), run_id.into());
            project(name, flow, &mut data);
            Value::Object(data)
        }
    }
}

/// The events of a success: one, or two when the end step has another name. The last is `….end`.
pub(crate) fn success(
    name: &FlowName,
    flow: &MetaflowFlow,
    run: &RunRow,
    end: Option<&TaskRow>,
    now: Timestamp,
) -> Vec<Ended> {
    let Some(task) = end.filter(|it| it.state == TaskState::Succeeded) else {
        return Vec::new();
    };
    let run_id = ids::run_id_in(flow, run);
    let task_id = ids::task_id_in(flow, task).unwrap_or_else(|| ids::task_id(task));
    let step = task.task.step.as_str();
    let pathspec = format!("{}/{run_id}/{step}/{task_id}", flow.class);
    let mut names = vec![step, "end"];
    names.dedup();
    let event = |of: &str| {
        let kind = format!("metaflow.{name}.{of}");
        let at = now.to_chrono();
        let mut data = Map::new();
        let mut add = |name: &str, value: Value| data.insert(name.to_owned(), value);
        add("name", json!(kind));
        add("id", json!(pathspec));
        add("timestamp", json!(at.timestamp()));
        add("utc_date", json!(at.format("%Y%m%d").to_string()));
        add("generated-by-metaflow", json!(true));
        add("pathspec", json!(pathspec));
        add("flow_name", json!(flow.class));
        add("run_id", json!(run_id));
        add("step_name", json!(step));
        add("task_id", json!(task_id));
        project(name, flow, &mut data);
        // Metaflow writes all that is added to a payload as text, also this.
        data.insert("auto-generated-by-metaflow".into(), json!("True"));
        Ended {
            kind,
            id: pathspec.clone(),
            data: Value::Object(data),
        }
    };
    names.into_iter().map(event).collect()
}

/// Fields that are false are left out, as Metaflow does.
fn project(name: &FlowName, flow: &MetaflowFlow, data: &mut Map<String, Value>) {
    let Some(project) = &flow.project else {
        return;
    };
    data.insert("project_name".into(), json!(project.name));
    data.insert("branch_name".into(), json!(project.branch));
    if project.branch.starts_with("user.") {
        data.insert("is_user_branch".into(), json!("True"));
    }
    if project.production {
        data.insert("is_production".into(), json!("True"));
    }
    data.insert("project_flow_name".into(), json!(name));
}
