//! Signatures of deliveries: GitHub's, and those of Standard Webhooks.

use super::config::Scheme;
use crate::base64;
use axum::http::HeaderMap;
use dalsegno_scheduler::Timestamp;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;

/// How far the time of a delivery and ours may be apart, either way; what Standard Webhooks recommends.
pub(super) const TOLERANCE_SECONDS: i64 = 300;

/// A key of HMAC-SHA256. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Key(Vec<u8>);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

impl Key {
    /// # Errors
    /// When the secret is empty or not of the form that the scheme has; the text does not hold it.
    pub(super) fn new(scheme: Scheme, secret: &str) -> Result<Self, &'static str> {
        let secret = secret.trim();
        if secret.is_empty() {
            return Err("is empty");
        }
        match scheme {
            Scheme::Github => Ok(Self(secret.as_bytes().to_owned())),
            Scheme::Standard => {
                let text = secret.strip_prefix("whsec_").unwrap_or(secret);
                let bytes = base64::decode(text).filter(|it| !it.is_empty());
                bytes
                    .map(Self)
                    .ok_or("is not `whsec_` followed by base64, as Standard Webhooks has it")
            }
        }
    }

    /// Compares in a time that tells nothing of where the difference is.
    fn has_signed(&self, parts: &[&[u8]], signature: &[u8]) -> bool {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        for part in parts {
            mac.update(part);
        }
        mac.verify_slice(signature).is_ok()
    }
}

/// What is known of a delivery once its signature is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Proven {
    /// The sender's own name for it: the same when it is sent again.
    pub(super) id: String,
    /// When it was sent, where that is signed.
    pub(super) time: Option<Timestamp>,
}

/// Whether one of the keys has signed this body, and when; what is wrong otherwise. The body is not looked into.
pub(super) fn verify(
    scheme: Scheme,
    keys: &[Key],
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
) -> Result<Proven, String> {
    match scheme {
        Scheme::Github => github(keys, headers, body),
        Scheme::Standard => standard(keys, headers, body, now),
    }
}

/// Whether a delivery has the headers of its scheme; it is worth reading only then.
pub(super) fn is_signed(scheme: Scheme, headers: &HeaderMap) -> Result<(), String> {
    let all: &[&str] = match scheme {
        Scheme::Github => &["x-hub-signature-256"],
        Scheme::Standard => &["webhook-id", "webhook-timestamp", "webhook-signature"],
    };
    all.iter().try_for_each(|it| needed(headers, it).map(drop))
}

fn github(keys: &[Key], headers: &HeaderMap, body: &[u8]) -> Result<Proven, String> {
    let signature = needed(headers, "x-hub-signature-256")?;
    let signature = signature.strip_prefix("sha256=").and_then(from_hex);
    let signature = signature
        .ok_or("the header x-hub-signature-256 is not `sha256=` followed by 64 hex digits")?;
    if !keys.iter().any(|it| it.has_signed(&[body], &signature)) {
        return Err("the signature is not that of this body with the webhook's secret".into());
    }
    Ok(Proven {
        id: needed(headers, "x-github-delivery")?.to_owned(),
        time: None,
    })
}

fn standard(
    keys: &[Key],
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
) -> Result<Proven, String> {
    let id = needed(headers, "webhook-id")?;
    let sent = needed(headers, "webhook-timestamp")?;
    let signatures = needed(headers, "webhook-signature")?;
    let seconds: i64 = sent
        .parse()
        .ok()
        .filter(|it| (0..=253_402_300_799).contains(it))
        .ok_or("the header webhook-timestamp is not a number of seconds since 1970")?;
    let signed = [id.as_bytes(), b".", sent.as_bytes(), b".", body];
    // Other versions (`v1a` is a public key's) may stand beside.
    let given = signatures
        .split(' ')
        .filter_map(|it| it.strip_prefix("v1,"))
        .filter_map(base64::decode);
    let proven = given
        .take(SIGNATURES_MAX)
        .any(|signature| keys.iter().any(|it| it.has_signed(&signed, &signature)));
    if !proven {
        return Err(
            "none of the signatures (`v1,` and base64 in the header webhook-signature) is that of \
             `webhook-id.webhook-timestamp.body` with the webhook's secret"
                .into(),
        );
    }
    // Only a signed time counts.
    let late = now.0.div_euclid(1_000_000) - seconds;
    if late.abs() > TOLERANCE_SECONDS {
        let (apart, word) = (late.abs(), if late > 0 { "behind" } else { "ahead of" });
        return Err(format!(
            "the header webhook-timestamp is {apart} s {word} our clock, and at most {TOLERANCE_SECONDS} s are allowed: \
             it is an old delivery sent once more, or the clocks disagree"
        ));
    }
    Ok(Proven {
        id: id.to_owned(),
        time: Some(Timestamp::from_secs(seconds)),
    })
}

/// How many signatures of one delivery are tried. A sender that changes its secret sends two.
const SIGNATURES_MAX: usize = 10;

