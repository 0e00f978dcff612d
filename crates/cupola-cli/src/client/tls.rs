//! TLS and names, without the C library's resolver: it cannot be part of a static binary.

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::Arc,
};

use anyhow::{Context, bail};
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::credentials::Login;

/// Where Debian and Ubuntu keep the certificates that the system trusts.
const SYSTEM_CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

pub(super) struct Settings(Arc<ClientConfig>);

impl Settings {
    pub(super) fn new(login: &Login) -> anyhow::Result<Self> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .context("this build of rustls has no TLS version")?;
        let config = if login.skip_tls_validation {
            let verifier = Arc::new(AnyCertificate(provider));
            builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
        } else {
            builder.with_root_certificates(roots(login)?).with_no_client_auth()
        };
        Ok(Self(Arc::new(config)))
    }

    pub(super) async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> anyhow::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned()).context("the host is no name for TLS")?;
        TlsConnector::from(self.0.clone()).connect(name, stream).await.with_context(|| {
            format!(
                "no trusted TLS connection to {host}\n\n\
                 hint: name its authority with `cupola login --ca-file FILE`"
            )
        })
    }
}

fn roots(login: &Login) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let system = Path::new(SYSTEM_CERTIFICATES);
    let files = [system.exists().then_some(system), login.ca_file.as_deref()];
    for file in files.into_iter().flatten() {
        let name = || format!("cannot read the certificates in {}", file.display());
        for certificate in CertificateDer::pem_file_iter(file).with_context(name)? {
            // A system's list may hold certificates that rustls cannot use; the others count.
            let _ = roots.add(certificate.with_context(name)?);
        }
    }
    Ok(roots)
}

/// The address of a host. `getent` asks as the system is configured to.
pub(super) fn resolve(host: &str, port: u16) -> anyhow::Result<SocketAddr> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, port));
    }
    if host == "localhost" || host.ends_with(".localhost") {
        // RFC 6761, section 6.3.
        return Ok(SocketAddr::from(([127, 0, 0, 1], port)));
    }
    let output = std::process::Command::new("getent").args(["ahosts", host]).output();
    let output = output.context("cannot run getent to look up a name")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let first = text.split_whitespace().next().and_then(|ip| ip.parse().ok());
    match first {
        Some(ip) => Ok(SocketAddr::new(ip, port)),
        None => bail!("the name {host} is not known"),
    }
}

/// For `--skip-ssl-validation`: whoever is there is believed to be the platform.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
