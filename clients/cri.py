"""The kubelet's calls to containerd: pods and their containers."""

import os
import pathlib
import re
import shutil
import time

import grpc

import containerd
import place
import rpc
from case import SLOWNESS, Failure, call, case, is_equal

PODS, CONTAINERS = [], []
POD, CONTAINER, NODE, TARGET = range(4)
# NamespaceMode; without a network there is nothing to plug in.
ON_THE_HOST = {"network": NODE}
SLEEP = ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"]


def logs():
    return f"{os.environ['F']}/pod-logs"


def start():
    containerd.start("k8s.io")
    ready()


def ready():
    """The daemon answers before its plugin does."""
    for _ in range(100):
        try:
            return rpc.ask("ListPodSandbox")
        except grpc.RpcError:
            time.sleep(0.1 * SLOWNESS)
    raise Failure("the CRI plugin does not answer")


stop = containerd.stop


def clean():
    for container in CONTAINERS:
        ignore("StopContainer", container_id=container)
        ignore("RemoveContainer", container_id=container)
    for identity, _ in PODS:
        ignore("StopPodSandbox", pod_sandbox_id=identity)
        ignore("RemovePodSandbox", pod_sandbox_id=identity)
    PODS.clear()
    CONTAINERS.clear()


def ignore(*arguments, **values):
    try:
        rpc.ask(*arguments, **values)
    except grpc.RpcError:
        pass


def nothing_left():
    place.expect_nothing_left("/run/containerd/runc/k8s.io/*", "/run/containerd/io.containerd.runtime.v2.task/k8s.io/*", "/run/netns/cni-*")
    shutil.rmtree(logs(), ignore_errors=True)


def ask(name, **values):
    try:
        return rpc.ask(name, **values)
    except grpc.RpcError as error:
        raise Failure(f"{name}: {error.details()}")


def refused(word, name, **values):
    """The call fails with a message that has the word."""
    try:
        rpc.ask(name, **values)
    except grpc.RpcError as error:
        if word not in error.details():
            raise Failure(f"{name}: expected {word!r} in {error.details()}")
    else:
        raise Failure(f"{name}: succeeds")


def pod(handler="", network=NODE, security=None, **linux):
    """Run a sandbox; where systemd makes the cgroups, below a slice."""
    namespaces = {"network": network} | (security or {}).pop("namespace_options", {})
    config = {"metadata": {"name": f"pod{len(PODS)}", "uid": f"uid{len(PODS)}-{time.time()}", "namespace": "default"}, "log_directory": logs(),
              "linux": {"cgroup_parent": "crust-pods.slice" if place.SYSTEMD else "/pods",
                        "security_context": {"namespace_options": namespaces} | (security or {})} | linux}
    if network != NODE:
        config["hostname"] = "a-pod"
    identity = ask("RunPodSandbox", config=config, runtime_handler=handler)["pod_sandbox_id"]
    PODS.append((identity, config))
    return PODS[-1]


def container(sandbox, *command, resources=None, security=None, launch=True, **config):
    identity, pod_config = sandbox
    namespaces = {"network": pod_config["linux"]["security_context"]["namespace_options"]["network"]}
    namespaces |= (security or {}).pop("namespace_options", {})
    config = {"metadata": {"name": f"c{len(CONTAINERS)}"}, "image": {"image": "localhost/busybox:latest"}, "command": list(command or SLEEP),
              "log_path": f"{len(CONTAINERS)}.log",
              "linux": {"resources": resources or {}, "security_context": {"namespace_options": namespaces} | (security or {})}} | config
    CONTAINERS.append(ask("CreateContainer", pod_sandbox_id=identity, config=config, sandbox_config=pod_config)["container_id"])
    if launch:
        ask("StartContainer", container_id=CONTAINERS[-1])
    return CONTAINERS[-1]


def run(identity, *command, status=0):
    answer = ask("ExecSync", container_id=identity, cmd=list(command), timeout=30)
    if answer["exit_code"] != status:
        raise Failure(f"ExecSync {command}: {answer}")
    return (answer["stdout"] + answer["stderr"]).strip()


