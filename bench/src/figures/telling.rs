//! (u) 10,000 alerts to 100 endpoints of which ten hang: what the others notice of it.
//!
//! Two settings take turns, so that the machine's mood is the same for both: in one all endpoints are well, in the other
//! ten of them take what they are sent and never answer. What counts is how long an alert takes from its commit to one of
//! the 90 that are well in both.

use super::Effort;
use crate::aim::Aim;
use crate::figure::Figure;
use crate::floors;
use crate::percentile::{median, percentile};
use crate::place::{self, Database};
use anyhow::{Context as _, Result, ensure};
use async_trait::async_trait;
use dalsegno_alerts::{
    Alert, AlertsConfig, Client, Desk, Outbox, Rule, Sender, Specs, System, Vault, deliver,
};
use dalsegno_store::DeliveryRow;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

const ENDPOINTS: usize = 100;
const HANGING: usize = 10;
/// Alerts in a second, evenly: a load that the machine can carry, so that what is measured is waiting and no backlog.
const PACE: f64 = 200.0;
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// What does not come within this is lost.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) async fn measure(effort: Effort) -> Result<Vec<Figure>> {
    let folder = place::folder()?;
    let alerts = effort.pick(10_000, 1_000);
    let rounds = effort.pick(5, 2);
    let (mut calm, mut ill) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        for (hanging, latencies) in [(0, &mut calm), (HANGING, &mut ill)] {
            let name = format!("telling-{round}-{hanging}");
            latencies.extend(run(folder.path(), &name, alerts / rounds, hanging).await?);
        }
    }
    let fsync = floors::fsync_p50_us(folder.path())?;
    let p99 = |all: &[f64]| percentile(all, 99.0);
    let name = format!(
        "{alerts} alerts to {ENDPOINTS} endpoints of which {HANGING} hang, p99 of the others"
    );
    let figure = Figure::new("u", name, p99(&ill), "ms")
        .limit("none of them hangs", p99(&calm))
        .aim(Aim::RatioAtMost(1.1))
        .more("p50, ms", median(&ill))
        .more("p50 where none hangs, ms", median(&calm));
    Ok(vec![figure.judged(fsync)])
}

/// How long alerts took to those that never hang, in milliseconds.
async fn run(folder: &Path, name: &str, alerts: usize, hanging: usize) -> Result<Vec<f64>> {
    let heard = Arc::new(Heard::default());
    let stop = CancellationToken::new();
    let mut ports = Vec::new();
    for number in 0..ENDPOINTS {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        ports.push(listener.local_addr()?.port());
        let manner = number < hanging;
        tokio::spawn(listen(listener, manner, heard.clone(), stop.clone()));
    }
    let store = Database::sqlite(folder, name).store().await?;
    let outbox = Arc::new(Offered::default());
    let sender = Sender {
        client: Client::new(Arc::new(System)),
        topics: None,
    };
    let clock = Arc::new(dalsegno_engine::clock::now);
    let desk = Desk::new(config(&ports)?, sender, store, clock);
    let delivering = tokio::spawn(deliver(desk, outbox.clone(), stop.clone()));

    let begun = Instant::now();
    for number in 0..alerts {
        let due = begun + Duration::from_secs_f64(number as f64 / PACE);
        tokio::time::sleep_until(due.into()).await;
        outbox.offer(number);
    }
    let expected = (0..alerts).filter(|it| it % ENDPOINTS >= HANGING).count();
    let last = Instant::now() + PATIENCE;
    while heard.count() < expected {
        ensure!(
            Instant::now() < last,
            "{} of {expected} alerts came",
            heard.count()
        );
        let _ = tokio::time::timeout(Duration::from_millis(100), heard.more.notified()).await;
    }
    stop.cancel();
    delivering.await.context("what delivers panicked")?;
    let offered = outbox.lock();
    let heard = heard.at.lock().unwrap_or_else(PoisonError::into_inner);
    let latency = |(number, at): (&usize, &Instant)| (*at - offered[*number].1).as_secs_f64() * 1e3;
    Ok(heard.iter().map(latency).collect())
}

