//! TLS of the API: the operator's certificate, or one of an authority of our own.

use std::{fs, io::Write, net::IpAddr, os::unix::fs::OpenOptionsExt, path::Path, sync::Arc};

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio_rustls::TlsAcceptor;

use crate::config::{Config, TlsFiles};

/// None: the API is served without TLS, which only a loopback address may be.
pub(super) fn acceptor(config: &Config) -> anyhow::Result<Option<TlsAcceptor>> {
    if !config.needs_tls() {
        return Ok(None);
    }
    let files = match &config.tls {
        Some(files) => files.clone(),
        None => own_certificate(config)?,
    };
    let name = |path: &Path| format!("cannot use {} for TLS", path.display());
    let chain = CertificateDer::pem_file_iter(&files.certificate)
        .with_context(|| name(&files.certificate))?
        .collect::<Result<Vec<_>, _>>()
        .with_context(|| name(&files.certificate))?;
    let key = PrivateKeyDer::from_pem_file(&files.key).with_context(|| name(&files.key))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("this build of rustls has no TLS version")?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("the certificate and its key do not fit together")?;
    Ok(Some(TlsAcceptor::from(Arc::new(tls))))
}

/// The certificate of an authority that is made at first start. Clients trust the authority's own
/// certificate, `tls/authority.pem` in the data directory.
fn own_certificate(config: &Config) -> anyhow::Result<TlsFiles> {
    let folder = config.data_dir.join("tls");
    let files = TlsFiles { certificate: folder.join("api.pem"), key: folder.join("api-key.pem") };
    if files.certificate.exists() && files.key.exists() {
        return Ok(files);
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let authority_key = KeyPair::generate().context("cannot make a key")?;
    let authority = authority()?;
    let certificate = authority.self_signed(&authority_key).context("cannot sign a certificate")?;
    write(&folder.join("authority.pem"), &certificate.pem(), 0o644)?;
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().context("cannot make a key")?;
    let leaf = leaf(config)?.signed_by(&key, &issuer).context("cannot sign a certificate")?;
    write(&files.key, &key.serialize_pem(), 0o600)?;
    write(&files.certificate, &format!("{}{}", leaf.pem(), certificate.pem()), 0o644)?;
    Ok(files)
}

fn authority() -> anyhow::Result<CertificateParams> {
    let mut authority =
        CertificateParams::new(Vec::new()).context("cannot describe an authority")?;
    authority.distinguished_name.push(DnType::CommonName, "Cupola authority of this installation");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(authority)
}

/// For the names that clients may use: the host of the external URL, and the bound address.
fn leaf(config: &Config) -> anyhow::Result<CertificateParams> {
    let mut names = vec![host_of(&config.external_url), "localhost".to_owned()];
    let ip = config.api_addr.ip();
    if !ip.is_unspecified() {
        names.push(ip.to_string());
    }
    names.push(IpAddr::from([127, 0, 0, 1]).to_string());
    names.sort();
    names.dedup();
    let mut leaf = CertificateParams::new(names).context("the external URL names no host")?;
    leaf.distinguished_name.push(DnType::CommonName, "Cupola API");
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(leaf)
}

/// The host in a URL that was checked before.
fn host_of(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default().to_owned(),
        None => authority.split(':').next().unwrap_or_default().to_owned(),
    }
}

fn write(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let file = fs::File::options().write(true).create(true).truncate(true).mode(mode).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}