def ended(identity):
    """The status of a container that ends by itself."""
    for _ in range(200):
        status = ask("ContainerStatus", container_id=identity)["status"]
        if status["state"] == 2:
            return status
        time.sleep(0.1 * SLOWNESS)
    raise Failure(f"still not ended: {status}")


def expect(found, words):
    if words not in found:
        raise Failure(f"expected {words!r} in {found!r}")


FILE = (lambda v1, v2: f"/sys/fs/cgroup/{v2 if place.V2 else v1}")


@case()
def a_pod_with_a_container():
    sandbox = pod()
    one = container(sandbox)
    is_equal(run(one, "sh", "-c", "echo in"), "in", "ExecSync")
    ask("StopContainer", container_id=one, timeout=10)
    is_equal(ended(one)["exit_code"], 0, "exit code")
    ask("RemoveContainer", container_id=one)
    ask("StopPodSandbox", pod_sandbox_id=sandbox[0])
    ask("RemovePodSandbox", pod_sandbox_id=sandbox[0])


@case()
def a_pod_by_the_handler_of_the_runtime_class():
    kind = place.block("kubernetes.md", "yaml")
    is_equal(re.search("^kind: (.*)$", kind, re.M)[1], "RuntimeClass", "kind")
    is_equal(run(container(pod(re.search("^handler: (.*)$", kind, re.M)[1])), "echo", "yes"), "yes", "ExecSync")


@case()
def a_pod_of_an_unknown_runtime():
    try:
        pod("nobody")
    except Failure as failure:
        expect(str(failure), "nobody")
    else:
        raise Failure("runs")


@case()
def a_container_that_is_only_created():
    one = container(pod(), launch=False)
    is_equal(ask("ContainerStatus", container_id=one)["status"]["state"], 0, "state")
    ask("RemoveContainer", container_id=one)


@case()
def a_container_ends_by_itself():
    status = ended(container(pod(), "sh", "-c", "exit 9"))
    is_equal((status["exit_code"], status["reason"]), (9, "Error"), "status")


@case()
def a_container_without_its_program():
    one = container(pod(), "no-such-program", launch=False)
    refused("executable file not found", "StartContainer", container_id=one)
    is_equal(ended(one)["exit_code"], 128, "exit code")


@case()
def a_container_that_ignores_to_be_stopped():
    one = container(pod(), "sh", "-c", "trap '' TERM; while :; do sleep 0.1; done")
    ask("StopContainer", container_id=one, timeout=1)
    is_equal(ended(one)["exit_code"], 137, "exit code")


@case()
def a_pod_that_is_stopped_with_its_containers():
    sandbox = pod()
    one, two = container(sandbox), container(sandbox)
    ask("StopPodSandbox", pod_sandbox_id=sandbox[0])
    is_equal([ended(one)["state"], ended(two)["state"]], [2, 2], "states")


@case()
def the_log_of_a_container():
    ended(container(pod(), "sh", "-c", "echo out; echo err >&2"))
    text = pathlib.Path(logs(), "0.log").read_text()
    expect(text, "stdout F out")
    expect(text, "stderr F err")


@case()
def exec_ends_with_the_status_of_the_process():
    run(container(pod()), "sh", "-c", "exit 5", status=5)


@case()
def exec_of_a_missing_program():
    refused("executable file not found", "ExecSync", container_id=container(pod()), cmd=["no-such-program"], timeout=10)


@case()
def exec_that_takes_too_long():
    refused("timeout", "ExecSync", container_id=container(pod()), cmd=["sleep", "100"], timeout=1)


@case()
def a_terminal():
    ended(container(pod(), "tty", tty=1))
    expect(pathlib.Path(logs(), "0.log").read_text(), "/dev/pts/0")


@case()
def resources():
    one = container(pod(), resources={"memory_limit_in_bytes": 64 << 20, "cpu_period": 100000, "cpu_quota": 50000, "cpu_shares": 512,
                                      "cpuset_cpus": "0", "oom_score_adj": 500})
    is_equal(run(one, "cat", FILE("memory/memory.limit_in_bytes", "memory.max")), str(64 << 20), "memory")
    expect(run(one, "cat", FILE("cpu/cpu.cfs_quota_us", "cpu.max")), "50000")
    is_equal(run(one, "cat", FILE("cpuset/cpuset.cpus", "cpuset.cpus")), "0", "cpus")
    is_equal(run(one, "cat", "/proc/self/oom_score_adj"), "500", "score")