/// Each endpoint has a flow of its own.
fn config(ports: &[u16]) -> Result<AlertsConfig> {
    let channels = ports.iter().enumerate().map(|(number, port)| {
        let channel = json!({
            "type": "webhook", "url": format!("http://127.0.0.1:{port}/"), "secret": { "env": "SECRET" },
            "allow_private": true,
        });
        (format!("c{number}"), channel)
    });
    let channels = serde_json::to_value(channels.collect::<BTreeMap<_, _>>())?;
    let rules = (0..ports.len()).map(|number| {
        json!({ "on": ["run.failed"], "to": format!("c{number}"), "flow": format!("f{number}"), "group": "none" })
    });
    let rules = serde_json::Value::from_iter(rules);
    let specs = Specs {
        channels: serde_json::from_value(channels)?,
        rules: serde_json::from_value(rules)?,
        owners: BTreeMap::new(),
    };
    let vault = Vault {
        beside: Path::new("."),
        environment: &|_| Some(SECRET.to_owned()),
    };
    AlertsConfig::checked(specs, &vault, &["run.failed"]).map_err(anyhow::Error::msg)
}

/// Alerts as a core would have committed them, each with its moment.
#[derive(Default)]
struct Offered {
    all: Mutex<Vec<(Alert, Instant)>>,
    more: Notify,
}

impl Offered {
    fn offer(&self, number: usize) {
        let alert = Alert {
            id: number as u64 + 1,
            kind: "run.failed".into(),
            flow: Some(format!("f{}", number % ENDPOINTS)),
            key: format!("run:{number}"),
            summary: format!("run {number} failed"),
            ..Alert::test("x", dalsegno_engine::clock::now())
        };
        self.lock().push((alert, Instant::now()));
        self.more.notify_one();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(Alert, Instant)>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Outbox for Offered {
    async fn after(
        &self,
        id: u64,
        limit: usize,
    ) -> Result<Vec<(Alert, Vec<Rule>)>, dalsegno_store::Error> {
        let all = self.lock();
        let more = all.iter().skip(id as usize).take(limit);
        Ok(more.map(|it| (it.0.clone(), Vec::new())).collect())
    }

    async fn changed(&self) {
        self.more.notified().await;
    }

    async fn dead(&self, _row: &DeliveryRow, _reason: &str) {}
}

/// When each message first came to an endpoint that is well in both settings.
#[derive(Default)]
struct Heard {
    at: Mutex<BTreeMap<usize, Instant>>,
    more: Notify,
}

impl Heard {
    fn count(&self) -> usize {
        self.at.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn hear(&self, request: &str) {
        let now = Instant::now();
        let number = request
            .lines()
            .find_map(|it| it.strip_prefix("webhook-id: msg_"))
            .and_then(|it| it.split('_').next())
            .and_then(|it| it.parse::<usize>().ok());
        let Some(number) = number
            .map(|it| it - 1)
            .filter(|it| it % ENDPOINTS >= HANGING)
        else {
            return;
        };
        let mut at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        at.entry(number).or_insert(now);
        drop(at);
        self.more.notify_one();
    }
}

async fn listen(listener: TcpListener, hangs: bool, heard: Arc<Heard>, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        if let Ok((socket, _)) = accepted {
            let (heard, stop) = (heard.clone(), stop.clone());
            tokio::spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    _ = answer(socket, hangs, &heard) => {}
                }
            });
        }
    }
}

/// One request on one connection, as alerts are sent.
async fn answer(mut socket: TcpStream, hangs: bool, heard: &Heard) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    loop {
        if socket.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .find_map(|it| it.strip_prefix("content-length: "))
            .and_then(|it| it.parse::<usize>().ok());
        if body.len() >= length.unwrap_or(0) {
            heard.hear(head);
            break;
        }
    }
    if hangs {
        std::future::pending::<()>().await;
    }
    socket.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await
}
