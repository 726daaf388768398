//! config-linux.md: sysctl.

use std::fs;

use serde_json::{Value, json};

use crate::case::{Case, case};
use crate::trial::did_is;
use crate::verdict::equal;

const SYSCTL: &str = "**`sysctl`** (object, OPTIONAL) allows kernel parameters to be modified at runtime for \
    the container.";

/// Name, value, file below /proc/sys, and the namespace that it needs besides the default ones.
const PARAMETERS: &[(&str, &str, &str, &str)] = &[
    ("net.ipv4.ip_forward", "1", "net/ipv4/ip_forward", "network"),
    ("net.core.somaxconn", "256", "net/core/somaxconn", "network"),
    ("net/ipv4/conf/lo/forwarding", "1", "net/ipv4/conf/lo/forwarding", "network"),
    ("net.ipv4.ip_unprivileged_port_start", "0", "net/ipv4/ip_unprivileged_port_start", "network"),
    ("kernel.shmmax", "123456", "kernel/shmmax", ""),
    ("kernel.msgmax", "4096", "kernel/msgmax", ""),
    ("kernel.sem", "32000\t1024000000\t500\t32000", "kernel/sem", ""),
    ("fs.mqueue.msg_max", "20", "fs/mqueue/msg_max", ""),
];

/// Names and values that must not be written, each with the file of the host that must stay as it is.
const REFUSED: &[(&str, &str, &str, &str)] = &[
    ("unknown", "kernel.no_such_parameter", "1", ""),
    ("host-wide", "vm.swappiness", "1", "vm/swappiness"),
    ("core-pattern", "kernel.core_pattern", "|/evil", "kernel/core_pattern"),
    ("dots", "net/../kernel/core_pattern", "|/evil", "kernel/core_pattern"),
    ("dots-in-dotted", "net./../kernel/core_pattern", "|/evil", "kernel/core_pattern"),
    ("net-without-namespace", "net.ipv4.ip_default_ttl", "33", "net/ipv4/ip_default_ttl"),
    ("empty-name", "", "1", ""),
    ("bad-value", "kernel.shmmax", "many", ""),
    ("hostname-of-the-runtime", "kernel.panic", "77", "kernel/panic"),
];

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = PARAMETERS.iter().map(applied).collect();
    for &(name, parameter, value, file) in REFUSED {
        cases.push(
            case(format!("sysctl/refused-{name}"))
                .spec("Runtimes MUST generate an error when invalid or unsupported values are encountered.")
                .run(move |t| {
                    let read = || fs::read_to_string(format!("/proc/sys/{file}")).unwrap_or_default();
                    let before = read();
                    t.set(
                        "/linux/sysctl",
                        Value::Object([(parameter.to_owned(), json!(value))].into_iter().collect()),
                    );
                    t.refused()?;
                    equal("parameter of the host", read(), before)
                }),
        );
    }
    cases.push(
        case("sysctl/ipc-without-namespace")
            .security("A66", "an IPC parameter without an IPC namespace is refused")
            .run(|t| {
                t.drop_namespace("ipc")
                    .set("/linux/sysctl", json!({ "kernel.shmmax": "123456" }))
                    .refused()
                    .map(drop)
            }),
    );
    cases.push(
        case("sysctl/value-is-a-string")
            .spec("Runtimes MUST generate an error when invalid or unsupported values are encountered.")
            .run(|t| t.set("/linux/sysctl", json!({ "kernel.shmmax": 5 })).refused().map(drop)),
    );
    cases
}

fn applied(&(name, value, file, namespace): &'static (&str, &str, &str, &str)) -> Case {
    case(format!("sysctl/{}", name.replace('/', "."))).spec(SYSCTL).run(move |t| {
        if !namespace.is_empty() {
            t.namespace(namespace, None);
        }
        let host = fs::read_to_string(format!("/proc/sys/{file}")).unwrap_or_default();
        t.set("/linux/sysctl", Value::Object([(name.to_owned(), json!(value))].into_iter().collect()));
        let read = format!("read:/proc/sys/{file}");
        did_is(&t.facts_of(&[&read])?, &read, format!("{value}\n"))?;
        equal("value of the host", fs::read_to_string(format!("/proc/sys/{file}")).unwrap_or_default(), host)
    })
}
