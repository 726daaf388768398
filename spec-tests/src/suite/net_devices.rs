//! config-linux.md: network devices. The runtime network namespace is the case's own, with one end of a veth pair.

use std::process::{Child, Command, Stdio};

use nix::sched::{CloneFlags, unshare};
use serde_json::{Value, json};

use crate::case::{Case, Draft, case};
use crate::host::Need;
use crate::trial::{Trial, until};
use crate::verdict::{Verdict, equal, failed};

const AVAILABLE: &str = "**`netDevices`** (object, OPTIONAL) - A set of network devices that MUST be made \
    available in the container.";
const NAME: &str = "**`name`** *(string, OPTIONAL)* - the name of the network device inside the container \
    namespace. If not specified, the host name is used.";
const POSSIBLE: &str = "The runtime MUST check if moving the network interface to the container namespace is \
    possible.";
const TAKEN: &str = "If a network device with the specified name already exists in the container namespace, the \
    runtime MUST generate an error, unless the user has provided a template by appending `%d` to the new name.";
const TEMPLATE: &str = "In that case, the runtime MUST allow the move, and the kernel will generate a unique name \
    for the interface within the container's network namespace.";
const ATTRIBUTES: &str = "The runtime MUST preserve existing network interface attributes, including all permanent \
    IP addresses (IFA_F_PERMANENT flag) of any family with global scope (RT_SCOPE_UNIVERSE value).";
const UP: &str =
    "The runtime MUST set the network device state to \"up\" after moving it to the network namespace.";
const STAYS: &str =
    "The runtime **MUST NOT** attempt to move the interface out of the namespace before deletion.";
const ATOMIC: &str = "Unless otherwise stated, generating an error MUST leave the state of the environment as if the \
    operation were never attempted.";

/// See the top of this file.
pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        net("moved").spec(AVAILABLE).run(|t| {
            prepare(t, json!({ "spec0": {} }))?;
            t.running::<&str>(&[])?;
            equal("interfaces in the container", names(t)?, vec!["lo", "spec0"])?;
            equal("interfaces of the runtime", own_names()?, vec!["lo", "spec1"])
        }),
        net("renamed").spec(NAME).run(|t| {
            prepare(t, json!({ "spec0": { "name": "inside" }, "spec1": { "name": "spec0" } }))?;
            t.running::<&str>(&[])?;
            equal("interfaces in the container", names(t)?, vec!["inside", "lo", "spec0"])
        }),
        net("template").spec(TEMPLATE).run(|t| {
            prepare(t, json!({ "spec0": { "name": "net%d" }, "spec1": { "name": "net%d" } }))?;
            t.running::<&str>(&[])?;
            equal("interfaces in the container", names(t)?, vec!["lo", "net0", "net1"])
        }),
        net("attributes").spec(ATTRIBUTES).run(attributes),
        net("up").spec(UP).run(|t| {
            prepare(t, json!({ "spec0": {} }))?;
            t.running::<&str>(&[])?;
            ensure!(flags(&inside(t, "spec0")?).contains(&"UP".to_owned()), "spec0 is not up");
            Ok(())
        }),
        net("before-the-hooks").runc("Hooks that set a network up find the interfaces where they are to be.").run(|t| {
            prepare(t, json!({ "spec0": {} }))?;
            t.set("/hooks/createRuntime", json!([{ "path": "/bin/sh", "args": ["sh", "-c", format!(
                "nsenter --net=/proc/$(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/')/ns/net ip -o link > {}", t.path("seen"))] }]));
            t.running::<&str>(&[])?;
            let seen = std::fs::read_to_string(t.path("seen"))?;
            ensure!(seen.contains("spec0"), "the hook saw {seen:?}");
            Ok(())
        }),
        joined("stays", STAYS, |t, keeper| {
            t.running::<&str>(&[])?;
            t.finish()?;
            equal("interfaces of the namespace", names_of(keeper)?, vec!["lo", "spec0"])
        }),
        joined("name-taken", TAKEN, |t, keeper| {
            enter(keeper, &["ip", "link", "add", "spec0", "type", "veth", "peer", "name", "other"])?;
            let stderr = t.refused()?;
            ensure!(stderr.contains("spec0"), "which one? {stderr}");
            equal("interfaces of the runtime", own_names()?, vec!["lo", "spec0", "spec1"])
        }),
        joined("name-taken-template", TEMPLATE, |t, keeper| {
            enter(keeper, &["ip", "link", "add", "spec0", "type", "veth", "peer", "name", "net0"])?;
            t.set("/linux/netDevices", json!({ "spec0": { "name": "net%d" } }));
            t.running::<&str>(&[])?;
            equal("interfaces of the namespace", names_of(keeper)?, vec!["lo", "net0", "net1", "spec0"])
        }),
        net("undone").spec(ATOMIC).run(undone),
        net("two-of-which-one-fails").spec(ATOMIC).run(|t| {
            prepare(t, json!({ "spec0": { "name": "a%d" }, "spec1": { "name": "lo" } }))?;
            t.refused()?;
            equal("interfaces of the runtime", own_names()?, vec!["lo", "spec0", "spec1"])
        }),
    ];
    for (name, devices) in [
        ("missing", json!({ "spec7": {} })),
        ("loopback", json!({ "lo": { "name": "lo1" } })),
        ("name-too-long", json!({ "spec0": { "name": "0123456789abcdef" } })),
        ("name-with-slash", json!({ "spec0": { "name": "a/b" } })),
        ("name-with-space", json!({ "spec0": { "name": "a b" } })),
        ("name-dots", json!({ "spec0": { "name": ".." } })),
        ("name-of-the-loopback", json!({ "spec0": { "name": "lo" } })),
        ("name-bad-template", json!({ "spec0": { "name": "net%s" } })),
        ("one-name-for-two", json!({ "spec0": { "name": "net0" }, "spec1": { "name": "net0" } })),
    ] {
        cases.push(net(name).spec(POSSIBLE).run(move |t| {
            prepare(t, devices.clone())?;
            t.refused()?;
            equal("interfaces of the runtime", own_names()?, vec!["lo", "spec0", "spec1"])
        }));
    }
    cases.push(net("no-namespace").spec(POSSIBLE).run(|t| {
        prepare(t, json!({ "spec0": {} }))?;
        t.drop_namespace("network").refused().map(drop)
    }));
    cases.push(net("namespace-of-the-runtime").spec(POSSIBLE).run(|t| {
        prepare(t, json!({ "spec0": {} }))?;
        let own = format!("/proc/{}/ns/net", std::process::id());
        t.namespace("network", Some(&own)).refused().map(drop)
    }));
    cases
}

