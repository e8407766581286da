//! A database of its own for a test, on the server that `cargo xtask test` started.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU32, Ordering};

/// Makes an empty database; gives its URL.
///
/// # Panics
/// When there is no server.
pub(crate) fn new_database() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let url = std::env::var("DALSEGNO_TEST_POSTGRES_URL").expect(
        "DALSEGNO_TEST_POSTGRES_URL names a PostgreSQL; run `cargo xtask test`, which starts one",
    );
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("house_{}_{number}", std::process::id());
    let (server, database) = url.rsplit_once('/').expect("the URL ends in a database");
    let (user, address) = server
        .strip_prefix("postgres://")
        .and_then(|it| it.split_once('@'))
        .expect("the URL is postgres://user@host:port/database");
    let mut link = Link::open(address, user, database);
    link.execute(&format!("CREATE DATABASE {name}"));
    format!("{server}/{name}")
}

/// A connection that can do one thing: send a statement and see whether it succeeded. It speaks version 3 of
/// PostgreSQL's protocol, without passwords, as the server of the tests wants it.
struct Link(TcpStream);

impl Link {
    fn open(address: &str, user: &str, database: &str) -> Self {
        let stream = TcpStream::connect(address).expect("PostgreSQL listens");
        let mut link = Self(stream);
        let mut body = 196_608_u32.to_be_bytes().to_vec();
        for word in ["user", user, "database", database, ""] {
            body.extend(word.as_bytes());
            body.push(0);
        }
        link.send(&body);
        link.wait_until_ready();
        link
    }

    fn execute(&mut self, statement: &str) {
        self.0.write_all(b"Q").expect("PostgreSQL reads");
        let mut body = statement.as_bytes().to_vec();
        body.push(0);
        self.send(&body);
        self.wait_until_ready();
    }

    fn send(&mut self, body: &[u8]) {
        let length = u32::try_from(body.len() + 4).expect("a short message");
        self.0
            .write_all(&length.to_be_bytes())
            .expect("PostgreSQL reads");
        self.0.write_all(body).expect("PostgreSQL reads");
    }

    fn wait_until_ready(&mut self) {
        loop {
            let mut head = [0; 5];
            self.0.read_exact(&mut head).expect("PostgreSQL answers");
            let [kind, length @ ..] = head;
            let mut body = vec![0; u32::from_be_bytes(length) as usize - 4];
            self.0.read_exact(&mut body).expect("PostgreSQL answers");
            match kind {
                b'E' => panic!(
                    "PostgreSQL refuses: {}",
                    String::from_utf8_lossy(&body).replace('\0', " ")
                ),
                b'Z' => return,
                _ => {}
            }
        }
    }
}
