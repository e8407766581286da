//! The client against servers that live for one test.

use super::*;
use crate::cli::{Color, Global};
use serde_json::json;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::thread::JoinHandle;

/// Answers requests one after the other, each on a connection of its own; gives what was asked.
pub(crate) fn server(answers: Vec<String>) -> (Client, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let server = std::thread::spawn(move || {
        let mut asked = Vec::new();
        for answer in answers {
            let (stream, _) = listener.accept().expect("a client");
            let mut reader = BufReader::new(stream);
            let (mut head, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).expect("a request");
                let lower = line.to_lowercase();
                if let Some(text) = lower.strip_prefix("content-length: ") {
                    length = text.trim().parse().expect("a number");
                }
                if line.trim().is_empty() {
                    break;
                }
                head.push_str(&line);
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).expect("a body");
            asked.push(format!("{head}{}", String::from_utf8_lossy(&body)));
            reader
                .get_mut()
                .write_all(answer.as_bytes())
                .expect("the client reads");
        }
        asked
    });
    (client(&format!("http://{address}"), Some("secret")), server)
}

fn client(server: &str, token: Option<&str>) -> Client {
    try_client(server, token).expect("an address")
}

fn try_client(server: &str, token: Option<&str>) -> Result<Client> {
    Client::new(&Global {
        server: Some(server.to_owned()),
        token: token.map(str::to_owned),
        color: Color::Never,
    })
}

pub(crate) fn answer(status: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

#[test]
fn a_list_goes_over_as_many_pages_as_it_takes() {
    let (client, server) = server(vec![
        answer("200 OK", r#"{"items":[1,2],"next":"a b"}"#),
        answer("200 OK", r#"{"items":[3],"next":"c"}"#),
    ]);
    let list = client
        .list("/api/v1/runs", &[("flow", "etl")], 3)
        .expect("two pages");
    assert_eq!(list.json(), json!({"items": [1, 2, 3], "next": "c"}));
    let asked = server.join().expect("the server ends");
    assert!(
        asked[0].starts_with("GET /api/v1/runs?flow=etl&limit=3 "),
        "{asked:?}"
    );
    assert!(
        asked[1].starts_with("GET /api/v1/runs?flow=etl&limit=1&cursor=a%20b "),
        "{asked:?}"
    );
}

#[test]
fn the_token_goes_with_every_request_and_streams_are_not_compressed() {
    let (client, server) = server(vec![answer("200 OK", "{}"), answer("201 Created", "{}")]);
    client.get("/api/v1/flows", &[]).expect("an answer");
    client
        .post("/api/v1/flows/etl/runs", &json!({"params": {}}))
        .expect("an answer");
    let asked = server.join().expect("the server ends");
    for request in &asked {
        let request = request.to_lowercase();
        assert!(
            request.contains("authorization: bearer secret"),
            "{request}"
        );
        assert!(request.contains("accept-encoding: identity"), "{request}");
    }
    assert!(asked[1].ends_with(r#"{"params":{}}"#), "{asked:?}");
}

#[test]
fn a_problem_becomes_a_failure_with_the_daemons_words() {
    let body = r#"{"code":"unknown_run","status":404,"title":"There is no such run","detail":"there is no run 7"}"#;
    let (client, server) = server(vec![answer("404 Not Found", body)]);
    let failure = client.get("/api/v1/runs/7", &[]).expect_err("no such run");
    assert_eq!(
        (failure.exit, failure.text.as_str()),
        (Exit::NotFound, "there is no run 7")
    );
    server.join().expect("the server ends");
}

#[test]
fn nobody_there_is_told_with_the_cure() {
    let free = TcpListener::bind("127.0.0.1:0")
        .expect("a free port")
        .local_addr()
        .expect("it is bound");
    let url = format!("http://{free}");
    let failure = client(&url, None)
        .get("/api/v1/runs", &[])
        .expect_err("nobody listens");
    assert_eq!(failure.exit, Exit::NoDaemon);
    assert_eq!(failure.text, format!("no daemon answers at {url}"));
    assert_eq!(
        failure.help,
        ["start one with `dalsegno up`, or name another with --server"]
    );
}

#[test]
fn what_is_no_address_is_refused_before_anything_is_sent() {
    for server in ["ftp://host", "http://", "://"] {
        let failure = try_client(server, None).expect_err("no address");
        assert_eq!(failure.exit, Exit::Usage, "{server}: {failure:?}");
    }
    assert_eq!(
        client("localhost:8320/", None).server(),
        "http://localhost:8320"
    );
}

#[test]
fn a_page_that_is_no_json_is_not_taken_for_an_answer() {
    let (client, server) = server(vec![answer("200 OK", "<html>")]);
    let failure = client.get("/api/v1/runs", &[]).expect_err("no JSON");
    assert_eq!(failure.exit, Exit::Broken);
    server.join().expect("the server ends");
}

#[test]
fn the_live_stream_tells_of_changes_and_of_its_end() {
    let stream = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/event-stream\r\n\r\n\
        :keep\n\nevent: change\ndata: run 7\n\n:keep\n\n";
    let (client, server) = server(vec![stream.to_owned()]);
    let mut live = Live::of_run(&client, "7").expect("a stream");
    assert!(live.changed(), "a change");
    assert!(!live.changed(), "the end");
    server.join().expect("the server ends");
}
