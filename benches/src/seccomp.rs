//! A seccomp profile of the size of those that engines write: all calls but some are allowed, some by their arguments.

use serde_json::{Value, json};

const ALLOWED: &str = include_str!("../calls.txt");

/// `linux.seccomp`
pub fn profile() -> Value {
    let names: Vec<&str> = ALLOWED.split_whitespace().collect();
    let equal = |index: u32, value: u64| json!([{ "index": index, "value": value, "op": "SCMP_CMP_EQ" }]);
    let mut rules = vec![json!({ "names": names, "action": "SCMP_ACT_ALLOW" })];
    for persona in [0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff] {
        rules
            .push(json!({ "names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": equal(0, persona) }));
    }
    // No new namespaces, and no sockets of virtual machines.
    let no_namespaces =
        json!([{ "index": 0, "value": 0x7e02_0000_u64, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ" }]);
    rules.push(json!({ "names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": no_namespaces }));
    rules.push(json!({ "names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38 }));
    let not_vsock = json!([{ "index": 0, "value": 40, "op": "SCMP_CMP_NE" }]);
    rules.push(json!({ "names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": not_vsock }));
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": rules,
    })
}
