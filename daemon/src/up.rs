//! `dalsegno up`: everything in one process.

use crate::breakers::Guarded;
use crate::cli::UpArgs;
use crate::config::Settings;
use crate::matters::{self, Places};
use crate::metaflow::{LocalData, Registry};
use crate::sources::{self, Receivers};
use crate::{alerts, aws, flows, lock, logs, metadata, predictor};
use anyhow::Context;
use dalsegno_engine::{EngineConfig, EngineHandle, Reporter, Role};
use dalsegno_executor::metaflow::MetadataSpool;
use dalsegno_executor::{Layout, LocalConfig, LocalExecutor, MetaflowConfig, Router, Snapshots};
use dalsegno_executor_aws::AwsConfig;
use dalsegno_executor_aws::guard::Guard;
use dalsegno_scheduler::{Span, Timestamp};
use dalsegno_store::{Durability, PostgresStore, SqliteStore, Store};
use dalsegno_triggers::status::Sources;
use dalsegno_triggers::{lineage, webhook};
use dalsegno_web::{Remote, WebState};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How many of the next occurrences are printed at start.
const NEXT_SHOWN: usize = 5;

/// Requests that are being answered get this long when the daemon stops.
const DRAIN: std::time::Duration = std::time::Duration::from_secs(5);

/// Runs the daemon until it is told to stop.
pub(crate) fn up(args: &UpArgs) -> anyhow::Result<ExitCode> {
    let settings = Settings::gather(args)?;
    let lock = lock::take(&settings.data)?;
    logs::start(args);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let result = runtime.block_on(run(&settings));
    drop(lock);
    result.map(|()| ExitCode::SUCCESS)
}

