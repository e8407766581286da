//! `dalsegno up`: from a folder of flow files to a running daemon, and what can be in its way.

use dalsegno_tests::House;
use std::net::TcpListener;

const HOURLY: &str =
    "flow: hourly\nschedule: { cron: '0 * * * *' }\nsteps:\n  tick: { run: 'true' }\n";

#[test]
fn up_prints_where_the_page_is_and_what_runs_next() {
    let house = House::with(&[("hourly.yaml", HOURLY)]);
    let daemon = house.up();
    let said = daemon.said();
    assert!(said.contains(daemon.url()), "{said}");
    assert!(
        said.contains("hourly"),
        "it names the flow that runs next: {said}"
    );
    assert!(house.data().is_dir(), "the data folder is made");
}

#[test]
fn up_answers_its_health_routes() {
    let house = House::with(&[("hourly.yaml", HOURLY)]);
    let daemon = house.up();
    let api = daemon.api();
    api.get("/livez").expect(200);
    api.get("/readyz").expect(200);
    let metrics = api.get("/metrics").expect(200);
    assert!(
        metrics.content_type.starts_with("text/plain"),
        "{metrics:?}"
    );
    assert!(metrics.text.contains("# TYPE dalsegno_"), "{metrics:?}");
}

#[test]
fn sigterm_stops_the_daemon_in_order_and_leaves_nothing() {
    let house = House::with(&[("hourly.yaml", HOURLY)]);
    let daemon = house.up();
    assert_eq!(daemon.stop(), 0);
    house.is_empty_soon();
}

#[test]
fn what_was_known_is_known_after_a_restart() {
    let house = House::with(&[("hourly.yaml", HOURLY)]);
    let daemon = house.up();
    let id = daemon.api().start("hourly", &serde_json::json!({}));
    assert_eq!(daemon.api().wait_for_run(&id)["state"], "succeeded");
    assert_eq!(daemon.stop(), 0);

    let again = house.up();
    assert_eq!(again.api().run(&id)["state"], "succeeded");
}

#[test]
fn a_second_up_on_the_same_folder_is_refused() {
    let house = House::with(&[("hourly.yaml", HOURLY)]);
    let daemon = house.up();
    let second = house.run(&house.up_command());
    let data = house.data();
    second.failed(6, &[&data.to_string_lossy()]);
    daemon.api().get("/readyz").expect(200);
}

#[test]
fn a_port_in_use_is_named_with_the_cure() {
    let house = House::with(&[("hourly.yaml", HOURLY)]);
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    house
        .run(&house.up_command_on(&port))
        .failed(6, &[&port, "--port"]);
    house.is_empty_soon();
}

#[test]
fn a_data_folder_that_cannot_be_made_is_named() {
    let house = House::with(&[("hourly.yaml", HOURLY)]);
    // Not even root can make a folder below a file.
    std::fs::write(house.path("file"), "").expect("the house can be written to");
    let data = house.path("file/data").to_string_lossy().into_owned();
    let flows = house.flows().to_string_lossy().into_owned();
    house
        .dalsegno(&["up", "--port", "0", "--data", &data, &flows])
        .failed(6, &[&data]);
}

#[test]
fn a_read_only_data_folder_is_named() {
    let house = House::with(&[("hourly.yaml", HOURLY)]);
    let flows = house.flows().to_string_lossy().into_owned();
    // /proc takes no new files from anyone.
    house
        .dalsegno(&["up", "--port", "0", "--data", "/proc/self", &flows])
        .failed(6, &["/proc/self"]);
}

#[test]
fn a_folder_of_flows_that_does_not_exist_is_named() {
    let house = House::with(&[]);
    let data = house.data().to_string_lossy().into_owned();
    house
        .dalsegno(&["up", "--port", "0", "--data", &data, "no-such-folder"])
        .failed(6, &["no-such-folder"]);
}

#[test]
fn a_command_without_a_daemon_says_how_to_start_one() {
    let house = House::with(&[]);
    let free = TcpListener::bind("127.0.0.1:0")
        .expect("a free port")
        .local_addr()
        .expect("it is bound");
    let server = format!("http://{free}");
    house
        .dalsegno(&["runs", "--server", &server])
        .failed(5, &[&server, "dalsegno up"]);
}

#[test]
fn listening_for_other_machines_without_a_token_is_refused() {
    let house = House::with(&[("hourly.yaml", HOURLY)]);
    let mut up = house.up_command();
    up.args(["--host", "0.0.0.0"]);
    house
        .run(&up)
        .failed(6, &["0.0.0.0", "token", "DALSEGNO_TOKEN"]);
}

#[test]
fn with_a_token_only_those_who_send_it_are_served() {
    let house = House::with(&[("hourly.yaml", HOURLY)]);
    house.configure("token = \"open sesame\"\n");
    let daemon = house.up();
    let problem = daemon.api().get("/api/v1/flows").problem(401);
    assert_eq!(problem["code"], "unauthorized");
    daemon
        .cli(&["runs"])
        .failed(4, &["token", "DALSEGNO_TOKEN"]);
    let mut runs = daemon.command(&["runs"]);
    runs.env("DALSEGNO_TOKEN", "open sesame");
    house.run(&runs).succeeded();
}

#[test]
fn a_mistake_in_the_configuration_is_named() {
    let house = House::with(&[("hourly.yaml", HOURLY)]);
    house.configure("max_taks = 3\n");
    house
        .run(&house.up_command())
        .failed(6, &["dalsegno.toml", "max_taks"]);
}

#[test]
fn state_on_postgresql_is_known_after_a_restart() {
    let house = House::with(&[("hourly.yaml", HOURLY)]);
    house.use_postgres();
    let daemon = house.up();
    let id = daemon.api().start("hourly", &serde_json::json!({}));
    assert_eq!(daemon.api().wait_for_run(&id)["state"], "succeeded");
    daemon.kill_nine();
    let again = house.up();
    assert_eq!(again.api().run(&id)["state"], "succeeded");
}

#[test]
fn a_database_that_does_not_answer_is_named_without_its_password() {
    let house = House::with(&[("hourly.yaml", HOURLY)]);
    let free = TcpListener::bind("127.0.0.1:0")
        .expect("a free port")
        .local_addr()
        .expect("it is bound");
    house.configure(&format!("database = \"postgres://me:hush@{free}/none\"\n"));
    let said = house
        .run(&house.up_command())
        .failed(6, &[&free.to_string()]);
    assert!(!said.all().contains("hush"), "{said}");
}
