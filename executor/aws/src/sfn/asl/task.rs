//! The state that is a job.

use super::node::output_place;
use super::rules::Maker;
use super::scope::Inside;
use super::slots::Kind;
use super::{Compiler, JobShape, USE_BATCH};
use dalsegno_scheduler::expr::{Part, Template, plain};
use dalsegno_scheduler::spec::{Backoff, StepSpec};
use dalsegno_scheduler::{NodeId, Span, StepName};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The shortest time limit that Batch has for a job, in seconds.
pub(super) const TIMEOUT_MIN_S: u64 = 60;

/// A variable of the job.
enum Variable {
    Fixed(String),
    Path(String),
    /// An intrinsic function.
    Call(String),
}

impl Compiler<'_> {
    /// The state without its neighbours, and the steps whose outputs it needs to have read.
    pub(super) fn task(
        &mut self,
        inside: &Inside,
        id: NodeId,
        step: &StepSpec,
    ) -> (Value, BTreeSet<StepName>) {
        let shape = match (self.settings.job)(step) {
            Ok(shape) => shape,
            Err(message) => {
                self.problem(
                    format!("step {}", step.name),
                    message,
                    "change what the step asks for",
                );
                JobShape {
                    definition: String::new(),
                    queue: String::new(),
                    is_wrapped: false,
                    tags: BTreeMap::new(),
                }
            }
        };
        let mut reads = BTreeSet::new();
        let environment: Vec<Value> = self
            .environment(inside, id, step, &shape, &mut reads)
            .into_iter()
            .map(|(name, variable)| match variable {
                Variable::Fixed(text) => json!({"Name": name, "Value": text}),
                Variable::Path(path) | Variable::Call(path) => {
                    json!({"Name": name, "Value.$": path})
                }
            })
            .collect();
        let depth = self.flow.node(id).depth;
        let mut tags = json!({
            "dalsegno:installation.$": "$.x.t.installation",
            "dalsegno:instance.$": "$.x.t.instance",
            "dalsegno:flow.$": "$.x.t.flow",
            "dalsegno:run.$": "$.x.t.run",
        });
        let word = escaped(step.name.as_str());
        let number = "States.MathAdd($$.State.RetryCount, 1)";
        match depth {
            0 => {
                tags["dalsegno:task"] = json!(step.name);
                let attempt = format!("States.Format('{{}}/{word}/{{}}', $.x.t.run, {number})");
                tags["dalsegno:attempt.$"] = json!(attempt);
            }
            _ => {
                tags["dalsegno:task.$"] = json!(format!("States.Format('{word}:{{}}', $.it.e)"));
                let attempt =
                    format!("States.Format('{{}}/{word}:{{}}/{{}}', $.x.t.run, $.it.e, {number})");
                tags["dalsegno:attempt.$"] = json!(attempt);
            }
        }
        for (name, value) in &shape.tags {
            tags[name] = json!(value);
        }
        let mut parameters = json!({
            "JobName.$": job_name(depth, id, step),
            "JobQueue": shape.queue,
            "JobDefinition": shape.definition,
            "ContainerOverrides": {"Environment": environment},
            // What the machine did is no failure of the task.
            "RetryStrategy": {
                "Attempts": self.settings.lost_retries.clamp(0, 9) + 1,
                "EvaluateOnExit": [
                    {"OnStatusReason": "Host EC2*", "Action": "RETRY"},
                    {"OnReason": "*", "Action": "EXIT"},
                ],
            },
            "Tags": tags,
        });
        if let Some(timeout) = step.timeout {
            let seconds = seconds(timeout).max(TIMEOUT_MIN_S);
            parameters["Timeout"] = json!({"AttemptDurationSeconds": seconds});
        }
        let state = json!({
            "Type": "Task",
            "Resource": "arn:aws:states:::batch:submitJob.sync",
            "Parameters": parameters,
            "Retry": retry(step),
        });
        (state, reads)
    }

    fn environment(
        &mut self,
        inside: &Inside,
        id: NodeId,
        step: &StepSpec,
        shape: &JobShape,
        reads: &mut BTreeSet<StepName>,
    ) -> BTreeMap<String, Variable> {
        let mut all = BTreeMap::new();
        let depth = self.flow.node(id).depth;
        let path = |place: String| Variable::Path(place);
        for name in self.flow.spec().params.iter().map(|it| &it.name) {
            let variable = name.to_ascii_uppercase();
            all.insert(variable.clone(), path(format!("$.x.v['{variable}']")));
        }
        if depth > 0 {
            all.insert("ITEM".into(), path("$.it.t".into()));
            all.insert("ITEM_INDEX".into(), path("$.it.n".into()));
            all.insert("ITEMS".into(), path("$.it.a".into()));
        }
        let templates: Vec<(String, Template)> = self
            .flow
            .spec()
            .env
            .iter()
            .chain(&step.env)
            .map(|(name, template)| (name.clone(), template.clone()))
            .collect();
        for (name, template) in templates {
            match self.variable(inside, id, &template, reads) {
                Ok(variable) => {
                    all.insert(name, variable);
                }
                Err(message) => {
                    let place = format!("step {}: env {name}", step.name);
                    self.problem(place, message, USE_BATCH);
                }
            }
        }
        let own = [
            ("RUN_ID", path("$.x.t.run".into())),
            ("FLOW", Variable::Fixed(self.flow.name().to_string())),
            ("STEP", Variable::Fixed(step.name.to_string())),
            (
                "TASK",
                match depth {
                    0 => Variable::Fixed(step.name.to_string()),
                    _ => Variable::Call(format!(
                        "States.Format('{}[{{}}]', $.it.e)",
                        escaped(step.name.as_str())
                    )),
                },
            ),
            (
                "ATTEMPT",
                Variable::Call(
                    "States.Format('{}', States.MathAdd($$.State.RetryCount, 1))".into(),
                ),
            ),
            (
                "MAX_ATTEMPTS",
                Variable::Fixed((step.retry.times + 1).to_string()),
            ),
            (
                "INTERVAL_START",
                path("$.x.v.DALSEGNO_INTERVAL_START".into()),
            ),
            ("INTERVAL_END", path("$.x.v.DALSEGNO_INTERVAL_END".into())),
        ];
        for (name, variable) in own {
            all.insert(format!("DALSEGNO_{name}"), variable);
        }
        if self.settings.has_s3 {
            let key = |what: &str| match depth {
                0 => format!(
                    "States.Format('s3://{{}}/{{}}n{}/{what}', $.x.b, $.x.k)",
                    id.0
                ),
                _ => format!(
                    "States.Format('s3://{{}}/{{}}n{}-{{}}/{what}', $.x.b, $.x.k, $.it.p)",
                    id.0
                ),
            };
            all.insert(
                "DALSEGNO_CHECKPOINT_URI".into(),
                Variable::Call(key("checkpoint/")),
            );
            if !step.outputs.is_empty() {
                all.insert("DALSEGNO_OUTPUT_URI".into(), Variable::Call(key("output")));
            }
            if shape.is_wrapped {
                all.insert(
                    "DALSEGNO_ENV_URI".into(),
                    path("$.x.v.DALSEGNO_ENV_URI".into()),
                );
            }
        }
        if !shape.is_wrapped {
            all.insert(
                "DALSEGNO_OUTPUT".into(),
                Variable::Fixed("/dev/null".into()),
            );
        }
        all
    }

    fn variable(
        &mut self,
        inside: &Inside,
        id: NodeId,
        template: &Template,
        reads: &mut BTreeSet<StepName>,
    ) -> Result<Variable, String> {
        if let Template::Literal(value) = template {
            return Ok(Variable::Fixed(plain(value)));
        }
        let slots = self.slots(inside);
        if template.exprs().all(|it| slots.is_known(it)) {
            return Ok(Variable::Path(
                self.slots(inside).add(Kind::Text(template.clone())),
            ));
        }
        let whole = [Part::Text(String::new())];
        let parts: Vec<Part> = match template {
            Template::Expr(expr) => vec![Part::Expr(expr.clone())],
            Template::Text(parts) => parts.clone(),
            Template::Literal(_) => whole.to_vec(),
        };
        let (mut format, mut places) = (String::new(), Vec::new());
        for part in parts {
            match part {
                Part::Text(text) => format.push_str(&escaped(&text)),
                Part::Expr(expr) => {
                    let flow = self.flow;
                    let readable =
                        |step: &str, output: &str| output_place(flow, inside, id, step, output);
                    let slots = &mut self.slots(inside);
                    let mut maker = Maker {
                        slots,
                        output: &readable,
                        reads: BTreeSet::new(),
                    };
                    places.push(maker.place(&expr)?);
                    reads.extend(maker.reads);
                    format.push_str("{}");
                }
            }
        }
        Ok(Variable::Call(format!(
            "States.Format('{format}', {})",
            places.join(", ")
        )))
    }
}

