//! What decorators of Metaflow do when the daemon runs a flow.

use dalsegno_tests::{Daemon, HEAD, House, Metaflow, MetaflowRun, flow_file};
use serde_json::{Value, json};

#[test]
fn a_retry_repeats_a_step_and_the_newest_attempt_counts() {
    let (house, run) = succeeds(
        "@retry(times=2, minutes_between_retries=0)",
        "say(f'attempt {current.retry_count}')\nself.tried = current.retry_count\n\
         if current.retry_count < 2:\n    raise ValueError('not yet')",
    );
    assert_eq!(
        house.read("journal"),
        "attempt 0\nattempt 1\nattempt 2\nend\n"
    );
    let task = run.task("start");
    assert_eq!(
        (&task["attempt"], &task["data"]["tried"]),
        (&json!(2), &json!(2))
    );
}

/// Attempts 0 leave what nobody may read; attempts 1 are killed while the file is imported, before Metaflow begins.
const GAPS: &str = r#"
if "--retry-count" in sys.argv and sys.argv[sys.argv.index("--retry-count") + 1] == "1":
    os.kill(os.getpid(), signal.SIGKILL)


class Gaps(FlowSpec):
    @retry(times=3, minutes_between_retries=0)
    @step
    def start(self):
        self.found = "wrong"
        if current.retry_count == 0:
            raise ValueError("not yet")
        self.found = "right"
        self.items = ["a", "b"]
        self.next(self.body, foreach="items")

    @retry(times=3, minutes_between_retries=0)
    @step
    def body(self):
        self.seen = self.found
        self.made = "wrong"
        if current.retry_count == 0:
            raise ValueError("not yet")
        self.made = self.input
        self.next(self.join)

    @step
    def join(self, inputs):
        self.all = [each.made for each in inputs]
        self.merge_artifacts(inputs, include=["seen"])
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    Gaps()
"#;

#[test]
fn an_attempt_that_never_came_to_metaflow_hides_no_later_one() {
    let house = Metaflow::house(&[("flow.py", &format!("{HEAD}{GAPS}"))]);
    let daemon = house.up();
    let run = daemon.succeeds("Gaps", &json!({}));
    let run = house.metaflow().of_run(&run);
    assert!(run.is_successful(), "{run:?}");
    let data = run.data("end");
    assert_eq!(data["seen"], "right", "the next step read attempt 2");
    assert_eq!(data["all"], json!(["a", "b"]), "and so did the join");
    let start = run.task("start");
    assert_eq!(
        (&start["attempt"], &start["data"]["found"]),
        (&json!(2), &json!("right")),
        "as Metaflow's client does"
    );
}

#[test]
fn a_step_may_clear_its_environment_and_leave_its_folder() {
    let (_, run) = succeeds("", "self.x = 1\nos.environ.clear()\nos.chdir('/')");
    assert_eq!(run.data("end")["x"], 1);
}

/// Names of files need not be Unicode.
const NAMES: &str = r#"

class Names(FlowSpec):
    @step
    def start(self):
        self.names = [os.fsdecode(b"caf\xe9.csv"), None]
        self.next(self.one, foreach="names")

    @step
    def one(self):
        say(f"one {self.input!a}")
        self.next(self.join)

    @step
    def join(self, inputs):
        raise ValueError(f"cannot read {inputs[0].names[0]}")
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    Names()
"#;

#[test]
fn a_step_may_speak_of_what_is_no_unicode() {
    let house = Metaflow::house(&[("flow.py", &format!("{HEAD}{NAMES}"))]);
    let daemon = house.up();
    let run = daemon.fails("Names", &json!({}));
    let why = daemon.why(&run);
    assert!(why.contains("ValueError: cannot read caf?.csv"), "{why}");
    let mut lines: Vec<_> = house.read("journal").lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, [r"one 'caf\udce9.csv'", "one None"]);
}

#[test]
fn minutes_between_retries_are_waited_for() {
    let text = flow_file(
        "Story",
        "",
        "@retry(times=1, minutes_between_retries=7)",
        "raise ValueError('not yet')",
    );
    let house = Metaflow::house(&[("flow.py", &text)]);
    let daemon = house.up();
    let id = daemon.api().start("Story", &json!({}));
    let task = daemon.api().wait_until("a retry to come", || {
        let task = only_task(&daemon, &id);
        task["retry_at"].is_string().then_some(task)
    });
    let minutes = minutes_between(&task["finished_at"], &task["retry_at"]);
    assert!((6.9..7.1).contains(&minutes), "{task}");
    daemon.cli(&["cancel", &id]).succeeded();
    assert_eq!(daemon.api().wait_for_run(&id)["state"], "cancelled");
}

