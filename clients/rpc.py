"""Kubernetes' Container Runtime Interface, as much of it as cri.py says: its messages, by hand, over gRPC.

A message is a dictionary here. The numbers of its fields are the interface's own (runtime.v1, api.proto).
"""

import grpc

SOCKET = "unix:///run/containerd/containerd.sock"
# Field: number and type. A type in brackets repeats; `map` is one of strings.
TYPES = {
    "Metadata": {"name": (1, "string"), "uid": (2, "string"), "namespace": (3, "string"), "attempt": (4, "int")},
    "ContainerMetadata": {"name": (1, "string"), "attempt": (2, "int")},
    "Value": {"value": (1, "int")},
    "Profile": {"profile_type": (1, "int"), "localhost_ref": (2, "string")},
    "IdMapping": {"host_id": (1, "int"), "container_id": (2, "int"), "length": (3, "int")},
    "UserNamespace": {"mode": (1, "int"), "uids": (2, ["IdMapping"]), "gids": (3, ["IdMapping"])},
    "Namespaces": {"network": (1, "int"), "pid": (2, "int"), "ipc": (3, "int"), "target_id": (4, "string"),
                   "userns_options": (5, "UserNamespace")},
    "SandboxSecurity": {"namespace_options": (1, "Namespaces"), "run_as_user": (3, "Value"), "run_as_group": (8, "Value"),
                        "readonly_rootfs": (4, "int"), "supplemental_groups": (5, ["int"]), "privileged": (6, "int"),
                        "seccomp": (9, "Profile")},
    "Resources": {"cpu_period": (1, "int"), "cpu_quota": (2, "int"), "cpu_shares": (3, "int"), "memory_limit_in_bytes": (4, "int"),
                  "oom_score_adj": (5, "int"), "cpuset_cpus": (6, "string"), "cpuset_mems": (7, "string"), "unified": (9, "map"),
                  "memory_swap_limit_in_bytes": (10, "int")},
    "LinuxSandbox": {"cgroup_parent": (1, "string"), "security_context": (2, "SandboxSecurity"), "sysctls": (3, "map"),
                     "resources": (5, "Resources")},
    "PodSandboxConfig": {"metadata": (1, "Metadata"), "hostname": (2, "string"), "log_directory": (3, "string"), "labels": (6, "map"),
                         "annotations": (7, "map"), "linux": (8, "LinuxSandbox")},
    "Image": {"image": (1, "string")},
    "KeyValue": {"key": (1, "string"), "value": (2, "string")},
    "Mount": {"container_path": (1, "string"), "host_path": (2, "string"), "readonly": (3, "int"), "propagation": (5, "int"),
              "recursive_read_only": (8, "int")},
    "Device": {"container_path": (1, "string"), "host_path": (2, "string"), "permissions": (3, "string")},
    "Capability": {"add_capabilities": (1, ["string"]), "drop_capabilities": (2, ["string"])},
    "ContainerSecurity": {"capabilities": (1, "Capability"), "privileged": (2, "int"), "namespace_options": (3, "Namespaces"),
                          "run_as_user": (5, "Value"), "run_as_group": (12, "Value"), "run_as_username": (6, "string"),
                          "readonly_rootfs": (7, "int"), "supplemental_groups": (8, ["int"]), "no_new_privs": (11, "int"),
                          "masked_paths": (13, ["string"]), "readonly_paths": (14, ["string"]), "seccomp": (15, "Profile"),
                          "apparmor": (16, "Profile")},
    "LinuxContainer": {"resources": (1, "Resources"), "security_context": (2, "ContainerSecurity")},
    "ContainerConfig": {"metadata": (1, "ContainerMetadata"), "image": (2, "Image"), "command": (3, ["string"]), "args": (4, ["string"]),
                        "working_dir": (5, "string"), "envs": (6, ["KeyValue"]), "mounts": (7, ["Mount"]), "devices": (8, ["Device"]),
                        "labels": (9, "map"), "annotations": (10, "map"), "log_path": (11, "string"), "tty": (14, "int"),
                        "linux": (15, "LinuxContainer")},
    "Cpu": {"timestamp": (1, "int"), "usage_core_nano_seconds": (2, "Value")},
    "Memory": {"timestamp": (1, "int"), "working_set_bytes": (2, "Value"), "usage_bytes": (4, "Value")},
    "Stats": {"cpu": (2, "Cpu"), "memory": (3, "Memory")},
    "Container": {"id": (1, "string")},
    "Network": {"ip": (1, "string")},
    "Pod": {"id": (1, "string"), "state": (3, "int"), "network": (5, "Network")},
    "Status": {"id": (1, "string"), "state": (3, "int"), "exit_code": (7, "int"), "reason": (10, "string"), "message": (11, "string")},
}
# Call: what it takes and what it answers.
CALLS = {
    "Version": ({"version": (1, "string")}, {"runtime_name": (2, "string"), "runtime_version": (3, "string")}),
    "RunPodSandbox": ({"config": (1, "PodSandboxConfig"), "runtime_handler": (2, "string")}, {"pod_sandbox_id": (1, "string")}),
    "StopPodSandbox": ({"pod_sandbox_id": (1, "string")}, {}),
    "RemovePodSandbox": ({"pod_sandbox_id": (1, "string")}, {}),
    "PodSandboxStatus": ({"pod_sandbox_id": (1, "string")}, {"status": (1, "Pod")}),
    "ListPodSandbox": ({}, {"items": (1, ["Pod"])}),
    "CreateContainer": ({"pod_sandbox_id": (1, "string"), "config": (2, "ContainerConfig"), "sandbox_config": (3, "PodSandboxConfig")},
                        {"container_id": (1, "string")}),
    "StartContainer": ({"container_id": (1, "string")}, {}),
    "StopContainer": ({"container_id": (1, "string"), "timeout": (2, "int")}, {}),
    "RemoveContainer": ({"container_id": (1, "string")}, {}),
    "ContainerStatus": ({"container_id": (1, "string")}, {"status": (1, "Status")}),
    "UpdateContainerResources": ({"container_id": (1, "string"), "linux": (2, "Resources")}, {}),
    "ExecSync": ({"container_id": (1, "string"), "cmd": (2, ["string"]), "timeout": (3, "int")},
                 {"stdout": (1, "string"), "stderr": (2, "string"), "exit_code": (3, "int")}),
    "ContainerStats": ({"container_id": (1, "string")}, {"stats": (1, "Stats")}),
}


