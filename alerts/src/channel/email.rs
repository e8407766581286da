//! E-mail over SMTP.

use super::{Attempted, Letter, Verdict, one_line};
use crate::alert::Alert;
use crate::http::{Client, Way};
use crate::secret::Secret;
use lettre::message::{Mailbox, header};
use lettre::transport::smtp::AsyncSmtpTransport;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{
    Certificate, CertificateStore, Tls as Wrapping, TlsParameters,
};
use lettre::{AsyncTransport as _, Message, Tokio1Executor};
use std::fmt::Write as _;

/// How many alerts one message tells of in full.
const ALERTS_MAX: usize = 100;

#[derive(Clone, Debug)]
pub(crate) struct Email {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: Security,
    pub(crate) from: Mailbox,
    pub(crate) to: Vec<Mailbox>,
    pub(crate) login: Option<(String, Secret)>,
    pub(crate) way: Way,
}

/// How the connection is kept secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Security {
    /// It begins in the open and is secured before anything is said (port 587).
    StartTls,
    /// From the first byte on (port 465).
    Tls,
    /// Not at all.
    None,
}

impl Email {
    pub(super) fn target(&self) -> String {
        let to: Vec<String> = self.to.iter().map(|it| it.email.to_string()).collect();
        format!("{} by {}:{}", to.join(", "), self.host, self.port)
    }

    pub(super) async fn send(&self, client: &Client, letter: Letter<'_>) -> Attempted {
        let sending = self.send_now(client, letter);
        match tokio::time::timeout(client.timeout(), sending).await {
            Ok(attempted) => attempted,
            Err(_) => Attempted::ill(
                None,
                format!(
                    "{} did not answer within {} s",
                    self.host,
                    client.timeout().as_secs()
                ),
            ),
        }
    }

    async fn send_now(&self, client: &Client, letter: Letter<'_>) -> Attempted {
        let message = match self.message(letter) {
            Ok(message) => message,
            Err(error) => {
                return Attempted::never(None, format!("no e-mail can be made of it: {error}"));
            }
        };
        let addresses = match client.checked(&self.host, self.way.allow_private).await {
            Ok(addresses) => addresses,
            Err(error) => return Attempted::ill(None, error.to_string()),
        };
        let mut last = None;
        // The address that was checked is the one that is connected to; the certificate is still that of the name.
        for address in addresses.iter().take(2) {
            let transport = match self.transport(&address.to_string()) {
                Ok(transport) => transport,
                Err(error) => return Attempted::ill(None, error.to_string()),
            };
            match transport.send(message.clone()).await {
                Ok(answer) => {
                    let code = answer.code();
                    let said = answer.message().collect::<Vec<_>>().join(" ");
                    let status = code.to_string().parse().ok();
                    return Attempted::delivered(
                        status,
                        one_line(&format!("it answers {code}: {said}"), 300),
                    );
                }
                Err(error) => {
                    let is_answer = error.status().is_some();
                    last = Some(self.failed(&error));
                    if is_answer {
                        break;
                    }
                }
            }
        }
        last.unwrap_or_else(|| Attempted::ill(None, format!("{} has no address", self.host)))
    }

