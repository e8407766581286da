//! A folder for one test, with flow files, a data folder and whatever steps write.

use crate::binary::{self, Said};
use crate::daemon::Daemon;
use crate::metaflow::Metaflow;
use crate::patience::eventually;
use crate::processes::{self, Process};
use crate::witness::{Gate, Witness};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A test's folder. What runs in it ends, and it goes away, with this value.
pub struct House {
    folder: TempDir,
}

impl House {
    /// A house with these flow files (name, text). `{house}` in a text stands for the house's folder.
    pub fn with(flows: &[(&str, &str)]) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("dalsegno-house-")
            .tempdir()
            .expect("a folder for the test");
        let house = Self { folder };
        std::fs::create_dir(house.flows()).expect("a new folder");
        for (name, text) in flows {
            house.write_flow(name, text);
        }
        house
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where flow files are.
    pub fn flows(&self) -> PathBuf {
        self.path("flows")
    }

    /// Where the daemon keeps its state.
    pub fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// Metaflow as a person in the flows folder would use it.
    pub fn metaflow(&self) -> Metaflow {
        Metaflow::of(self)
    }

    /// A path in the house.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// Writes a flow file as an editor does: beside, then renamed.
    pub fn write_flow(&self, name: &str, text: &str) {
        let text = text.replace("{house}", &self.folder().to_string_lossy());
        let draft = self.path("draft");
        std::fs::write(&draft, text).expect("the house can be written to");
        std::fs::rename(draft, self.flows().join(name)).expect("the house can be written to");
    }

    /// Writes the daemon's configuration.
    pub fn configure(&self, toml: &str) {
        std::fs::write(self.path("dalsegno.toml"), toml).expect("the house can be written to");
    }

    /// From now on the daemon keeps its state in a database of its own on PostgreSQL.
    ///
    /// # Panics
    /// When there is no PostgreSQL to be had.
    pub fn use_postgres(&self) {
        self.configure(&format!(
            "database = \"{}\"\n{}",
            crate::postgres::new_database(),
            self.read("dalsegno.toml")
        ));
    }

    /// The text of a file in the house; empty when there is none.
    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// A pipe that steps can speak into, at `{house}/NAME`.
    pub fn witness(&self, name: &str) -> Witness {
        Witness::at(&self.path(name))
    }

    /// A pipe at which steps wait, at `{house}/NAME`.
    pub fn gate(&self, name: &str) -> Gate {
        Gate::at(&self.path(name))
    }

    /// Starts the daemon on a free port and waits until it is ready.
    pub fn up(&self) -> Daemon {
        Daemon::start(self, &[])
    }

    /// The same with more arguments.
    pub fn up_with(&self, arguments: &[&str]) -> Daemon {
        Daemon::start(self, arguments)
    }

    /// The same with more environment.
    pub fn up_in(&self, variables: &[(&str, &str)]) -> Daemon {
        Daemon::start_in(self, &[], variables)
    }

    /// `dalsegno up` on this house and a free port, not started; more arguments may follow.
    pub fn up_command(&self) -> Command {
        self.up_command_on("0")
    }

    /// The same on a given port.
    pub fn up_command_on(&self, port: &str) -> Command {
        let mut command = binary::command(["up", "--port", port, "--data"]);
        command
            .arg(self.data())
            .arg(self.flows())
            .current_dir(self.folder());
        command
    }

    /// Runs the binary in the house to its end, with no daemon named.
    pub fn dalsegno(&self, arguments: &[&str]) -> Said {
        binary::run(&self.command(arguments))
    }

    /// The same, not started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = binary::command(arguments);
        command.current_dir(self.folder());
        command
    }

    /// Runs a command of the binary to its end, in at most 90 s.
    pub fn run(&self, command: &Command) -> Said {
        binary::run(command)
    }

    /// The processes that belong to this house.
    pub fn processes(&self) -> Vec<Process> {
        processes::of_folder(self.folder())
    }

    /// Waits until no process of this house is left.
    ///
    /// # Panics
    /// When one stays.
    #[track_caller]
    pub fn is_empty_soon(&self) {
        let mut left = Vec::new();
        let start = std::time::Instant::now();
        eventually("an empty house", || {
            left = self.processes();
            let late = start.elapsed() > crate::PATIENCE / 2;
            assert!(!late, "these processes stay behind: {left:?}");
            left.is_empty().then_some(())
        });
    }
}

impl Drop for House {
    fn drop(&mut self) {
        for process in self.processes() {
            processes::kill(process.pid);
        }
    }
}
