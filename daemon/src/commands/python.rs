//! `dalsegno python`: the interpreter of a flow, with Metaflow's data where its tasks keep it.

use crate::cli::PythonArgs;
use crate::client::{Exit, Failure, Result, settings};
use crate::metaflow::{options, own};
use crate::output::say;
use crate::up::metaflow_config;
use dalsegno_executor::{Interpreter, Interpreters, MetaflowConfig};
use dalsegno_scheduler::metaflow::MetaflowFlow;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Becomes that interpreter; comes back only when that fails.
pub(super) fn python(args: &PythonArgs) -> Result<Exit> {
    let mut settings = settings(args.config.as_deref(), Some("any"))?;
    if let Some(data) = &args.data {
        settings.data.clone_from(data);
    }
    let folder = std::path::absolute(&args.flows_dir).map_err(|it| broken(it.to_string()))?;
    let config = metaflow_config(&settings, &folder);
    let (file, flow) = match &args.flow {
        Some(name) => {
            let (file, flow) = find(name, &settings.metaflow, &config)?;
            (file, Some(flow))
        }
        // Any file there has the same.
        None => (folder.join("flow.py"), None),
    };
    let environments = settings.data.join("environments");
    let environments = std::path::absolute(&environments).unwrap_or(environments);
    let named = flow.as_ref().and_then(|it| it.python.as_deref());
    let found = look(
        &Interpreters::new(config.clone(), environments),
        &file,
        named,
    )?;
    if let Some(warning) = &found.warning {
        say(&format!("warning: {warning}"));
    }
    let user = flow.as_ref().and_then(|it| it.user.as_deref());
    let storage = flow.as_ref().and_then(|it| it.storage.as_ref());
    let mut command = Command::new(&found.python);
    command
        .args(&args.args)
        .envs(config.client_settings(user, storage));
    if let Some(path) = path_with(&found.python) {
        command.env("PATH", path);
    }
    let error = command.exec();
    Err(broken(format!(
        "cannot run the interpreter {}: {error}",
        found.python.display()
    )))
}

fn look(interpreters: &Interpreters, file: &Path, named: Option<&str>) -> Result<Interpreter> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| broken(format!("cannot start the runtime: {error}")))?;
    let found = runtime.block_on(interpreters.look(file, named));
    found.map_err(|missing| {
        broken(missing.to_string())
            .help("`dalsegno doctor` shows the interpreter of each flow, `dalsegno python FLOW` takes that of one")
    })
}

/// A flow file of the folder by the flow's name, or by its class where only one flow has that.
fn find(
    name: &str,
    metaflow: &crate::config::Metaflow,
    config: &MetaflowConfig,
) -> Result<(PathBuf, MetaflowFlow)> {
    let folder = &config.flows_dir;
    let read = dalsegno_flowfile::read_dir_with(folder, |_| options(metaflow, config));
    let flows: Vec<(String, PathBuf, MetaflowFlow)> = read
        .into_iter()
        .filter_map(|(path, file)| {
            let file = own(metaflow, config, &path, file.ok()?);
            let flow = file.flow.spec().metaflow.clone()?;
            Some((file.flow.name().to_string(), path, flow))
        })
        .collect();
    let of_name = flows.iter().find(|(it, ..)| it == name);
    let of_class: Vec<_> = flows.iter().filter(|(.., it)| it.class == name).collect();
    match (of_name, of_class.as_slice()) {
        (Some((_, path, flow)), _) | (None, [(_, path, flow)]) => Ok((path.clone(), flow.clone())),
        (None, []) => {
            let text = format!("there is no Metaflow flow `{name}` in {}", folder.display());
            Err(Failure::new(Exit::NotFound, text)
                .help("words for Python follow `--`: dalsegno python -- -c 'import metaflow'")
                .help(
                    "a flow that was deployed has the interpreter that deployed it; `dalsegno flows FLOW` names it",
                ))
        }
        (None, several) => {
            let names: Vec<_> = several.iter().map(|(it, ..)| it.as_str()).collect();
            let text = format!("`{name}` is the class of several flows");
            Err(Failure::new(Exit::NotFound, text).help(format!("name one: {}", names.join(", "))))
        }
    }
}

/// Programs of the interpreter's environment come first.
fn path_with(python: &Path) -> Option<std::ffi::OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let first = python.parent()?.to_owned();
    std::env::join_paths(std::iter::once(first).chain(std::env::split_paths(&path))).ok()
}

fn broken(text: String) -> Failure {
    Failure::new(Exit::Broken, text)
}
