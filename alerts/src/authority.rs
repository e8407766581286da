//! Whom a channel trusts to say that an endpoint is who it says it is.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::TlsConnector;

/// No bundle of authorities is larger.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The authorities of a file, and no others.
#[derive(Clone)]
pub(crate) struct Authority {
    tls: TlsConnector,
    certificates: Arc<[CertificateDer<'static>]>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority({} certificates)", self.certificates.len())
    }
}

impl Authority {
    /// Reads certificates in PEM.
    ///
    /// # Errors
    /// The file cannot be read, or holds no certificate of an authority.
    pub(crate) fn of_file(path: &Path) -> Result<Self, String> {
        let wrong = |what: String| format!("`ca_file`: {} {what}", path.display());
        let about = std::fs::metadata(path);
        let about = about.map_err(|error| wrong(format!("cannot be read: {error}")))?;
        if !about.is_file() || about.len() > FILE_BYTES_MAX {
            return Err(wrong("is not a file of at most 4 MiB".into()));
        }
        let certificates = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| wrong(format!("does not hold certificates in PEM: {error}")))?;
        let mut roots = RootCertStore::empty();
        for it in &certificates {
            let added = roots.add(it.clone());
            added.map_err(|error| wrong(format!("holds what is no certificate: {error}")))?;
        }
        if roots.is_empty() {
            return Err(wrong(
                "holds no certificate (-----BEGIN CERTIFICATE-----)".into(),
            ));
        }
        Ok(Self {
            tls: trusting(roots),
            certificates: certificates.into(),
        })
    }

    pub(crate) const fn tls(&self) -> &TlsConnector {
        &self.tls
    }

    /// As DER.
    pub(crate) fn certificates(&self) -> impl Iterator<Item = Vec<u8>> {
        self.certificates.iter().map(|it| it.to_vec())
    }
}

/// TLS 1.2 and 1.3, for HTTP/1.1.
pub(crate) fn trusting(roots: RootCertStore) -> TlsConnector {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider speaks TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    TlsConnector::from(Arc::new(config))
}
