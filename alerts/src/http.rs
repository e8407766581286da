//! One POST over a connection of its own: to a checked address, without proxies, without following redirects, bounded in
//! time and in what is read.

use crate::address;
use crate::authority::{self, Authority};
use async_trait::async_trait;
use dalsegno_scheduler::Span;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response, header};
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use rustls::pki_types::ServerName;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use url::{Host, Url};

/// How long a request may take in all, from looking up the name to the last byte that is read.
pub const TIMEOUT: Duration = Duration::from_secs(15);

/// How long one of several addresses may take to connect, so that a dead one leaves time for the next.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How much of an answer is read. What follows is cut off with the connection.
const ANSWER_BYTES_MAX: usize = 2_048;

/// How many addresses of a name are tried.
const ADDRESSES_MAX: usize = 4;

/// How many header fields an answer may have, and how large they may be.
const HEADERS_MAX: usize = 64;
const HEADER_BYTES_MAX: usize = 16 * 1024;

/// Looks names up.
#[async_trait]
pub trait Resolve: Send + Sync + 'static {
    /// The addresses of a name, the best first.
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// What the operating system says.
#[derive(Clone, Copy, Debug)]
pub struct System;

#[async_trait]
impl Resolve for System {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let found = tokio::net::lookup_host((host, 0)).await?;
        Ok(found.map(|it| it.ip()).collect())
    }
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// How long it asks us to wait.
    pub retry_after: Option<Span>,
    /// Where it would send us; nobody goes there.
    pub location: Option<String>,
    /// The beginning of what it says.
    pub body: String,
}

/// Why nothing came back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    #[error("the address of {host} was not found: {message}")]
    Name { host: String, message: String },
    #[error(
        "{host} is at {address}, which is {what}, and alerts go there only if the channel says `allow_private = true`"
    )]
    Refused {
        host: String,
        address: IpAddr,
        what: &'static str,
    },
    #[error("{host} cannot be connected to: {message}")]
    Connect { host: String, message: String },
    #[error("{host} does not speak TLS as it should: {message}")]
    Tls { host: String, message: String },
    #[error("{host} broke off: {message}")]
    Broken { host: String, message: String },
    #[error("{host} did not answer within {} s", .after.as_secs_f64())]
    Timeout { host: String, after: Duration },
}

/// How a channel is reached.
#[derive(Clone, Debug, Default)]
pub(crate) struct Way {
    /// Also at addresses within the house.
    pub(crate) allow_private: bool,
    /// Whoever vouches for it; `None`: those that this machine trusts.
    pub(crate) authority: Option<Authority>,
}

/// Posts. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    resolver: Arc<dyn Resolve>,
    tls: TlsConnector,
    timeout: Duration,
}

