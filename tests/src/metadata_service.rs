//! A metadata service for Metaflow that can be stopped and started, as `emulator/metadata.py` plays it.

use crate::house::House;
use crate::metaflow::{Metaflow, MetaflowRun, interpreter};
use crate::{binary, eventually};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// The service of one house. What it was told outlives its process.
pub struct MetadataService {
    state: PathBuf,
    port: String,
    running: Option<Child>,
}

impl MetadataService {
    /// Starts it on a free port.
    pub fn start(house: &House) -> Self {
        let mut service = Self {
            state: house.path("told"),
            port: "0".to_owned(),
            running: None,
        };
        service.up();
        service
    }

    /// Starts it again, where it was.
    ///
    /// # Panics
    /// When it does not start.
    pub fn up(&mut self) {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/emulator/metadata.py");
        let mut command = Command::new(interpreter());
        command
            .args(["-B", script, "--port", &self.port, "--state"])
            .arg(&self.state)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().expect("the service starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("stdout is piped");
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("the service speaks");
        let port = line.trim().rsplit(':').next().unwrap_or_default();
        assert!(port.parse::<u16>().is_ok(), "where it listens: {line:?}");
        self.port = port.to_owned();
        self.running = Some(child);
    }

    /// Kills it.
    pub fn down(&mut self) {
        if let Some(mut child) = self.running.take() {
            child.kill().expect("our child can be killed");
            child.wait().expect("our child can be waited for");
        }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What a daemon needs to know of it.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("METAFLOW_SERVICE_URL", self.url()),
            ("METAFLOW_DEFAULT_METADATA", "service".to_owned()),
        ]
    }

    /// From now on it fails like this; `null`: not any more.
    pub fn fails(&self, how: &Value) {
        let url = format!("{}/_faults", self.url());
        ureq::post(url).send_json(how).expect("the service runs");
    }

    /// All updates that it answered, oldest first.
    pub fn told(&self) -> Vec<Value> {
        let url = format!("{}/_told", self.url());
        let mut answer = ureq::get(url).call().expect("the service runs");
        let told: Value = answer.body_mut().read_json().expect("JSON");
        told.as_array().cloned().unwrap_or_default()
    }

    /// What Metaflow's client reads from it of a run.
    #[track_caller]
    pub fn run(&self, metaflow: &Metaflow, run: &Value) -> MetaflowRun {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/client/run.py");
        let pathspec = run["metaflow"]["pathspec"]
            .as_str()
            .expect("a run of Metaflow");
        let mut command = metaflow.command(&[script, pathspec]);
        command.envs(self.variables());
        MetaflowRun(binary::run(&command).succeeded().json())
    }

    /// Waits until a daemon has nothing more to tell it, and says so. A breaker that waits for its time is closed by hand.
    #[track_caller]
    pub fn is_told_all_by(&self, daemon: &crate::Daemon, nothing_waits: impl Fn() -> bool) {
        eventually("a service that was told all", || {
            let source = Self::seen_by(daemon);
            if source["state"] != "ok" {
                for verb in ["close", "auto"] {
                    let path = format!("/api/v1/breakers/metadata/{verb}");
                    daemon.api().post(&path, &json!({}));
                }
            }
            let is_well = source["state"] == "ok" && source["counts"]["waiting"] == 0;
            (is_well && nothing_waits()).then_some(())
        });
    }

    /// How a daemon says that it is doing.
    #[track_caller]
    pub fn seen_by(daemon: &crate::Daemon) -> Value {
        let sources = daemon.api().get("/api/v1/sources").json();
        let mut sources = sources["items"].as_array().into_iter().flatten();
        let source = sources.find(|it| it["kind"] == "metadata_service");
        source.cloned().expect("the daemon knows the service")
    }
}

impl Drop for MetadataService {
    fn drop(&mut self) {
        self.down();
    }
}
