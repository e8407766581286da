//! What runs in a container: the task's command as it is, or a shell script around it that fetches what it needs and
//! brings back what it says.

use crate::cx::Aws;
use crate::storage::Storage;
use dalsegno_scheduler::spec::Command;
use dalsegno_scheduler::{Reason, Submission};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Runs the arguments that come after it: `["/bin/sh", "-c", WRAPPER, "dalsegno", program, …]`. Told by variables what
/// there is to do: `DALSEGNO_CODE_URI`, `DALSEGNO_ENV_URI`, `DALSEGNO_ITEMS_URI`, `DALSEGNO_OUTPUT_URI`,
/// `DALSEGNO_EVENT_JSON`.
pub const WRAPPER: &str = include_str!("wrapper.sh");

/// The wrapper's own exit codes: nothing in the image can fetch; something could not be fetched; the outputs could not
/// be brought back.
pub const EXIT_NO_TOOL: i32 = 212;
pub const EXIT_FETCH: i32 = 213;
pub const EXIT_BRING: i32 = 214;

/// What variables may take in a request: ECS takes 8 KiB of overrides in all.
pub const INLINE_BYTES_MAX: usize = 7 << 10;

/// What to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// Program and arguments.
    pub command: Vec<String>,
    /// The command differs from task to task of a step: it belongs to the job, not to its definition.
    pub is_command_own: bool,
    pub environment: BTreeMap<String, String>,
    /// What must be in S3 before it is submitted.
    pub objects: Vec<Object>,
    /// The key under which its outputs will lie, if there may be any.
    pub output: Option<String>,
}

/// Something to be written to S3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    pub key: String,
    pub body: Vec<u8>,
}

/// The container of an attempt that is a job of its own.
///
/// # Errors
/// Why it cannot be run as it is.
pub fn container(submission: &Submission, aws: &Aws) -> Result<Container, Reason> {
    let storage = Storage::new(&aws.config);
    let mut plan = plan(submission, aws, storage.as_ref())?;
    let Some(created) = submission.remote.as_ref().map(|it| it.run_created_at) else {
        return Err(configuration("it is no task that runs elsewhere".into()));
    };
    if size(&plan.environment) > INLINE_BYTES_MAX {
        let Some(storage) = &storage else {
            return Err(too_large(size(&plan.environment)));
        };
        let key = storage.environment(&submission.attempt, created);
        let script = exports(&std::mem::take(&mut plan.environment));
        plan.environment = BTreeMap::from([("DALSEGNO_ENV_URI".to_owned(), storage.uri(&key))]);
        plan.objects.push(Object {
            key,
            body: script.into_bytes(),
        });
        plan.is_wrapped = true;
    }
    Ok(plan.finish())
}

/// The one container of the items of an array job: what is the same for all is in its environment, the rest in the
/// object at `key`. `items`: the submission at each index, `None` where nobody wants it any more.
///
/// # Errors
/// Why they cannot be run as they are.
pub fn array(
    items: &[Option<&Submission>],
    aws: &Aws,
    storage: &Storage,
    key: &str,
) -> Result<Container, Reason> {
    let plans = items
        .iter()
        .map(|it| it.map(|it| plan(it, aws, Some(storage))).transpose())
        .collect::<Result<Vec<_>, _>>()?;
    let Some(first) = plans.iter().flatten().next() else {
        return Err(configuration("the array has no items".into()));
    };
    let mut common = first.environment.clone();
    for plan in plans.iter().flatten() {
        common.retain(|name, value| plan.environment.get(name) == Some(value));
    }
    if size(&common) > INLINE_BYTES_MAX {
        common.clear();
    }
    let mut manifest = String::new();
    for plan in &plans {
        match plan {
            None => manifest.push_str("skip"),
            Some(plan) => {
                let own = plan.environment.iter();
                let own = own.filter(|(name, _)| !common.contains_key(*name));
                let own = own.map(|(name, value)| (name.clone(), value.clone()));
                manifest.push_str(&base64(exports(&own.collect()).as_bytes()));
            }
        }
        manifest.push('\n');
    }
    let mut whole = Plan {
        command: first.command.clone(),
        environment: common,
        objects: Vec::new(),
        output: None,
        is_wrapped: true,
    };
    let uri = storage.uri(key);
    whole.environment.insert("DALSEGNO_ITEMS_URI".into(), uri);
    whole.objects.push(Object {
        key: key.to_owned(),
        body: manifest.into_bytes(),
    });
    Ok(whole.finish())
}

/// Which lines of a manifest stand for items that somebody wanted when it was written.
pub fn wanted(manifest: &[u8]) -> Vec<bool> {
    let text = String::from_utf8_lossy(manifest);
    text.lines().map(|it| it != "skip").collect()
}