    fn transport(
        &self,
        address: &str,
    ) -> Result<AsyncSmtpTransport<Tokio1Executor>, lettre::transport::smtp::Error> {
        let wrapping = match self.tls {
            Security::None => Wrapping::None,
            Security::StartTls => Wrapping::Required(self.secured()?),
            Security::Tls => Wrapping::Wrapper(self.secured()?),
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(address)
            .port(self.port)
            .tls(wrapping);
        if let Some((user, password)) = &self.login {
            builder =
                builder.credentials(Credentials::new(user.clone(), password.reveal().to_owned()));
        }
        Ok(builder.build())
    }

    fn secured(&self) -> Result<TlsParameters, lettre::transport::smtp::Error> {
        let mut secured = TlsParameters::builder(self.host.clone());
        if let Some(authority) = &self.way.authority {
            secured = secured.certificate_store(CertificateStore::None);
            for it in authority.certificates() {
                secured = secured.add_root_certificate(Certificate::from_der(it)?);
            }
        }
        secured.build()
    }

    fn failed(&self, error: &lettre::transport::smtp::Error) -> Attempted {
        let status = error.status().and_then(|it| it.to_string().parse().ok());
        let mut message = error.to_string();
        let mut cause = std::error::Error::source(error);
        while let Some(error) = cause {
            let _ = write!(message, ": {error}");
            cause = error.source();
        }
        let message = one_line(&format!("{}:{}: {message}", self.host, self.port), 300);
        let verdict = match status {
            // Such a message, or such an address, is not taken later either.
            Some(550..=556) => Verdict::Never,
            status => Verdict::Later {
                asked: None,
                is_ill: status.is_none_or(|it| it < 500),
            },
        };
        Attempted {
            status,
            message,
            verdict,
        }
    }

    fn message(&self, letter: Letter<'_>) -> Result<Message, lettre::error::Error> {
        let id = format!("<{}@dalsegno>", letter.id);
        let first = letter.first();
        let mut builder = Message::builder()
            .from(self.from.clone())
            .subject(one_line(&format!("[Dalsegno] {}", letter.headline()), 200))
            // The same message keeps its name, so that mailboxes recognise it.
            .message_id(Some(id))
            .date(std::time::SystemTime::from(first.at.to_chrono()))
            .header(header::ContentType::TEXT_PLAIN);
        for to in &self.to {
            builder = builder.to(to.clone());
        }
        builder.body(text(letter))
    }
}

fn text(letter: Letter<'_>) -> String {
    let mut text = String::new();
    for alert in letter.alerts.iter().take(ALERTS_MAX) {
        one(&mut text, alert);
    }
    let left = letter.alerts.len().saturating_sub(ALERTS_MAX);
    if left > 0 {
        let _ = writeln!(text, "and {left} more\n");
    }
    let _ = writeln!(text, "-- \nDalsegno, delivery {}", letter.id);
    text
}

fn one(text: &mut String, alert: &Alert) {
    let _ = writeln!(text, "{}\n", one_line(&alert.summary, 2_000));
    let run = alert.run.map(|it| it.to_string());
    let at = alert.at.to_string();
    for (name, value) in [
        ("kind", Some(&alert.kind)),
        ("at", Some(&at)),
        ("flow", alert.flow.as_ref()),
        ("run", run.as_ref()),
        ("step", alert.step.as_ref()),
        ("owner", alert.owner.as_ref()),
        ("matter", Some(&alert.key)),
    ] {
        if let Some(value) = value {
            let _ = writeln!(text, "  {name:<7} {}", one_line(value, 300));
        }
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use dalsegno_scheduler::Timestamp;

    #[test]
    fn no_text_of_a_flow_becomes_a_header() {
        let email = Email {
            host: "mail.example.com".into(),
            port: 587,
            tls: Security::StartTls,
            from: "Dalsegno <dalsegno@example.com>"
                .parse()
                .expect("an address"),
            to: vec!["ops@example.com".parse().expect("an address")],
            login: None,
            way: Way::default(),
        };
        let mut alert = Alert::test("x", Timestamp::from_secs(1));
        alert.summary = "late\r\nBcc: all@example.com\r\n\r\nhello".into();
        let letter = Letter {
            id: "msg_1_x",
            alerts: std::slice::from_ref(&alert),
            at: alert.at,
        };
        let raw =
            String::from_utf8(email.message(letter).expect("a message").formatted()).expect("text");
        assert!(raw.contains("Message-ID: <msg_1_x@dalsegno>"), "{raw}");
        assert!(!raw.lines().any(|it| it.starts_with("Bcc")), "{raw}");
    }
}
