"""What CRI-O does with a runtime, by its source (internal/oci/runtime_oci.go): it starts conmon, and calls the runtime itself.

Debian has no CRI-O, but it has conmon. The runtime is configured as docs/cri-o.md tells it.
"""

import fcntl
import json
import os
import pathlib
import secrets
import signal
import struct
import subprocess
import tempfile
import termios
import time
import tomllib

import place
from case import SLOWNESS, Failure

SLICE, SOCKETS = "crust-pods.slice", "/run/crio"
CAPABILITIES = [f"CAP_{name}" for name in ("CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "SETGID", "SETUID", "SETPCAP", "NET_BIND_SERVICE", "KILL")]
ENVIRONMENT = {"CRI_O_EXTERNAL": "1", "PATH": place.PATH}


def handler():
    """The name of the runtime, and its table."""
    runtime = tomllib.loads(place.block("cri-o.md", "toml"))["crio"]["runtime"]
    return runtime["default_runtime"], runtime["runtimes"][runtime["default_runtime"]]


def call(*arguments, before=(), **options):
    """The runtime: its exit status and all that it printed, as CRI-O sees it."""
    _, table = handler()
    command = [table["runtime_path"], "--root", table["runtime_root"], *before, *arguments]
    ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=ENVIRONMENT, text=True, timeout=60 * SLOWNESS,
                           **({"stdin": subprocess.DEVNULL} if "input" not in options else {}) | options)
    return ended.returncode, ended.stdout


def systemd():
    return ["--systemd-cgroup"] if place.SYSTEMD else []


def conmon(*arguments, **options):
    """Start it with its two pipes and release it; what it tells in the end is read from the returned file."""
    read, theirs = os.pipe()
    gate, release = os.pipe()
    _, table = handler()
    command = ["conmon", *arguments, "-r", table["runtime_path"], "--runtime-arg", f"--root={table['runtime_root']}", "--log-level", "info",
               "--socket-dir-path", SOCKETS, *(["-s"] if place.SYSTEMD else [])]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[theirs, gate],
                               env=ENVIRONMENT | {"_OCI_SYNCPIPE": str(theirs), "_OCI_STARTPIPE": str(gate)}, **options)
    os.close(theirs)
    os.close(gate)
    os.write(release, b"\0")
    os.close(release)
    return process, os.fdopen(read)


def said(answer):
    """The first line of it."""
    with answer:
        line = answer.readline()
    try:
        return json.loads(line)
    except ValueError:
        raise Failure(f"conmon says {line!r}")


def folder(name):
    path = pathlib.Path(os.environ["F"], "crio", name)
    path.mkdir(parents=True, exist_ok=True)
    return str(path)


