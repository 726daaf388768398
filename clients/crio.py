"""CRI-O, played: its calls with its arguments, by way of the real conmon."""

import json
import os
import pathlib
import re
import shutil
import socket
import tarfile
import time

import conmon
import image
import place
from case import Failure, becomes, call, case, is_equal
from conmon import Container, Terminal

LIVING = []


def start():
    os.makedirs(conmon.SOCKETS, exist_ok=True)
    with tarfile.open(fileobj=image.io.BytesIO(image.root_file_system())) as tar:
        tar.extractall(conmon.folder("rootfs"))


def stop():
    shutil.rmtree(conmon.folder(""))


def clean():
    for one in LIVING:
        conmon.call("delete", "--force", one.id, before=conmon.systemd())
    LIVING.clear()
    call("umount $F/crio/namespaces/*", None)


def nothing_left():
    place.expect_nothing_left(f"{conmon.handler()[1]['runtime_root']}/*")


def container(*command, **options):
    LIVING.append(Container(*command, **options))
    return LIVING[-1]


def running(*command, **options):
    return container(*command, **options).launch()


def expect(found, words):
    if words not in str(found):
        raise Failure(f"expected {words!r} in {found!r}")


LIMIT = "/sys/fs/cgroup/memory.max" if place.V2 else "/sys/fs/cgroup/memory/memory.limit_in_bytes"


# --- at the daemon's start

@case()
def version():
    _, table = conmon.handler()
    is_equal(call(f"{table['runtime_path']} --version | sed -nE 's/^(\\w+) version .*/\\1/p'").count("\n"), 0, "lines with a version")


@case()
def the_handler_of_the_runtime_class():
    is_equal(re.search("^handler: (.*)$", place.block("kubernetes.md", "yaml"), re.M)[1], conmon.handler()[0], "handler")


@case()
def features():
    # Both streams are read as one document.
    found = json.loads(call(f"{conmon.handler()[1]['runtime_path']} features 2>&1"))
    if not (found["ociVersionMin"] and found["ociVersionMax"] and "rro" in found["mountOptions"]):
        raise Failure(str(found))


# --- the life of a container

@case()
def create_start_stop():
    one = container("sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.1; done")
    said = one.create()
    is_equal((said["pid"] > 0, one.state()), (True, "created"), "created")
    is_equal(int((one.bundle / "pidfile").read_text()), said["pid"], "pid file")
    one.does("start")
    is_equal(one.state(), "running", "status")
    time.sleep(0.5 * conmon.SLOWNESS)
    one.does("kill", "15")
    is_equal(one.ended(), 3, "exit status")
    is_equal(one.state(), "stopped", "status")
    one.does("delete", before=["--force"])


@case()
def stop_in_two_signals():
    one = running()
    one.does("kill", "SIGTERM")
    is_equal(one.state(), "running", "status")
    one.does("kill", "KILL")
    is_equal(one.ended(), 137, "exit status")


@case()
def kill_of_what_has_ended():
    one = running("true")
    is_equal(one.ended(), 0, "exit status")
    status, text = conmon.call("kill", one.id, "KILL", before=conmon.systemd())
    if status == 0 or not any(words in text for words in ("no such process", "container not running", "invalid process")):
        raise Failure(f"kill: {status} {text}")
    one.does("kill", "9", before=["-a"])


@case()
def delete_of_what_there_never_was():
    is_equal(conmon.call("delete", "--force", "nobody", before=conmon.systemd()), (0, ""), "delete")


@case()
def the_log():
    one = running("sh", "-c", "echo out; echo err >&2; exit 4")
    is_equal(one.ended(), 4, "exit status")
    becomes(f"cut -d ' ' -f 2- {one.log} | sort", "^stderr F err\nstdout F out$")


@case()
def a_missing_program():
    said = container("no-such-program").create()
    is_equal(said["pid"], -1, "pid")
    expect(said["message"], "executable file")
    expect(said["message"], "not found in $PATH")


@case()
def stdin_and_attach():
    one = running("cat", stdin=True)
    attached = attach(one)
    attached.send(b"words\n")
    expect(attached.recv(8192), "words")
    attached.close()


@case()
def a_terminal_and_attach():
    one = running("sh", terminal=True)
    attached, seen = attach(one), ""
    (one.bundle / "ctl").open("w").write("1 30 100\n")
    attached.send(b"tty; sleep 1; stty size; exit 6\n")
    while packet := attached.recv(8192):
        seen += packet[1:].decode().replace("\r", "")
    expect(seen, "\n/dev/pts/0\n")
    expect(seen, "\n30 100\n")
    is_equal(one.ended(), 6, "exit status")


def attach(one):
    for _ in range(100):
        try:
            found = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            found.settimeout(30 * conmon.SLOWNESS)
            found.connect(f"{conmon.SOCKETS}/{one.id}/attach")
            return found
        except OSError as error:
            refused = error
            time.sleep(0.1)
    raise Failure(f"attach: {refused}")


@case()
def pause_and_resume():
    one = running()
    one.does("pause")
    is_equal(one.state(), "paused", "status")
    one.does("resume")
    is_equal(one.state(), "running", "status")