@case()
def resources_updated():
    one = container(pod(), resources={"memory_limit_in_bytes": 64 << 20})
    ask("UpdateContainerResources", container_id=one, linux={
        "memory_limit_in_bytes": 128 << 20, "memory_swap_limit_in_bytes": 128 << 20, "cpu_shares": 256, "cpu_quota": 40000, "cpu_period": 100000})
    is_equal(run(one, "cat", FILE("memory/memory.limit_in_bytes", "memory.max")), str(128 << 20), "memory")
    expect(run(one, "cat", FILE("cpu/cpu.cfs_quota_us", "cpu.max")), "40000")
    # The call denies all devices, and means nothing by it.
    run(one, "sh", "-c", ": >/dev/null && head -c 1 /dev/urandom >/dev/null")


@case("v2")
def resources_of_the_unified_hierarchy():
    one = container(pod(), resources={"unified": {"memory.high": str(32 << 20)}})
    is_equal(run(one, "cat", "/sys/fs/cgroup/memory.high"), str(32 << 20), "memory.high")


@case("systemd", "v2")
def scopes_of_systemd():
    one = container(pod(), resources={"memory_limit_in_bytes": 64 << 20})
    is_equal(call(f"systemctl show -p MemoryMax -p Slice cri-containerd-{one}.scope | sort"),
             f"MemoryMax={64 << 20}\nSlice=crust-pods.slice", "systemctl show")


@case()
def stats():
    found = ask("ContainerStats", container_id=container(pod()))["stats"]
    if not (found["cpu"]["usage_core_nano_seconds"]["value"] and found["memory"]["working_set_bytes"]["value"]):
        raise Failure(str(found))


@case()
def memory_that_is_exceeded():
    status = ended(container(pod(), "sh", "-c", "head -c 100m /dev/zero | tail", resources={
        "memory_limit_in_bytes": 16 << 20, "memory_swap_limit_in_bytes": 16 << 20}))
    is_equal((status["reason"], status["exit_code"]), ("OOMKilled", 137), "status")


@case()
def security_of_a_container():
    one = container(pod(), security={
        "run_as_user": {"value": 1000}, "run_as_group": {"value": 1000}, "supplemental_groups": [3000], "no_new_privs": 1, "readonly_rootfs": 1,
        "capabilities": {"drop_capabilities": ["ALL"]}, "seccomp": {"profile_type": 0}, "masked_paths": ["/etc/passwd"], "readonly_paths": ["/proc/sys"]})
    status = run(one, "sh", "-c", "id -u; id -G; grep -E 'NoNewPrivs|Seccomp:|CapBnd' /proc/self/status; wc -c </etc/passwd")
    for words in ("1000\n", "3000", "NoNewPrivs:\t1", "Seccomp:\t2", "CapBnd:\t0000000000000000", "\n0"):
        expect(status, words)
    run(one, "touch", "/x", status=1)


@case()
def a_user_by_name():
    is_equal(run(container(pod(), security={"run_as_username": "user"}), "id", "-u"), "1000", "user")


@case()
def capabilities_added():
    one = container(pod(), security={"capabilities": {"add_capabilities": ["NET_ADMIN"], "drop_capabilities": ["CHOWN"]}})
    expect(run(one, "grep", "CapEff", "/proc/self/status"), "00000000a80435fa")


@case()
def privileged():
    one = container(pod(security={"privileged": 1}), security={"privileged": 1})
    run(one, "sh", "-c", "mount -t tmpfs t /tmp && [ -e /dev/kmsg ] && : </dev/fuse")


@case()
def unconfined():
    one = container(pod(), security={"seccomp": {"profile_type": 1}})
    expect(run(one, "grep", "Seccomp:", "/proc/self/status"), "\t0")