impl Client {
    /// With the authorities that this machine trusts. Without any, only addresses without TLS can be spoken to, and the
    /// others say why not.
    pub fn new(resolver: Arc<dyn Resolve>) -> Self {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!("some certificates of this machine cannot be read: {error}");
        }
        roots.add_parsable_certificates(found.certs);
        Self {
            resolver,
            tls: authority::trusting(roots),
            timeout: TIMEOUT,
        }
    }

    /// The same, with less patience.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    pub const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Posts a body, and reads the beginning of the answer, whatever its status.
    ///
    /// # Errors
    /// There was no answer. It may have arrived all the same.
    pub(crate) async fn post(
        &self,
        url: &Url,
        way: &Way,
        headers: &[(&str, String)],
        body: Vec<u8>,
    ) -> Result<Answer, SendError> {
        let until = Instant::now() + self.timeout;
        let exchange = pin!(self.exchange(url, way, headers, body));
        match tokio::time::timeout_at(until, exchange).await {
            Ok(Ok((response, _connection))) => Ok(read(response, until).await),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(SendError::Timeout {
                host: place(url),
                after: self.timeout,
            }),
        }
    }

    async fn exchange(
        &self,
        url: &Url,
        way: &Way,
        headers: &[(&str, String)],
        body: Vec<u8>,
    ) -> Result<(Response<Incoming>, Connection), SendError> {
        let host = place(url);
        let addresses = self.addresses(url, way.allow_private).await?;
        let socket = connect(&host, &addresses).await?;
        let broken = |error: &dyn std::error::Error| SendError::Broken {
            host: host.clone(),
            message: chain(error),
        };
        let mut request = Request::post(&url[url::Position::BeforePath..url::Position::AfterQuery])
            .header(header::HOST, host_header(url))
            .header(header::USER_AGENT, USER_AGENT);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| broken(&error))?;
        let response = if url.scheme() == "https" {
            let tls_error = |error: &dyn std::error::Error| SendError::Tls {
                host: host.clone(),
                message: chain(error),
            };
            let name = url.host_str().unwrap_or_default();
            let name = name.trim_start_matches('[').trim_end_matches(']');
            let name = ServerName::try_from(name.to_owned()).map_err(|error| tls_error(&error))?;
            let tls = way.authority.as_ref().map_or(&self.tls, Authority::tls);
            let socket = tls.connect(name, socket).await;
            let socket = socket.map_err(|error| tls_error(&error))?;
            say(socket, request).await
        } else {
            say(socket, request).await
        };
        response.map_err(|error| broken(&error))
    }

    /// The addresses that may be connected to.
    async fn addresses(
        &self,
        url: &Url,
        allow_private: bool,
    ) -> Result<Vec<SocketAddr>, SendError> {
        let host = place(url);
        let port = url.port_or_known_default().unwrap_or(443);
        let found = match url.host() {
            Some(Host::Ipv4(it)) => vec![IpAddr::V4(it)],
            Some(Host::Ipv6(it)) => vec![IpAddr::V6(it)],
            Some(Host::Domain(name)) => self.lookup(name).await?,
            None => Vec::new(),
        };
        let allowed = allowed(&host, found, allow_private)?;
        Ok(allowed
            .into_iter()
            .map(|it| SocketAddr::new(it, port))
            .collect())
    }

    /// The addresses of a name that may be connected to.
    ///
    /// # Errors
    /// There are none, or all of them are within the house.
    pub(crate) async fn checked(
        &self,
        host: &str,
        allow_private: bool,
    ) -> Result<Vec<IpAddr>, SendError> {
        let found = match host.parse::<IpAddr>() {
            Ok(address) => vec![address],
            Err(_) => self.lookup(host).await?,
        };
        allowed(host, found, allow_private)
    }

    async fn lookup(&self, host: &str) -> Result<Vec<IpAddr>, SendError> {
        let not_found = |message: String| SendError::Name {
            host: host.to_owned(),
            message,
        };
        match self.resolver.resolve(host).await {
            Ok(found) if found.is_empty() => Err(not_found("the name has none".into())),
            Ok(found) => Ok(found),
            Err(error) => Err(not_found(error.to_string())),
        }
    }
}

const USER_AGENT: &str = concat!("dalsegno/", env!("CARGO_PKG_VERSION"));

fn allowed(host: &str, found: Vec<IpAddr>, allow_private: bool) -> Result<Vec<IpAddr>, SendError> {
    let mut refused = None;
    let mut allowed = Vec::new();
    for address in found {
        match address::special(address).filter(|_| !allow_private) {
            None => allowed.push(address),
            Some(what) => refused = Some((address, what)),
        }
    }
    match (allowed.is_empty(), refused) {
        (true, Some((address, what))) => Err(SendError::Refused {
            host: host.to_owned(),
            address,
            what,
        }),
        _ => Ok(allowed),
    }
}