@case()
def update():
    one = running()
    resources = {"memory": {"limit": 128 << 20, "swap": 128 << 20}, "cpu": {"shares": 256, "quota": 40000, "period": 100000}}
    # Nothing is said of systemd.
    is_equal(conmon.call("update", "--resources", "-", one.id, input=json.dumps(resources)), (0, ""), "update")
    is_equal(one.exec_stream("cat", LIMIT), (0, f"{128 << 20}\n", ""), "limit")


# --- exec

@case()
def exec_sync():
    said, lines = running().exec_sync("sh", "-c", "echo out; echo err >&2; exit 5")
    is_equal((said["exit_code"], lines), (5, ["stderr F err", "stdout F out"]), "conmon")


@case()
def exec_sync_of_a_missing_program():
    said, _ = running().exec_sync("no-such-program")
    is_equal(said["exit_code"], -1, "exit code")
    expect(said["message"], "not found in $PATH")


@case()
def exec_sync_that_takes_too_long():
    one = running()
    said, _ = one.exec_sync("sleep", "100", timeout=1)
    is_equal((said["exit_code"], said["message"]), (-1, "command timed out"), "conmon")
    becomes(f"grep -c sleep.100$ <(tr '\\0' . </proc/{one.pid}/cmdline); pgrep -fxc 'sleep 100'", "^0$")


@case()
def exec_as_a_user():
    one = running()
    user = {"uid": 1000, "gid": 1000, "additionalGids": [3000]}
    is_equal(one.exec_stream("sh", "-c", "id -u; id -G; grep CapEff /proc/self/status", user=user, capabilities={}),
             (0, "1000\n1000 3000\nCapEff:\t0000000000000000\n", ""), "exec")


@case()
def exec_streams():
    one = running()
    is_equal(one.exec_stream("sh", "-c", "cat; echo err >&2; exit 5", text="words\n"), (5, "words\n", "err\n"), "exec")
    is_equal(one.exec_stream("sh", "-c", "kill -9 $$")[0], 137, "exit status")


@case()
def exec_of_a_missing_program():
    status, out, text = running().exec_stream("no-such-program")
    is_equal((status, out), (255, ""), "exec")
    expect(text, "not found in $PATH")


@case()
def exec_with_a_terminal():
    terminal = Terminal(running(), "sh")
    terminal.resize(40, 120)
    terminal.type("tty; stty size\n")
    terminal.shows("\n/dev/pts/0\n40 120\n")
    terminal.resize(50, 90)
    terminal.type("sleep 0.5; stty size\n")
    terminal.shows("\n50 90\n")
    terminal.type("sleep 1000 || echo was-interrupted\n")
    terminal.shows("sleep 1000 ||")
    time.sleep(0.5 * conmon.SLOWNESS)
    terminal.type("\x03")
    terminal.shows("^C")
    terminal.type("exit 7\n")
    is_equal(terminal.ended(), 7, "exit status")


@case()
def exec_with_a_terminal_of_a_missing_program():
    terminal = Terminal(running(), "no-such-program")
    terminal.shows("not found in $PATH")
    is_equal(terminal.ended(), 255, "exit status")


@case()
def the_work_of_a_probe():
    one = running()
    for _ in range(20):
        is_equal(one.exec_sync("true")[0]["exit_code"], 0, "exit code")


# --- pods

@case()
def namespaces_that_are_pinned():
    call("""mkdir -p $F/crio/namespaces; cd $F/crio/namespaces; touch net ipc uts; unshare --net=net --ipc=ipc --uts=uts sh -c 'hostname pinned; ip link set lo up'""")
    kinds = {"network": "net", "ipc": "ipc", "uts": "uts"}
    pinned = [{"type": kind, "path": f"{conmon.folder('namespaces')}/{file}"} for kind, file in kinds.items()]
    one, two = (running(namespaces=[*pinned, {"type": "pid"}, {"type": "mount"}]) for _ in range(2))
    link = ["sh", "-c", "for kind in net ipc uts; do readlink /proc/self/ns/$kind; done"]
    is_equal(one.exec_stream(*link), two.exec_stream(*link), "namespaces")


@case()
def pid_namespace_of_the_host():
    kinds = [{"type": kind} for kind in ("network", "ipc", "uts", "mount")]
    one = running("sh", "-c", "sleep 1000 & sleep 1000 & wait", namespaces=kinds)
    becomes(f"pgrep -P {one.pid} | wc -l", "^2$")
    one.does("kill", "KILL")
    is_equal(one.ended(), 137, "exit status")
    one.does("kill", "9", before=["-a"])
    becomes("pgrep -fxc 'sleep 1000'", "^0$")


@case()
def limits():
    one = running()
    is_equal(one.exec_stream("cat", LIMIT), (0, f"{64 << 20}\n", ""), "limit")
    is_equal(one.exec_stream("cat", "/proc/1/oom_score_adj"), (0, "1000\n", ""), "score")


@case("systemd")
def a_scope_of_systemd():
    one = running()
    expect(pathlib.Path(f"/proc/{one.pid}/cgroup").read_text(), f"/{conmon.SLICE}/crio-{one.id}.scope\n")
    is_equal(call(f"systemctl show -p TimeoutStopUSec -p Slice crio-{one.id}.scope | sort"),
             f"Slice={conmon.SLICE}\nTimeoutStopUSec=7s", "systemctl show")


@case()
def memory_that_is_exceeded():
    one = running("sh", "-c", "head -c 100m /dev/zero | tail")
    is_equal(one.ended(), 137, "exit status")
    becomes(f"ls {one.bundle}", "^oom$")
