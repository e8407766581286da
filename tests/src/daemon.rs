//! A running daemon.

use crate::api::Api;
use crate::binary::{self, Said};
use crate::house::House;
use crate::patience::PATIENCE;
use crate::processes;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// `dalsegno up` on a house. It is killed when this value goes away.
pub struct Daemon {
    pid: u32,
    url: String,
    ended: Receiver<ExitStatus>,
    lines: Receiver<String>,
    said: Arc<Mutex<String>>,
    is_over: bool,
}

impl Daemon {
    pub(crate) fn start(house: &House, arguments: &[&str]) -> Self {
        Self::start_in(house, arguments, &[])
    }

    pub(crate) fn start_in(house: &House, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = house.up_command();
        command
            .args(arguments)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let (send, lines) = channel();
        let said = Arc::new(Mutex::new(String::new()));
        for stream in streams(&mut child) {
            let (send, said) = (send.clone(), Arc::clone(&said));
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let mut said = said.lock().expect("no holder panics");
                    said.push_str(&line);
                    said.push('\n');
                    drop(said);
                    // Nobody listens any more once the daemon is ready; the text above is what is kept.
                    let _ = send.send(line);
                }
            });
        }
        let pid = child.id();
        let (tell, ended) = channel();
        std::thread::spawn(move || tell.send(child.wait().expect("our child can be waited for")));
        let mut daemon = Self {
            pid,
            url: String::new(),
            ended,
            lines,
            said,
            is_over: false,
        };
        daemon.url = daemon.wait_for_url();
        daemon.wait_until_ready();
        daemon
    }

    /// Where it listens, such as `http://127.0.0.1:4200`.
    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// All that it has printed so far.
    pub fn said(&self) -> String {
        self.said.lock().expect("no holder panics").clone()
    }

    /// Its HTTP interface.
    pub fn api(&self) -> Api {
        Api::at(&self.url)
    }

    /// Runs the command line against it, to its end.
    pub fn cli(&self, arguments: &[&str]) -> Said {
        binary::run(&self.command(arguments))
    }

    /// A command against it, not started.
    pub fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = binary::command(arguments);
        command.env("DALSEGNO_SERVER", &self.url);
        command
    }

    /// Starts a run and waits for its end; gives it.
    #[track_caller]
    pub fn run(&self, flow: &str, params: &serde_json::Value) -> serde_json::Value {
        let id = self.api().start(flow, params);
        self.api().wait_for_run(&id)
    }

    /// The same, to success.
    ///
    /// # Panics
    /// When it does not succeed.
    #[track_caller]
    pub fn succeeds(&self, flow: &str, params: &serde_json::Value) -> serde_json::Value {
        self.ends(flow, params, "succeeded")
    }

    /// The same, to failure.
    ///
    /// # Panics
    /// When it does not fail.
    #[track_caller]
    pub fn fails(&self, flow: &str, params: &serde_json::Value) -> serde_json::Value {
        self.ends(flow, params, "failed")
    }

    #[track_caller]
    fn ends(&self, flow: &str, params: &serde_json::Value, state: &str) -> serde_json::Value {
        let run = self.run(flow, params);
        let id = run["id"].as_str().expect("a run has an id");
        assert_eq!(
            run["state"],
            state,
            "{}\n{}",
            self.cli(&["why", id]),
            self.cli(&["logs", id])
        );
        run
    }

    /// Waits until nothing in a Metaflow flow is left that only running its file can tell.
    ///
    /// # Panics
    /// When something stays unknown.
    #[track_caller]
    pub fn has_asked_metaflow_about(&self, flow: &str) {
        let path = format!("/api/v1/flows/{flow}");
        self.api().wait_until(&format!("a probe of {flow}"), || {
            let row = self.api().get(&path).json();
            let unknown = row["metaflow"]["dynamic"].as_array();
            (row["metaflow"].is_object() && unknown.is_none_or(Vec::is_empty)).then_some(())
        });
    }

    /// What `dalsegno why` says of a run, or of a flow.
    #[track_caller]
    pub fn why(&self, subject: &serde_json::Value) -> String {
        let subject = subject["id"].as_str().or_else(|| subject.as_str());
        let subject = subject.expect("a run, or a name");
        self.cli(&["why", subject]).succeeded().all()
    }

    /// Kills it with SIGKILL, and only it: what runs under its keeper goes on.
    pub fn kill_nine(mut self) {
        self.die();
    }

    /// Asks it to stop with SIGTERM; gives its exit code.
    ///
    /// # Panics
    /// When it does not stop.
    pub fn stop(mut self) -> i32 {
        processes::terminate(self.pid);
        let status = self.ended.recv_timeout(PATIENCE);
        self.is_over = status.is_ok();
        let status =
            status.unwrap_or_else(|_| panic!("it does not stop after SIGTERM:\n{}", self.said()));
        status.code().unwrap_or(-1)
    }

    /// Reads what it prints up to the line that it is ready; gives the address that stands before.
    fn wait_for_url(&mut self) -> String {
        let start = Instant::now();
        let mut url = None;
        while start.elapsed() < PATIENCE {
            match self.lines.recv_timeout(Duration::from_millis(100)) {
                Ok(line) => {
                    // Its log may name other places.
                    let is_page = line.trim_start().starts_with("page ");
                    url = url.or_else(|| url_in(&line).filter(|_| is_page));
                    if let Some(url) = url.as_ref().filter(|_| line.starts_with("ready")) {
                        return url.clone();
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if let Ok(status) = self.ended.try_recv() {
                self.is_over = true;
                panic!(
                    "the daemon ended with {status} before it was ready:\n{}",
                    self.said()
                );
            }
        }
        panic!(
            "the daemon does not say where it listens and that it is ready:\n{}",
            self.said()
        );
    }

    fn wait_until_ready(&self) {
        let api = self.api();
        crate::eventually("a ready daemon", || {
            (api.get("/readyz").status == 200).then_some(())
        });
    }

    fn die(&mut self) {
        if !self.is_over {
            processes::kill(self.pid);
            self.is_over = self.ended.recv_timeout(PATIENCE).is_ok();
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.die();
        if std::thread::panicking() {
            eprintln!("-- the daemon said\n{}", self.said());
        }
    }
}

fn streams(child: &mut Child) -> [Box<dyn Read + Send>; 2] {
    let stdout = child.stdout.take().expect("stdout is piped");
    let stderr = child.stderr.take().expect("stderr is piped");
    [Box::new(stdout), Box::new(stderr)]
}

/// The first `http://127.0.0.1:PORT` in a line.
fn url_in(line: &str) -> Option<String> {
    const START: &str = "http://127.0.0.1:";
    let rest = &line[line.find(START)? + START.len()..];
    let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
    port.parse::<u16>()
        .ok()
        .filter(|port| *port != 0)
        .map(|port| format!("{START}{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found_wherever_it_stands_in_the_line() {
        assert_eq!(
            url_in("page  http://127.0.0.1:4200/ (Ctrl-C ends)").as_deref(),
            Some("http://127.0.0.1:4200")
        );
        assert_eq!(url_in("nothing here"), None);
    }
}