#[test]
fn a_retry_that_is_used_up_fails_the_run_with_the_error_of_the_step() {
    let text = flow_file(
        "Story",
        "",
        "@retry(times=1, minutes_between_retries=0)",
        "say('tried')\nraise ValueError('the lights went out')",
    );
    let house = Metaflow::house(&[("flow.py", &text)]);
    let daemon = house.up();
    let run = daemon.fails("Story", &json!({}));
    assert_eq!(house.read("journal"), "tried\ntried\n");
    let why = daemon.why(&run);
    assert!(why.contains("ValueError: the lights went out"), "{why}");
    let run = house.metaflow().of_run(&run);
    assert!(!run.is_successful());
    let exception = run.task("start")["exception"].to_string();
    assert!(exception.contains("the lights went out"), "{exception}");
}

#[test]
fn a_caught_exception_lets_the_run_go_on_and_is_there_for_later_steps() {
    let (house, run) = succeeds(
        "@catch(var='problem')\n@retry(times=1, minutes_between_retries=0)",
        "say('tried')\nraise ValueError('no such luck')",
    );
    assert_eq!(house.read("journal"), "tried\ntried\nend\n");
    assert!(
        run.data("end")["problem"]
            .to_string()
            .contains("no such luck"),
        "{run:?}"
    );
    let task = run.task("start");
    assert_eq!(task["ok"], true);
    assert_eq!(task["successful"], false, "as Metaflow itself says of it");
}

#[test]
fn catch_takes_over_when_every_attempt_is_killed() {
    let (house, run) = succeeds(
        "@catch(var='problem')\n@retry(times=1, minutes_between_retries=0)",
        "say('tried')\nos.kill(os.getpid(), signal.SIGKILL)",
    );
    assert_eq!(
        house.read("journal"),
        "tried\ntried\nend\n",
        "attempts that only catch run no code of the step"
    );
    let problem = run.data("end")["problem"].to_string();
    assert!(
        problem.contains("kept failing over 2 attempts"),
        "{problem}"
    );
}

#[test]
fn catch_without_an_error_changes_nothing() {
    let (_, run) = succeeds("@catch(var='problem')", "self.x = 1");
    assert_eq!(run.data("end")["problem"], Value::Null);
    assert_eq!(run.task("start")["successful"], true);
}

#[test]
fn a_timeout_ends_a_step_from_within() {
    let text = flow_file("Story", "", "@timeout(seconds=1)", "time.sleep(1000)");
    let house = Metaflow::house(&[("flow.py", &text)]);
    let daemon = house.up();
    let run = daemon.fails("Story", &json!({}));
    let why = daemon.why(&run);
    assert!(why.contains("TimeoutException"), "{why}");
}

#[test]
fn a_timeout_that_a_step_does_not_hear_is_enforced_a_minute_later() {
    let text = flow_file(
        "Story",
        "",
        "@timeout(minutes=3, seconds=30)",
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])\nwait()",
    );
    let house = Metaflow::house(&[("flow.py", &text)]);
    let (mut witness, gate) = (house.witness("witness"), house.gate("gate"));
    let daemon = house.up();
    let id = daemon.api().start("Story", &json!({}));
    witness.wait_for("waits");
    let task = daemon.api().wait_until("a task that has started", || {
        let task = only_task(&daemon, &id);
        task["deadline"].is_string().then_some(task)
    });
    let minutes = minutes_between(&task["started_at"], &task["deadline"]);
    assert!((4.4..4.6).contains(&minutes), "3:30 and a minute: {task}");
    gate.open();
    assert_eq!(daemon.api().wait_for_run(&id)["state"], "succeeded");
}

#[test]
fn environment_variables_belong_to_their_step_and_are_taken_literally() {
    let (_, run) = succeeds(
        "@environment(vars={'MODE': 'fast ${{ x }} $HOME', 'EMPTY': ''})",
        "self.mode = os.environ['MODE']\nself.empty = os.environ['EMPTY']",
    );
    let data = run.data("end");
    assert_eq!(data["mode"], "fast ${{ x }} $HOME");
    assert_eq!(data["empty"], "");
}