@case("apparmor")
def apparmor_by_default():
    is_equal(run(container(pod()), "cat", "/proc/self/attr/current"), "cri-containerd.apparmor.d (enforce)", "profile")


@case()
def devices():
    one = container(pod(), devices=[{"container_path": "/dev/mine", "host_path": "/dev/fuse", "permissions": "r"}])
    run(one, "sh", "-c", ": </dev/mine")
    run(one, "sh", "-c", ": >/dev/mine", status=1)


@case()
def mounts():
    volume = f"{os.environ['F']}/cri-volume"
    os.makedirs(volume, exist_ok=True)
    one = container(pod(), mounts=[{"container_path": "/rw", "host_path": volume}, {"container_path": "/ro", "host_path": volume, "readonly": 1},
                                   {"container_path": "/etc/hosts", "host_path": "/etc/hosts"}])
    run(one, "sh", "-c", "echo x >/rw/x && cat /ro/x")
    run(one, "touch", "/ro/y", status=1)


@case()
def mounts_that_propagate():
    volume = f"{os.environ['F']}/cri-volume"
    call(f"mkdir -p {volume}; mountpoint -q {volume} || {{ mount -t tmpfs v {volume}; mount --make-shared {volume}; }}")
    try:
        sandbox = pod(security={"privileged": 1})
        both = container(sandbox, security={"privileged": 1}, mounts=[{"container_path": "/v", "host_path": volume, "propagation": 2}])
        slave = container(sandbox, mounts=[{"container_path": "/v", "host_path": volume, "propagation": 1}])
        run(both, "sh", "-c", "mkdir /v/in && mount -t tmpfs in /v/in && touch /v/in/seen")
        is_equal(os.listdir(f"{volume}/in"), ["seen"], "on the host")
        is_equal(run(slave, "ls", "/v/in"), "seen", "in the slave")
        clean()
    finally:
        call(f"umount {volume}/in; umount {volume}", None)


@case()
def namespaces_of_the_pod():
    sandbox = pod(security={"namespace_options": {"pid": POD}})
    one, two = (container(sandbox, security={"namespace_options": {"pid": POD}}) for _ in range(2))
    link = ["sh", "-c", "for kind in pid ipc net uts; do readlink /proc/self/ns/$kind; done"]
    is_equal(run(one, *link), run(two, *link), "namespaces")
    ask("StopContainer", container_id=one, timeout=1)
    run(two, "true")


@case()
def pid_namespace_of_another_container():
    sandbox = pod(security={"namespace_options": {"pid": CONTAINER}})
    one = container(sandbox, security={"namespace_options": {"pid": CONTAINER}})
    two = container(sandbox, security={"namespace_options": {"pid": TARGET, "target_id": one}})
    is_equal(run(one, "readlink", "/proc/self/ns/pid"), run(two, "readlink", "/proc/self/ns/pid"), "namespace")


@case()
def pid_namespace_of_the_host():
    one = container(pod(security={"namespace_options": {"pid": NODE}}), "sh", "-c", "sleep 1000 & sleep 1000",
                    security={"namespace_options": {"pid": NODE}})
    ask("StopContainer", container_id=one, timeout=1)


@case()
def network_of_cni():
    sandbox = pod(network=POD)
    address = ask("PodSandboxStatus", pod_sandbox_id=sandbox[0])["status"]["network"]["ip"]
    one = container(sandbox)
    expect(run(one, "ip", "addr", "show", "eth0"), f"inet {address}/")
    is_equal(run(one, "hostname"), "a-pod", "hostname")


@case()
def sysctls_of_the_pod():
    one = container(pod(network=POD, sysctls={"net.ipv4.ip_forward": "1", "kernel.shm_rmid_forced": "1"}))
    is_equal(run(one, "cat", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/kernel/shm_rmid_forced"), "1\n1", "sysctls")


@case()
def the_work_of_a_probe():
    one = container(pod())
    for _ in range(30):
        run(one, "true")


@case()
def containers_outlive_the_daemon():
    one = container(pod())
    containerd.stop()
    containerd.again()
    ready()
    is_equal(run(one, "echo", "alive"), "alive", "ExecSync")
