//! What people ask for, through the API or a page's form.

use crate::problem::{Failure, Outcome};
use crate::read;
use crate::state::App;
use dalsegno_engine::Code;
use dalsegno_scheduler::{
    Answer, CatchUp, FlowName, Input, Reason, ResumeWith, RunId, StartRequest, StepName,
};
use serde_json::{Map, Value};

/// What came of a wish to start a flow.
pub(crate) enum Started {
    /// `again`: an earlier request with the same key started it.
    Run { run: RunId, again: bool },
    /// It is on record, but the flow's strategy or a pause refused it.
    Not { occurrence: String, reason: Reason },
}

/// Starts a run by hand.
pub(crate) async fn start(
    app: &App,
    flow: &str,
    params: Map<String, Value>,
    key: Option<String>,
    by: String,
) -> Outcome<Started> {
    let (row, declared) = read::flow(&app.engine().view(), flow)?;
    let metaflow = declared.as_ref().and_then(|it| it.spec().metaflow.as_ref());
    if let Some(why) = metaflow.and_then(|it| app.web.metaflow.about(&row, it).held) {
        return Err(Failure::new(
            Code::FlowNotReady,
            format!("flow {flow}: {why}"),
        ));
    }
    let flow = FlowName::new(flow);
    let request = StartRequest {
        flow,
        params,
        key,
        by,
    };
    match app.engine().ask(Input::Start(request)).await? {
        Answer::Run {
            run,
            duplicate: again,
        } => Ok(Started::Run { run, again }),
        Answer::NotStarted { occurrence, reason } => Ok(Started::Not { occurrence, reason }),
        other => Err(unexpected(&other)),
    }
}

pub(crate) async fn pause(
    app: &App,
    flow: &str,
    by: String,
    reason: Option<String>,
) -> Outcome<()> {
    read::flow(&app.engine().view(), flow)?;
    let flow = FlowName::new(flow);
    app.engine().ask(Input::Pause { flow, by, reason }).await?;
    Ok(())
}

pub(crate) async fn unpause(app: &App, flow: &str, by: String, catch_up: CatchUp) -> Outcome<()> {
    read::flow(&app.engine().view(), flow)?;
    let flow = FlowName::new(flow);
    app.engine()
        .ask(Input::Unpause { flow, by, catch_up })
        .await?;
    Ok(())
}

pub(crate) async fn cancel(
    app: &App,
    run: &str,
    by: String,
    reason: Option<String>,
) -> Outcome<RunId> {
    let row = read::run(app.engine(), run).await?;
    if row.state.is_terminal() {
        let detail = format!("run {} is {} already", row.id, row.state);
        return Err(Failure::new(Code::AlreadyFinished, detail));
    }
    let run = row.id;
    app.engine().ask(Input::Cancel { run, by, reason }).await?;
    Ok(run)
}

pub(crate) async fn resume(
    app: &App,
    run: &str,
    from: Option<StepName>,
    with: ResumeWith,
    by: String,
) -> Outcome<RunId> {
    let row = read::run(app.engine(), run).await?;
    app.engine().resume(row.id, from, with, by).await?;
    Ok(row.id)
}

/// Makes a new run from a finished one, with other parameters.
pub(crate) async fn rerun(
    app: &App,
    run: &str,
    from: Option<StepName>,
    params: Map<String, Value>,
    with: ResumeWith,
    key: Option<String>,
    by: String,
) -> Outcome<Started> {
    let row = read::run(app.engine(), run).await?;
    let answer = app.engine().rerun(row.id, from, params, with, key, by);
    match answer.await? {
        Answer::Run {
            run,
            duplicate: again,
        } => Ok(Started::Run { run, again }),
        Answer::NotStarted { occurrence, reason } => Ok(Started::Not { occurrence, reason }),
        other => Err(unexpected(&other)),
    }
}

fn unexpected(answer: &Answer) -> Failure {
    Failure::new(Code::Panic, format!("the engine answered {answer:?}"))
}
