//! Signatures after [Standard Webhooks](https://www.standardwebhooks.com): what proves to a receiver who sent a message,
//! and when.

use crate::secret::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dalsegno_scheduler::Timestamp;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;

/// What Standard Webhooks asks of a key: 24 to 64 bytes.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// The keys of one endpoint; the first is the newest.
#[derive(Clone, PartialEq, Eq)]
pub struct Signer(Vec<Vec<u8>>);

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({} keys)", self.0.len())
    }
}

impl Signer {
    /// # Errors
    /// A secret is not `whsec_` followed by base64 of 24 to 64 bytes; the text does not hold it.
    pub fn new(secrets: &[Secret]) -> Result<Self, String> {
        let key = |secret: &Secret| {
            let text = secret.reveal().strip_prefix("whsec_");
            let bytes = text.and_then(|it| STANDARD.decode(it).ok());
            let bytes = bytes.filter(|it| KEY_BYTES.contains(&it.len()));
            bytes.ok_or_else(|| {
                "the secret is not `whsec_` followed by base64 of 24 to 64 bytes; make one: \
                 echo whsec_$(openssl rand -base64 32)"
                    .to_owned()
            })
        };
        secrets.iter().map(key).collect::<Result<_, _>>().map(Self)
    }

    /// The header `webhook-signature`: one signature for each key, parted by spaces, so that a receiver that has either of
    /// two keys is content.
    pub fn sign(&self, id: &str, at: Timestamp, body: &[u8]) -> String {
        let one = |key: &Vec<u8>| {
            let mut mac =
                Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
            mac.update(format!("{id}.{}.", seconds(at)).as_bytes());
            mac.update(body);
            format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
        };
        self.0.iter().map(one).collect::<Vec<_>>().join(" ")
    }
}

/// The header `webhook-timestamp`: whole seconds since 1970.
pub(crate) fn seconds(at: Timestamp) -> i64 {
    at.0.div_euclid(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's own libraries.
    #[test]
    fn the_signature_is_that_of_the_specification() {
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let signer = Signer::new(std::slice::from_ref(&secret)).expect("a key");
        let at = Timestamp::from_secs(1_614_265_330);
        let signed = signer.sign(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            at,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert!(!format!("{signer:?}{secret:?}").contains("MfKQ"));
    }

    #[test]
    fn two_keys_give_two_signatures_the_newest_first() {
        let of =
            |letter: char| Secret::new(format!("whsec_{}", STANDARD.encode([letter as u8; 24])));
        let (new, old) = (of('n'), of('o'));
        let sign = |secrets: &[Secret]| {
            Signer::new(secrets)
                .expect("keys")
                .sign("msg_1_x", Timestamp::from_secs(1), b"{}")
        };
        let both = sign(&[new.clone(), old.clone()]);
        assert_eq!(both, format!("{} {}", sign(&[new]), sign(&[old])));
    }

    #[test]
    fn a_secret_of_another_form_is_refused_without_being_shown() {
        for text in ["hunter2", "whsec_hunter2", "whsec_aHVudGVyMg==", "whsec_"] {
            let error = Signer::new(&[Secret::new(text)]).expect_err(text);
            assert!(
                error.contains("openssl rand") && !error.contains("hunter2"),
                "{error}"
            );
        }
    }
}
