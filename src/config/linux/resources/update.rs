//! What `update` asks for, joined with what is in force already.
//!
//! A request has only what shall change. Zeros and empty strings of clients stand for "leave as it is", also in `pids`,
//! where old clients send them. Some fields mean something only together: the half that is not asked for comes from
//! what is stored.

use oci_spec::runtime::LinuxResources;
use serde_json::{Map, Value};

use super::Resources;
use super::devices::DeviceRules;
use crate::error::Problems;
use crate::host::Host;

/// An update, ready to be put in force.
#[derive(Debug)]
pub struct Update {
    /// What is written.
    pub change: Resources,
    /// All that is in force before.
    pub old: Resources,
    /// The rules for devices before and after, if the request has a list of them.
    pub devices: Option<(DeviceRules, DeviceRules)>,
    /// All resources after the update, as JSON.
    pub stored: Value,
}

/// Members that ask for nothing when they are zero or empty.
const UNSET: [(&str, &[&str]); 5] = [
    ("memory", &["limit", "reservation", "swap", "kernel", "kernelTCP"]),
    ("cpu", &["shares", "quota", "period", "realtimeRuntime", "realtimePeriod", "cpus", "mems"]),
    ("pids", &["limit"]),
    ("blockIO", &["weight", "leafWeight"]),
    ("network", &["classID"]),
];

/// Members that are checked or written together.
const TOGETHER: [(&str, &[&str]); 3] = [
    ("memory", &["limit", "swap", "checkBeforeUpdate"]),
    ("cpu", &["quota", "period", "burst"]),
    ("cpu", &["idle", "shares"]), // the kernel resets the shares with idle
];

/// What tells the elements of a list from one another.
const IDENTITY: [&[&str]; 3] = [&["major", "minor"], &["pageSize"], &["name"]];

impl Update {
    /// Join a request with the stored resources; both are `linux.resources` as JSON.
    pub fn parse(stored: &Value, request: Value, host: &Host) -> Result<Self, Problems> {
        let request = clean(request)?;
        let mut stored = if stored.is_null() { Value::Object(Map::new()) } else { stored.clone() };
        let lists_devices = request.get("devices").is_some();
        let old = Resources::parse(Some(&typed(&stored)?), host)?;
        // "-1" lifts the limit of memory, and with it that of both together, which cannot stand alone.
        if request.pointer("/memory/limit") == Some(&Value::from(-1))
            && request.pointer("/memory/swap").is_none()
            && let Some(memory) = stored.get_mut("memory").and_then(Value::as_object_mut)
        {
            memory.remove("swap");
        }
        let change = Resources::parse(Some(&typed(&completed(&request, &stored))?), host)?;
        merge(&mut stored, request);
        let devices = lists_devices.then(|| (old.devices.clone(), change.devices.clone()));
        Ok(Self { change, old, devices, stored })
    }
}

fn typed(resources: &Value) -> Result<LinuxResources, Problems> {
    serde_path_to_error::deserialize(resources).map_err(|error| {
        Problems::one(format!("linux.resources.{}", error.path()), error.inner().to_string())
    })
}

/// The request without what asks for nothing.
fn clean(request: Value) -> Result<Value, Problems> {
    let Value::Object(mut request) = request else {
        return Err(Problems::one("linux.resources", "is not an object"));
    };
    for (section, members) in UNSET {
        if let Some(section) = request.get_mut(section).and_then(Value::as_object_mut) {
            section.retain(|name, value| !members.contains(&name.as_str()) || !is_unset(value));
        }
    }
    if request.get("devices").is_some_and(is_deny_all) {
        request.remove("devices");
    }
    let mut request = Value::Object(request);
    drop_empty(&mut request);
    Ok(request)
}

fn is_unset(value: &Value) -> bool {
    value.as_i64() == Some(0) || value.as_str().is_some_and(|text| text.trim().is_empty())
}

/// CRI sends the beginning of every list, `deny all`, with every update, and does not mean it.
fn is_deny_all(devices: &Value) -> bool {
    let [rule] = devices.as_array().map_or(&[][..], Vec::as_slice) else { return false };
    let is_all = |name| rule.get(name).is_none_or(|number| number.is_null() || number.as_i64() == Some(-1));
    let kind = rule.get("type").and_then(Value::as_str).unwrap_or("a");
    rule.get("allow") != Some(&Value::Bool(true))
        && ["a", ""].contains(&kind)
        && is_all("major")
        && is_all("minor")
}

/// Nulls, and what has nothing in it.
fn drop_empty(value: &mut Value) {
    if let Value::Object(members) = value {
        members.values_mut().for_each(drop_empty);
        members.retain(|_, value| match value {
            Value::Null => false,
            Value::Object(members) => !members.is_empty(),
            Value::Array(elements) => !elements.is_empty(),
            _ => true,
        });
    }
}

/// The request, and the other halves of what it asks for.
fn completed(request: &Value, stored: &Value) -> Value {
    let mut completed = request.clone();
    for (section, members) in TOGETHER {
        let Some(asked) = completed.get_mut(section).and_then(Value::as_object_mut) else { continue };
        if !members.iter().any(|member| asked.contains_key(*member)) {
            continue;
        }
        for member in members {
            if let Some(value) = stored.get(section).and_then(|section| section.get(*member)) {
                asked.entry(*member).or_insert_with(|| value.clone());
            }
        }
    }
    completed
}