#[test]
fn secrets_are_there_while_the_step_runs() {
    let (_, run) = succeeds(
        "@secrets(sources=[{'type': 'inline', 'id': 'x', 'options': {'env_vars': {'TOKEN': 'geheim'}}}])",
        "self.length = len(os.environ['TOKEN'])",
    );
    assert_eq!(run.data("end")["length"], 6);
}

#[test]
fn resources_are_a_wish_and_limit_nothing_here() {
    let (_, run) = succeeds(
        "@resources(cpu=64, memory=1, gpu=0)",
        "self.size = len(bytearray(50_000_000))",
    );
    assert_eq!(run.data("end")["size"], 50_000_000);
}

#[test]
fn a_card_is_made_and_found_by_the_client() {
    let (house, run) = succeeds("@card(type='html')", "self.html = '<p>forty-two</p>'");
    let code = "import sys; from metaflow import Task, namespace; from metaflow.cards import get_cards; namespace(None);\
                cards = list(get_cards(Task(sys.argv[1]))); print(len(cards), cards[0].type, '<html' in cards[0].get())";
    let pathspec = format!(
        "Story/{}/start/{}",
        run.0["id"].as_str().expect("an id"),
        run.task("start")["id"].as_str().expect("an id")
    );
    let said = house.metaflow().python(&["-c", code, &pathspec]);
    assert_eq!(said.succeeded().stdout, "1 html True\n");
}

#[test]
fn exit_hooks_are_called_when_the_run_is_over_one_for_each_end() {
    let above = "def glad(run):\n    say(f'glad {run.successful} {run.data.x}')\n\n\n\
                 def sad(run):\n    say(f'sad {run.successful}')\n\n\n\
                 def plain():\n    say('plain')\n\n\n\
                 @exit_hook(on_success=[glad, 'plain'], on_error=[sad])";
    let text = flow_file(
        "Story",
        above,
        "fail = Parameter('fail', default=False)",
        "self.x = 7\nif self.fail:\n    raise ValueError('asked to')",
    );
    let house = Metaflow::house(&[("flow.py", &text)]);
    let daemon = house.up();
    daemon.succeeds("Story", &json!({}));
    let mut lines: Vec<_> = house.read("journal").lines().map(str::to_owned).collect();
    assert_eq!(lines.remove(0), "end", "hooks come last");
    lines.sort();
    assert_eq!(lines, ["glad True 7", "plain"]);

    daemon.fails("Story", &json!({"fail": true}));
    let journal = house.read("journal");
    assert_eq!(journal.lines().last(), Some("sad False"), "{journal}");
    assert_eq!(journal.lines().count(), 4, "{journal}");
}

#[test]
fn an_exit_hook_that_fails_does_not_fail_the_run() {
    let above = "def broken(run):\n    raise ValueError('in the hook')\n\n\n@exit_hook(on_success=[broken])";
    let text = flow_file("Story", above, "", "pass");
    let house = Metaflow::house(&[("flow.py", &text)]);
    let daemon = house.up();
    let run = daemon.succeeds("Story", &json!({}));
    assert!(house.metaflow().of_run(&run).is_successful());
    let tasks = daemon
        .api()
        .list(&format!("/api/v1/runs/{}/tasks", id_of(&run)));
    let hook = tasks.iter().find(|it| it["task"] == "exit-hook-broken");
    let hook = hook.unwrap_or_else(|| panic!("the hook is shown: {tasks:?}"));
    assert_eq!(hook["state"], "caught", "failed, and nothing comes of it");
}

#[test]
fn a_project_gives_the_flow_its_name_and_the_run_its_tags() {
    let text = flow_file(
        "Story",
        "@project(name='coda')",
        "",
        "self.where = [current.project_name, current.branch_name, current.project_flow_name]",
    );
    let house = Metaflow::house(&[("flow.py", &text)]);
    let daemon = house.up();
    let run = daemon.succeeds("coda.user.tester.Story", &json!({}));
    let run = house.metaflow().of_run(&run);
    assert_eq!(
        run.data("end")["where"],
        json!(["coda", "user.tester", "coda.user.tester.Story"])
    );
    for tag in ["project:coda", "project_branch:user.tester"] {
        assert!(has_tag(&run, tag), "{run:?}");
    }
}

#[test]
fn with_of_the_configuration_adds_a_decorator_to_every_step() {
    let text = flow_file(
        "Story",
        "",
        "",
        "say(f'attempt {current.retry_count}')\nif current.retry_count == 0:\n    raise ValueError('once')",
    );
    let house = Metaflow::house(&[("flow.py", &text)]);
    Metaflow::configure(
        &house,
        "with = [\"retry:times=1,minutes_between_retries=0\"]",
    );
    let daemon = house.up();
    daemon.succeeds("Story", &json!({}));
    assert_eq!(house.read("journal"), "attempt 0\nattempt 1\nend\n");
}