class Container:
    """One container, from its bundle to its end."""

    def __init__(self, *command, terminal=False, stdin=False, **linux):
        self.id, self.terminal, self.stdin = secrets.token_hex(32), terminal, stdin
        self.bundle = pathlib.Path(folder(self.id))
        self.log, self.pid = self.bundle / "log", None
        self.process = {
            "terminal": terminal, "user": {"uid": 0, "gid": 0, "additionalGids": [0]}, "args": list(command or ("sleep", "1000")),
            "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"], "cwd": "/", "oomScoreAdj": 1000,
            "capabilities": {kind: CAPABILITIES for kind in ("bounding", "effective", "permitted")}}
        (self.bundle / "config.json").write_text(json.dumps(self.config(linux)))

    def config(self, linux):
        mounts = [("/proc", "proc", "nosuid noexec nodev"), ("/dev", "tmpfs", "nosuid strictatime mode=755 size=65536k"),
                  ("/dev/pts", "devpts", "nosuid noexec newinstance ptmxmode=0666 mode=0620 gid=5"), ("/dev/mqueue", "mqueue", "nosuid noexec nodev"),
                  ("/sys", "sysfs", "nosuid noexec nodev ro"), ("/sys/fs/cgroup", "cgroup", "nosuid noexec nodev relatime ro")]
        bind = lambda at, of, more="": {"destination": at, "type": "bind", "source": of, "options": f"rw rbind rprivate nodev{more}".split()}
        (self.bundle / "hostname").write_text("a-pod\n")
        return {
            "ociVersion": "1.2.1", "process": self.process, "root": {"path": folder("rootfs")}, "hostname": "a-pod",
            "mounts": [{"destination": at, "type": kind, "source": kind, "options": options.split()} for at, kind, options in mounts]
            + [bind("/etc/hostname", str(self.bundle / "hostname"), " noexec nosuid"), bind("/dev/shm", folder("shm"))],
            "annotations": {"io.kubernetes.cri-o.ContainerID": self.id, "io.kubernetes.cri-o.ContainerType": "container",
                            "org.systemd.property.TimeoutStopUSec": "uint64 7000000", "org.systemd.property.DefaultDependencies": "true",
                            "org.systemd.property.After": "['local-fs.target']"},
            "linux": {"resources": {"devices": [{"allow": False, "access": "rwm"}], "memory": {"limit": 64 << 20, "swap": 64 << 20},
                                    "cpu": {"shares": 512, "quota": 50000, "period": 100000}, "pids": {"limit": 100}},
                      "cgroupsPath": f"{SLICE}:crio:{self.id}" if place.SYSTEMD else f"/pods/crio-{self.id}",
                      "namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount", "cgroup")],
                      "maskedPaths": ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/scsi", "/sys/firmware"],
                      "readonlyPaths": ["/proc/asound", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]} | linux}

    def create(self):
        """What conmon says: a pid, or -1 and a message."""
        more = ["-t"] if self.terminal else ["-i"] if self.stdin else []
        process, answer = conmon("-b", str(self.bundle), "-c", self.id, "--exit-dir", folder("exits"), "-l", str(self.log), "-n", "k8s_one",
                                 "-P", str(self.bundle / "conmon-pidfile"), "-p", str(self.bundle / "pidfile"), "--persist-dir", str(self.bundle),
                                 "--syslog", "-u", self.id, *more, cwd=self.bundle, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        process.wait(60 * SLOWNESS)
        told = said(answer)
        self.pid = told["pid"]
        return told

    def launch(self):
        if (told := self.create())["pid"] < 0:
            raise Failure(f"create: {told}")
        self.does("start")
        return self

    def does(self, verb, *arguments, before=()):
        """A command that succeeds without a word, or with a document."""
        status, text = call(verb, *before, self.id, *arguments, before=systemd())
        if status or (text and verb != "state"):
            raise Failure(f"{verb} {before} {arguments}: exit status {status}: {text}")
        return text

    def state(self):
        return json.loads(self.does("state"))["status"]

    def ended(self):
        """The exit status, as conmon leaves it in a file."""
        for _ in range(200):
            try:
                if text := pathlib.Path(folder("exits"), self.id).read_text():
                    return int(text)
            except FileNotFoundError:
                pass
            time.sleep(0.1 * SLOWNESS)
        raise Failure("no exit file")

    def process_file(self, command, terminal=False, **changes):
        file = tempfile.NamedTemporaryFile("w", prefix="exec-process-", dir=folder("tmp"), delete=False)
        with file:
            json.dump(self.process | {"args": list(command), "terminal": terminal} | changes, file)
        return file.name

    def exec_sync(self, *command, timeout=None):
        """By conmon: what it says, and the log's lines."""
        log = str(pathlib.Path(folder("tmp"), secrets.token_hex(8)))
        process, answer = conmon("-c", self.id, "-n", "k8s_one", "-p", f"{log}.pid", "-e", "-l", log, "--sync",
                                 "--exec-process-spec", self.process_file(command), *(["-T", str(timeout)] if timeout else []),
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        process.communicate(timeout=60 * SLOWNESS)
        told = said(answer)
        lines = pathlib.Path(log).read_text() if os.path.exists(log) else ""
        return told, sorted(line.split(" ", 1)[1] for line in lines.splitlines())

    def exec_command(self, *command, **changes):
        _, table = handler()
        return [table["runtime_path"], "--root", table["runtime_root"], *systemd(), "exec", "--process", self.process_file(command, **changes), self.id]

    def exec_stream(self, *command, text="", **changes):
        """Without a terminal: the exit status, stdout, and stderr."""
        ended = subprocess.run(self.exec_command(*command, **changes), input=text, capture_output=True, text=True, env=ENVIRONMENT,
                               timeout=60 * SLOWNESS)
        return ended.returncode, ended.stdout, ended.stderr


class Terminal:
    """An exec on a terminal that CRI-O has made: `kubectl exec -t`."""

    def __init__(self, container, *command):
        self.ours, theirs = os.openpty()
        self.process = subprocess.Popen(container.exec_command(*command, terminal=True), stdin=theirs, stdout=theirs, stderr=theirs,
                                        start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(theirs)
        self.seen = ""

    def resize(self, rows, columns):
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text):
        os.write(self.ours, text.encode())

    def shows(self, words):
        """Read until the words have come."""
        signal.alarm(int(30 * SLOWNESS))
        try:
            while words not in self.seen:
                self.seen += os.read(self.ours, 4096).decode(errors="replace").replace("\r", "")
        except (OSError, Interrupted):
            raise Failure(f"expected {words!r} in {self.seen!r}")
        finally:
            signal.alarm(0)

    def ended(self):
        try:
            return self.process.wait(30 * SLOWNESS)
        except subprocess.TimeoutExpired:
            raise Failure(f"exec does not end after {self.seen!r}")
        finally:
            self.process.kill()
            os.close(self.ours)


class Interrupted(Exception):
    pass


def interrupted(*_):
    raise Interrupted


signal.signal(signal.SIGALRM, interrupted)