async fn run(settings: &Settings) -> anyhow::Result<()> {
    // First of all, so that whoever asks to stop early is heard.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let listener = listen(settings.listen).await?;
    let address = listener.local_addr()?;
    std::fs::read_dir(&settings.flows_dir).with_context(|| {
        format!(
            "cannot read the flows folder {}; name the folder that holds your flow files: dalsegno up FOLDER",
            settings.flows_dir.display()
        )
    })?;
    let flows_dir = std::path::absolute(&settings.flows_dir)?;

    let store = open(settings).await?;
    tidy_code(store.as_ref(), &settings.data).await;
    let stop = CancellationToken::new();
    let (reporter, reports) = Reporter::channel();
    let instance = match &settings.instance {
        Some(name) => name.clone(),
        None => lock::instance_name(&settings.data)?,
    };
    let metaflow = metaflow_config(settings, &flows_dir);
    let elsewhere = aws::start(aws::Needs {
        settings,
        store: &store,
        address,
        instance: &instance,
        metaflow: &metaflow,
        reporter: &reporter,
        stop: &stop,
    })
    .await?;
    let spool = std::path::absolute(&settings.data)?;
    let spool = MetadataSpool::configured(&spool, metaflow.spool);
    let guarded = match (&elsewhere, &spool) {
        (Some(aws), _) => Some((Arc::clone(&aws.guard), None)),
        (None, Some(_)) => {
            let guard = Guard::new(&AwsConfig::default(), Arc::clone(&store));
            Some((Arc::new(guard), Some(metadata::BREAKER)))
        }
        (None, None) => None,
    };
    let breakers = guarded.as_ref().map(|(guard, only)| {
        let guard = Arc::clone(guard);
        Arc::new(Guarded { guard, only: *only }) as Arc<dyn dalsegno_web::Breakers>
    });
    let executor = LocalExecutor::start(
        LocalConfig {
            data_dir: settings.data.clone(),
            program: std::env::current_exe().context("cannot find this program's own file")?,
            args: vec!["keeper".into()],
            api_url: Some(format!("http://{address}/api/v1")),
            metaflow: metaflow.clone(),
        },
        reporter.clone(),
    )
    .await?;
    let router = Router::new(
        executor.clone(),
        elsewhere
            .as_ref()
            .map(|it| it.executors.clone())
            .unwrap_or_default(),
        reporter,
        dalsegno_engine::clock::now,
    );
    let config = EngineConfig {
        instance,
        lease_ttl: settings.lease_ttl,
        core: settings.core.clone(),
    };
    let (engine, mut engine_task) =
        dalsegno_engine::start(store, config, Arc::new(router), reports, stop.clone());

    let registry = Registry::new(
        engine.clone(),
        executor.clone(),
        settings.metaflow.clone(),
        metaflow,
        settings.aws.clone(),
        alerts::places(&settings.alerts),
        elsewhere.as_ref().map(|it| it.executions.clone()),
    );
    let (stopping_in, stopping) = watch::channel(false);
    let sources = Sources::default();
    let receivers = Receivers::new();
    let metadata = spool
        .zip(guarded)
        .map(|(spool, (guard, _))| metadata::start(spool, guard, &sources, stop.clone()));
    let events_in = dalsegno_triggers::router(engine.clone())
        .merge(lineage::router(engine.clone(), &sources))
        .merge(webhook::router(
            engine.clone(),
            settings.webhooks.clone(),
            &sources,
        ));
    let emission = settings.emission.clone();
    let emission = emission.map(|it| lineage::emit(engine.clone(), it, &sources, stop.clone()));
    let emission = emission
        .transpose()
        .context("cannot start telling of runs")?;
    let (channels, delivering) = alerts::start(settings, &engine, &stop);
    predictor::start(engine.clone(), stop.clone());
    let places = Places {
        breakers: breakers.clone(),
        elsewhere: elsewhere.clone(),
        queue_long: settings.queue_long,
        kinds: settings.core.alert_kinds.clone(),
    };
    matters::start(engine.clone(), places, stop.clone());
    let web = dalsegno_web::router(
        WebState {
            engine: engine.clone(),
            logs: Arc::new(logs::AttemptLogs(executor.layout().clone())),
            metaflow: Arc::new(registry.clone()),
            task_data: Arc::new(LocalData),
            sources: Arc::new(sources::Told {
                sources: sources.clone(),
                metadata,
            }),
            remote: elsewhere.map(|it| Arc::new(it) as Arc<dyn Remote>),
            breakers,
            channels: Some(channels),
            token: settings.token.clone(),
            loopback: address.ip().is_loopback(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            stopping: stopping.clone(),
        },
        events_in,
    );
    let mut drain = stopping.clone();
    let server = tokio::spawn(
        axum::serve(listener, web)
            .with_graceful_shutdown(async move {
                let _ = drain.wait_for(|stop| *stop).await;
            })
            .into_future(),
    );

    // Watched before it is read, so that no edit falls in between.
    if let Err(error) = flows::watch(
        engine.clone(),
        registry.clone(),
        flows_dir.clone(),
        stop.clone(),
    ) {
        warn!("{error:#}; restart the daemon after you change flow files");
    }
    let told_to_stop = async {
        tokio::select! {
            _ = terminate.recv() => info!("SIGTERM: stopping"),
            _ = interrupt.recv() => info!("interrupted: stopping"),
        }
    };
    let serve = async {
        let receive = || receivers.start(&settings.sources, &engine, &sources);
        begin(&engine, &registry, settings, &flows_dir, address, receive).await?;
        std::future::pending::<anyhow::Result<()>>().await
    };
    // The engine ends only when it is told to: if it ends by itself, nothing would be decided any more, and
    // whoever watches over this process must hear of it.
    let mut engine_ended = None;
    let outcome = tokio::select! {
        failed = serve => failed,
        () = told_to_stop => Ok(()),
        ended = &mut engine_task => {
            engine_ended = Some(());
            Err(anyhow::anyhow!("the engine broke off ({ended:?}); start the daemon again, nothing is lost"))
        }
    };

    // No new work; what was accepted is finished; running tasks go on under their keeper.
    stopping_in.send_replace(true);
    let drained = tokio::time::timeout(DRAIN, server);
    if tokio::join!(drained, receivers.stop(DRAIN)).0.is_err() {
        warn!("some requests were still being answered");
    }
    stop.cancel();
    if engine_ended.is_none()
        && let Err(error) = engine_task.await
    {
        warn!("the engine did not end in order: {error}");
    }
    // What is on its way gets a little time; what is cut off is sent once more, under the same id.
    let _ = tokio::time::timeout(2 * DRAIN, delivering).await;
    if let Some(emission) = emission {
        // It writes down how far it has come; without that it tells some things twice.
        let _ = tokio::time::timeout(DRAIN, emission).await;
    }
    if tokio::time::timeout(DRAIN, executor.leave()).await.is_err() {
        warn!("the keeper does not answer; running tasks go on, and the next start takes them up");
    }
    outcome
}

/// How this machine runs Metaflow's tasks.
pub(crate) fn metaflow_config(settings: &Settings, flows_dir: &Path) -> MetaflowConfig {
    let own = &settings.metaflow;
    MetaflowConfig {
        flows_dir: flows_dir.to_owned(),
        storage: own.storage.clone(),
        user: own.user.clone(),
        events_url: None,
        events_key: settings.token.as_deref().map(dalsegno_web::events_token),
        cold: own.cold,
        python: own.python.clone(),
        environments: own.environments.clone(),
        ignore_environments: own.ignore_environments,
        sandbox: vec!["sandbox".into()],
        spool: own.spool,
    }
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!(
            "cannot listen on {address}; if another program uses the port, choose one with --port (0: any free one)"
        )
    })
}

