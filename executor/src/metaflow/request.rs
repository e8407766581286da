//! The request file: what the Python around Metaflow is to do for one attempt.

use dalsegno_scheduler::metaflow::{MetaflowFlow, MetaflowTask, Storage};
use dalsegno_scheduler::{RUN_ENDED, StepName};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The task id of a run's parameters.
const PARAMETERS_TASK: &str = "params";

/// Everything about one attempt. Written by the executor, read by `python/runtime` and, when the attempt is over, by
/// [`judge`](super::judge()).
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) version: u32,
    pub(crate) flow: String,
    pub(crate) python: String,
    /// Options before Metaflow's command.
    pub(crate) top: Vec<String>,
    pub(crate) init: Option<Vec<String>>,
    pub(crate) clone: Option<CloneRequest>,
    pub(crate) step: Option<Vec<String>>,
    pub(crate) hook: Option<HookRequest>,
    pub(crate) outcome: String,
    pub(crate) triggers: Vec<Trigger>,
    pub(crate) checkpoints: Option<Checkpoints>,
    pub(crate) logs: Logs,
    pub(crate) step_name: StepName,
    pub(crate) run_id: String,
    pub(crate) task_id: String,
    pub(crate) attempt: u32,
    /// Not for Python: the successors the step declares.
    #[serde(default)]
    pub(crate) expects: Vec<StepName>,
    /// Not for Python: the task's folder in a local datastore, where its logs are to be found.
    #[serde(default)]
    pub(crate) folder: Option<PathBuf>,
}

/// What is taken over from the run that this one was made from.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CloneRequest {
    origin_run_id: String,
    run_id: String,
    tasks: Arc<Vec<String>>,
    /// Names of the parameters that the new run was given.
    params: Vec<String>,
    /// Exists when all of it was taken over.
    done: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct HookRequest {
    function: String,
    pathspec: String,
}

/// As in Metaflow's `current.trigger`.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Trigger {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    id: String,
    timestamp: i64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Checkpoints {
    from: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Logs {
    /// The task's process saves them itself: nobody else reaches the datastore.
    save: bool,
}

/// What a request says that is not in the task.
pub(crate) struct Place<'a> {
    pub(crate) flow_file: String,
    pub(crate) python: String,
    pub(crate) storage: &'a Storage,
    pub(crate) user: &'a str,
    pub(crate) environment: &'a str,
    pub(crate) outcome: String,
    /// `None`: the run has taken over all it was to take over.
    pub(crate) cloned: Option<String>,
}

impl Request {
    /// `None`: there is none that can be read.
    pub(crate) fn read(path: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(path).ok()?).ok()
    }

    /// Whose outcome it is to be: a pathspec without the flow's class.
    pub(crate) fn whose(&self) -> String {
        match &self.hook {
            Some(_) => self.run_id.clone(),
            None => format!("{}/{}/{}", self.run_id, self.step_name, self.task_id),
        }
    }

    /// `inputs_file`: where to look for the input paths when they are too many for an argument.
    pub(crate) fn new(task: &MetaflowTask, place: Place<'_>, inputs_file: Option<&str>) -> Self {
        let flow = &*task.flow;
        let is_local = place.storage.datastore == "local";
        let folder = is_local.then(|| {
            [
                &place.storage.root,
                &flow.class,
                &task.run_id,
                task.name.as_str(),
                &task.task_id,
            ]
            .into_iter()
            .collect()
        });
        let hook = task.step.hook.as_ref().map(|function| HookRequest {
            function: function.clone(),
            pathspec: format!("{}/{}", flow.class, task.run_id),
        });
        Self {
            version: 1,
            top: top(flow, &place),
            init: init(task, place.cloned.is_none()),
            clone: task.origin.as_ref().and_then(|origin| {
                Some(CloneRequest {
                    origin_run_id: origin.run_id.clone(),
                    run_id: task.run_id.clone(),
                    tasks: origin.tasks.clone(),
                    params: origin.params.keys().cloned().collect(),
                    done: place.cloned.clone()?,
                })
            }),
            step: hook.is_none().then(|| step(task, place.user, inputs_file)),
            folder: folder.filter(|_| hook.is_none()),
            expects: match hook {
                None => task.step.next.clone(),
                Some(_) => Vec::new(),
            },
            hook,
            flow: place.flow_file,
            python: place.python,
            outcome: place.outcome,
            triggers: task.events.iter().filter_map(trigger).collect(),
            checkpoints: earlier_life(task).map(|from| Checkpoints { from }),
            logs: Logs { save: !is_local },
            step_name: task.name.clone(),
            run_id: task.run_id.clone(),
            task_id: task.task_id.clone(),
            attempt: task.retry_count,
        }
    }
}