/// `{execution}-n{node}-{word}-{path}-{retry}`.
fn job_name(depth: usize, id: NodeId, step: &StepSpec) -> String {
    let word = word(step.name.as_str());
    match depth {
        0 => format!(
            "States.Format('{{}}n{}-{word}-{{}}', $.x.j, $$.State.RetryCount)",
            id.0
        ),
        _ => format!(
            "States.Format('{{}}n{}-{word}-{{}}-{{}}', $.x.j, $.it.p, $$.State.RetryCount)",
            id.0
        ),
    }
}

/// A step's name as it may be in a job's.
pub fn word(step: &str) -> String {
    let word = step
        .chars()
        .take(20)
        .map(|it| match it.to_ascii_lowercase() {
            it @ ('a'..='z' | '0'..='9' | '_') => it,
            _ => '-',
        });
    word.collect()
}

/// As text in `States.Format('…')`.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for char in text.chars() {
        if matches!(char, '\'' | '{' | '}' | '\\') {
            escaped.push('\\');
        }
        escaped.push(char);
    }
    escaped
}

/// What is repeated: jobs that could not be submitted, by the service's fault; failed jobs as the step says. What can
/// never work is not repeated.
fn retry(step: &StepSpec) -> Value {
    let mut rules = vec![
        json!({"ErrorEquals": ["Batch.ClientException", "States.Permissions", "States.Runtime"], "MaxAttempts": 0}),
        json!({
            "ErrorEquals": ["Batch.TooManyRequestsException", "Batch.AWSBatchException", "Batch.ServerException", "Batch.SdkClientException"],
            "IntervalSeconds": 1, "BackoffRate": 2.0, "MaxDelaySeconds": 300, "MaxAttempts": 10,
            "JitterStrategy": "FULL",
        }),
    ];
    if step.retry.times > 0 {
        let Backoff {
            initial,
            max,
            multiplier_percent,
            ..
        } = step.retry.backoff;
        let first = seconds(initial).max(1);
        let mut rule = json!({
            "ErrorEquals": ["States.TaskFailed"],
            "IntervalSeconds": first,
            "BackoffRate": f64::from(multiplier_percent.max(100)) / 100.0,
            "MaxAttempts": step.retry.times,
        });
        let most = seconds(max);
        if most > first {
            rule["MaxDelaySeconds"] = json!(most);
        }
        rules.push(rule);
    }
    json!(rules)
}

fn seconds(span: Span) -> u64 {
    u64::try_from(span.0).unwrap_or(0).div_ceil(1_000_000)
}
