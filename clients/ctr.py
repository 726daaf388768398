"""containerd's own client: every option of `ctr run` that reaches the runtime, and tasks."""

import json

import containerd
import place
from case import becomes, call, case, says, says_at_a_terminal

PREAMBLE = f'RUN="ctr run --runc-binary {place.RUNTIME}"; B=localhost/busybox:latest; '


def sh(command):
    return PREAMBLE + command


def start():
    containerd.start("default")


stop = containerd.stop


def clean():
    call(sh("""for c in $(ctr c ls -q); do ctr task resume $c; ctr task kill -s KILL -a $c; ctr task rm -f $c; ctr c rm $c; done"""), None)


def nothing_left():
    place.expect_nothing_left("/run/containerd/runc/default/*", "/run/containerd/io.containerd.runtime.v2.task/default/*")


def detached(options="", command="sleep 1000", name="one"):
    call(sh(f"$RUN -d {options} $B {name} {command}"))


# --- run

@case()
def run_ends_with_the_status_of_the_process():
    says(sh("$RUN --rm $B one sh -c 'echo in; exit 7'"), "^in$", status=7)


@case()
def run_ends_with_128_and_the_signal():
    says(sh("$RUN --rm $B one sh -c 'sh -c \"kill -9 \\$\\$\"; exit $?'"), status=137)


@case()
def run_of_a_missing_program():
    says(sh("$RUN --rm $B one no-such-program"), "OCI runtime create failed.*executable file not found", status=1)


@case()
def run_reads_stdin():
    says(sh("(echo words; sleep $S) | $RUN --rm $B one cat"), "^words$")


@case()
def run_with_a_terminal():
    says_at_a_terminal(sh("$RUN --rm -t $B one tty"), "/dev/pts/0$")


@case()
def run_with_an_environment_and_a_directory():
    says(sh("$RUN --rm --env COLOUR=red --cwd /tmp $B one sh -c 'echo $COLOUR; pwd'"), "^red\n/tmp$")


@case()
def run_in_a_missing_directory():
    says(sh("$RUN --rm --cwd /etc/passwd $B one true"), "(?i)not a directory", status=1)


@case()
def run_on_a_root_file_system_of_ones_own():
    says(sh("mkdir -p $F/rootfs/bin; cp /bin/busybox $F/rootfs/bin/sh; $RUN --rm --rootfs $F/rootfs one /bin/sh -c 'echo yes'"), "^yes$")


@case()
def run_with_a_read_only_root():
    says(sh("$RUN --rm --read-only $B one touch /x"), "Read-only file system", status=1)


@case()
def run_with_a_mount():
    says(sh("mkdir -p $F/v; echo content >$F/v/f; $RUN --rm --mount type=bind,src=$F/v,dst=/v,options=rbind:ro $B one sh -c 'cat /v/f; touch /v/g'"),
         "^content$", "Read-only file system", status=1)


@case()
def run_with_a_device():
    says(sh("$RUN --rm --device /dev/fuse $B one sh -c ': </dev/fuse && stat -c %t:%T /dev/fuse'"), "^a:e5$")


@case()
def run_with_seccomp():
    says(sh("$RUN --rm --seccomp $B one grep Seccomp: /proc/self/status"), r"\s2$")


@case()
def run_privileged():
    says(sh("$RUN --rm --privileged $B one sh -c 'mount -t tmpfs t /tmp && echo mounted'"), "^mounted$")


@case()
def run_with_and_without_capabilities():
    says(sh("$RUN --rm --cap-add CAP_NET_ADMIN --cap-drop CAP_CHOWN $B one grep CapEff /proc/self/status"), "00000000a80435fa")


@case()
def run_without_a_new_pivot():
    says(sh("ctr run --rm --no-pivot $B one echo yes"), "^yes$")


@case()
def run_with_limits():
    file = "/sys/fs/cgroup/" + ("memory.max" if place.V2 else "memory/memory.limit_in_bytes")
    mount = " --mount type=cgroup,src=cgroup,dst=/sys/fs/cgroup,options=ro"
    says(sh(f"$RUN --rm --memory-limit 67108864 --cpus 0.5{mount} $B one cat {file}"), "^67108864$")


@case("v1")
def run_with_a_cgroup():
    says(sh("$RUN --rm --cgroup /mine/one $B one cat /proc/self/cgroup"), ":memory:/mine/one$")


@case("systemd", "v2")
def run_with_a_scope_of_systemd():
    says(sh("$RUN --rm --runc-systemd-cgroup --cgroup system.slice:ctr:one $B one cat /proc/self/cgroup; true"), "^0::/")
    detached("--runc-systemd-cgroup --memory-limit 67108864 --cgroup system.slice:ctr:one")
    says("systemctl show -p MemoryMax ctr-one.scope", "^MemoryMax=67108864$")


@case()
def run_with_user_namespace():
    says(sh("$RUN --rm --uidmap 0:100000:65536 --gidmap 0:100000:65536 $B one cat /proc/self/uid_map"), r"0\s+100000\s+65536")


@case()
def run_in_namespaces_of_another():
    detached()
    call(sh("pid=$(ctr task ls | awk '$1 == \"one\" { print $2 }'); "
            "$RUN --rm --with-ns network:/proc/$pid/ns/net --with-ns ipc:/proc/$pid/ns/ipc --with-ns uts:/proc/$pid/ns/uts $B two "
            "readlink /proc/self/ns/net | grep -qxF $(readlink /proc/$pid/ns/net)"))


