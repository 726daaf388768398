//! The config.json that cases start from, and how they change it.

use serde_json::{Map, Value, json};

/// The path of the probe inside the container.
pub const PROBE: &str = "/spec-probe";

/// A small container: no network namespace, since making one is slow and few cases look at it.
pub fn default_config(cgroups_path: &str) -> Value {
    let capabilities =
        json!(["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_KILL", "CAP_MKNOD", "CAP_SETGID", "CAP_SETUID"]);
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": { "uid": 0, "gid": 0 },
            "args": [PROBE],
            "env": ["PATH=/bin:/usr/bin"],
            "cwd": "/",
            "capabilities": { "bounding": capabilities, "effective": capabilities, "permitted": capabilities },
        },
        "root": { "path": "rootfs" },
        "hostname": "spec-tests",
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=65536k"] },
            { "destination": "/dev/pts", "type": "devpts", "source": "devpts",
              "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"] },
        ],
        "linux": {
            "cgroupsPath": cgroups_path,
            "namespaces": [{ "type": "pid" }, { "type": "ipc" }, { "type": "uts" }, { "type": "mount" }],
        },
    })
}

/// Set the value at a JSON pointer; objects on the way are made, `-` appends to an array.
pub fn set(config: &mut Value, pointer: &str, value: Value) {
    let mut place = config;
    for key in pointer.split('/').skip(1) {
        if let Value::Array(array) = place {
            let index = key.parse().unwrap_or(array.len());
            if index == array.len() {
                array.push(Value::Null);
            }
            place = &mut array[index];
        } else {
            if key == "-" {
                *place = json!([null]);
                place = &mut place[0];
                continue;
            }
            if !place.is_object() {
                *place = Value::Object(Map::new());
            }
            place = &mut place[key];
        }
    }
    *place = value;
}

/// Remove the value at a JSON pointer.
pub fn remove(config: &mut Value, pointer: &str) {
    let Some((parent, key)) = pointer.rsplit_once('/') else { return };
    match config.pointer_mut(parent) {
        Some(Value::Object(object)) => drop(object.remove(key)),
        Some(Value::Array(array)) => drop(key.parse().map(|index: usize| array.remove(index))),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_makes_objects_and_appends() {
        let mut config = json!({});
        set(&mut config, "/linux/devices/-", json!(1));
        set(&mut config, "/linux/devices/-", json!(2));
        set(&mut config, "/linux/devices/0", json!(3));
        assert_eq!(config, json!({ "linux": { "devices": [3, 2] } }));
    }

    #[test]
    fn remove_takes_keys_and_elements() {
        let mut config = json!({ "a": [1, 2], "b": 3 });
        remove(&mut config, "/a/0");
        remove(&mut config, "/b");
        assert_eq!(config, json!({ "a": [2] }));
    }
}
