//! What a build inherits from the host so that it reaches the same package registries: mirrors,
//! proxies and certificates, from the host's environment and from its package managers' files.
//!
//! Invariant: no login is passed on. A build runs code of whoever pushes, so tokens and passwords of
//! the host's root stay with it; an app that needs one brings it in its own environment.

mod settings;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use settings::{go_settings, has_login, npm_settings, pip_settings};
use tracing::warn;

use crate::orders::inside;

/// Names of variables that builds inherit; `*` at the end stands for any rest. Compared without
/// regard to case and with `-` as `_`, as the package managers do.
const PASSED_ENVIRONMENT: &[&str] = &[
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "NODE_USE_ENV_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH",
    "AWS_CA_BUNDLE",
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_FIND_LINKS",
    "PIP_NO_INDEX",
    "PIP_TRUSTED_HOST",
    "PIP_CERT",
    "PIP_PROXY",
    "PIP_TIMEOUT",
    "PIP_DEFAULT_TIMEOUT",
    "PIP_RETRIES",
    "UV_INDEX",
    "UV_DEFAULT_INDEX",
    "UV_INDEX_URL",
    "UV_EXTRA_INDEX_URL",
    "UV_FIND_LINKS",
    "UV_INSECURE_HOST",
    "UV_NATIVE_TLS",
    "UV_SYSTEM_CERTS",
    "UV_HTTP_TIMEOUT",
    "UV_PYTHON_INSTALL_MIRROR",
    "NPM_CONFIG_REGISTRY",
    "NPM_CONFIG_CAFILE",
    "NPM_CONFIG_PROXY",
    "NPM_CONFIG_HTTP_PROXY",
    "NPM_CONFIG_HTTPS_PROXY",
    "NPM_CONFIG_NOPROXY",
    "NPM_CONFIG_STRICT_SSL",
    "NPM_CONFIG_FETCH_*",
    "NPM_CONFIG_DISTURL",
    "NPM_CONFIG_NODEDIR",
    "NPM_CONFIG_REPLACE_REGISTRY_HOST",
    "COREPACK_NPM_REGISTRY",
    "YARN_REGISTRY",
    "YARN_NPM_REGISTRY_SERVER",
    "GOPROXY",
    "GONOPROXY",
    "GOSUMDB",
    "GONOSUMDB",
    "GOPRIVATE",
    "GOINSECURE",
    "GOVCS",
];

/// Variables whose value is the path of a certificate file.
const CERTIFICATE_FILES: &[&str] = &[
    "SSL_CERT_FILE",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "GIT_SSL_CAINFO",
    "AWS_CA_BUNDLE",
    "PIP_CERT",
    "NPM_CONFIG_CAFILE",
];
/// Variables whose value names a folder, which is of no use unless the stack has it too.
const FOLDERS: &[&str] = &["SSL_CERT_DIR", "GIT_SSL_CAPATH", "NPM_CONFIG_NODEDIR"];
/// Variables that may hold paths of the host beside URLs.
const LINKS: &[&str] = &["PIP_FIND_LINKS", "UV_FIND_LINKS"];

/// What builds get of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostEnvironment {
    pub variables: BTreeMap<String, String>,
    /// By name: files that builds see read-only, and that `variables` point to.
    pub(crate) files: BTreeMap<String, HostFile>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HostFile {
    Content(String),
    /// A copy of a certificate file, which the stack does not have.
    Copy(PathBuf),
}

/// The content of the package managers' configuration files, lowest precedence first.
#[derive(Clone, Debug, Default)]
pub struct HostFiles {
    /// `pip.conf`.
    pub pip: Vec<String>,
    /// `npmrc`.
    pub npm: Vec<String>,
    /// The file that `go env -w` writes.
    pub go: Vec<String>,
}

impl HostFiles {
    /// Reads the files where the package managers look for them. Those that are not there, or
    /// cannot be read, say nothing.
    pub fn read(home: &Path) -> Self {
        let read = |paths: &[PathBuf]| {
            paths.iter().filter_map(|path| std::fs::read_to_string(path).ok()).collect()
        };
        Self {
            pip: read(&[
                "/etc/pip.conf".into(),
                home.join(".pip/pip.conf"),
                home.join(".config/pip/pip.conf"),
            ]),
            npm: read(&[
                "/etc/npmrc".into(),
                "/usr/etc/npmrc".into(),
                "/usr/local/etc/npmrc".into(),
                home.join(".npmrc"),
            ]),
            go: read(&[home.join(".config/go/env")]),
        }
    }
}

