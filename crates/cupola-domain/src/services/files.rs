//! What bindings become for an instance: variables, or files.
//!
//! Follows upstream's lib/cloud_controller/diego/service_binding_files_builder.rb.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{BoundService, BoundServices, ServiceDelivery};

/// One file that an instance finds below `ServiceFile::ROOT`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceFile {
    /// Relative, of one or two plain names.
    pub path: String,
    pub content: String,
}

/// Its content is a secret.
impl std::fmt::Debug for ServiceFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ServiceFile({}, {} bytes)", self.path, self.content.len())
    }
}

impl ServiceFile {
    /// Where instances, tasks and builds find the files.
    pub const ROOT: &'static str = "/etc/cf-service-bindings";
}

/// Variables and files of an instance.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Materialized {
    pub variables: BTreeMap<String, String>,
    pub files: Vec<ServiceFile>,
}

/// The values of its variables are secrets.
impl std::fmt::Debug for Materialized {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&String> = self.variables.keys().collect();
        f.debug_struct("Materialized")
            .field("variables", &names)
            .field("files", &self.files)
            .finish()
    }
}

/// Why an app cannot be told of its bindings. Names what is wrong and no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IncompatibleBindings {
    #[error(
        "Invalid binding name: '{name}'. With the feature service-binding-k8s, a name has at most \
         253 lower-case letters, digits, '-' and '.'; choose one with \
         `cf bind-service --binding-name`"
    )]
    BadName { name: String },
    #[error(
        "Duplicate binding name: '{name}'. Choose another one with `cf bind-service --binding-name`"
    )]
    DuplicateName { name: String },
    #[error(
        "Invalid file name: '{key}'. With the feature service-binding-k8s, the name of a credential \
         has at most 253 lower-case letters, digits, '-', '.' and '_'"
    )]
    BadKey { key: String },
    #[error("Bindings exceed the maximum allowed bytesize of {BYTES_MAX}: {bytes}")]
    FilesTooLarge { bytes: usize },
    #[error(
        "VCAP_SERVICES is too large for a variable: {bytes} bytes, at most {VARIABLE_BYTES_MAX} are \
         possible. Turn on the app's feature file-based-vcap-services"
    )]
    VariableTooLarge { bytes: usize },
}

/// Names and contents of all files together, as upstream.
const BYTES_MAX: usize = 1_000_000;
/// Linux starts no program with a longer string (MAX_ARG_STRLEN: 32 pages with name, `=` and NUL).
const VARIABLE_BYTES_MAX: usize = 128 * 1024 - "VCAP_SERVICES=".len() - 1;

const VCAP_SERVICES: &str = "vcap_services";

pub(super) fn vcap_services_path() -> String {
    format!("{}/{VCAP_SERVICES}", ServiceFile::ROOT)
}

impl BoundServices {
    /// What an instance finds of its services, in the way that the app wants it.
    pub fn materialize(&self) -> Result<Materialized, IncompatibleBindings> {
        let mut found = Materialized::default();
        let (name, value) = match self.delivery {
            ServiceDelivery::Variable => {
                let text = self.vcap_services().to_string();
                if text.len() > VARIABLE_BYTES_MAX {
                    return Err(IncompatibleBindings::VariableTooLarge { bytes: text.len() });
                }
                ("VCAP_SERVICES", text)
            }
            ServiceDelivery::VariableInFile => {
                let content = self.vcap_services().to_string();
                found.files = vec![ServiceFile { path: VCAP_SERVICES.to_owned(), content }];
                ("VCAP_SERVICES_FILE_PATH", vcap_services_path())
            }
            ServiceDelivery::Folders => {
                found.files = self.folders()?;
                ("SERVICE_BINDING_ROOT", ServiceFile::ROOT.to_owned())
            }
        };
        found.variables.insert(name.to_owned(), value);
        found.variables.extend(self.database_url().map(|url| ("DATABASE_URL".to_owned(), url)));
        let bytes = found.files.iter().map(|file| file.path.len() + file.content.len()).sum();
        if bytes > BYTES_MAX {
            return Err(IncompatibleBindings::FilesTooLarge { bytes });
        }
        Ok(found)
    }

    fn folders(&self) -> Result<Vec<ServiceFile>, IncompatibleBindings> {
        let mut names = BTreeSet::new();
        let mut files = BTreeMap::new();
        for service in self.effective() {
            let name = service.name();
            if !is_plain_name(name, "-.") {
                return Err(IncompatibleBindings::BadName { name: name.to_owned() });
            }
            if !names.insert(name) {
                return Err(IncompatibleBindings::DuplicateName { name: name.to_owned() });
            }
            for (key, content) in folder(service)? {
                files.insert(format!("{name}/{key}"), content);
            }
        }
        let file = |(path, content)| ServiceFile { path, content };
        Ok(files.into_iter().map(file).collect())
    }

    /// The address of the first database among the services, in the words of Rails, as upstream
    /// sets it (lib/cloud_controller/database_uri_generator.rb).
    fn database_url(&self) -> Option<String> {
        let of_database = |service: &BoundService| {
            let (scheme, rest) = service.credentials.get("uri")?.as_str()?.split_once(':')?;
            let scheme = match scheme {
                "mysql" | "mysql2" => "mysql2",
                "postgres" | "postgresql" => "postgres",
                "db2" | "informix" => scheme,
                _ => return None,
            };
            Some(format!("{scheme}:{rest}"))
        };
        self.effective().find_map(of_database)
    }
}

/// The files of one binding. What the platform says of it wins over a credential of that name.
fn folder(service: &BoundService) -> Result<BTreeMap<String, String>, IncompatibleBindings> {
    let mut files = BTreeMap::new();
    for (key, value) in &service.credentials {
        if !is_plain_name(key, "-._") {
            return Err(IncompatibleBindings::BadKey { key: key.clone() });
        }
        files.extend(content(value).map(|content| (key.clone(), content)));
    }
    let about: Map<String, Value> = service.to_value();
    for (key, value) in about.iter().filter(|(key, _)| *key != "credentials") {
        files.extend(content(value).map(|content| (key.replace('_', "-"), content)));
    }
    for key in ["type", "provider"] {
        files.insert(key.to_owned(), super::LABEL.to_owned());
    }
    Ok(files)
}

/// Text as it is, anything else as JSON, and no file for nothing.
fn content(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Array(items) if items.is_empty() => None,
        Value::Object(fields) if fields.is_empty() => None,
        other => Some(other.to_string()),
    }
}

/// Neither `.` nor `..`: it becomes part of a path.
fn is_plain_name(name: &str, signs: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || signs.contains(c);
    (1..=253).contains(&name.len()) && !matches!(name, "." | "..") && name.chars().all(fits)
}
