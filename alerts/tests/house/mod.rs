//! Servers on loopback that behave as endpoints do, and a house that sends to them.

// Each test binary uses a part of it.
#![allow(dead_code)]

use async_trait::async_trait;
use dalsegno_alerts::{
    Alert, AlertsConfig, Client, Desk, Outbox, Resolve, Rule, Sender, Specs, System, Vault, deliver,
};
use dalsegno_scheduler::{Span, Timestamp};
use dalsegno_store::{DeliveryFilter, DeliveryRow, DeliveryState, MemoryStore, Store};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What a server received.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Received {
    pub(crate) fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).expect("JSON")
    }
}

/// How a server behaves.
#[derive(Clone, Debug)]
pub(crate) enum Manner {
    /// Status, further header lines, body.
    Answers(u16, &'static str, &'static str),
    /// One after the other; the last one for ever.
    InTurn(Vec<Self>),
    /// It takes everything and says nothing.
    Hangs,
    /// It breaks off after it has read.
    Resets,
    /// Its body never ends.
    Endless,
    /// It answers, and then neither goes on nor hangs up.
    Stalls,
    /// Its header never ends.
    EndlessHeader,
    /// A byte of its header now and then.
    Drips,
    /// It speaks another language.
    Gibberish,
}

pub(crate) struct Server {
    pub(crate) port: u16,
    received: Arc<Mutex<Vec<Received>>>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub(crate) async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let received = Arc::new(Mutex::new(Vec::new()));
        let log = received.clone();
        let task = tokio::spawn(async move {
            let mut turn = 0;
            while let Ok((socket, _)) = listener.accept().await {
                let one = match &manner {
                    Manner::InTurn(all) => all[turn.min(all.len() - 1)].clone(),
                    one => one.clone(),
                };
                turn += 1;
                tokio::spawn(serve(socket, one, log.clone()));
            }
        });
        Self {
            port,
            received,
            task,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/alerts", self.port)
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().expect("whole").clone()
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        self.received()
            .iter()
            .map(|it| it.id().to_owned())
            .collect()
    }
}