/// `/bin/sh -c WRAPPER` around a command.
pub fn wrapped(command: Vec<String>) -> Vec<String> {
    let wrapper = ["/bin/sh", "-c", WRAPPER, "dalsegno"].map(str::to_owned);
    wrapper.into_iter().chain(command).collect()
}

/// A script that sets these variables.
pub fn exports(environment: &BTreeMap<String, String>) -> String {
    environment
        .iter()
        .filter(|(name, _)| is_variable(name))
        .fold(String::new(), |mut script, (name, value)| {
            let value = value.replace('\'', r"'\''");
            let _ = writeln!(script, "export {name}='{value}'");
            script
        })
}

/// In bytes, as a request counts it.
pub fn size(environment: &BTreeMap<String, String>) -> usize {
    let each = environment.iter();
    each.map(|(name, value)| name.len() + value.len() + 2).sum()
}

struct Plan {
    command: Vec<String>,
    environment: BTreeMap<String, String>,
    objects: Vec<Object>,
    output: Option<String>,
    is_wrapped: bool,
}

impl Plan {
    fn finish(mut self) -> Container {
        if self.is_wrapped {
            self.command = wrapped(self.command);
        } else {
            // What it writes without having said so would go nowhere else either.
            let nowhere = "/dev/null".to_owned();
            self.environment.insert("DALSEGNO_OUTPUT".into(), nowhere);
        }
        Container {
            command: self.command,
            is_command_own: false,
            environment: self.environment,
            objects: self.objects,
            output: self.output,
        }
    }
}

fn plan(submission: &Submission, aws: &Aws, storage: Option<&Storage>) -> Result<Plan, Reason> {
    let Some(remote) = &submission.remote else {
        return Err(configuration("it is no task that runs elsewhere".into()));
    };
    let (attempt, created) = (&submission.attempt, remote.run_created_at);
    let command = match &submission.command {
        Command::Shell(line) => vec!["/bin/sh".into(), "-c".into(), line.clone()],
        Command::Argv(argv) => argv.clone(),
        Command::Flow(_) => return Err(configuration("a run of another flow is no job".into())),
        Command::Metaflow(_) => {
            return Err(configuration("a Metaflow step without its task".into()));
        }
    };
    let mut environment = submission.env.clone();
    let mut output = None;
    if let Some(storage) = storage {
        let checkpoint = storage.checkpoint(attempt.run, &attempt.task, created);
        environment.insert("DALSEGNO_CHECKPOINT_URI".into(), storage.uri(&checkpoint));
    }
    if !submission.outputs.is_empty() {
        let Some(storage) = storage else {
            return Err(configuration(format!(
                "it declares outputs ({}), which come back through S3; set `s3` in [aws] of dalsegno.toml",
                submission.outputs.join(", ")
            )));
        };
        let key = storage.output(attempt, created);
        environment.insert("DALSEGNO_OUTPUT_URI".into(), storage.uri(&key));
        output = Some(key);
    }
    if let Some(event) = &submission.event {
        environment.insert("DALSEGNO_EVENT_JSON".into(), event.to_string());
    }
    if let Some(url) = &aws.config.api_url {
        environment.insert("DALSEGNO_API_URL".into(), url.clone());
    }
    Ok(Plan {
        command,
        environment,
        objects: Vec::new(),
        is_wrapped: output.is_some() || submission.event.is_some(),
        output,
    })
}

fn configuration(message: String) -> Reason {
    Reason::Configuration { message }
}

fn too_large(bytes: usize) -> Reason {
    configuration(format!(
        "its environment is {} KiB, and Batch takes {} KiB in a request; set `s3` in [aws] of dalsegno.toml, through \
         which more can be given, or give less",
        bytes.div_ceil(1 << 10),
        INLINE_BYTES_MAX >> 10
    ))
}