fn net(name: &str) -> Draft {
    case(format!("net-devices/{name}"))
        .needs(Need::SpecVersion(3))
        .needs(Need::Program("ip"))
        .needs(Need::Program("nsenter"))
}

/// A network namespace for this case alone, with spec0 and spec1, and the devices in config.json.
fn prepare(t: &mut Trial, devices: Value) -> Verdict {
    unshare(CloneFlags::CLONE_NEWNET)?;
    ip(&["link", "add", "spec0", "mtu", "1400", "type", "veth", "peer", "name", "spec1"])?;
    t.namespace("network", None).set("/linux/netDevices", devices);
    Ok(())
}

fn joined(name: &str, sentence: &str, check: fn(&mut Trial, u32) -> Verdict) -> Case {
    net(name).spec(sentence).run(move |t| {
        prepare(t, json!({ "spec0": {} }))?;
        let mut keeper = keeper(t)?;
        t.namespace("network", Some(&format!("/proc/{}/ns/net", keeper.id())));
        let result = check(t, keeper.id());
        keeper.kill()?;
        keeper.wait()?;
        result
    })
}

/// A process in a network namespace of its own.
fn keeper(t: &mut Trial) -> Verdict<Child> {
    let ready = t.path("ready");
    let script = format!("touch {ready}; exec sleep 1000");
    let keeper = Command::new("unshare").args(["--net", "sh", "-c", &script]).stdin(Stdio::null()).spawn()?;
    t.kept.insert(i32::try_from(keeper.id()).unwrap_or(0));
    until("unshare", || std::path::Path::new(&ready).exists())?;
    Ok(keeper)
}

