"""Where clients run: their configuration as the docs have it, and folders of their own.

In a box (suites/box.py) all that a client writes to lies in one folder, at the places where it expects it. In a guest that
is thrown away (vm/) nothing needs to be covered.
"""

import os
import pathlib
import re
import subprocess
import time

import case
import image

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
RUNTIME = "/usr/local/sbin/crust"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
USER = "user"


def bash(script, **variables):
    subprocess.run(["bash", "-euc", script], check=True, env=os.environ | variables, stdin=subprocess.DEVNULL)


def cover(folder):
    """Every place that clients write to becomes a folder of ours."""
    bash(r'''
        mount --make-rshared /
        mkdir -p "$F"/{lib,var-tmp,log,opt,etc,etc.work,local,local.work}
        chmod 1777 "$F/var-tmp"
        # What is not ours to keep (an overlay on top of another is none, so that the images lie beside it).
        mount -t overlay -o "lowerdir=/etc,upperdir=$F/etc,workdir=$F/etc.work" overlay /etc
        mount -t overlay -o "lowerdir=/usr/local,upperdir=$F/local,workdir=$F/local.work" overlay /usr/local
        mount --bind "$F/lib" /var/lib
        mount --bind "$F/var-tmp" /var/tmp
        mount --bind "$F/log" /var/log
        mount --bind "$F/opt" /opt
        mount -t tmpfs -o mode=1777 shm /dev/shm
        # For everybody, as udev has them.
        for device in fuse net/tun; do
            [ ! -e "/dev/$device" ] || {
                touch "$F/${device#*/}"
                rm "$F/${device#*/}"
                cp -a "/dev/$device" "$F/${device#*/}"
                chmod 666 "$F/${device#*/}"
                mount --bind "$F/${device#*/}" "/dev/$device"
            }
        done
        rm -rf /etc/cni/net.d/10-* /etc/containerd/* /etc/docker/* /etc/containers/containers.conf*
    ''', F=folder)


def prepare(folder, runtime, boxed):
    """Images, users, the runtime where the docs say that it is, and the docs' configuration."""
    if boxed:
        cover(folder)
    os.makedirs(f"{folder}/tmp", exist_ok=True)
    os.chmod(f"{folder}/tmp", 0o1777)
    os.environ |= {"TMPDIR": f"{folder}/tmp", "F": str(folder), "ARCHIVE": f"{folder}/images.tar",
                   # For how long an input stays open: ctr never sees an end that comes before the container's beginning.
                   "S": str(case.SLOWNESS)}
    bash(r'''
        install -D "$RUNTIME" "$AT.new" && mv "$AT.new" "$AT"
        id "$NAME" >/dev/null 2>&1 || useradd --create-home --base-dir "$F" --shell /bin/bash "$NAME"
        [ -e /etc/resolv.conf ] || echo nameserver 127.0.0.1 >/etc/resolv.conf
        grep -q "^$NAME:" /etc/subuid || echo "$NAME:100000:65536" | tee -a /etc/subuid >>/etc/subgid
    ''', RUNTIME=runtime, AT=RUNTIME, NAME=USER)
    image.archive(f"{folder}/images.tar")
    os.chmod(f"{folder}/images.tar", 0o644)


def block(document, language):
    """The configuration that a document tells people to write: its first block in a language."""
    text = (REPOSITORY / "docs" / document).read_text()
    return re.search(rf"^```{language}\n(.*?)^```", text, re.M | re.S)[1]


def write(path, text):
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def daemon(command, log, ready):
    """Start a daemon with nothing of ours but its arguments, and wait until the command `ready` succeeds."""
    environment = {"PATH": PATH, "HOME": os.environ["HOME"], "TMPDIR": os.environ["TMPDIR"], "LC_ALL": "C.UTF-8"}
    with open(log, "w") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment)
    for _ in range(600):
        if subprocess.run(ready, shell=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0:
            return process
        if process.poll() is not None:
            break
        time.sleep(0.2)
    raise RuntimeError(f"{command[0]} does not start:\n{open(log).read()[-2000:]}")


def may(capability):
    """Whether the number is in our bounding set."""
    bounding = int(re.search(r"^CapBnd:\s*(\w+)", open("/proc/self/status").read(), re.M)[1], 16)
    return bool(bounding >> capability & 1)


def succeeds(*command):
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


V2 = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
SYSTEMD = os.path.isdir("/run/systemd/system")
CAP_SYS_RESOURCE = 24
# What a case may need: whether it is here, and why not.
FACTS = {
    "resource": (lambda: may(CAP_SYS_RESOURCE), "this machine gives nobody CAP_SYS_RESOURCE"),
    "v1": (lambda: not V2, "cgroup v1 only"),
    "v2": (lambda: V2, "needs cgroup v2"),
    "systemd": (lambda: SYSTEMD, "needs systemd"),
    "delegation": (lambda: V2 and SYSTEMD, "without root there is no limit on cgroup v1 and without systemd"),
    "apparmor": (lambda: os.path.exists("/sys/kernel/security/apparmor/profiles"), "needs AppArmor"),
    "cgroup-manager": (lambda: succeeds(RUNTIME, "--cgroup-manager", "disabled", "--version"), "this runtime has no --cgroup-manager"),
    "mqueue": (lambda: os.path.exists("/dev/mqueue"), "needs /dev/mqueue on the host"),
    "tun": (lambda: os.path.exists("/dev/net/tun"), "needs /dev/net/tun"),
}


def lacking(needs):
    """The reason why a case cannot be decided here."""
    return next((FACTS[need][1] for need in needs if not FACTS[need][0]()), None)


# What containers are called in cgroups and mounts; the cgroup of a pod is Podman's own, who forgets it in some hierarchies.
CONTAINER = re.compile(r"(?<!/libpod_parent/)[0-9a-f]{64}|/default/\w+$|buildah-|/libpod-")


def leftovers(*states):
    """What containers have left: state directories (`states` are patterns of the shell), cgroups, mounts, processes."""
    left = [str(path) for state in states for path in pathlib.Path("/").glob(state.lstrip("/"))]
    for folder, below, _ in os.walk("/sys/fs/cgroup"):
        left += [path for name in below if CONTAINER.search(path := f"{folder}/{name}")]
    left += [point for line in open("/proc/self/mountinfo") if CONTAINER.search(point := line.split()[4])]
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            name, state = (process / "comm").read_text().strip(), (process / "stat").read_text().rsplit(")", 1)[1].split()[0]
            if name in ("crust", "runc", "sleep", "conmon") or name.startswith(("crust:", "runc:", "containerd-shim")):
                left += [f"process {name}"] if state != "Z" else []
        except OSError:
            pass  # it ended
    return left


def expect_nothing_left(*states):
    """After a while, since daemons tidy up when they have answered."""
    for _ in range(100):
        if not (left := leftovers(*states)):
            return
        time.sleep(0.1 * case.SLOWNESS)
    raise case.Failure("left behind:\n" + "\n".join(left))
