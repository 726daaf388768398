"""What Docker and Podman have in common: cases for everybody who has the same command line."""

import place
from case import becomes, call, case, says, says_at_a_terminal

RUN = "engine run --rm"
FILES = {"memory": ("memory/memory.limit_in_bytes", "memory.max"), "swap": ("memory/memory.memsw.limit_in_bytes", "memory.swap.max"),
         "quota": ("cpu/cpu.cfs_quota_us", "cpu.max"), "shares": ("cpu/cpu.shares", "cpu.weight"),
         "pids": ("pids/pids.max", "pids.max"), "cpus": ("cpuset/cpuset.cpus", "cpuset.cpus")}


def limit(what):
    return "/sys/fs/cgroup/" + FILES[what][place.V2]


def cases(sh, detached):
    """`engine` in a line is the client; `sh` gives it its meaning, `detached` runs a container that goes on."""

    @case()
    def run_ends_with_the_status_of_the_process():
        says(sh(f"{RUN} $B sh -c 'echo in; exit 7'"), "^in$", status=7)

    @case()
    def run_of_a_missing_program():
        says(sh(f"{RUN} $B no-such-program"), "executable file .*not found in \\$PATH", status=127)

    @case()
    def run_of_a_missing_path():
        says(sh(f"{RUN} $B /no/such/program"), "no such file or directory", status=127)

    @case()
    def run_of_a_file_that_is_no_program():
        says(sh(f"{RUN} $B /etc/no-program"), "permission denied", status=126)

    @case()
    def run_reads_stdin():
        says(sh(f"(echo words; sleep $S) | {RUN} -i $B cat"), "^words$")

    @case()
    def run_with_a_terminal():
        says_at_a_terminal(sh(f"{RUN} -it $B sh -c 'tty; sleep 1; stty size'"), "/dev/pts/0$", "^30 100$", rows=30, columns=100)

    @case()
    def run_an_image_with_user_environment_and_volume():
        says(sh(f"{RUN} localhost/app"), "^blue 1000 /work$")

    @case()
    def run_in_the_background_and_read_its_logs():
        detached(command="sh -c 'echo to-the-log; sleep 1000'")
        becomes(sh("engine logs one"), "^to-the-log$")

    @case()
    def create_then_start_attached():
        says(sh("engine create --name one $B sh -c 'echo started; exit 4'; engine start -a one"), "^started$", status=4)

    @case()
    def stop_lets_the_process_end():
        detached(command="sh -c 'trap \"exit 3\" TERM; while :; do sleep 0.1; done'")
        says(sh("sleep 0.5; engine stop -t 20 one; engine wait one"), "^3$")

    @case()
    def stop_kills_in_the_end():
        detached()
        says(sh("engine stop -t 1 one; engine wait one"), "^137$")

    @case()
    def kill_sends_signals():
        detached(command="sh -c 'trap \"echo got-hup\" HUP; while :; do sleep 0.1; done'")
        call(sh("sleep 0.5; engine kill -s HUP one"))
        becomes(sh("engine logs one"), "got-hup")
        says(sh("engine kill one; engine wait one"), "^137$")

    @case()
    def restart():
        detached(command="sh -c 'echo once; sleep 1000'")
        call(sh("engine restart -t 0 one"))
        becomes(sh("engine logs one"), "once\nonce")

    @case()
    def exec_ends_with_the_status_of_the_process():
        detached()
        says(sh("engine exec one sh -c 'echo in; exit 5'"), "^in$", status=5)

    @case()
    def exec_of_a_file_that_is_no_program():
        detached()
        says(sh("engine exec one /etc/no-program"), "permission denied", status=126)

    @case()
    def exec_reads_stdin():
        detached()
        says(sh("(echo words; sleep $S) | engine exec -i one cat"), "^words$")

    @case()
    def exec_with_a_terminal():
        detached()
        says_at_a_terminal(sh("engine exec -it one sh -c 'tty; sleep 1; stty size'"), "/dev/pts/0$", "^20 90$", rows=20, columns=90)

    @case()
    def exec_in_the_background():
        detached()
        call(sh("engine exec -d one sh -c 'echo yes >/tmp/done'"))
        becomes(sh("engine exec one cat /tmp/done"), "^yes$")

    @case()
    def top_lists_the_processes():
        detached(command="sh -c 'sleep 1001 & sleep 1002'")
        says(sh("engine top one"), "sleep 1001", "sleep 1002")

    @case()
    def capabilities_dropped_and_added():
        says(sh(f"{RUN} --cap-drop ALL --cap-add NET_ADMIN $B grep Cap /proc/self/status"), "CapEff:\t0000000000001000", "CapBnd:\t0000000000001000")

    @case()
    def no_new_privileges():
        says(sh(f"{RUN} --security-opt no-new-privileges $B grep NoNewPrivs /proc/self/status"), r"\s1$")

    @case()
    def seccomp_unconfined():
        says(sh(f"{RUN} --security-opt seccomp=unconfined $B grep Seccomp: /proc/self/status"), r"\s0$")

    @case()
    def masked_and_read_only_paths():
        # One stream, for the order.
        says(sh(f"{RUN} $B sh -c 'exec 2>&1; wc -c </proc/timer_list; wc -c </proc/keys; ls /sys/firmware | wc -l; : >/proc/sys/kernel/domainname'"),
             r"0\n0\n0$", "Read-only file system", status=1)

    @case()
    def sysctl():
        says(sh(f"{RUN} --network none --sysctl net.ipv4.ip_forward=1 --sysctl kernel.shmmax=12345678 $B cat /proc/sys/net/ipv4/ip_forward "
                "/proc/sys/kernel/shmmax"), r"^1\n12345678$")

    @case()
    def devices_by_default():
        says(sh(f"{RUN} $B sh -c 'cd /dev; ls; for l in fd stdin ptmx; do readlink $l; done; head -c 4 /dev/urandom | wc -c; : >/dev/null'"),
             "^full$", "^tty$", "^zero$", "^/proc/self/fd$", "^pts/ptmx$", "^4$")

    @case()
    def volume_with_a_name():
        says(sh(f"{RUN} -v named:/data $B sh -c 'cat /data/in-the-image; echo more >/data/more'; {RUN} -v named:/v:ro $B cat /v/more"), r"^yes\nmore$")