fn attributes(t: &mut Trial) -> Verdict {
    prepare(t, json!({ "spec0": { "name": "inside" } }))?;
    let ipv6 = std::path::Path::new("/proc/net/if_inet6").exists();
    ip(&["link", "set", "spec0", "address", "02:00:00:00:be:ef", "mtu", "1301"])?;
    ip(&["addr", "add", "10.9.8.7/24", "brd", "+", "dev", "spec0", "label", "spec0:a"])?;
    ip(&["addr", "add", "10.9.8.9/24", "dev", "spec0"])?;
    ip(&["addr", "add", "10.1.1.1", "peer", "10.1.1.2/32", "dev", "spec0"])?;
    ip(&["addr", "add", "169.254.3.4/16", "scope", "link", "dev", "spec0"])?;
    ip(&["addr", "add", "10.4.4.4/24", "valid_lft", "1000", "preferred_lft", "1000", "dev", "spec0"])?;
    if ipv6 {
        ip(&["addr", "add", "2001:db8::7/64", "nodad", "noprefixroute", "dev", "spec0"])?;
    }
    t.running::<&str>(&[])?;
    let link = inside(t, "inside")?;
    equal("mtu", &link["mtu"], &json!(1301))?;
    equal("address", &link["address"], &json!("02:00:00:00:be:ef"))?;
    let addresses = link["addr_info"].as_array().cloned().unwrap_or_default();
    let global = addresses.iter().filter(|address| address["scope"] == "global");
    let mut found: Vec<String> = global
        .map(|address| {
            let text = |key: &str| address[key].as_str().unwrap_or_default().to_owned();
            format!(
                "{}/{} {} {} {}",
                text("local"),
                address["prefixlen"],
                text("address"),
                text("broadcast"),
                text("label")
            )
        })
        .collect();
    found.sort();
    let mut want = vec![
        "10.1.1.1/32 10.1.1.2  inside".to_owned(),
        "10.9.8.7/24  10.9.8.255 inside:a".to_owned(),
        "10.9.8.9/24   inside".to_owned(),
    ];
    if ipv6 {
        want.push("2001:db8::7/64   ".to_owned());
    }
    equal("global addresses", found, want)?;
    let local = addresses.iter().any(|address| address["local"] == "169.254.3.4");
    ensure!(!local, "an address for the link alone has come along: {addresses:?}");
    Ok(())
}

fn undone(t: &mut Trial) -> Verdict {
    prepare(t, json!({ "spec0": { "name": "inside" } }))?;
    ip(&["addr", "add", "10.9.8.7/24", "dev", "spec0"])?;
    ip(&["link", "set", "spec0", "up"])?;
    t.set("/process/args", json!(["/no/such/program"]));
    t.refused()?;
    equal("interfaces of the runtime", own_names()?, vec!["lo", "spec0", "spec1"])?;
    let links = parse(&output(Command::new("ip").args(["-j", "addr"]))?)?;
    let link = named(&links, "spec0")?;
    equal("address", &link["addr_info"][0]["local"], &json!("10.9.8.7"))?;
    equal("mtu", &link["mtu"], &json!(1400))?;
    ensure!(flags(&link).contains(&"UP".to_owned()), "spec0 is not up again");
    Ok(())
}

fn output(command: &mut Command) -> Verdict<String> {
    let output = command.output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {errors}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn ip(arguments: &[&str]) -> Verdict {
    output(Command::new("ip").args(arguments)).map(drop)
}

fn enter(pid: u32, command: &[&str]) -> Verdict<String> {
    output(Command::new("nsenter").arg(format!("--net=/proc/{pid}/ns/net")).args(command))
}

fn parse(text: &str) -> Verdict<Vec<Value>> {
    match serde_json::from_str(text) {
        Ok(links) => Ok(links),
        Err(error) => failed(format!("ip: {error}: {text}")),
    }
}

fn names_in(text: &str) -> Verdict<Vec<String>> {
    let links = parse(text)?;
    let mut names: Vec<String> =
        links.iter().filter_map(|link| link["ifname"].as_str().map(str::to_owned)).collect();
    names.sort();
    Ok(names)
}

fn names_of(pid: u32) -> Verdict<Vec<String>> {
    names_in(&enter(pid, &["ip", "-j", "link"])?)
}

fn names(t: &Trial) -> Verdict<Vec<String>> {
    names_of(u32::try_from(t.pid()?).unwrap_or(0))
}

fn own_names() -> Verdict<Vec<String>> {
    names_in(&output(Command::new("ip").args(["-j", "link"]))?)
}

fn named(links: &[Value], name: &str) -> Verdict<Value> {
    match links.iter().find(|link| link["ifname"] == name) {
        Some(link) => Ok(link.clone()),
        None => failed(format!("no interface {name}: {links:?}")),
    }
}

fn inside(t: &Trial, name: &str) -> Verdict<Value> {
    named(&parse(&enter(u32::try_from(t.pid()?).unwrap_or(0), &["ip", "-j", "addr"])?)?, name)
}

fn flags(link: &Value) -> Vec<String> {
    link["flags"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|flag| flag.as_str().map(str::to_owned))
        .collect()
}