@case()
def run_in_the_pid_namespace_of_another():
    detached()
    says(sh("$RUN --rm --with-ns pid:/proc/$(ctr task ls | awk '$1 == \"one\" { print $2 }')/ns/pid $B two ps"), "1 .*sleep 1000")


@case()
def run_on_the_network_of_the_host():
    says(sh("$RUN --rm --net-host $B one sh -c 'readlink /proc/self/ns/net'; readlink /proc/self/ns/net"), r"^(net:.*)\n\1$")


@case()
def run_on_a_network_of_cni():
    says(sh("$RUN --rm --cni $B one ip addr show eth0"), r"inet 10\.")


@case()
def run_with_another_root_of_states():
    says(sh("$RUN -d --runc-root $F/states $B one sleep 1000; ls $F/states/default; ctr task kill -s KILL one"), "^one$")


@case("apparmor")
def run_with_a_profile_of_apparmor():
    says(sh("$RUN --rm --apparmor-default-profile crust-clients $B one cat /proc/self/attr/current"), r"^crust-clients \(enforce\)$")


# --- tasks

@case()
def create_then_start():
    # This command asks for no runtime: it takes the `runc` that containerd finds first.
    call(f"mkdir -p /opt/containerd/bin; ln -sf {place.RUNTIME} /opt/containerd/bin/runc")
    says(sh("ctr c create $B one echo later; ctr task start one"), "^later$")
    call("rm /opt/containerd/bin/runc")


@case()
def list_shows_the_status():
    detached()
    says("ctr task ls", r"^one\s+\d+\s+RUNNING$")


@case()
def exec_ends_with_the_status_of_the_process():
    detached()
    says("ctr task exec --exec-id e --user 1000:1000 --cwd /tmp one sh -c 'id -u; pwd; exit 6'", "^1000\n/tmp$", status=6)


@case()
def exec_with_a_terminal():
    detached()
    says_at_a_terminal("ctr task exec -t --exec-id e one tty", "/dev/pts/0$")


@case()
def exec_reads_stdin():
    detached()
    says("(echo words; sleep $S) | ctr task exec --exec-id e one cat", "^words$")


@case()
def exec_in_the_background():
    detached()
    call("ctr task exec -d --exec-id e one sleep 999")
    says("ctr task ps one | grep -c '^[0-9]'", "^2$")


@case()
def exec_of_a_missing_program():
    detached()
    says("ctr task exec --exec-id e one no-such-program", "OCI runtime exec failed.*executable file not found", status=1)


@case()
def exec_in_a_paused_container():
    detached()
    call("ctr task pause one")
    says("ctr task exec --exec-id e one true", "(?i)paused", status=1)


@case()
def pause_and_resume():
    detached()
    says("ctr task pause one; ctr task ls", r"\sPAUSED$")
    says("ctr task resume one; ctr task ls", r"\sRUNNING$")


@case()
def kill_sends_signals():
    detached(command="sh -c 'trap \"exit 4\" USR1; while :; do sleep 0.1; done'")
    call("sleep 0.5; ctr task kill -s USR1 one")
    becomes("ctr task ls", r"\sSTOPPED$")


@case()
def kill_of_all():
    detached(command="sh -c 'sleep 1001 & sleep 1002'")
    call("ctr task kill -a -s KILL one")
    becomes("ctr task ls", r"\sSTOPPED$")


@case()
def kill_of_an_exec():
    detached()
    says("ctr task exec --exec-id e one sleep 999 & sleep 1; ctr task kill -s KILL --exec-id e one; wait $!", status=137)


@case()
def kill_of_a_stopped_task():
    detached(command="true")
    becomes("ctr task ls", r"\sSTOPPED$")
    says("ctr task kill one", "process already finished|not found", status=1)


@case()
def ps_lists_the_processes():
    detached(command="sh -c 'sleep 1001 & sleep 1002'")
    becomes("ctr task ps one | grep -c '^[0-9]'", "^[23]$")


@case()
def metrics():
    detached("--memory-limit 67108864")
    says("ctr task metrics one", r"memory\.(usage|limit).*\d", r"pids\.current\s+1\s*$")
    json.loads(call("ctr task metrics --format json one"))


@case()
def delete_of_a_running_task():
    detached()
    says("ctr task rm one", "must be stopped|not stopped|running", status=1)
    call("ctr task rm -f one")


@case()
def delete_tells_the_status():
    detached(command="sh -c 'exit 5'")
    becomes("ctr task ls", r"\sSTOPPED$")
    says("ctr task rm one", "exit code 5", status=None)


@case()
def memory_that_is_exceeded():
    detached("--memory-limit 16777216", "sh -c 'head -c 100m /dev/zero | tail'")
    becomes("ctr task ls", r"\sSTOPPED$", 60)
    says("ctr task rm one", "^$|.", status=None)


@case()
def tasks_outlive_the_daemon():
    detached()
    containerd.stop()
    containerd.again()
    says("ctr task ls; ctr task exec --exec-id e one echo alive", r"\sRUNNING$", "^alive$")


@case()
def a_shim_that_was_killed_takes_its_container_along():
    detached()
    pid = call("ctr task ls | awk '$1 == \"one\" { print $2 }'")
    call(f"kill -9 $(sed -n 's/^PPid:\\t//p' /proc/{pid}/status)")
    becomes(f"[ -d /proc/{pid} ] || echo gone", "^gone$")


@case()
def many_at_a_time():
    call(sh("for i in $(seq 10); do $RUN --rm $B c$i true & jobs+=($!); done; for j in ${jobs[@]}; do wait $j || exit 1; done"))
