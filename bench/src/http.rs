//! A client as any program would be: one connection, kept open.

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use std::time::Duration;

/// A client of one daemon; one per thread.
pub(crate) struct Client {
    url: String,
    agent: ureq::Agent,
}

impl Client {
    pub(crate) fn new(url: &str) -> Self {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(120)))
            .build()
            .into();
        Self {
            url: url.to_owned(),
            agent,
        }
    }

    pub(crate) fn get(&self, path: &str) -> Result<String> {
        let mut answer = self.agent.get(format!("{}{path}", self.url)).call()?;
        let text = answer.body_mut().read_to_string()?;
        match answer.status().as_u16() {
            200 => Ok(text),
            status => bail!("GET {path}: {status} {text}"),
        }
    }

    pub(crate) fn post(&self, path: &str, kind: &str, body: &Value) -> Result<String> {
        let url = format!("{}{path}", self.url);
        let request = self.agent.post(url).header("content-type", kind);
        let mut answer = request.send(body.to_string().as_bytes())?;
        let text = answer.body_mut().read_to_string()?;
        match answer.status().as_u16() {
            200..300 => Ok(text),
            status => bail!("POST {path}: {status} {text}"),
        }
    }

    /// Starts a run; gives its id.
    pub(crate) fn start(&self, flow: &str) -> Result<String> {
        let path = format!("/api/v1/flows/{flow}/runs");
        let text = self.post(&path, "application/json", &json!({}))?;
        let run: Value = serde_json::from_str(&text)?;
        let id = run["id"].as_str();
        Ok(id
            .with_context(|| format!("no run was started: {text}"))?
            .to_owned())
    }

    /// Waits for a run's end, on the daemon's side; gives the run.
    pub(crate) fn wait(&self, run: &str) -> Result<Value> {
        loop {
            let text = self.get(&format!("/api/v1/runs/{run}/wait"))?;
            let row: Value = serde_json::from_str(&text)?;
            match row["state"].as_str() {
                Some("succeeded") => return Ok(row),
                Some("failed" | "cancelled" | "timed_out") => bail!("the run ended badly: {text}"),
                _ => {}
            }
        }
    }

    /// A figure of `/metrics`.
    pub(crate) fn metric(&self, name: &str) -> Result<f64> {
        let page = self.get("/metrics")?;
        let line = page
            .lines()
            .find_map(|it| it.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|it| it.trim().parse().ok())
            .with_context(|| format!("there is no metric {name}"))
    }
}