#[test]
fn a_config_stays_as_it_was_at_registration_while_a_run_goes_on() {
    let text = flow_file(
        "Story",
        "",
        "config = Config('config', default='{house}/config.json')\n@retry(times=1, minutes_between_retries=0)",
        "say(self.config.word)\nif current.retry_count == 0:\n    wait()\n    raise ValueError('again')",
    );
    let house = Metaflow::house(&[]);
    std::fs::write(house.path("config.json"), r#"{"word": "before"}"#)
        .expect("the house can be written to");
    house.write_flow("flow.py", &text);
    let (mut witness, gate) = (house.witness("witness"), house.gate("gate"));
    let daemon = house.up();
    daemon.has_asked_metaflow_about("Story");
    let id = daemon.api().start("Story", &json!({}));
    witness.wait_for("waits");
    std::fs::write(house.path("config.json"), r#"{"word": "after"}"#)
        .expect("the house can be written to");
    gate.open();
    assert_eq!(daemon.api().wait_for_run(&id)["state"], "succeeded");
    assert_eq!(house.read("journal"), "before\nbefore\nend\n");
}

#[test]
fn values_that_only_running_the_file_tells_are_asked_from_metaflow() {
    let above = "HOUR = sorted({'6', '7'})[0]\n\n\n@schedule(cron=f'30 {HOUR} * * ? *')";
    let text = flow_file("Story", above, "", "pass");
    let house = Metaflow::house(&[("flow.py", &text)]);
    let daemon = house.up();
    let next = daemon.api().wait_until("the schedule", || {
        let next = daemon.cli(&["next", "--json"]).succeeded().json();
        next["items"][0]["due_at"].as_str().map(str::to_owned)
    });
    assert!(next.contains("T06:30:00"), "{next}");
}

#[test]
fn tasks_know_who_where_and_what_they_are() {
    let (_, run) = succeeds(
        "",
        "self.seen = [current.run_id, current.task_id, current.username, current.is_running_flow]\n\
         self.python = sys.executable\nself.here = os.getcwd()",
    );
    let data = run.data("end");
    assert_eq!(data["seen"][0], run.0["id"]);
    assert_eq!(data["seen"][1], run.task("start")["id"]);
    assert_eq!(data["seen"][2], "tester");
    assert!(data["here"].to_string().ends_with("/flows\""), "{data}");
    assert!(has_tag(&run, "user:tester"), "{run:?}");
    assert!(has_tag(&run, "runtime:dalsegno"), "{run:?}");
}

/// Runs a flow of one step to success; gives what Metaflow's client says of it.
#[track_caller]
fn succeeds(decorators: &str, body: &str) -> (House, MetaflowRun) {
    let text = flow_file("Story", "", decorators, body);
    let house = Metaflow::house(&[("flow.py", &text)]);
    let daemon = house.up();
    let run = daemon.succeeds("Story", &json!({}));
    let run = house.metaflow().of_run(&run);
    assert!(run.is_successful(), "{run:?}");
    (house, run)
}

fn only_task(daemon: &Daemon, run: &str) -> Value {
    let tasks = daemon.api().list(&format!("/api/v1/runs/{run}/tasks"));
    tasks
        .into_iter()
        .find(|it| it["task"] == "start")
        .unwrap_or_default()
}

fn id_of(run: &Value) -> &str {
    run["id"].as_str().expect("a run has an id")
}

fn has_tag(run: &MetaflowRun, tag: &str) -> bool {
    run.0["tags"]
        .as_array()
        .is_some_and(|it| it.iter().any(|it| it == tag))
}

/// Of two times of the same day as the API writes them; midnight may lie between.
fn minutes_between(from: &Value, to: &Value) -> f64 {
    let minutes = |time: &Value| -> f64 {
        let text = time.as_str().unwrap_or_else(|| panic!("no time: {time}"));
        let clock = text.split('T').nth(1).expect("a date and a time");
        let parts: Vec<f64> = clock
            .trim_end_matches('Z')
            .split(':')
            .map(|it| it.parse().expect("a number"))
            .collect();
        parts[0] * 60.0 + parts[1] + parts[2] / 60.0
    };
    (minutes(to) - minutes(from)).rem_euclid(24.0 * 60.0)
}