/// Whose checkpoints a task goes on from: its earlier id's in this run; in a run that was made from another one those
/// of the newest life it had there, `run/task*`.
fn earlier_life(task: &MetaflowTask) -> Option<String> {
    let in_origin = || {
        let origin = &task.origin.as_ref()?.run_id;
        let id = &task.task_id;
        let first = match id.rsplit_once("-a") {
            Some((first, number)) if number.bytes().all(|it| it.is_ascii_digit()) => first,
            _ => id,
        };
        Some(format!("{origin}/{first}*"))
    };
    task.earlier_task_id.clone().or_else(in_origin)
}

/// `run/step/task` of each task that is read from.
pub(crate) fn input_paths(task: &MetaflowTask) -> String {
    let paths = task.inputs.iter().map(|it| format!("{}/{it}", task.run_id));
    paths.collect::<Vec<_>>().join(",")
}

pub(super) fn top(flow: &MetaflowFlow, place: &Place<'_>) -> Vec<String> {
    let storage = place.storage;
    let mut top = vec![
        "--quiet".into(),
        "--no-pylint".into(),
        format!("--metadata={}", storage.metadata),
        format!("--environment={}", place.environment),
        format!("--datastore={}", storage.datastore),
    ];
    if !storage.root.is_empty() {
        top.push(format!("--datastore-root={}", storage.root));
    }
    top.push("--event-logger=nullSidecarLogger".into());
    top.push("--monitor=nullSidecarMonitor".into());
    if let Some(project) = &flow.project {
        if project.production {
            top.push("--production".into());
        }
        if let Some(branch) = &project.branch_option {
            top.extend(["--branch".into(), branch.clone()]);
        }
    }
    for decorator in &flow.with {
        top.extend(["--with".into(), decorator.clone()]);
    }
    top
}

/// The start step writes the run's parameters before it runs; so does whoever comes first in a run that was made
/// from another one.
fn init(task: &MetaflowTask, is_cloned: bool) -> Option<Vec<String>> {
    let params = match (&task.params, &task.origin) {
        (Some(params), _) => params,
        (None, Some(origin)) if !is_cloned => &origin.params,
        (None, _) => return None,
    };
    let mut init = vec![
        "init".into(),
        "--run-id".into(),
        task.run_id.clone(),
        "--task-id".into(),
        PARAMETERS_TASK.into(),
    ];
    init.extend(tags(&task.flow));
    init.extend(options(&task.flow, params));
    Some(init)
}

fn step(task: &MetaflowTask, user: &str, inputs_file: Option<&str>) -> Vec<String> {
    let mut step = vec![
        "step".into(),
        task.name.to_string(),
        "--run-id".into(),
        task.run_id.clone(),
        "--task-id".into(),
        task.task_id.clone(),
        "--retry-count".into(),
        task.retry_count.to_string(),
        "--max-user-code-retries".into(),
        task.max_user_code_retries.to_string(),
    ];
    match inputs_file {
        Some(file) => step.extend(["--input-paths-filename".into(), file.to_owned()]),
        None => step.extend(["--input-paths".into(), input_paths(task)]),
    }
    if let Some(workers) = task.num_parallel {
        step.extend(["--ubf-context".into(), "ubf_control".into()]);
        step.extend(["--num-parallel".into(), workers.to_string()]);
    }
    // The control task of a gang is its first worker.
    if let Some(index) = task.split_index.or_else(|| task.num_parallel.map(|_| 0)) {
        step.extend(["--split-index".into(), index.to_string()]);
    }
    if let Some(origin) = &task.origin {
        step.extend(["--clone-run-id".into(), origin.run_id.clone()]);
    }
    step.extend(tags(&task.flow));
    let namespace = task.flow.namespace.clone();
    let namespace = namespace.unwrap_or_else(|| format!("user:{user}"));
    step.push(format!("--namespace={namespace}"));
    step
}

fn tags(flow: &MetaflowFlow) -> impl Iterator<Item = String> {
    let tags = flow.tags.iter();
    tags.flat_map(|tag| ["--tag".into(), tag.clone()])
}

