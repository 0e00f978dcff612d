//! The environment that only the cell knows: address, port and identity of an instance.

use std::net::Ipv4Addr;

use cupola_ports::cells::DesiredInstance;
use serde_json::{Map, Value, json};

const APPLICATION: &str = "VCAP_APPLICATION";

/// The whole environment of an instance.
pub(super) fn of(desired: &DesiredInstance, address: Ipv4Addr) -> Vec<(String, String)> {
    let (id, index, port) = (desired.id.to_string(), desired.index, desired.port);
    let own = [
        ("CF_INSTANCE_ADDR", format!("{address}:{port}")),
        ("CF_INSTANCE_GUID", id.clone()),
        ("CF_INSTANCE_INDEX", index.to_string()),
        ("CF_INSTANCE_IP", address.to_string()),
        ("CF_INSTANCE_INTERNAL_IP", address.to_string()),
        ("CF_INSTANCE_PORT", port.to_string()),
        ("CF_INSTANCE_PORTS", json!([{ "external": port, "internal": port }]).to_string()),
        ("INSTANCE_GUID", id),
        ("INSTANCE_INDEX", index.to_string()),
        ("PORT", port.to_string()),
        ("VCAP_APP_PORT", port.to_string()),
        ("VCAP_APP_HOST", "0.0.0.0".to_owned()),
    ];
    let mut environment: Vec<(String, String)> = desired
        .environment
        .iter()
        .filter(|(name, _)| !own.iter().any(|(set, _)| set == name))
        .map(|(name, value)| match name.as_str() {
            APPLICATION => (name.clone(), with_instance(value, desired)),
            _ => (name.clone(), value.clone()),
        })
        .collect();
    environment.extend(own.map(|(name, value)| (name.to_owned(), value)));
    environment
}

/// `VCAP_APPLICATION` with what it says about the instance. One that is not JSON stays as it is.
fn with_instance(application: &str, desired: &DesiredInstance) -> String {
    let Ok(mut fields) = serde_json::from_str::<Map<String, Value>>(application) else {
        return application.to_owned();
    };
    fields.insert("instance_id".to_owned(), json!(desired.id.to_string()));
    fields.insert("instance_index".to_owned(), json!(desired.index));
    fields.insert("host".to_owned(), json!("0.0.0.0"));
    fields.insert("port".to_owned(), json!(desired.port));
    Value::Object(fields).to_string()
}

#[cfg(test)]
mod tests {
    use cupola_domain::{
        ids::{AppId, InstanceId, ProcessId},
        processes::{Check, HealthCheck, InstanceLimits},
    };

    use cupola_ports::cells::Work;

    use super::*;

    #[test]
    fn what_the_cell_knows_wins_and_the_application_learns_of_its_instance() {
        let desired = DesiredInstance {
            id: InstanceId::random(),
            app_id: AppId::random(),
            process_id: ProcessId::random(),
            process_type: "web".to_owned(),
            work: Work::Process,
            index: 3,
            layers: Vec::new(),
            stack: "host".to_owned(),
            argv: Vec::new(),
            sidecars: Vec::new(),
            environment: vec![
                ("PORT".to_owned(), "1".to_owned()),
                (APPLICATION.to_owned(), r#"{"name":"a"}"#.to_owned()),
            ],
            working_directory: "/".to_owned(),
            limits: InstanceLimits { memory_mib: 64, disk_mib: 64, log_rate_bytes_per_s: -1 },
            port: 8080,
            health_check: HealthCheck::with_defaults(Check::Port),
            readiness_check: HealthCheck::with_defaults(Check::Process),
            files: Vec::new(),
        };

        let environment = of(&desired, Ipv4Addr::new(10, 88, 0, 2));

        let value = |name: &str| {
            environment
                .iter()
                .find(|(set, _)| set == name)
                .map(|(_, value)| value.as_str())
                .unwrap()
        };
        assert_eq!(value("PORT"), "8080");
        assert_eq!(value("CF_INSTANCE_ADDR"), "10.88.0.2:8080");
        let application: Value = serde_json::from_str(value(APPLICATION)).unwrap();
        assert_eq!(application["name"], "a");
        assert_eq!(application["instance_index"], 3);
        assert_eq!(application["instance_id"], desired.id.to_string());
    }
}