async fn serve(mut socket: TcpStream, manner: Manner, log: Arc<Mutex<Vec<Received>>>) {
    let Some(request) = read(&mut socket).await else {
        return;
    };
    log.lock().expect("whole").push(request);
    let answer = |status: u16, more: &str, body: &str| {
        format!(
            "HTTP/1.1 {status} X\r\n{more}content-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    match manner {
        Manner::Answers(status, more, body) => {
            let _ = socket
                .write_all(answer(status, more, body).as_bytes())
                .await;
        }
        Manner::InTurn(_) => unreachable!("turns hold no turns"),
        Manner::Hangs => std::future::pending().await,
        Manner::Resets => {
            let _ = socket.set_zero_linger();
        }
        Manner::Endless => {
            let _ = socket
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n")
                .await;
            while socket.write_all(&[b'x'; 65_536]).await.is_ok() {}
        }
        Manner::Stalls => {
            let head = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n";
            let _ = socket.write_all(head).await;
            std::future::pending().await
        }
        Manner::EndlessHeader => {
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nx: ").await;
            while socket.write_all(&[b'x'; 65_536]).await.is_ok() {}
        }
        Manner::Drips => {
            while socket.write_all(b"H").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        Manner::Gibberish => {
            let _ = socket.write_all(b"220 mail.example.com ESMTP\r\n").await;
        }
    }
}

async fn read(socket: &mut TcpStream) -> Option<Received> {
    let (mut bytes, mut piece) = (Vec::new(), [0; 4_096]);
    loop {
        let count = socket.read(&mut piece).await.ok().filter(|it| *it > 0)?;
        bytes.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let headers: BTreeMap<String, String> = head
            .lines()
            .skip(1)
            .filter_map(|it| it.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        if body.len() >= headers["content-length"].parse().expect("a number") {
            return Some(Received {
                headers,
                body: body.to_owned(),
            });
        }
    }
}

/// Alerts that a test writes.
#[derive(Default)]
pub(crate) struct Letters(Mutex<Vec<Alert>>, tokio::sync::Notify, Mutex<Vec<String>>);

impl Letters {
    /// Deliveries that were given up.
    pub(crate) fn dead(&self) -> Vec<String> {
        self.2.lock().expect("whole").clone()
    }

    pub(crate) fn put(&self, alerts: impl IntoIterator<Item = Alert>) {
        self.0.lock().expect("whole").extend(alerts);
        self.1.notify_one();
    }
}

#[async_trait]
impl Outbox for Letters {
    async fn after(
        &self,
        id: u64,
        limit: usize,
    ) -> Result<Vec<(Alert, Vec<Rule>)>, dalsegno_store::Error> {
        let all = self.0.lock().expect("whole");
        let more = all.iter().filter(|it| it.id > id).take(limit);
        Ok(more.map(|it| (it.clone(), Vec::new())).collect())
    }

    async fn changed(&self) {
        let _ = tokio::time::timeout(Duration::from_millis(200), self.1.notified()).await;
    }

    async fn dead(&self, row: &DeliveryRow, _reason: &str) {
        self.2.lock().expect("whole").push(row.id.clone());
    }
}

/// A clock that a test can put forward.
#[derive(Clone)]
pub(crate) struct Clock {
    start: Instant,
    ahead: Arc<AtomicI64>,
}

impl Clock {
    pub(crate) fn now(&self) -> Timestamp {
        let micros = self.start.elapsed().as_micros() as i64;
        Timestamp::from_secs(1_800_000_000) + Span(micros + self.ahead.load(Ordering::SeqCst))
    }

    pub(crate) fn forward(&self, span: Span) {
        self.ahead.fetch_add(span.0, Ordering::SeqCst);
    }
}

/// Everything that delivers, on one store.
pub(crate) struct House {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) letters: Arc<Letters>,
    pub(crate) clock: Clock,
    pub(crate) desk: Arc<Desk>,
    config: String,
    client: Client,
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
}

pub(crate) fn config(text: &str) -> AlertsConfig {
    #[derive(serde::Deserialize)]
    struct Sections {
        #[serde(default)]
        channels: BTreeMap<String, dalsegno_alerts::ChannelSpec>,
        #[serde(default)]
        alert_rules: Vec<dalsegno_alerts::RuleSpec>,
    }
    let sections: Sections = toml::from_str(text).expect("TOML");
    let environment = |name: &str| match name {
        "SECRET" => Some(SECRET.to_owned()),
        "KEY" => Some("k3y".to_owned()),
        other => other.strip_prefix("IS_").map(str::to_owned),
    };
    let vault = Vault {
        beside: Path::new("/nowhere"),
        environment: &environment,
    };
    let specs = Specs {
        channels: sections.channels,
        rules: sections.alert_rules,
        owners: BTreeMap::new(),
    };
    AlertsConfig::checked(specs, &vault, &["run.failed", "sla.missed", "sla.met"]).expect("usable")
}

/// A webhook on loopback that all alerts go to.
pub(crate) fn webhook(name: &str, url: &str, rule: &str) -> String {
    format!(
        "[channels.{name}]\ntype = \"webhook\"\nurl = \"{url}\"\nsecret = {{ env = \"SECRET\" }}\nallow_private = true\n\
         [[alert_rules]]\non = [\"*\"]\nto = \"{name}\"\n{rule}\n"
    )
}

impl House {
    pub(crate) fn new(config: &str) -> Self {
        Self::with(config, Arc::new(MemoryStore::new()), Arc::new(System))
    }

    pub(crate) fn with(
        config_text: &str,
        store: Arc<dyn Store>,
        resolver: Arc<dyn Resolve>,
    ) -> Self {
        let clock = Clock {
            start: Instant::now(),
            ahead: Arc::default(),
        };
        let client = Client::new(resolver).with_timeout(Duration::from_millis(700));
        let desk = desk(config_text, &store, &clock, &client);
        Self {
            letters: Arc::default(),
            store,
            clock,
            desk,
            config: config_text.to_owned(),
            client,
            stop: CancellationToken::new(),
            task: None,
        }
    }

    pub(crate) fn open(&mut self) {
        self.stop = CancellationToken::new();
        self.desk = desk(&self.config, &self.store, &self.clock, &self.client);
        let delivering = deliver(self.desk.clone(), self.letters.clone(), self.stop.clone());
        self.task = Some(tokio::spawn(delivering));
    }

    /// As `kill -9` does: nothing more happens, wherever it was.
    pub(crate) async fn kill(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            let _ = task.await;
        }
    }

    pub(crate) async fn close(&mut self) {
        self.stop.cancel();
        if let Some(task) = self.task.take() {
            task.await.expect("it ends in order");
        }
    }

    pub(crate) async fn delivery(&self, id: &str) -> DeliveryRow {
        let row = self.store.delivery(id).await.expect("answers");
        row.unwrap_or_else(|| panic!("{id} is not there"))
    }

    pub(crate) async fn state(&self, id: &str) -> Option<DeliveryState> {
        let row = self.store.delivery(id).await.expect("answers");
        row.map(|it| it.state)
    }

    pub(crate) async fn all(&self) -> Vec<DeliveryRow> {
        let all = DeliveryFilter::default();
        let page = self.store.deliveries(&all, None, 10_000);
        page.await.expect("answers").items
    }

    /// Waits until a delivery is in a state.
    pub(crate) async fn until(&self, id: &str, state: DeliveryState) -> DeliveryRow {
        eventually(&format!("{id} is {}", state.as_str()), async || {
            self.state(id).await == Some(state)
        })
        .await;
        self.delivery(id).await
    }

    /// Waits until so many attempts of a delivery are on record.
    pub(crate) async fn until_tried(&self, id: &str, attempts: u32) -> DeliveryRow {
        eventually(&format!("{id} was tried {attempts} times"), async || {
            let row = self.store.delivery(id).await.expect("answers");
            row.is_some_and(|it| it.attempts >= attempts)
        })
        .await;
        self.delivery(id).await
    }
}

fn desk(text: &str, store: &Arc<dyn Store>, clock: &Clock, client: &Client) -> Arc<Desk> {
    let sender = Sender {
        client: client.clone(),
        topics: None,
    };
    let clock = clock.clone();
    Desk::new(
        config(text),
        sender,
        store.clone(),
        Arc::new(move || clock.now()),
    )
}

pub(crate) async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < end, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) fn alert(id: u64, key: &str) -> Alert {
    Alert {
        id,
        at: Timestamp::from_secs(1_800_000_000),
        kind: "run.failed".into(),
        flow: Some("etl".into()),
        owner: Some("data-eng".into()),
        run: Some(id),
        step: None,
        key: key.into(),
        is_recovery: false,
        summary: format!("etl run {id} failed"),
        data: serde_json::json!({}),
    }
}

pub(crate) fn recovery(id: u64, key: &str) -> Alert {
    Alert {
        is_recovery: true,
        kind: "sla.met".into(),
        ..alert(id, key)
    }
}