def varint(number):
    number &= (1 << 64) - 1
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(encoded) + bytes([number])


def field(number, kind, value):
    """One field, in protobuf's encoding."""
    if kind == "int":
        return varint(number << 3) + varint(value)
    data = value.encode() if kind == "string" else message(TYPES[kind], value)
    return varint(number << 3 | 2) + varint(len(data)) + data


def message(fields, values):
    encoded = b""
    for name, value in values.items():
        number, kind = fields[name]
        if kind == "map":
            number, kind, value = number, ["KeyValue"], [{"key": key, "value": content} for key, content in value.items()]
        for one in value if isinstance(kind, list) else [value]:
            encoded += field(number, kind[0] if isinstance(kind, list) else kind, one)
    return encoded


def decoded(fields, data):
    """What we know of a message. Fields that are not there are 0, empty, or an empty message."""
    blank = lambda kind: [] if isinstance(kind, list) else {"int": 0, "string": ""}.get(kind, {})
    values, names, at = {name: blank(kind) for name, (_, kind) in fields.items()}, {number: name for name, (number, _) in fields.items()}, 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte, at = data[at], at + 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        key = number()
        value = number()
        if key & 7 == 2:
            value, at = data[at:at + value], at + value
        if name := names.get(key >> 3):
            kind = fields[name][1]
            plain = kind[0] if isinstance(kind, list) else kind
            if plain == "string":
                value = value.decode(errors="replace")
            elif plain == "int":
                value = value - (1 << 64) if value >> 63 else value
            else:
                value = decoded(TYPES[plain], value)
            values[name] = values[name] + [value] if isinstance(kind, list) else value
    return values


def ask(name, **values):
    """One call. An error is grpc.RpcError."""
    takes, answers = CALLS[name]
    with grpc.insecure_channel(SOCKET) as channel:
        call = channel.unary_unary(f"/runtime.v1.RuntimeService/{name}", lambda request: message(takes, request),
                                   lambda response: decoded(answers, response))
        return call(values, timeout=60)