async fn open(settings: &Settings) -> anyhow::Result<Arc<dyn Store>> {
    let store: Arc<dyn Store> = match &settings.database {
        Some(url) => Arc::new(PostgresStore::open(url).await?),
        None => {
            let file = settings.data.join("dalsegno.db");
            Arc::new(SqliteStore::open(&file, Durability::Full).await?)
        }
    };
    store.migrate().await?;
    Ok(store)
}

/// Removes code that no version of any flow names: that of deployments which were refused, or of a process that was
/// killed over it. Nothing of this process is at work yet.
async fn tidy_code(store: &dyn Store, data: &Path) {
    let named = async {
        let mut named = BTreeSet::new();
        for flow in store.flows().await? {
            for version in store.versions(&flow.name).await? {
                let spec: serde_json::Value = serde_json::from_str(&version.definition)?;
                let hash = spec["metaflow"]["code"]["hash"].as_str();
                named.extend(hash.map(str::to_owned));
            }
        }
        anyhow::Ok(named)
    };
    let snapshots = Snapshots::new(Layout::new(data).code_dir());
    match named.await {
        // In front of another database all would be unknown, and some of it cannot be had again.
        Ok(named) if snapshots.has_any_of(&named) => match snapshots.keep_only(&named) {
            0 => {}
            removed => info!("{removed} copies of code that no version has were removed"),
        },
        Ok(_) => {}
        Err(error) => warn!("code that no version has is not looked for: {error:#}"),
    }
}

/// Waits until this instance decides, loads the flows, and says where things are.
async fn begin(
    engine: &EngineHandle,
    registry: &Registry,
    settings: &Settings,
    flows_dir: &Path,
    address: SocketAddr,
    receive: impl FnOnce(),
) -> anyhow::Result<()> {
    let synced = match engine.settled().await {
        Role::Leader => {
            let synced = flows::sync(engine, registry, flows_dir).await?;
            registry.forget_the_past().await;
            Some(synced)
        }
        Role::Broken { message } => anyhow::bail!("{message}"),
        // The engine's own end tells why.
        Role::Stopped => std::future::pending().await,
        Role::Starting | Role::Follower { .. } => None,
    };
    receive();
    let mut said = format!("dalsegno {}\n", env!("CARGO_PKG_VERSION"));
    let data = settings.data.display();
    let database = match &settings.database {
        Some(_) => "PostgreSQL".to_owned(),
        None => format!("SQLite, {data}/dalsegno.db"),
    };
    let _ = writeln!(said, "  page   http://{address}/");
    match &synced {
        Some(synced) => {
            let _ = writeln!(
                said,
                "  flows  {} from {}{}",
                synced.valid,
                settings.flows_dir.display(),
                match synced.invalid.len() {
                    0 => String::new(),
                    bad => format!(", {bad} not valid"),
                }
            );
        }
        None => {
            let _ = writeln!(
                said,
                "  role   another instance is in charge; this one serves pages"
            );
        }
    }
    let _ = writeln!(said, "  data   {database}");
    said += &aws::lines(settings.aws.as_ref());
    said += &sources::lines(&settings.sources);
    let _ = write!(said, "{}", next(engine));
    let _ = writeln!(said, "ready. Ctrl-C ends.");
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(said.as_bytes()).and_then(|()| out.flush());
    for (_, message) in synced.iter().flat_map(|it| &it.invalid) {
        eprintln!("{message}");
    }
    Ok(())
}

/// What runs next, by time.
fn next(engine: &EngineHandle) -> String {
    let (view, now) = (engine.view(), engine.now());
    let mut said = String::new();
    let expected = view.expected_all().filter(|it| it.reason.is_none());
    for (place, row) in expected.take(NEXT_SHOWN).enumerate() {
        let label = if place == 0 { "next" } else { "" };
        let left = (row.due_at - now).max(Span::ZERO);
        // Whole seconds are enough here.
        let left = Span::from_secs((left.0 + 999_999) / 1_000_000);
        let _ = writeln!(
            said,
            "  {label:<5}  {} in {left} ({})",
            row.flow,
            clock(row.due_at)
        );
    }
    if said.is_empty() {
        let _ = writeln!(
            said,
            "  next   nothing is scheduled; start a flow by hand: dalsegno run FLOW"
        );
    }
    said
}

fn clock(at: Timestamp) -> String {
    Timestamp(at.0 - at.0.rem_euclid(1_000_000)).to_string()
}
