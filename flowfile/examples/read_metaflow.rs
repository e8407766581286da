//! How long reading Metaflow files takes: `cargo run --release --example read_metaflow`, which writes 400 flows
//! into a folder and reads them. With paths as arguments, what is read from these is shown instead.

use dalsegno_flowfile::metaflow::{self, Options};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const FLOWS: usize = 400;
const ROUNDS: usize = 10;

fn main() {
    let paths: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if !paths.is_empty() {
        paths.iter().for_each(|it| show(it));
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut bytes = 0;
    let mut lines = 0;
    for number in 0..FLOWS {
        let text = flow(number);
        bytes += text.len();
        lines += text.lines().count();
        let path = folder.path().join(format!("flow_{number}.py"));
        std::fs::write(path, text).expect("a temporary file can be written");
    }
    std::fs::write(folder.path().join("common.py"), COMMON)
        .expect("a temporary file can be written");
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            let files = dalsegno_flowfile::read_dir(folder.path());
            let took = start.elapsed();
            for (path, file) in &files {
                if let Err(found) = file {
                    panic!("{}:\n{}", path.display(), found.render(false));
                }
            }
            assert_eq!(files.len(), FLOWS);
            took
        })
        .collect();
    times.sort();
    println!(
        "{FLOWS} flows, {lines} lines, {} KB: {:.1} ms (median of {ROUNDS}), {:.1} ms at best",
        bytes / 1000,
        times[ROUNDS / 2].as_secs_f64() * 1e3,
        times[0].as_secs_f64() * 1e3,
    );
}

fn show(path: &Path) {
    match metaflow::read(path, &Options::of_environment()) {
        Ok(file) => {
            print!("{}", file.warnings.render(false));
            let spec =
                serde_json::to_string_pretty(file.flow.spec()).expect("a flow is plain data");
            println!("{spec}");
            let about = file.metaflow.expect("a Metaflow file");
            println!("imports: {:?}", about.closure);
            println!("needs probe: {}", about.needs_probe);
            for it in about.dynamic {
                println!(
                    "  line {}: {} is not known: {}",
                    it.line, it.what, it.reason
                );
            }
        }
        Err(found) => println!("{}", found.render(false)),
    }
}

const COMMON: &str =
    "NIGHTLY = '0 3 * * ? *'\nREGIONS = ['eu', 'us', 'ap']\nENV = {'A': '1', 'B': '2'}\n";

/// A flow of 60 to 200 lines, much as people write them.
fn flow(number: usize) -> String {
    let mut text = String::from(
        "\"\"\"Trains a model per region.\"\"\"\nimport os\nimport json\nfrom datetime import datetime\n\nfrom metaflow import FlowSpec, Parameter, IncludeFile, JSONType, card, catch, current\nfrom metaflow import environment, project, resources, retry, schedule, step, timeout, trigger\nfrom common import ENV, NIGHTLY, REGIONS\n\n",
    );
    match number % 3 {
        0 => text.push_str("@schedule(cron=NIGHTLY, timezone=\"Europe/Berlin\")\n"),
        1 => text.push_str(
            "@trigger(event={\"name\": \"data.ready\", \"parameters\": {\"alpha\": \"alpha\"}})\n",
        ),
        _ => {}
    }
    write!(
        text,
        "@project(name=\"bench\")\nclass Flow{number}(FlowSpec):\n    \"\"\"\n    Flow number {number}.\n\n    It has a longer text, too.\n    \"\"\"\n\n    alpha = Parameter(\"alpha\", default=0.5, help=\"learning rate\")\n    names = Parameter(\"names\", type=JSONType, default='[\"a\"]')\n    folder = Parameter(\"folder\", default=f\"data/{{REGIONS[0]}}\")\n\n    @step\n    def start(self):\n        self.regions = list(REGIONS)\n        self.next(self.prepare, foreach=\"regions\")\n\n    @retry(times=2, minutes_between_retries=1)\n    @environment(vars=ENV)\n    @step\n    def prepare(self):\n        \"\"\"Loads and cleans.\"\"\"\n        self.region = self.input\n"
    )
    .expect("a string takes all");
    for line in 0..10 + number % 40 {
        writeln!(
            text,
            "        rows_{line} = [json.loads(row) for row in open(os.path.join(self.folder, f\"{{self.region}}_{line}.json\")) if row.strip()]\n        print(\"read\", len(rows_{line}), \"rows at\", datetime.now().isoformat(), {{\"key\": [1, 2, 3]}}[\"key\"][0])"
        )
        .expect("a string takes all");
    }
    text.push_str("        self.next(self.fit, self.report)\n\n");
    text.push_str(
        "    @resources(cpu=2, memory=4000)\n    @timeout(hours=2)\n    @step\n    def fit(self):\n        self.score = sum(range(10))\n        self.next(self.merge)\n\n    @card\n    @catch(var=\"error\")\n    @step\n    def report(self):\n        self.next(self.merge)\n\n    @step\n    def merge(self, inputs):\n        self.scores = [getattr(it, \"score\", None) for it in inputs]\n        self.next(self.join)\n\n    @step\n    def join(self, inputs):\n        self.choice = \"good\" if all(it.scores for it in inputs) else \"bad\"\n        self.next(self.choose)\n\n    @step\n    def choose(self):\n        self.next({\"good\": self.publish, \"bad\": self.alert}, condition=\"choice\")\n\n    @step\n    def publish(self):\n        self.next(self.end)\n\n    @step\n    def alert(self):\n        self.next(self.end)\n\n    @step\n    def end(self):\n        print(\"done\", current.run_id)\n\n\n",
    );
    writeln!(text, "if __name__ == \"__main__\":\n    Flow{number}()").expect("a string takes all");
    text
}