/// What a shell takes as the name of a variable. Others reach a container only as part of the request.
fn is_variable(name: &str) -> bool {
    let mut chars = name.chars();
    chars
        .next()
        .is_some_and(|it| it.is_ascii_alphabetic() || it == '_')
        && chars.all(|it| it.is_ascii_alphanumeric() || it == '_')
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let digit = (word >> (18 - 6 * place)) & 63;
            let has_digit = place <= chunk.len();
            text.push(if has_digit {
                char::from(DIGITS[digit as usize])
            } else {
                '='
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::process::{Command as Process, Output};

    /// Runs what a container would, with a folder as S3.
    fn run(dir: &Path, command: &[&str], variables: &[(&str, &str)]) -> Output {
        let bin = dir.join("bin");
        let aws = bin.join("aws");
        if !aws.exists() {
            std::fs::create_dir_all(&bin).expect("a folder");
            let script = "#!/bin/sh\none=$(echo \"$4\" | sed \"s#^s3://#$S3/#\"); two=$(echo \"$5\" | sed \"s#^s3://#$S3/#\")\n\
                          exec cp \"$one\" \"$two\"\n";
            std::fs::write(&aws, script).expect("written");
            std::fs::set_permissions(&aws, PermissionsExt::from_mode(0o755)).expect("made");
        }
        let command = wrapped(command.iter().map(|it| (*it).to_owned()).collect());
        let path = format!("{}:/usr/bin:/bin", bin.display());
        let mut process = Process::new(&command[0]);
        process.args(&command[1..]).env_clear().env("PATH", path);
        process.env("S3", dir).envs(variables.iter().copied());
        process.output().expect("it runs")
    }

    fn text(bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes).trim().to_owned()
    }

    #[test]
    fn a_task_finds_its_item_and_its_outputs_come_back() {
        let dir = tempfile::tempdir().expect("a folder");
        let item = |value: &str| {
            let own = BTreeMap::from([
                ("ITEM".to_owned(), value.to_owned()),
                ("DALSEGNO_OUTPUT_URI".to_owned(), "s3://out".to_owned()),
            ]);
            base64(exports(&own).as_bytes())
        };
        let manifest = format!(
            "{}\nskip\n{}\n",
            item("a"),
            item("it's $HOME\n\"two\" lines")
        );
        assert_eq!(wanted(manifest.as_bytes()), [true, false, true]);
        std::fs::write(dir.path().join("items"), manifest).expect("written");
        let at = |index: &str| {
            let say = r#"printf 'item=%s' "$ITEM" >"$DALSEGNO_OUTPUT"; echo "$1"; exit 0"#;
            let variables = [
                ("DALSEGNO_ITEMS_URI", "s3://items"),
                ("AWS_BATCH_JOB_ARRAY_INDEX", index),
            ];
            run(dir.path(), &["/bin/sh", "-c", say, "sh", "a b"], &variables)
        };
        let done = at("2");
        assert!(done.status.success(), "{}", text(&done.stderr));
        assert_eq!(text(&done.stdout), "a b");
        let output = std::fs::read_to_string(dir.path().join("out")).expect("brought back");
        assert_eq!(output, "item=it's $HOME\n\"two\" lines");
        std::fs::remove_file(dir.path().join("out")).expect("removed");
        let skipped = at("1");
        assert!(skipped.status.success());
        assert_eq!(
            text(&skipped.stderr),
            "dalsegno: nobody wants this item any more"
        );
        assert!(!dir.path().join("out").exists());
        assert_eq!(at("9").status.code(), Some(EXIT_FETCH));
    }

    #[test]
    fn the_event_is_a_file_and_the_exit_code_is_the_tasks_own() {
        let dir = tempfile::tempdir().expect("a folder");
        let event = r#"{"id":"it's"}"#;
        let command = ["/bin/sh", "-c", r#"cat "$DALSEGNO_EVENT"; exit 7"#];
        let done = run(dir.path(), &command, &[("DALSEGNO_EVENT_JSON", event)]);
        assert_eq!(
            (done.status.code(), text(&done.stdout)),
            (Some(7), event.to_owned())
        );
    }

    #[test]
    fn a_polite_stop_reaches_the_task() {
        let dir = tempfile::tempdir().expect("a folder");
        let script =
            "trap 'echo stopped; exit 9' TERM; kill -TERM $PPID; while :; do sleep 0.01; done";
        let done = run(dir.path(), &["/bin/sh", "-c", script], &[]);
        assert_eq!(
            (done.status.code(), text(&done.stdout)),
            (Some(9), "stopped".to_owned())
        );
    }

    #[test]
    fn an_image_in_which_nothing_can_fetch_says_so() {
        let dir = tempfile::tempdir().expect("a folder");
        let bin = dir.path().join("bin");
        std::fs::create_dir_all(&bin).expect("a folder");
        for tool in ["mktemp", "rm"] {
            let real = Path::new("/usr/bin").join(tool);
            let real = if real.exists() {
                real
            } else {
                Path::new("/bin").join(tool)
            };
            std::os::unix::fs::symlink(real, bin.join(tool)).expect("linked");
        }
        let command = wrapped(vec!["true".into()]);
        let mut process = Process::new("/bin/sh");
        process.args(&command[1..]).env_clear().env("PATH", &bin);
        process.env("DALSEGNO_OUTPUT_URI", "s3://out");
        let done = process.output().expect("it runs");
        assert_eq!(done.status.code(), Some(EXIT_NO_TOOL));
        assert!(text(&done.stderr).contains("neither the AWS CLI (aws) nor python3 with boto3"));
    }

    #[test]
    fn base64_is_as_everybody_writes_it() {
        let all = ["", "f", "fo", "foo", "foobar"].map(|it| base64(it.as_bytes()));
        assert_eq!(all, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYmFy"]);
    }
}