/// Parameters as Metaflow's command line takes them: `--<name>=<value>` with the name as it was declared. The sign
/// binds a value that begins with a dash to its name.
fn options(flow: &MetaflowFlow, params: &Map<String, Value>) -> Vec<String> {
    let mut options = Vec::new();
    let mut push = |name: &str, value: &Value| match value {
        Value::Null => {}
        Value::String(text) => options.push(format!("--{name}={text}")),
        other => options.push(format!("--{name}={other}")),
    };
    for (name, value) in params {
        match value {
            Value::Array(values) if flow.multiple.contains(name) => {
                values.iter().for_each(|it| push(name, it));
            }
            _ => push(name, value),
        }
    }
    options
}

/// An event as Metaflow sees it. The end of a Metaflow run carries the run's pathspec: by itself as Metaflow tells it, or
/// as `metaflow` of what is told of the end of every run.
fn trigger(event: &Value) -> Option<Trigger> {
    let kind = event.get("type")?.as_str()?;
    let data = event.get("data").unwrap_or(&Value::Null);
    let (ended, data) = match data.get("metaflow") {
        Some(ended) if kind == RUN_ENDED => (true, ended),
        _ => (kind.starts_with("metaflow."), data),
    };
    let run = data
        .get("pathspec")
        .and_then(Value::as_str)
        .filter(|_| ended);
    let name = data.get("name").and_then(Value::as_str);
    let name = name.filter(|_| run.is_some()).unwrap_or(kind);
    let id = run.or_else(|| event.get("id")?.as_str()).unwrap_or("");
    let seconds = data.get("timestamp").and_then(Value::as_i64).or_else(|| {
        let time = event.get("time")?.as_str()?;
        let time = dalsegno_scheduler::Timestamp::parse_rfc3339(time)?;
        Some(time.0 / 1_000_000)
    });
    Some(Trigger {
        kind: if run.is_some() { "run" } else { "event" }.into(),
        name: name.to_owned(),
        id: id.to_owned(),
        timestamp: seconds.unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn flow() -> MetaflowFlow {
        let flow = json!({
            "class": "Train", "start": "start", "end": "end", "multiple": ["tag-name"], "with": ["retry:times=2"],
            "tags": ["nightly"], "user": "ann",
            "project": {"name": "shop", "branch": "test.b", "branch_option": "b"},
        });
        serde_json::from_value(flow).expect("a flow")
    }

    fn task() -> MetaflowTask {
        let Value::Object(params) = json!({
            "alpha": -0.5, "tag-name": ["a", "b"], "my_param": "-x y", "flag": true, "none": null,
            "config": {"a": [1]}, "list": ["c"],
        }) else {
            unreachable!("an object")
        };
        MetaflowTask {
            flow: flow().into(),
            step: serde_json::from_value(json!({"next": ["a", "b"]})).expect("a step"),
            name: "start".into(),
            run_id: "R".into(),
            task_id: "t-a0".into(),
            earlier_task_id: Some("t-old".into()),
            retry_count: 1,
            max_user_code_retries: 2,
            inputs: vec!["_parameters/params".into()],
            split_index: None,
            num_parallel: None,
            params: Some(params),
            events: Vec::new().into(),
            origin: None,
            run_failed: false,
        }
    }

    #[test]
    fn a_new_run_finds_the_checkpoints_of_the_run_it_was_made_from() {
        let life = |task_id: &str, earlier: Option<&str>| {
            earlier_life(&MetaflowTask {
                task_id: task_id.into(),
                earlier_task_id: earlier.map(str::to_owned),
                origin: Some(dalsegno_scheduler::metaflow::Origin {
                    run_id: "R0".into(),
                    tasks: Vec::new().into(),
                    params: Map::new(),
                }),
                ..task()
            })
        };
        assert_eq!(life("t-3", None).as_deref(), Some("R0/t-3*"));
        assert_eq!(life("t-3-a7", None).as_deref(), Some("R0/t-3*"));
        assert_eq!(life("t-a7", Some("t")).as_deref(), Some("t"));
    }

    fn request(task: &MetaflowTask) -> Request {
        let storage = Storage {
            datastore: "local".into(),
            root: "/flows/.metaflow".into(),
            metadata: "local".into(),
        };
        let place = Place {
            flow_file: "/code/flow.py".into(),
            python: "/venv/bin/python".into(),
            storage: &storage,
            user: "ann",
            environment: "local",
            outcome: "/out.json".into(),
            cloned: Some("/R.cloned".into()),
        };
        Request::new(task, place, None)
    }

    #[test]
    fn a_start_step_says_its_parameters_as_metaflow_spells_them() {
        let request = request(&task());
        assert_eq!(
            request.top.join(" "),
            "--quiet --no-pylint --metadata=local --environment=local --datastore=local \
             --datastore-root=/flows/.metaflow --event-logger=nullSidecarLogger --monitor=nullSidecarMonitor \
             --branch b --with retry:times=2"
        );
        assert_eq!(
            request.init.expect("an init").join("|"),
            "init|--run-id|R|--task-id|params|--tag|nightly|--alpha=-0.5|--config={\"a\":[1]}|--flag=true|\
             --list=[\"c\"]|--my_param=-x y|--tag-name=a|--tag-name=b"
        );
        assert_eq!(
            request.step.expect("a step").join(" "),
            "step start --run-id R --task-id t-a0 --retry-count 1 --max-user-code-retries 2 --input-paths \
             R/_parameters/params --tag nightly --namespace=user:ann"
        );
        assert_eq!(
            request.folder,
            Some("/flows/.metaflow/Train/R/start/t-a0".into())
        );
    }

    #[test]
    fn a_gang_is_started_by_its_control_task_and_a_hook_runs_no_step() {
        let mut gang = task();
        gang.params = None;
        gang.num_parallel = Some(4);
        let request_of_gang = request(&gang);
        assert!(request_of_gang.init.is_none());
        let step = request_of_gang.step.expect("a step").join(" ");
        assert!(
            step.contains("--ubf-context ubf_control --num-parallel 4 --split-index 0"),
            "{step}"
        );
        let mut hook = task();
        hook.params = None;
        hook.step.hook = Some("notify".into());
        let request = request(&hook);
        assert!(request.step.is_none() && request.folder.is_none() && request.expects.is_empty());
        assert_eq!(request.hook.expect("a hook").pathspec, "Train/R");
    }

    #[test]
    fn events_are_told_as_metaflow_tells_them() {
        let event = json!({"type": "data.ready", "id": "7", "source": "x", "time": "1970-01-01T00:01:00Z", "data": {}});
        let run = json!({
            "type": "metaflow.Up.end", "id": "9",
            "data": {"pathspec": "Up/R1/end/t-a0", "timestamp": 1_795_342_446},
        });
        let ended = json!({
            "type": "dalsegno.run.ended", "id": "run:1:1:succeeded",
            "data": {"run": "1", "metaflow": {
                "name": "metaflow.Up.end", "pathspec": "Up/R1/end/t-a0", "timestamp": 1_795_342_446,
            }},
        });
        assert_eq!(
            serde_json::to_value(trigger(&ended)).expect("JSON"),
            serde_json::to_value(trigger(&run)).expect("JSON")
        );
        let ended = json!({
            "type": "dalsegno.run.ended", "id": "run:3:1:succeeded", "time": "1970-01-01T00:01:00Z",
            "data": {"flow": "Up", "run": "3", "state": "succeeded", "metaflow": {
                "name": "metaflow.Up.end", "pathspec": "Up/R3/end/t-a0", "timestamp": 7,
            }},
        });
        let of_another_kind = json!({
            "type": "dalsegno.run.ended", "id": "run:4:1:succeeded", "time": "1970-01-01T00:01:00Z",
            "data": {"flow": "ingest", "run": "4", "state": "succeeded"},
        });
        assert_eq!(
            serde_json::to_string(&[trigger(&ended), trigger(&of_another_kind)]).expect("JSON"),
            r#"[{"type":"run","name":"metaflow.Up.end","id":"Up/R3/end/t-a0","timestamp":7},{"type":"event","name":"dalsegno.run.ended","id":"run:4:1:succeeded","timestamp":60}]"#
        );
        let told = [trigger(&event), trigger(&run), trigger(&json!({}))];
        assert_eq!(
            serde_json::to_string(&told).expect("JSON"),
            r#"[{"type":"event","name":"data.ready","id":"7","timestamp":60},{"type":"run","name":"metaflow.Up.end","id":"Up/R1/end/t-a0","timestamp":1795342446},null]"#
        );
    }
}
