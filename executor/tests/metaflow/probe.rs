//! Flow files that are asked what they declare.

use crate::world::{World, is_alive, pid, python, until};
use dalsegno_executor::{Held, Interpreter, ProbeError, ProbeOptions, Probed};
use std::time::Duration;

#[tokio::test]
async fn a_flow_file_tells_what_it_declares_and_no_step_runs() {
    let world = World::cold().await;
    let probed = world.probe("flow", crate::flow::FLOW).await.expect("told");
    assert_eq!(probed.dump["flow"], "Story");
    assert_eq!(probed.dump["steps"]["turn"]["type"], "split-switch");
    let names = probed.dump["parameters"].as_array().expect("a list").iter();
    let names: Vec<_> = names
        .map(|it| it["name"].as_str().expect("a name"))
        .collect();
    assert_eq!(names, ["alpha", "my_config", "flag", "tag-name"]);
    assert!(!world.path("ran").exists());
    // Nothing is left of it.
    let left = std::fs::read_dir(world.path("data/metaflow")).expect("a folder");
    assert!(
        left.flatten()
            .all(|it| it.file_name().to_string_lossy().starts_with("ext-"))
    );
}

#[tokio::test]
async fn secrets_are_not_seen_and_garbage_does_no_harm() {
    let world = World::cold().await;
    let text = flow_with(
        "import os
print('garbage ' * 100_000)
seen = sorted(it for it in os.environ if it.startswith(('AWS_', 'DALSEGNO_', 'CARGO')) or 'TOKEN' in it)
assert seen == ['DALSEGNO_IGNORED_DECORATORS', 'DALSEGNO_KEEPER'], seen
assert os.environ['HOME'] != os.path.expanduser('~root'), 'home'",
    );
    let probed = world.probe("quiet", &text).await.expect("told");
    assert_eq!(probed.dump["flow"], "Small");
}

#[tokio::test]
async fn what_a_file_may_not_do_it_cannot_do_where_the_machine_can_fence_it_in() {
    let world = World::cold().await;
    let outside = world.path("outside");
    let text = flow_with(&format!(
        "import os, socket
try:
    open({outside:?}, 'w').write('escaped')
    wrote = 'wrote'
except OSError:
    wrote = 'refused'
try:
    socket.create_connection(('127.0.0.1', {port}), 5)
    reached = 'reached'
except OSError:
    reached = 'refused'
__doc__ = wrote + ' ' + reached
import metaflow",
        port = listening(),
    ));
    let text = text.replace(
        "class Small(FlowSpec):",
        "class Small(FlowSpec):\n    __doc__ = __doc__",
    );
    let Probed { dump, held } = world.probe("fenced", &text).await.expect("told");
    if can_unshare() {
        let all = Held {
            network: true,
            files: true,
            processes: true,
        };
        assert_eq!(held, all);
    }
    let expected = |holds: bool, other: &str| if holds { "refused" } else { other }.to_owned();
    let said = dump["doc"].as_str().expect("words").to_owned();
    assert_eq!(
        said,
        format!(
            "{} {}",
            expected(held.files, "wrote"),
            expected(held.network, "reached")
        )
    );
    assert_eq!(outside.exists(), !held.files);
}

