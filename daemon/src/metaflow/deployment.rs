//! Flows that come over HTTP: their code is unpacked, and what Metaflow says of them counts.

use super::registry::{Registry, interpreter_in, is_deployed, options};
use super::version::versioned;
use super::{base64, checked};
use crate::config::strategy;
use dalsegno_engine::{Code, Problem};
use dalsegno_flowfile::metaflow::{Dump, Options, flow_from_dump, read_text, with_dump};
use dalsegno_flowfile::{Diagnostics, FlowFile, preflight};
use dalsegno_scheduler::instances::INSTANCES;
use dalsegno_web::{Deployed, Deployment};
use serde_json::json;
use std::path::Path;
use tracing::info;

pub(super) async fn deploy(
    registry: &Registry,
    deployment: Deployment,
) -> Result<Deployed, Problem> {
    let inner = &registry.0;
    let dump: Dump = serde_json::from_value(deployment.dump.clone()).map_err(|error| {
        bad(format!(
            "`dump` is not what Metaflow says of a flow: {error}"
        ))
    })?;
    if dump.flow != deployment.class || dump.flow.is_empty() {
        let (dumped, class) = (&dump.flow, &deployment.class);
        return Err(bad(format!(
            "`dump` is of the flow `{dumped}`, and `class` says `{class}`"
        )));
    }
    checked::check(&deployment).map_err(bad)?;
    let options = options_of(registry, &deployment)?;
    if let Some(environment @ ("conda" | "pypi")) = options.environment.as_deref()
        && !inner.settings.ignore_environments
    {
        return Err(bad(format!(
            "`--environment={environment}` wants an interpreter for each step, and here all steps of a flow run in one; let \
             the deploying interpreter have the packages, and deploy without `--environment`, with \
             DALSEGNO_IGNORED_DECORATORS=conda,pypi and `ignore_environments = true` below [metaflow] in dalsegno.toml"
        )));
    }
    let package = base64::decode(&deployment.package)
        .filter(|it| !it.is_empty())
        .ok_or_else(|| bad("`package` is not base64 of a gzipped tar archive".into()))?;
    let (snapshots, entry) = (inner.snapshots.clone(), deployment.entry.clone());
    let unpacked = tokio::task::spawn_blocking(move || {
        let code = snapshots.unpack(&package, &entry)?;
        let text = std::fs::read_to_string(snapshots.entry(&code)).ok();
        Ok::<_, dalsegno_executor::CodeError>((code, text))
    });
    let (mut code, text) = unpacked
        .await
        .map_err(|error| Problem::new(Code::Panic, error.to_string()))?
        .map_err(|error| bad(error.to_string()))?;
    let place = inner.snapshots.entry(&code);
    code.folder.clone_from(&deployment.folder);

    let shown = Path::new(&deployment.file);
    let file = merged(
        &place,
        shown,
        text.as_deref().unwrap_or(""),
        &dump,
        &options,
    )
    .map_err(|found| refused(&found))?;
    let name = file.flow.name().clone();
    let view = inner.engine.view();
    if let Some(row) = view.flow(name.as_str()).map(|it| &it.row)
        && !row.removed
        && !is_deployed(row)
    {
        let detail = format!("a flow `{name}` lies in the flows folder, in {}", row.file);
        return Err(Problem::new(Code::NameTaken, detail).with("file", row.file.as_str()));
    }
    inner.lead_somewhere(&file.flow).map_err(bad)?;
    let versioned = versioned(&file, code, None, registry.0.executions.as_deref()).map_err(bad)?;
    let host = deployment.host.as_deref().unwrap_or("http");
    let from = format!("{host}:{}", deployment.file);
    let created = inner.ask_deploy(&versioned, from.clone()).await?;
    let warnings: Vec<String> = file.warnings.iter().map(|it| it.message.clone()).collect();
    inner.notes.change(&name, |it| {
        it.doing = None;
        it.warnings.clone_from(&warnings);
    });
    if created {
        info!("flow {name} was deployed from {from}");
    }
    registry.try_again();
    let (inner, flow) = (inner.clone(), name.clone());
    tokio::spawn(async move {
        let named = options.python;
        // What comes of it is noted.
        let _ = inner.interpreter(&flow, &place, named.as_deref()).await;
    });
    Ok(Deployed {
        flow: name,
        version: versioned.version,
        created,
        warnings,
    })
}

/// What Metaflow says, at the lines where reading finds it; where the text cannot be read, without lines.
fn merged(
    place: &Path,
    shown: &Path,
    text: &str,
    dump: &Dump,
    options: &Options,
) -> Result<FlowFile, Diagnostics> {
    let file = match read_text(place, text, options) {
        Ok(file) => with_dump(&file, dump, options)
            .map(|(file, _)| file)
            .or_else(|_| flow_from_dump(shown, Some(place), text, dump, options)),
        Err(_) => flow_from_dump(shown, Some(place), text, dump, options),
    };
    let mut file = file?;
    preflight(&shown.display().to_string(), &mut file, &INSTANCES)?;
    Ok(file)
}

/// What the deployment says; where it is silent, what the configuration says.
fn options_of(registry: &Registry, it: &Deployment) -> Result<Options, Problem> {
    let inner = &registry.0;
    let own = inner.settings.of(&it.class, &it.class);
    let configured = options(&inner.settings, &inner.config);
    let strategy = match it.strategy.as_deref() {
        Some(text) => Some(strategy(text).map_err(bad)?),
        None => own.strategy.or(configured.strategy),
    };
    let mut with = it.with.clone();
    with.retain(|it| !it.is_empty());
    Ok(Options {
        branch: it.branch.clone(),
        production: it.production,
        owner: it.user.clone().or(configured.owner),
        user: it.user.clone().or(configured.user),
        with,
        strategy,
        tags: it.tags.clone(),
        namespace: it.namespace.clone(),
        python: own
            .python
            .as_deref()
            .map(interpreter_in)
            .or_else(|| it.python.clone()),
        storage: it.storage.clone(),
        environment: it.environment.clone().filter(|it| it != "local"),
        executor: configured.executor,
    })
}

fn bad(detail: String) -> Problem {
    Problem::new(Code::BadDeployment, detail)
}

pub(super) fn refused(found: &Diagnostics) -> Problem {
    let first = found.iter().next().map(|it| it.message.clone());
    let errors: Vec<_> = found
        .iter()
        .map(|it| json!({"line": it.line, "message": it.message, "help": it.help, "code": it.code}))
        .collect();
    bad(first.unwrap_or_default()).with("errors", errors)
}
