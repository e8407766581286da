//! Executors for AWS, as the configuration wants them.

use crate::config::Settings;
use anyhow::Context;
use dalsegno_engine::{Executor, Reporter};
use dalsegno_executor_aws::{Aws, AwsConfig};
use dalsegno_scheduler::ExecutorKind;
use dalsegno_store::Store;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Where the name of this database's house is remembered.
const INSTALLATION: &str = "installation";

/// Everything for AWS that a running daemon has.
#[derive(Clone)]
pub(crate) struct Elsewhere {
    pub(crate) aws: Aws,
    pub(crate) executors: BTreeMap<ExecutorKind, Arc<dyn Executor>>,
}

/// `None` without `[aws]`.
pub(crate) async fn start(
    settings: &Settings,
    store: &Arc<dyn Store>,
    address: SocketAddr,
    instance: &str,
    reporter: &Reporter,
    stop: &CancellationToken,
) -> anyhow::Result<Option<Elsewhere>> {
    let Some(config) = settings.aws.clone() else {
        return Ok(None);
    };
    let config = AwsConfig {
        installation: installation(store.as_ref()).await?,
        instance: instance.to_owned(),
        data_dir: settings.data.clone(),
        // From another machine loopback is somewhere else.
        api_url: (!address.ip().is_loopback()).then(|| format!("http://{address}/api/v1")),
        ..config
    };
    let aws = Aws::connect(config, store.clone()).await;
    let _ = (reporter, stop);
    Ok(Some(Elsewhere {
        aws,
        executors: BTreeMap::new(),
    }))
}

/// Eight letters and digits, made once for a database. Two daemons that make one at the same time agree on what was
/// written last: nothing is named by it before it is read again.
async fn installation(store: &dyn Store) -> anyhow::Result<String> {
    let read = async || {
        let stored = store.position(INSTALLATION).await;
        stored.context("cannot read the name of this installation")
    };
    if let Some(name) = read().await? {
        return Ok(name);
    }
    let mut name = uuid::Uuid::new_v4().simple().to_string();
    name.truncate(8);
    let now = dalsegno_engine::clock::now();
    store
        .put_position(INSTALLATION, &name, now)
        .await
        .context("cannot write the name of this installation")?;
    Ok(read().await?.unwrap_or(name))
}
