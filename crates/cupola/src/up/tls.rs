//! TLS of the API: the operator's certificate, or one of an authority of our own.

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

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

/// The certificate that clients trust when the API has one of our own authority.
pub(super) fn authority_file(data_dir: &Path) -> PathBuf {
    data_dir.join("tls/authority.pem")
}

/// A certificate of an authority that is made at first start. It is made anew when the names change
/// that clients may use; the authority stays, so that they go on trusting it.
fn own_certificate(config: &Config) -> anyhow::Result<TlsFiles> {
    let folder = config.data_dir.join("tls");
    let files = TlsFiles { certificate: folder.join("api.pem"), key: folder.join("api-key.pem") };
    // Written last, so that it says that the others are whole.
    let of_names = folder.join("api-names");
    let names = names(config);
    let are_same = fs::read_to_string(&of_names).is_ok_and(|known| known == names.join("\n"));
    if are_same && files.certificate.exists() && files.key.exists() {
        return Ok(files);
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let (authority, issuer) = authority(&config.data_dir)?;
    let key = KeyPair::generate().context("cannot make a key")?;
    let leaf = leaf(&names)?.signed_by(&key, &issuer).context("cannot sign a certificate")?;
    write(&files.key, &key.serialize_pem(), 0o600)?;
    write(&files.certificate, &format!("{}{authority}", leaf.pem()), 0o644)?;
    write(&of_names, &names.join("\n"), 0o644)?;
    tracing::info!("made a certificate for the API, for {}", names.join(", "));
    Ok(files)
}

/// The authority's certificate, and what signs with it: of an earlier start, or new.
fn authority(data_dir: &Path) -> anyhow::Result<(String, Issuer<'static, KeyPair>)> {
    let file = authority_file(data_dir);
    let of_key = file.with_file_name("authority-key.pem");
    let params = authority_params()?;
    if let (Ok(certificate), Ok(key)) = (fs::read_to_string(&file), fs::read_to_string(&of_key)) {
        let key = KeyPair::from_pem(&key);
        let key = key.with_context(|| format!("cannot use the key {}", of_key.display()))?;
        return Ok((certificate, Issuer::new(params, key)));
    }
    let key = KeyPair::generate().context("cannot make a key")?;
    let certificate = params.self_signed(&key).context("cannot sign a certificate")?.pem();
    write(&of_key, &key.serialize_pem(), 0o600)?;
    write(&file, &certificate, 0o644)?;
    Ok((certificate, Issuer::new(params, key)))
}

fn authority_params() -> anyhow::Result<CertificateParams> {
    let mut authority =
        CertificateParams::new(Vec::new()).context("cannot describe an authority")?;
    authority.distinguished_name.push(DnType::CommonName, "Cupola authority of this installation");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(authority)
}

/// What clients may call the API: the host of the external URL, the bound address, and this machine.
fn names(config: &Config) -> Vec<String> {
    let ip = config.api_addr.ip();
    let bound = (!ip.is_unspecified()).then(|| ip.to_string());
    let here = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let names = here.into_iter().chain(bound).chain([host_of(&config.external_url)]);
    names.collect::<BTreeSet<_>>().into_iter().collect()
}

fn leaf(names: &[String]) -> anyhow::Result<CertificateParams> {
    let mut leaf =
        CertificateParams::new(names.to_vec()).context("the external URL names no host")?;
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

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::config::Options;

    fn config(data_dir: &Path, external_url: &str) -> Config {
        let mut options = Options {
            api_addr: Some(SocketAddr::from(([192, 0, 2, 1], 8443))),
            external_url: Some(external_url.to_owned()),
            ..Options::default()
        };
        options.place.data_dir = Some(data_dir.to_owned());
        Config::resolve(options).unwrap()
    }

    fn read(path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn certificate_is_kept_until_the_names_change_and_its_authority_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let first = config(folder.path(), "https://api.example.com:8443");
        let files = own_certificate(&first).unwrap();
        let (certificate, authority) =
            (read(&files.certificate), read(&authority_file(folder.path())));
        assert!(certificate.ends_with(&authority));

        own_certificate(&first).unwrap();
        assert_eq!(read(&files.certificate), certificate);

        own_certificate(&config(folder.path(), "https://paas.example.com")).unwrap();
        assert_ne!(read(&files.certificate), certificate);
        assert!(read(&files.certificate).ends_with(&authority));
        assert_eq!(read(&authority_file(folder.path())), authority);
        assert!(acceptor(&first).unwrap().is_some());
    }

    #[test]
    fn names_are_those_that_clients_may_use() {
        let folder = Path::new("/nonexistent");
        assert_eq!(
            names(&config(folder, "https://api.example.com:8443/x")),
            ["127.0.0.1", "192.0.2.1", "::1", "api.example.com", "localhost"]
        );
        assert_eq!(
            names(&config(folder, "https://[2001:db8::1]:8443")),
            ["127.0.0.1", "192.0.2.1", "2001:db8::1", "::1", "localhost"]
        );
    }
}