fn needed<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, String> {
    let value = headers
        .get(name)
        .ok_or_else(|| format!("the header {name} is missing"))?;
    let text = value.to_str().ok().map(str::trim);
    text.filter(|it| !it.is_empty())
        .ok_or_else(|| format!("the header {name} is empty or not plain text"))
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|it| it.to_digit(16).map(|it| it as u8))
        .collect();
    let digits = digits.filter(|it| it.len() == 64)?;
    Some(digits.chunks(2).map(|it| it[0] << 4 | it[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderName;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            let value = value.parse().expect("a header value");
            (HeaderName::from_static(name), value)
        };
        pairs.iter().map(pair).collect()
    }

    fn keys(scheme: Scheme, secrets: &[&str]) -> Vec<Key> {
        let keys = secrets.iter().map(|it| Key::new(scheme, it));
        keys.map(|it| it.expect("a secret")).collect()
    }

    /// The example of GitHub's own page on the validation of deliveries.
    const GITHUB_SECRET: &str = "It's a Secret to Everybody";
    const GITHUB_SIGNATURE: &str =
        "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    fn of_github(secrets: &[&str], signature: &str, body: &[u8]) -> Result<Proven, String> {
        let headers = headers(&[
            ("x-hub-signature-256", signature),
            ("x-github-delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958"),
        ]);
        let keys = keys(Scheme::Github, secrets);
        verify(
            Scheme::Github,
            &keys,
            &headers,
            body,
            Timestamp::from_secs(0),
        )
    }

    #[test]
    fn the_published_example_of_github_is_proven() {
        let proven = of_github(&[GITHUB_SECRET], GITHUB_SIGNATURE, b"Hello, World!");
        let id = proven.expect("proven").id;
        assert_eq!(id, "72d3162e-cc78-11e3-81ab-4c9367dc0958");
    }

    #[test]
    fn a_changed_body_another_secret_and_a_mangled_signature_are_not() {
        let refused = |secret: &str, signature: &str, body: &[u8]| {
            of_github(&[secret], signature, body).expect_err("not proven")
        };
        refused(GITHUB_SECRET, GITHUB_SIGNATURE, b"Hello, World?");
        refused("another", GITHUB_SIGNATURE, b"Hello, World!");
        for signature in [
            GITHUB_SIGNATURE.trim_start_matches("sha256="),
            &GITHUB_SIGNATURE[..60],
            &GITHUB_SIGNATURE.replace("sha256", "sha1"),
            "sha256=",
            "sha256=zz",
        ] {
            let error = refused(GITHUB_SECRET, signature, b"Hello, World!");
            assert!(error.contains("64 hex digits"), "{signature}: {error}");
        }
        let none = verify(
            Scheme::Github,
            &keys(Scheme::Github, &[GITHUB_SECRET]),
            &HeaderMap::new(),
            b"",
            Timestamp::from_secs(0),
        );
        assert_eq!(
            none,
            Err("the header x-hub-signature-256 is missing".into())
        );
    }

    #[test]
    fn while_secrets_change_either_is_good() {
        for secrets in [["new", GITHUB_SECRET], [GITHUB_SECRET, "new"]] {
            assert!(of_github(&secrets, GITHUB_SIGNATURE, b"Hello, World!").is_ok());
        }
    }

    /// The example of the libraries of Standard Webhooks.
    const STANDARD_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const STANDARD_SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    const STANDARD_BODY: &[u8] = br#"{"test": 2432232314}"#;
    const STANDARD_TIME: i64 = 1_614_265_330;

    fn of_standard(signature: &str, body: &[u8], now: i64) -> Result<Proven, String> {
        let headers = headers(&[
            ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
            ("webhook-timestamp", "1614265330"),
            ("webhook-signature", signature),
        ]);
        let keys = keys(Scheme::Standard, &[STANDARD_SECRET]);
        verify(
            Scheme::Standard,
            &keys,
            &headers,
            body,
            Timestamp::from_secs(now),
        )
    }

    #[test]
    fn the_published_example_of_standard_webhooks_is_proven() {
        let proven = of_standard(STANDARD_SIGNATURE, STANDARD_BODY, STANDARD_TIME);
        assert_eq!(
            proven,
            Ok(Proven {
                id: "msg_p5jXN8AQM9LWM0D4loKWxJek".into(),
                time: Some(Timestamp::from_secs(STANDARD_TIME)),
            })
        );
    }

    #[test]
    fn one_good_signature_among_several_is_enough() {
        let several = format!("v1a,AAAA v1,AAAA {STANDARD_SIGNATURE} v2,AAAA");
        assert!(of_standard(&several, STANDARD_BODY, STANDARD_TIME).is_ok());
        for bad in [
            "v1,AAAA",
            "v1,",
            &STANDARD_SIGNATURE.replace("v1,", "v2,"),
            "x",
        ] {
            assert!(
                of_standard(bad, STANDARD_BODY, STANDARD_TIME).is_err(),
                "{bad}"
            );
        }
        assert!(of_standard(STANDARD_SIGNATURE, b"{}", STANDARD_TIME).is_err());
    }

    #[test]
    fn a_delivery_is_good_for_five_minutes() {
        let at = |now: i64| of_standard(STANDARD_SIGNATURE, STANDARD_BODY, STANDARD_TIME + now);
        assert!(at(300).is_ok() && at(-300).is_ok());
        let old = at(301).expect_err("too old");
        assert!(old.contains("301 s behind our clock"), "{old}");
        let early = at(-301).expect_err("too early");
        assert!(early.contains("301 s ahead of our clock"), "{early}");
    }

    #[test]
    fn secrets_of_standard_webhooks_are_base64_and_never_shown() {
        let key = Key::new(Scheme::Standard, STANDARD_SECRET).expect("a secret");
        assert_eq!(format!("{key:?}"), "Key(…)");
        assert!(Key::new(Scheme::Standard, "whsec_no!").is_err());
        assert!(Key::new(Scheme::Standard, "whsec_").is_err());
        assert!(Key::new(Scheme::Github, " \n").is_err());
    }
}