/// The variables that builds inherit.
fn select(variables: impl IntoIterator<Item = (String, String)>) -> BTreeMap<String, String> {
    variables
        .into_iter()
        .filter(|(name, value)| is_passed(name) && !value.is_empty() && !value.contains('\0'))
        .filter(|(name, value)| {
            let is_secret = has_login(value);
            if is_secret {
                warn!(
                    "builds and apps do not get the variable {name} of this host: it holds a \
                     login, which is not passed on"
                );
            }
            !is_secret
        })
        .collect()
}

/// All of it. A variable of the host wins over a file, as it does for the package managers.
pub fn host_registry_environment(
    variables: impl IntoIterator<Item = (String, String)>,
    files: &HostFiles,
) -> HostEnvironment {
    let mut collected = BTreeMap::new();
    for text in &files.pip {
        for (key, value) in pip_settings(text) {
            collected.insert(format!("PIP_{}", key.replace('-', "_").to_uppercase()), value);
        }
    }
    for text in &files.go {
        collected.extend(go_settings(text));
    }
    collected.extend(select(variables));

    let mut environment = HostEnvironment::default();
    for (name, value) in collected {
        environment.add_variable(name, value);
    }
    environment.add_npmrc(&files.npm);
    environment
}

impl HostEnvironment {
    /// The part that running apps get: proxies and certificates that are in the stack.
    pub fn for_apps(&self) -> BTreeMap<String, String> {
        let is_for_apps = |name: &str, value: &str| {
            let name = canonical(name);
            name.ends_with("_PROXY") && !name.starts_with("NPM_") && !name.starts_with("PIP_")
                || (CERTIFICATE_FILES.contains(&&*name) || FOLDERS.contains(&&*name))
                    && !name.starts_with("NPM_")
                    && !name.starts_with("PIP_")
                    && is_in_stack(value)
        };
        let chosen = self.variables.iter().filter(|(name, value)| is_for_apps(name, value));
        chosen.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    fn add_variable(&mut self, name: String, value: String) {
        let canonical = canonical(&name);
        let value = if CERTIFICATE_FILES.contains(&&*canonical) {
            Some(self.certificate(&value))
        } else if FOLDERS.contains(&&*canonical) {
            Some(value).filter(|value| is_in_stack(value))
        } else if LINKS.contains(&&*canonical) {
            without_paths(&value)
        } else {
            Some(value)
        };
        if let Some(value) = value {
            self.variables.insert(name, value);
        }
    }

    /// The path under which builds see a certificate file.
    fn certificate(&mut self, path: &str) -> String {
        if is_in_stack(path) {
            return path.to_owned();
        }
        let known = self.files.iter().find_map(|(name, file)| match file {
            HostFile::Copy(source) if source == Path::new(path) => Some(name.clone()),
            _ => None,
        });
        let name = known.unwrap_or_else(|| {
            let name = format!("certificates-{}.pem", self.files.len());
            self.files.insert(name.clone(), HostFile::Copy(path.into()));
            name
        });
        format!("{}/{name}", inside::HOST_FILES)
    }

    // A file and not variables: an app's own .npmrc must win, and variables would win over it.
    fn add_npmrc(&mut self, texts: &[String]) {
        let settings: BTreeMap<_, _> = texts.iter().flat_map(|text| npm_settings(text)).collect();
        let mut lines = String::new();
        for (key, value) in settings {
            let value = match key.as_str() {
                "cafile" => self.certificate(&value),
                "nodedir" if !is_in_stack(&value) => continue,
                _ => value,
            };
            lines.push_str(&format!("{key}={value}\n"));
        }
        if !lines.is_empty() {
            self.files.insert("npmrc".to_owned(), HostFile::Content(lines));
            let path = format!("{}/npmrc", inside::HOST_FILES);
            self.variables.insert("NPM_CONFIG_USERCONFIG".to_owned(), path);
        }
    }
}

fn is_passed(name: &str) -> bool {
    let name = canonical(name);
    PASSED_ENVIRONMENT.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == *pattern,
    })
}

fn canonical(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}

/// The stack shows the host's certificates and programs under the host's paths.
fn is_in_stack(path: &str) -> bool {
    let stays = !path.split('/').any(|part| part == "..");
    stays && (path.starts_with("/etc/ssl/") || path == "/usr" || path.starts_with("/usr/"))
}

