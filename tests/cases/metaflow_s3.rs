//! Metaflow's data in S3, as an emulator on this machine has it.

use dalsegno_tests::{HEAD, Metaflow, PATIENCE};
use serde_json::json;

const HARVEST: &str = r#"

class Harvest(FlowSpec):
    @step
    def start(self):
        say("start")
        self.fields = ["north", "south"]
        self.next(self.reap, foreach="fields")

    @step
    def reap(self):
        say(f"reap {self.input}")
        print(f"reaping {self.input}")
        if self.input == "south" and not os.path.exists("{house}/mended"):
            raise ValueError("too wet")
        self.sheaves = len(self.input)
        self.next(self.join)

    @step
    def join(self, inputs):
        self.sheaves = sum(each.sheaves for each in inputs)
        self.next(self.end)

    @step
    def end(self):
        say(f"end {self.sheaves}")


if __name__ == "__main__":
    Harvest()
"#;

#[test]
fn a_foreach_with_its_data_in_s3_fails_is_resumed_and_is_found_there() {
    let house = Metaflow::house(&[("flow.py", &format!("{HEAD}{HARVEST}"))]);
    let url = std::env::var("DALSEGNO_TEST_AWS_URL").expect(
        "DALSEGNO_TEST_AWS_URL names an emulator of AWS; run `cargo xtask test`, which starts one",
    );
    let bucket = format!("harvest-{}", std::process::id());
    let root = format!("s3://{bucket}/metaflow");
    ureq::put(format!("{url}/{bucket}"))
        .send_empty()
        .expect("the emulator makes a bucket");
    Metaflow::configure(
        &house,
        &format!("datastore = \"s3\"\ndatastore_root = \"{root}\""),
    );
    let credentials = [
        ("METAFLOW_S3_ENDPOINT_URL", url.as_str()),
        ("AWS_ENDPOINT_URL_S3", &url),
        // By default 64 processes write together.
        ("METAFLOW_S3_WORKER_COUNT", "2"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ];
    let daemon = house.up_in(&credentials);
    let id = daemon.api().start("Harvest", &json!({}));
    let failed = daemon.api().wait_for_run_within(PATIENCE * 3, &id);
    assert_eq!(failed["state"], "failed", "{}", daemon.why(&failed));
    std::fs::write(house.path("mended"), "").expect("the house can be written to");
    let id = failed["id"].as_str().expect("an id");
    let resumed = daemon.cli(&["resume", "--yes", "--wait", id]);
    assert_eq!(resumed.code, 0, "{resumed}\n{}", daemon.cli(&["logs", id]));
    let journal = house.read("journal");
    assert_eq!(journal.matches("start\n").count(), 1, "{journal}");
    assert_eq!(journal.matches("reap north\n").count(), 1, "{journal}");
    assert!(journal.ends_with("end 10\n"), "{journal}");

    let code = "import sys; from metaflow import Run, namespace; namespace(None); run = Run(sys.argv[1]); \
                print(run.successful, run.data.sheaves, sorted(task.stdout.strip() for task in run['reap'])[-1])";
    let pathspec = failed["metaflow"]["pathspec"].as_str().expect("text");
    let mut client = house.metaflow().command(&["-c", code, pathspec]);
    client
        .env("METAFLOW_DEFAULT_DATASTORE", "s3")
        .env("METAFLOW_DATASTORE_SYSROOT_S3", &root)
        .envs(credentials);
    let told = house.run(&client).succeeded().stdout;
    assert_eq!(told, "True 10 reaping south\n");
}
