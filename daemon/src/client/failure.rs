//! Why a command did not do what it was asked for: in words, with the cure and the exit code.

use serde_json::Value;
use std::fmt::Write as _;

/// The exit codes, as `dalsegno --help` and docs/cli.md list them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    NotFound = 3,
    Refused = 4,
    NoDaemon = 5,
    Broken = 6,
    Interrupted = 130,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// What a person is told when a command fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// The stable code of the API's problem, if it was one.
    pub(crate) code: Option<String>,
    pub(crate) text: String,
    /// The cure, one entry a line.
    pub(crate) help: Vec<String>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, text: impl Into<String>) -> Self {
        Self {
            exit,
            code: None,
            text: text.into(),
            help: Vec::new(),
        }
    }

    #[must_use]
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// What the API answered with another status than 2xx.
    pub(crate) fn of_answer(status: u16, body: &str, server: &str) -> Self {
        let exit = match status {
            404 => Exit::NotFound,
            400..500 => Exit::Refused,
            _ => Exit::Broken,
        };
        let problem: Value = serde_json::from_str(body).unwrap_or_default();
        let Some(code) = problem["code"].as_str() else {
            let text = format!("{server} answers with status {status}, and not as Dalsegno does");
            let help = "is that the right address? name another one with --server";
            return Self::new(Exit::Broken, text).help(help);
        };
        let title = problem["title"].as_str().unwrap_or(code);
        let detail = problem["detail"].as_str().filter(|it| !it.is_empty());
        let mut failure = Self::new(exit, detail.unwrap_or(title));
        failure.code = Some(code.to_owned());
        for error in problem["errors"].as_array().into_iter().flatten() {
            let part = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
            let (name, message) = (part("name"), part("message"));
            if !failure.text.contains(&message) {
                let _ = write!(failure.text, "\n  {name}: {message}");
            }
        }
        failure.help.extend(
            problem["did_you_mean"]
                .as_str()
                .map(|it| format!("did you mean `{it}`?")),
        );
        failure
            .help
            .extend(cure(code, failure.help.is_empty()).map(str::to_owned));
        failure
    }
}

/// What to do on the command line about a problem with this code.
fn cure(code: &str, nothing_similar: bool) -> Option<&'static str> {
    Some(match code {
        "unknown_flow" if nothing_similar => "`dalsegno flows` lists all flows",
        "unknown_run" => "`dalsegno runs` lists runs",
        "unknown_task" | "unknown_attempt" => {
            "`dalsegno show RUN --tasks` lists the tasks there are"
        }
        "unknown_step" => "`dalsegno flows FLOW` lists the steps of a flow",
        "unknown_route" => "is the daemon older than this program? `dalsegno doctor` compares them",
        "unauthorized" => "give the daemon's token by the environment variable DALSEGNO_TOKEN",
        "cross_site" | "forbidden_host" => {
            "give the daemon's token, and the address it was started with"
        }
        "not_finished" => "wait for it to end, or stop it first: `dalsegno cancel RUN`",
        "already_finished" => {
            "there is nothing left to stop; `dalsegno resume RUN` goes on with a failed run"
        }
        "already_succeeded" => "to repeat a step and all that follows it, name it: --from STEP",
        "no_version" => "`dalsegno check` says what is wrong with its file",
        "flow_removed" => "put its file back into the flows folder",
        "bad_cursor" => "begin with the first page again",
        "internal_error" => "nothing was changed; the daemon's log says more",
        "busy" | "not_leader" | "not_ready" => "try again in a moment",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: &str = "http://127.0.0.1:8320";

    #[test]
    fn an_unknown_flow_is_not_found_and_the_similar_one_is_named() {
        let body = r#"{"code":"unknown_flow","status":404,"title":"There is no such flow",
            "detail":"there is no flow `gret`","did_you_mean":"greet"}"#;
        let failure = Failure::of_answer(404, body, SERVER);
        assert_eq!(failure.exit, Exit::NotFound);
        assert_eq!(failure.text, "there is no flow `gret`");
        assert_eq!(failure.help, ["did you mean `greet`?"]);
    }

    #[test]
    fn every_wrong_parameter_is_named_once() {
        let body = r#"{"code":"bad_params","detail":"parameters do not fit: times: too many",
            "errors":[{"name":"times","message":"too many"},{"name":"day","message":"must be given"}]}"#;
        let failure = Failure::of_answer(422, body, SERVER);
        assert_eq!(failure.exit, Exit::Refused);
        assert_eq!(
            failure.text,
            "parameters do not fit: times: too many\n  day: must be given"
        );
    }

    #[test]
    fn a_server_of_another_kind_is_not_blamed_on_the_user() {
        let failure = Failure::of_answer(404, "<html>not here</html>", SERVER);
        assert_eq!(failure.exit, Exit::Broken);
        assert!(failure.text.contains(SERVER), "{failure:?}");
    }

    #[test]
    fn a_storage_problem_is_broken_and_told_in_the_daemons_words() {
        let body = r#"{"code":"storage","detail":"the disk is full at /data"}"#;
        let failure = Failure::of_answer(503, body, SERVER);
        assert_eq!(
            (failure.exit, failure.text.as_str()),
            (Exit::Broken, "the disk is full at /data")
        );
    }
}