async fn connect(host: &str, addresses: &[SocketAddr]) -> Result<TcpStream, SendError> {
    let mut last = "it has no address".to_owned();
    for address in addresses.iter().take(ADDRESSES_MAX) {
        match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => {
                let _ = socket.set_nodelay(true);
                return Ok(socket);
            }
            Ok(Err(error)) => last = error.to_string(),
            Err(_) => last = "no answer".to_owned(),
        }
    }
    Err(SendError::Connect {
        host: host.to_owned(),
        message: last,
    })
}

/// Ends its task when it is dropped, and the connection with it.
struct Connection(tokio::task::JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn say<S>(
    socket: S,
    request: Request<Full<Bytes>>,
) -> Result<(Response<Incoming>, Connection), hyper::Error>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEADER_BYTES_MAX)
        .handshake(TokioIo::new(socket))
        .await?;
    // What goes wrong is told by the request.
    let connection = Connection(tokio::spawn(async move {
        let _ = connection.await;
    }));
    Ok((sender.send_request(request).await?, connection))
}

/// The beginning of an answer. One that breaks off or stands still after its status was an answer all the same.
async fn read(mut response: Response<Incoming>, until: Instant) -> Answer {
    let mut bytes = Vec::new();
    while bytes.len() < ANSWER_BYTES_MAX {
        match tokio::time::timeout_at(until, response.body_mut().frame()).await {
            Ok(Some(Ok(frame))) => {
                if let Some(piece) = frame.data_ref() {
                    let room = ANSWER_BYTES_MAX - bytes.len();
                    bytes.extend_from_slice(&piece[..piece.len().min(room)]);
                }
            }
            Ok(Some(Err(_)) | None) | Err(_) => break,
        }
    }
    let text = |name| {
        let value = response.headers().get(name)?;
        Some(String::from_utf8_lossy(value.as_bytes()).trim().to_owned())
    };
    Answer {
        status: response.status().as_u16(),
        retry_after: text(header::RETRY_AFTER).and_then(|it| patience(&it, SystemTime::now())),
        location: text(header::LOCATION),
        body: String::from_utf8_lossy(&bytes).trim().to_owned(),
    }
}

/// `Retry-After`: seconds or a date.
fn patience(text: &str, now: SystemTime) -> Option<Span> {
    let seconds = match text.parse::<u64>() {
        Ok(seconds) => seconds,
        Err(_) => {
            let until = httpdate::parse_http_date(text).ok()?;
            until.duration_since(now).ok()?.as_secs()
        }
    };
    Some(Span::from_secs(seconds.min(1 << 32) as i64))
}

/// The host of a URL with its port, for people; nothing else of it, for the rest may be a secret.
pub(crate) fn place(url: &Url) -> String {
    host_header(url)
}

fn host_header(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let date = httpdate::fmt_http_date(now + Duration::from_secs(90));
        assert_eq!(patience("120", now), Some(Span::from_secs(120)));
        assert_eq!(patience(&date, now), Some(Span::from_secs(90)));
        assert_eq!(patience("Fri, 31 Dec 1999 23:59:59 GMT", now), None);
        assert_eq!(patience("soon", now), None);
        assert_eq!(patience("-1", now), None);
    }

    #[test]
    fn loopback_in_other_spellings_is_still_loopback() {
        for text in [
            "http://127.0.0.1/",
            "http://127.1/",
            "http://0x7f.1/",
            "http://2130706433/",
            "http://017700000001/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://①②⑦.0.0.1/",
        ] {
            let url: Url = text.parse().expect(text);
            let address = match url.host() {
                Some(Host::Ipv4(it)) => IpAddr::V4(it),
                Some(Host::Ipv6(it)) => IpAddr::V6(it),
                other => panic!("{text}: {other:?}"),
            };
            let error = allowed("x", vec![address], false).expect_err(text);
            assert!(
                matches!(
                    error,
                    SendError::Refused {
                        what: "loopback",
                        ..
                    }
                ),
                "{text}"
            );
            assert_eq!(allowed("x", vec![address], true), Ok(vec![address]));
        }
    }
}