fn merge(stored: &mut Value, request: Value) {
    match (stored, request) {
        (Value::Object(stored), Value::Object(request)) => {
            for (name, value) in request {
                match stored.get_mut(&name) {
                    Some(old) if name != "devices" => merge(old, value),
                    _ => drop(stored.insert(name, value)),
                }
            }
        }
        (Value::Array(stored), Value::Array(request)) => {
            for element in request {
                match stored.iter_mut().find(|old| is_same(old, &element)) {
                    Some(old) => merge(old, element),
                    None => stored.push(element),
                }
            }
        }
        (stored, request) => *stored = request,
    }
}

fn is_same(a: &Value, b: &Value) -> bool {
    let has = |names: &&&[&str]| names.iter().all(|name| a.get(name).is_some());
    IDENTITY.iter().find(has).is_some_and(|names| names.iter().all(|name| a.get(name) == b.get(name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::hierarchy::examples;
    use serde_json::json;

    fn parse(stored: Value, request: Value) -> Result<Update, String> {
        Update::parse(&stored, request, &examples::v1()).map_err(|problems| problems.to_string())
    }

    fn written(update: &Update) -> Vec<(String, String)> {
        update.change.v1().into_iter().map(|w| (w.file.into_owned(), w.value)).collect()
    }

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(file, value)| ((*file).into(), (*value).into())).collect()
    }

    #[test]
    fn what_is_absent_zero_or_empty_stays() {
        let stored =
            json!({"memory": {"limit": 100, "swap": 200}, "cpu": {"shares": 512}, "pids": {"limit": 9}});
        for request in [
            json!({}),
            json!({"memory": {"limit": 0, "reservation": 0, "kernel": 0}, "blockIO": {"weight": 0},
                "cpu": {"shares": 0, "quota": 0, "period": 0, "cpus": "", "mems": ""}, "pids": {"limit": 0}}),
            json!({"memory": null, "unified": {}, "hugepageLimits": []}),
        ] {
            let update = parse(stored.clone(), request).unwrap();
            assert_eq!((written(&update), &update.stored), (vec![], &stored));
            assert!(update.devices.is_none());
        }
    }

    #[test]
    fn halves_are_completed_from_what_is_stored() {
        let stored =
            json!({"cpu": {"period": 200_000, "shares": 512}, "memory": {"limit": 4096, "swap": 16384}});
        let update = parse(stored.clone(), json!({"cpu": {"quota": 50_000}})).unwrap();
        let expected = pairs(&[("cpu.cfs_period_us", "200000"), ("cpu.cfs_quota_us", "50000")]);
        assert_eq!(written(&update), expected);
        assert_eq!(update.stored["cpu"], json!({"period": 200_000, "shares": 512, "quota": 50_000}));

        let update = parse(stored.clone(), json!({"memory": {"limit": 8192}})).unwrap();
        let expected = pairs(&[("memory.limit_in_bytes", "8192"), ("memory.memsw.limit_in_bytes", "16384")]);
        assert_eq!(written(&update), expected);
        assert!(
            parse(stored, json!({"memory": {"limit": 32768}})).unwrap_err().contains("memory.swap: 16384")
        );
    }

    #[test]
    fn no_limit_of_memory_is_none_of_swap_either() {
        let stored = json!({"memory": {"limit": 4096, "swap": 8192}});
        let update = parse(stored, json!({"memory": {"limit": -1}})).unwrap();
        let expected = pairs(&[("memory.limit_in_bytes", "-1"), ("memory.memsw.limit_in_bytes", "-1")]);
        assert_eq!(written(&update), expected);
        assert_eq!(update.stored, json!({"memory": {"limit": -1}}));
    }

    #[test]
    fn lists_are_merged_by_device() {
        let rate = |minor, rate| json!({"major": 8, "minor": minor, "rate": rate});
        let stored = json!({"blockIO": {"throttleReadBpsDevice": [rate(0, 1), rate(16, 2)]}});
        let request = json!({"blockIO": {"throttleReadBpsDevice": [rate(16, 3), rate(32, 4)]}});
        let update = parse(stored, request).unwrap();
        assert_eq!(written(&update).len(), 2);
        let expected = json!([rate(0, 1), rate(16, 3), rate(32, 4)]);
        assert_eq!(update.stored["blockIO"]["throttleReadBpsDevice"], expected);
    }

    #[test]
    fn devices_only_with_a_real_list() {
        for lone in [
            json!([]),
            json!([{"allow": false, "access": "rwm"}]),
            json!([{"allow": false, "type": "a", "major": -1, "minor": null, "access": "rwm"}]),
        ] {
            let update = parse(json!({}), json!({ "devices": lone })).unwrap();
            assert!(update.devices.is_none() && update.stored == json!({}));
        }
        let list = json!([{"allow": false, "access": "rwm"},
            {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw"}]);
        let update = parse(json!({"devices": [{"allow": true, "access": "rwm"}]}), json!({"devices": list}));
        let update = update.unwrap();
        assert_eq!(update.stored["devices"], list);
        let (before, after) = update.devices.unwrap();
        assert!(before.rules().len() + 1 == after.rules().len());
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let text = parse(json!({}), json!({"memory": {"limit": "1g"}})).unwrap_err();
        assert!(text.starts_with("linux.resources.memory.limit: "), "{text}");
        assert!(parse(json!({}), json!([])).is_err());
    }
}
