"""Run a command where it can break little, and end all that it has started."""

import os
import signal
import subprocess
import time

# In the box: cgroup hierarchies that begin with its own cgroups, on a /sys/fs/cgroup of its own, and a first process that
# reaps orphans. There is no network but the loopback.
INSIDE = r'''
set -e
mounts=$(awk '$(NF-2) ~ /^cgroup2?$/ && $5 ~ "^/sys/fs/cgroup" { print $5, $(NF-2), $NF }' /proc/self/mountinfo)
umount -R /sys/fs/cgroup
[ "$(echo "$mounts" | wc -l)" = 1 ] || mount -t tmpfs -o mode=755 cgroup /sys/fs/cgroup
echo "$mounts" | while read -r where type options; do
    options=$(echo "$options" | sed -E 's/(^|,)(rw|ro)(,|$)/\1/; s/(^|,)name=/\1none,name=/')
    mkdir -p "$where"
    if [ "$type" = cgroup2 ]; then mount -t cgroup2 cgroup "$where"; else mount -t cgroup -o "$options" cgroup "$where"; fi
done
mount -t tmpfs -o mode=755 run /run
ip link set lo up
if [ -e /sys/fs/cgroup/cgroup.procs ]; then
    # On v2 a cgroup that is divided among others has no processes.
    mkdir /sys/fs/cgroup/box
    echo $$ >/sys/fs/cgroup/box/cgroup.procs
fi
exec unshare --pid --fork --kill-child --mount-proc bash -c '"$@" <&0 & wait $!' box "$@"
'''
BOX = ["unshare", "--mount", "--cgroup", "--ipc", "--uts", "--net", "bash", "-c", INSIDE, "box"]
# systemd has to see the processes, and they its socket and its cgroups.
OPEN_BOX = ["unshare", "--mount", "--ipc", "--uts", "--net", "bash", "-c", 'ip link set lo up; "$@" <&0 & wait $!', "box"]


def hierarchies():
    """The mount points of all cgroup hierarchies."""
    for line in open("/proc/self/mountinfo"):
        left, right = line.split(" - ")
        if right.startswith("cgroup") and left.split()[4].startswith("/sys/fs/cgroup"):
            yield left.split()[4]


def kind():
    """`v2` where the unified hierarchy is the only one, else `v1`."""
    return "v2" if list(hierarchies()) == ["/sys/fs/cgroup"] else "v1"


class Cgroup:
    """A cgroup in every hierarchy. What is in it at the end is killed."""

    def __init__(self, name):
        self.directories = [f"{point}/{name}" for point in hierarchies()]

    def __enter__(self):
        for directory in self.directories:
            above = os.path.dirname(directory)
            if os.path.exists(f"{above}/cgroup.subtree_control"):
                for controller in open(f"{above}/cgroup.controllers").read().split():
                    open(f"{above}/cgroup.subtree_control", "w").write(f"+{controller}")
            os.mkdir(directory)
            for file in ("cpuset.cpus", "cpuset.mems"):  # v1: nobody enters a cpuset without
                if os.path.exists(f"{directory}/tasks") and os.path.exists(f"{directory}/{file}"):
                    open(f"{directory}/{file}", "w").write(open(f"{above}/{file}").read())
        return self

    def enter(self):
        for directory in self.directories:
            open(f"{directory}/cgroup.procs", "w").write("0")

    def below(self):
        """All directories, the deepest first."""
        for directory in self.directories:
            for path, _, _ in os.walk(directory, topdown=False):
                yield path

    def __exit__(self, *_):
        until = time.monotonic() + 10
        while (left := list(self.below())) and time.monotonic() < until:
            for path in left:
                try:
                    if os.path.exists(f"{path}/freezer.state"):
                        open(f"{path}/freezer.state", "w").write("THAWED")
                    for pid in open(f"{path}/cgroup.procs").read().split():
                        os.kill(int(pid), signal.SIGKILL)
                    os.rmdir(path)
                except OSError:
                    pass  # gone, or busy: once more
            time.sleep(0.02)


def run(command, name, seconds, output, env, cwd, box=BOX, complete=lambda: False):
    """Exit status of the command, or None when the time was over. `output` is a file for all that it says. What still
    runs a while after the output is complete is not waited for."""
    with Cgroup(name) as cgroup:
        # An input that never ends: at its end a terminal would be told so.
        process = subprocess.Popen(box + command, stdin=subprocess.PIPE, stdout=output, stderr=output, env=env,
                                   cwd=cwd, preexec_fn=cgroup.enter, start_new_session=True)
        end = time.monotonic() + seconds
        status = None
        while status is None and time.monotonic() < end:
            try:
                return process.wait(1)
            except subprocess.TimeoutExpired:
                if complete():
                    status, end = 0, 0
        try:
            status = process.wait(15 if status == 0 else 0)
        except subprocess.TimeoutExpired:
            process.kill()  # and with it the first process of the box, and with that all others
            process.wait()
        return status