#[tokio::test]
async fn fences_cannot_be_opened_from_inside() {
    if !can_unshare() {
        return;
    }
    let world = World::cold().await;
    let outside = world.path("outside");
    std::fs::write(world.path("data/dalsegno.db"), "secrets").expect("written");
    let speaks = world.path("speaks.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&speaks).expect("a socket");
    let data = world.path("data");
    let shared = format!("/dev/shm/dalsegno-test-{}", std::process::id());
    let text = flow_with(&format!(
        r#"import os, socket, subprocess
outside, data, shared = {outside:?}, {data:?}, {shared:?}

def run(line):
    subprocess.run(["sh", "-c", line], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

def speak(path):
    socket.socket(socket.AF_UNIX).connect(path)

def see(path):
    if not (os.listdir(path) if os.path.isdir(path) else open(path).read()):
        raise OSError("nothing there")

def memory():
    bytearray(8 << 30)

attacks = {{
    "remount": lambda: run("mount -o remount,rw,bind /"),
    "mount": lambda: run("mount -t tmpfs none /mnt"),
    "unmount": lambda: run("umount '%s/keeper'" % data),
    "root again": lambda: run("unshare --map-root-user --mount sh -c 'mount -o remount,rw,bind / && echo x > \"$0\"' " + outside),
    "unmount as root": lambda: run("unshare --map-root-user --mount umount '%s/keeper'" % data),
    "write": lambda: open(outside, "w").write("escaped"),
    "kernel": lambda: open("/proc/sys/kernel/core_pattern", "a").write("x"),
    "keeper": lambda: speak(data + "/keeper/keeper.sock"),
    "socket": lambda: speak({speaks:?}),
    "folder": lambda: see(data + "/keeper"),
    "database": lambda: see(data + "/dalsegno.db"),
    "memory": memory,
}}
won = []
for name, attack in attacks.items():
    try:
        attack()
        won.append(name)
    except (OSError, MemoryError, subprocess.CalledProcessError):
        pass
open(shared, "w").write("its own")
said = ", ".join(won)"#
    ))
    .replace(
        "class Small(FlowSpec):",
        "class Small(FlowSpec):\n    __doc__ = 'won: ' + said",
    );
    let Probed { dump, held } = world.probe("attacks", &text).await.expect("told");
    assert_eq!(dump["doc"], "won: ");
    assert!(held.files && held.network && held.processes);
    assert!(!outside.exists() && !std::path::Path::new(&shared).exists());
}

#[tokio::test]
async fn whoever_cannot_be_asked_says_why() {
    let world = World::cold().await;
    let missing = world
        .probe("missing", &flow_with("import pandas_of_nowhere"))
        .await;
    let error = missing.expect_err("missing").to_string();
    assert!(
        error.starts_with("pandas_of_nowhere cannot be imported by ")
            && error.contains("requirements.txt"),
        "{error}"
    );
    let leaves = world
        .probe("leaves", &flow_with("import sys; sys.exit(0)"))
        .await;
    assert!(
        matches!(leaves, Err(ProbeError::Exited { .. })),
        "{leaves:?}"
    );
    let wrong = world
        .probe("wrong", &flow_with("raise ValueError('boom')"))
        .await;
    let wrong = wrong.expect_err("wrong").to_string();
    assert!(wrong.ends_with("ValueError: boom"), "{wrong}");
    let config = flow_with("").replace(
        "class Small(FlowSpec):",
        "from metaflow import Config\nclass Small(FlowSpec):\n    cfg = Config('cfg', required=True)",
    );
    let config = world.probe("config", &config).await;
    assert!(
        matches!(config, Err(ProbeError::Config { .. })),
        "{config:?}"
    );
}

#[tokio::test]
async fn a_file_that_takes_too_long_is_gone_with_all_it_started() {
    let world = World::cold().await;
    // It writes where it may: into its own folder, which we see until it is gone.
    let text = flow_with(
        "import os, subprocess, sys, time
subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(1000)'], start_new_session=True)
time.sleep(1000)",
    );
    let options = ProbeOptions {
        time_limit: Duration::from_secs(3),
        ..ProbeOptions::default()
    };
    let slow = world.probe_with("slow", &text, &options).await;
    assert_eq!(
        slow.expect_err("slow"),
        ProbeError::TimedOut {
            after: Duration::from_secs(3)
        }
    );
    let mark = world.path("data/metaflow/probe-").display().to_string();
    until(|| marked(&mark).is_empty().then_some(())).await;
}

#[tokio::test]
async fn what_a_dead_daemon_was_asking_is_ended_by_the_next_one() {
    let mut world = World::cold().await;
    let folder = world.path("data/metaflow/probe-1-0-");
    std::fs::create_dir(&folder).expect("a folder");
    let mut left = std::process::Command::new("sleep")
        .arg("1000")
        .env("DALSEGNO_KEEPER", &folder)
        .spawn()
        .expect("a process");
    world.kill_daemon();
    world.start_daemon(&[]).await;
    assert!(!folder.exists());
    assert!(!left.wait().expect("ended").success());
}

impl World {
    async fn probe(&self, name: &str, text: &str) -> Result<Probed, ProbeError> {
        self.probe_with(name, text, &ProbeOptions::default()).await
    }

    async fn probe_with(
        &self,
        name: &str,
        text: &str,
        options: &ProbeOptions,
    ) -> Result<Probed, ProbeError> {
        let file = self.path(&format!("flows/{name}.py"));
        std::fs::write(&file, text).expect("written");
        let interpreter: Interpreter = self
            .local()
            .interpreters()
            .resolve(&file, None)
            .await
            .expect("an interpreter");
        assert_eq!(interpreter.python, python());
        self.local()
            .prober()
            .probe(&file, &interpreter, options)
            .await
    }
}

/// The smallest flow, with these lines before it.
fn flow_with(lines: &str) -> String {
    format!(
        "{lines}
from metaflow import FlowSpec, step

class Small(FlowSpec):
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass

if __name__ == '__main__':
    Small()
"
    )
}

/// The port of somebody who listens as long as the test runs.
fn listening() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::mem::forget(listener);
    port
}

/// Living processes whose environment has this.
fn marked(mark: &str) -> Vec<rustix::process::Pid> {
    let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
    let names = processes.filter_map(|it| it.file_name().into_string().ok());
    names
        .filter(|it| it.bytes().all(|it| it.is_ascii_digit()))
        .map(|it| pid(&it))
        .filter(|it| {
            let environment = std::fs::read(format!("/proc/{it}/environ")).unwrap_or_default();
            is_alive(*it) && String::from_utf8_lossy(&environment).contains(mark)
        })
        .collect()
}

/// Whether this machine gives us namespaces.
fn can_unshare() -> bool {
    let words = [
        "--map-root-user",
        "--mount",
        "--net",
        "--pid",
        "--fork",
        "true",
    ];
    let status = std::process::Command::new("unshare").args(words).status();
    status.is_ok_and(|it| it.success())
}