fn without_paths(value: &str) -> Option<String> {
    let urls: Vec<_> = value.split([' ', ',']).filter(|link| link.contains("://")).collect();
    Some(urls.join(" ")).filter(|urls| !urls.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(variables: &[(&str, &str)], files: &HostFiles) -> HostEnvironment {
        let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        host_registry_environment(variables, files)
    }

    fn content<'a>(environment: &'a HostEnvironment, name: &str) -> &'a str {
        match &environment.files[name] {
            HostFile::Content(text) => text,
            HostFile::Copy(_) => "",
        }
    }

    #[test]
    fn only_what_leads_to_a_registry_is_passed() {
        let host = [
            ("https_proxy", "http://proxy.example:3128"),
            ("npm_config_fetch-timeout", "9"),
            ("PIP_INDEX_URL", "https://mirror.example/simple"),
            ("PIP_CACHE_DIR", "/root/.cache"),
            ("NPM_CONFIG__AUTH", "secret"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("HOME", "/root"),
            ("HTTP_PROXY", "http://me:secret@proxy.example:3128"),
            ("ALL_PROXY", "me:secret@proxy.example:3128"),
            ("PIP_EXTRA_INDEX_URL", "https://a.example https://token@b.example/simple"),
            ("GOPROXY", "https://a.example|https://me:secret@b.example"),
        ];

        let chosen = select(host.map(|(name, value)| (name.to_owned(), value.to_owned())));

        let names: Vec<_> = chosen.keys().map(String::as_str).collect();
        assert_eq!(names, ["PIP_INDEX_URL", "https_proxy", "npm_config_fetch-timeout"]);
    }

    #[test]
    fn pip_conf_becomes_variables_and_the_environment_wins() {
        let text = "[global]\nindex-url = https://a.example/simple\nextra-index-url =\n  https://b.example\n  https://c.example\n# note\ntimeout = 5\n[list]\nformat = json\n[install]\ntimeout = 7\n";
        let files = HostFiles { pip: vec![text.into()], ..HostFiles::default() };

        let environment = collect(&[("PIP_INDEX_URL", "https://env.example")], &files);

        let expected = BTreeMap::from(
            [
                ("PIP_EXTRA_INDEX_URL", "https://b.example https://c.example"),
                ("PIP_INDEX_URL", "https://env.example"),
                ("PIP_TIMEOUT", "7"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        assert_eq!(environment.variables, expected);
    }

    #[test]
    fn npmrc_is_passed_as_a_file_without_its_tokens() {
        let text = "registry=https://npm.example/\n//npm.example/:_authToken=secret\n_auth=secret\n@team:registry = \"https://team.example\"\ncache=/root/.npm\nproxy=http://me:secret@proxy.example\n";
        let files = HostFiles { npm: vec![text.into()], ..HostFiles::default() };

        let environment = collect(&[], &files);

        assert_eq!(environment.variables["NPM_CONFIG_USERCONFIG"], "/in/host/npmrc");
        assert_eq!(
            content(&environment, "npmrc"),
            "@team:registry=https://team.example\nregistry=https://npm.example/\n"
        );
    }

    #[test]
    fn go_settings_of_the_machine_stay_on_it_but_those_of_registries_are_passed() {
        let text = "GOPROXY=https://go.example\nGOFLAGS=-mod=mod\nGOBIN=/root/bin\nGOSUMDB=off\n";
        let files = HostFiles { go: vec![text.into()], ..HostFiles::default() };

        let environment = collect(&[], &files);

        let names: Vec<_> = environment.variables.keys().map(String::as_str).collect();
        assert_eq!(names, ["GOPROXY", "GOSUMDB"]);
    }

    #[test]
    fn certificates_that_the_stack_lacks_are_copied_once() {
        let host = [
            ("SSL_CERT_FILE", "/opt/company/ca.pem"),
            ("CURL_CA_BUNDLE", "/opt/company/ca.pem"),
            ("PIP_CERT", "/etc/ssl/certs/ca-certificates.crt"),
            ("SSL_CERT_DIR", "/opt/company/certs"),
            ("PIP_FIND_LINKS", "/opt/wheels https://wheels.example"),
        ];

        let environment = collect(&host, &HostFiles::default());

        let copied = HostFile::Copy("/opt/company/ca.pem".into());
        assert_eq!(environment.files, BTreeMap::from([("certificates-0.pem".into(), copied)]));
        let variables: Vec<_> =
            environment.variables.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(
            variables,
            [
                ("CURL_CA_BUNDLE", "/in/host/certificates-0.pem"),
                ("PIP_CERT", "/etc/ssl/certs/ca-certificates.crt"),
                ("PIP_FIND_LINKS", "https://wheels.example"),
                ("SSL_CERT_FILE", "/in/host/certificates-0.pem"),
            ]
        );
    }

    #[test]
    fn apps_get_proxies_and_certificates_only() {
        let host = [
            ("NO_PROXY", "localhost"),
            ("NODE_EXTRA_CA_CERTS", "/etc/ssl/certs/ca-certificates.crt"),
            ("SSL_CERT_FILE", "/opt/company/ca.pem"),
            ("PIP_INDEX_URL", "https://mirror.example"),
        ];

        let environment = collect(&host, &HostFiles::default());

        let names: Vec<_> = environment.for_apps().into_keys().collect();
        assert_eq!(names, ["NODE_EXTRA_CA_CERTS", "NO_PROXY"]);
    }
}
