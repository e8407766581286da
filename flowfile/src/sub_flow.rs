//! A step that runs another flow.

use crate::expression::Where;
use crate::names::{self, Kind};
use crate::neighbours::{How, Mention};
use crate::reader::Fields;
use crate::reader::Value;
use dalsegno_scheduler::FlowName;
use dalsegno_scheduler::expr::Template;
use dalsegno_scheduler::spec::{Command, SubFlow};
use std::collections::BTreeMap;

/// What the step's own end tells: expressions find both below `steps.NAME.outputs`.
pub(crate) const OUTPUTS: [&str; 2] = ["run", "state"];

/// Keys that are about a process, and there is none.
const OF_COMMANDS: [(&str, &str); 8] = [
    (
        "env",
        "give the other flow values as `params`; its steps have an `env` of their own",
    ),
    (
        "outputs",
        "remove it; later steps find `run` and `state` of the other flow's run in `steps.NAME.outputs`",
    ),
    ("resources", "write it in the steps of the other flow"),
    ("grace", "write it in the steps of the other flow"),
    ("executor", "write it in the other flow"),
    ("image", "write it in the steps of the other flow"),
    ("on_oom", "write it in the steps of the other flow"),
    ("batch", "write it in the steps of the other flow"),
];

/// Reads `flow`, `params` and `wait`. `own` is the flow that the step belongs to.
pub(crate) fn read(fields: &Fields<'_>, own: &str, place: Where) -> Option<Command> {
    let cx = fields.value.cx;
    for (key, help) in OF_COMMANDS {
        if let Some(entry) = fields.entry(key) {
            let message = format!("`{key}` has no meaning for a step that runs another flow");
            cx.push(cx.at(&entry.key_span, "flow.bad_value", message).help(help));
        }
    }
    let (params, given) = fields
        .section("params")
        .map_or_else(Default::default, |it| params(it, place));
    let wait = fields.get("wait").map_or(Some(true), |it| it.boolean());
    let value = fields.get("flow")?;
    let name = value.text()?;
    if !names::check(cx, Kind::Flow, name, value.span()) {
        return None;
    }
    if name == own {
        let message = "this flow would run itself, and so would that run, for ever";
        let itself = cx.at(value.span(), "flow.starts_itself", message);
        cx.push(itself.help("name another flow; to repeat steps for several items, use `foreach`"));
        return None;
    }
    cx.mentions.borrow_mut().push(Mention {
        flow: name.to_owned(),
        at: value.span().clone(),
        how: How::Runs { given },
    });
    Some(Command::Flow(SubFlow {
        flow: FlowName::new(name),
        params,
        wait: wait?,
    }))
}

type Given = Vec<(String, std::ops::Range<usize>)>;

/// What the other flow makes of them is known when it is read, too.
fn params(value: Value<'_>, place: Where) -> (BTreeMap<String, Template>, Given) {
    let (mut params, mut given) = (BTreeMap::new(), Vec::new());
    for entry in value.entries("write `name: value`, one for each parameter") {
        let value = Value {
            name: &entry.key,
            node: &entry.value,
            cx: value.cx,
        };
        if let Some(template) = value.template(place) {
            params.insert(entry.key.clone(), template);
            given.push((entry.key.clone(), entry.key_span.clone()));
        }
    }
    (params, given)
}
