"""Docker: the daemon with its own containerd, the classic builder, docker0 in a network namespace of our own."""

import json
import os

import engine
import place
from case import becomes, call, case, says, silent_about
from engine import limit

# The newest Docker's client may be in /usr/local, beside an older daemon.
CLIENT = "/usr/bin/docker"
DAEMONS = []
PREAMBLE = f'docker() {{ DOCKER_BUILDKIT=0 {CLIENT} "$@"; }}; engine() {{ docker "$@"; }}; B=localhost/busybox; V=$F/volume; '
RUN = "docker run --rm"


def sh(command):
    return PREAMBLE + command


def configure(**more):
    configuration = json.loads(place.block("docker.md", "json"))
    place.write("/etc/docker/daemon.json", json.dumps(configuration | more))


def start():
    if not os.path.exists("/sys/fs/cgroup/systemd") and not place.V2:
        os.makedirs("/sys/fs/cgroup/systemd")
    DAEMONS.append(place.daemon(["dockerd"], f"{os.environ['F']}/dockerd.log", f"{CLIENT} version"))
    call(sh("docker load -i $ARCHIVE"))


def stop():
    daemon = DAEMONS.pop()
    daemon.terminate()
    daemon.wait()


def clean():
    call(sh("""
        containers=$(docker ps -aq); [ -z "$containers" ] || { docker rm -fv $containers; docker network prune -f; }"""), None)


def nothing_left():
    place.expect_nothing_left("/run/docker/runtime-*/moby/*", "/run/docker/containerd/daemon/io.containerd.*/moby/*")


def detached(options="", command="sleep 1000", name="one"):
    call(sh(f"docker run -d --name {name} {options} $B {command}"))


engine.cases(sh, detached)


# --- run

@case()
def run_ends_with_128_and_the_signal():
    says(sh(f"{RUN} $B sh -c 'kill -9 $$'; echo $?; {RUN} --init $B sh -c 'kill -15 $$'"), status=143)


@case()
def run_uses_the_runtime_of_the_configuration():
    detached()
    says(sh("docker inspect -f '{{.HostConfig.Runtime}}' one"), "^crust$")
    says(sh("docker info"), "Runtimes:.*crust", "Default Runtime: crust")


@case()
def run_names_the_runtime():
    says(sh(f"{RUN} --runtime crust $B echo yes"), "^yes$")


@case()
def run_of_a_directory():
    says(sh(f"{RUN} $B /etc"), "permission denied|is a directory", status=126)


@case()
def run_with_a_working_directory_that_is_a_file():
    says(sh(f"{RUN} -w /etc/passwd $B true"), "(?i)not a directory", status=None)


@case()
def run_keeps_stdout_and_stderr_apart():
    says(sh(f"{RUN} $B sh -c 'echo out; echo err >&2' 2>$F/err >$F/out; cat $F/out; echo --; cat $F/err"), r"^out\n--\nerr$")


@case()
def attach_and_detach():
    detached("-i", "cat")
    # The line's end takes the client away, and leaves the container.
    says(sh("(echo hello; sleep 1000) | docker attach one >$F/attached & until grep hello $F/attached; do sleep 0.1; done"), "^hello$")
    says(sh("docker exec one echo still-on"), "^still-on$")


@case()
def an_init_reaps():
    detached("--init", "sh -c 'sleep 1000'")
    says(sh("docker exec one cat /proc/1/comm"), "init|tini")


# --- the life of a container

@case()
def stop_with_another_signal():
    detached("--stop-signal USR1", "sh -c 'trap \"exit 9\" USR1; while :; do sleep 0.1; done'")
    says(sh("sleep 0.5; docker stop -t 20 one; docker wait one"), "^9$")


@case()
def kill_of_a_stopped_container():
    detached(command="true")
    says(sh("docker wait one; docker kill one"), "is not running", status=1)


@case()
def restart_on_failure():
    detached("--restart on-failure:2", "sh -c 'echo again; exit 1'")
    becomes(sh("docker inspect -f '{{.RestartCount}} {{.State.Running}}' one"), "^2 false$")
    says(sh("docker logs one"), "again\nagain\nagain")


@case()
def restart_always_after_a_kill_from_outside():
    detached("--restart always")
    call(sh("kill -9 $(docker inspect -f '{{.State.Pid}}' one)"))
    becomes(sh("docker inspect -f '{{.RestartCount}} {{.State.Running}}' one"), "^1 true$")


@case()
def pause_and_unpause():
    detached(command="sh -c 'while :; do echo tick; sleep 0.1; done'")
    call(sh("docker pause one"))
    says(sh("docker inspect -f '{{.State.Status}}' one; a=$(docker logs one | wc -l); sleep 1; echo $(($(docker logs one | wc -l) - a))"),
         r"^paused\n[01]$")
    says(sh("docker exec one true"), "is paused", status=1)
    says(sh("docker unpause one; docker inspect -f '{{.State.Status}}' one"), "^running$")


@case()
def remove_a_paused_container_by_force():
    detached()
    call(sh("docker pause one; docker rm -f one"))


@case()
def remove_a_running_container_by_force():
    detached()
    call(sh("docker rm -f one"))
    says(sh("docker ps -aq | wc -l"), "^0$")


@case()
def a_shim_that_was_killed_takes_its_container_along():
    detached()
    pid = call(sh("docker inspect -f '{{.State.Pid}}' one"))
    call(f"kill -9 $(sed -n 's/^PPid:\\t//p' /proc/{pid}/status)")
    becomes(sh("docker inspect -f '{{.State.Status}}' one"), "^exited$")
    becomes(f"[ -d /proc/{pid} ] || echo gone", "^gone$")


@case()
def containers_outlive_the_daemon():
    stop()
    configure(**{"live-restore": True})
    start_again()
    detached()
    stop()
    start_again()
    says(sh("docker inspect -f '{{.State.Running}}' one; docker exec one echo alive; docker rm -f one"), "^true$", "^alive$")
    stop()
    configure()
    start_again()


def start_again():
    DAEMONS.append(place.daemon(["dockerd"], f"{os.environ['F']}/dockerd.log", f"{CLIENT} version"))


# --- exec

@case()
def exec_of_a_missing_program():
    detached()
    says(sh("docker exec one no-such-program; s=$?; [ $s = 126 ] || [ $s = 127 ]"), "executable file not found")


@case()
def exec_as_a_user_in_a_directory_with_an_environment():
    detached()
    says(sh("docker exec -u user -w /tmp -e COLOUR=red one sh -c 'id; pwd; echo $COLOUR'"),
         r"uid=1000\(user\) gid=1000\(user\) groups=.*3000\(extra\)", "^/tmp$", "^red$")
    says(sh("docker exec -u 4711:4712 one id -u"), "^4711$")


@case()
def exec_is_in_the_same_cgroup_and_filter():
    detached()
    says(sh("docker exec one sh -c 'cmp /proc/1/cgroup /proc/self/cgroup && grep Seccomp: /proc/self/status'"), r"Seccomp:\s*2$")


@case("resource")
def exec_privileged():
    detached()
    says(sh("docker exec --privileged one grep CapEff /proc/self/status"), "0000?01f?ffffffff")


@case()
def exec_twenty_at_a_time():
    detached()
    call(sh("for i in $(seq 20); do docker exec one sh -c 'exit 0' & jobs+=($!); done; for j in ${jobs[@]}; do wait $j || exit 1; done"))


# --- what the client asks about a container

@case()
def stats():
    detached("--memory 64m")
    says(sh("docker stats --no-stream --format '{{.MemUsage}} {{.PIDs}}' one"), r"/ 64MiB 1$")


@case()
def copy_in_and_out():
    detached()
    says(sh("echo copied >$F/in; docker cp $F/in one:/tmp/in; docker exec one cat /tmp/in; docker cp one:/etc/passwd - | tar t"),
         "^copied$", "^passwd$")


@case()
def diff_and_commit():
    detached(command="sh -c 'echo new >/new'")
    says(sh("docker wait one; docker diff one; docker commit one changed"), "^A /new$")
    says(sh(f"{RUN} changed cat /new; docker rmi changed"), "^new$")


@case()
def export_and_import():
    detached()
    merged = call(sh("docker inspect -f '{{.GraphDriver.Data.MergedDir}}' one"))
    says(sh(f"docker export one | docker import - imported; {RUN} imported echo yes; docker rmi imported"), "^yes$")
    # Docker 26 leaves this one mount of what it has exported, whatever the runtime: https://github.com/moby/moby/issues/48516
    call(sh(f"docker rm -f one; [ -z '{merged}' ] || ! mountpoint -q '{merged}' || umount '{merged}'"))


@case()
def healthcheck():
    detached("--health-cmd 'test -e /tmp/well' --health-interval 1s --health-retries 1")
    becomes(sh("docker inspect -f '{{.State.Health.Status}}' one"), "^unhealthy$", 30)
    call(sh("docker exec one touch /tmp/well"))
    becomes(sh("docker inspect -f '{{.State.Health.Status}}' one"), "^healthy$", 30)


# --- limits. On cgroup v1 the container's own files are where the mount shows them, on v2 at the top.

@case()
def limit_of_memory():
    says(sh(f"{RUN} --memory 64m $B cat {limit('memory')}"), "^67108864$")


@case()
def limit_of_memory_kills():
    detached("--memory 16m --memory-swap 16m", "sh -c 'head -c 100m /dev/zero | tail'")
    says(sh("docker wait one; docker inspect -f '{{.State.OOMKilled}}' one"), "^true$")


@case()
def limit_of_cpus():
    says(sh(f"{RUN} --cpus 0.5 $B cat {limit('quota')}"), "^50000")


@case()
def shares_of_the_cpu():
    says(sh(f"{RUN} --cpu-shares 512 $B cat {limit('shares')}"), "^(512|20|59)$")


@case()
def set_of_cpus():
    says(sh(f"{RUN} --cpuset-cpus 0 $B grep Cpus_allowed_list /proc/self/status"), r"\s0$")


@case()
def limit_of_processes():
    says(sh(f"{RUN} --pids-limit 20 $B cat {limit('pids')}"), "^20$")


@case()
def resource_limits():
    says(sh(f"{RUN} --ulimit nofile=100:200 --ulimit core=0 $B sh -c 'ulimit -Sn; ulimit -Hn; ulimit -c'"), r"^100\n200\n0$")


@case()
def update_limits():
    detached("--memory 64m")
    call(sh("docker update --memory 128m --memory-swap 128m --cpus 0.25 --pids-limit 30 one"))
    says(sh(f"docker exec one cat {limit('memory')} {limit('quota')} {limit('pids')}"), r"^134217728\n25000.*\n30$")


@case()
def update_nothing_but_the_restart_policy():
    detached("--memory 64m --cpu-shares 512 --pids-limit 40")
    call(sh("docker update --restart always one"))
    says(sh(f"docker exec one cat {limit('memory')} {limit('pids')}"), r"^67108864\n40$")


@case()
def score_for_the_oom_killer():
    says(sh(f"{RUN} --oom-score-adj 300 $B cat /proc/self/oom_score_adj"), "^300$")


@case("resource")
def negative_score_for_the_oom_killer():
    says(sh(f"{RUN} --oom-score-adj -300 $B cat /proc/self/oom_score_adj"), "^-300$")


@case("v1")
def parent_of_the_cgroup():
    detached("--cgroup-parent /mine")
    says(sh("cat /proc/$(docker inspect -f '{{.State.Pid}}' one)/cgroup"), "^[0-9]+:memory:/mine/[0-9a-f]{64}$")


@case("systemd", "v2")
def scope_of_systemd():
    detached("--memory 64m")
    says(sh("cat /proc/$(docker inspect -f '{{.State.Pid}}' one)/cgroup"), r"^0::/system.slice/docker-[0-9a-f]{64}.scope$")
    says(sh("systemctl show -p MemoryMax docker-$(docker inspect -f '{{.Id}}' one).scope"), "^MemoryMax=67108864$")


@case("systemd", "v2")
def limits_outlast_a_reload_of_systemd():
    detached("--memory 64m --device /dev/fuse:/dev/mine:r")
    call(sh("docker update --memory 128m --memory-swap 128m one; systemctl daemon-reload"))
    says(sh(f"docker exec one cat {limit('memory')}; docker exec one sh -c ': </dev/mine; : >/dev/mine'"), "^134217728$",
         "(?i)not permitted", status=1)


@case()
def cgroup_namespace_of_its_own():
    says(sh(f"{RUN} --cgroupns private $B cat /proc/self/cgroup"), "^[0-9]+:.*:/$")


@case()
def cgroup_namespace_of_the_host():
    says(sh(f"{RUN} --cgroupns host $B cat /proc/self/cgroup"), "[0-9a-f]{64}")


# --- rights

@case()
def user_and_groups():
    says(sh(f"{RUN} --user 1000:1000 --group-add 3000 $B id"), r"uid=1000\(user\) gid=1000\(user\) groups=.*3000\(extra\)")
    says(sh(f"{RUN} --user nobody-of-that-name $B id"), "unable to find user", status=125)


@case()
def capabilities_by_default():
    says(sh(f"{RUN} $B grep CapEff /proc/self/status"), "00000000a80425fb")


@case("resource")
def privileged():
    says(sh(f"{RUN} --privileged $B sh -c 'mount -t tmpfs t /tmp && ls /dev | wc -l && grep -c . /proc/kcore | head -c 0; grep Seccomp: /proc/self/status'"),
         r"Seccomp:\s*0$")


@case()
def seccomp_by_default():
    says(sh(f"{RUN} $B sh -c 'grep Seccomp: /proc/self/status; unshare -U true'"), r"Seccomp:\s*2$", "(?i)not permitted", status=1)


@case()
def seccomp_with_a_profile():
    place.write(f"{os.environ['F']}/profile.json", json.dumps({
        "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]}))
    says(sh(f"{RUN} --security-opt seccomp=$F/profile.json $B mkdir /tmp/x"), "No space left", status=1)


@case("apparmor")
def apparmor_by_default():
    says(sh(f"{RUN} $B cat /proc/self/attr/current"), r"^docker-default \(enforce\)$")


@case()
def read_only():
    says(sh(f"{RUN} --read-only --tmpfs /tmp $B sh -c ': >/tmp/x && echo tmp; : >/x'"), "^tmp$", "Read-only file system", status=1)


# --- devices

@case()
def device_added():
    says(sh(f"{RUN} --device /dev/fuse:/dev/mine:rw $B sh -c ': <>/dev/mine && stat -c %t:%T /dev/mine'"), "^a:e5$")


@case()
def device_for_reading_only():
    says(sh(f"{RUN} --device /dev/fuse:/dev/mine:r $B sh -c ': </dev/mine && echo read; : >/dev/mine'"), "read$", "(?i)not permitted", status=1)


@case()
def device_that_nobody_allowed():
    says(sh(f"{RUN} $B sh -c 'mknod /tmp/x c 10 229 && : </tmp/x'"), "(?i)not permitted", status=1)


@case()
def rule_for_devices():
    says(sh(f"{RUN} --device-cgroup-rule 'c 10:229 rm' $B sh -c 'mknod /tmp/x c 10 229 && : </tmp/x && echo read; : >/tmp/x'"), "read$",
         "(?i)not permitted", status=1)


# --- volumes

@case()
def volume_to_write():
    says(sh(f"rm -rf $V; mkdir -p $V; {RUN} -v $V:/v $B sh -c 'echo written >/v/file'; cat $V/file"), "^written$")


@case()
def volume_for_reading_only():
    says(sh(f"mkdir -p $V; {RUN} -v $V:/v:ro $B sh -c ': >/v/file'"), "Read-only file system", status=1)


@case()
def volume_that_is_a_file():
    says(sh(f"echo content >$F/a-file; {RUN} -v $F/a-file:/etc/passwd:ro -v $F/a-file:/new/file $B cat /etc/passwd /new/file"), r"^content\ncontent$")


@case()
def volume_on_a_file_that_is_a_directory():
    says(sh(f"mkdir -p $V; {RUN} -v $V:/etc/passwd $B true"), "(?i)not a directory", status=125)


@case()
def volume_without_copying():
    says(sh(f"{RUN} -v empty:/data:nocopy $B ls -A /data"), "^$")


@case()
def volume_without_a_name():
    says(sh(f"{RUN} -v /data $B cat /data/in-the-image"), "^yes$")


@case()
def volumes_from_another():
    detached("-v /data")
    says(sh(f"docker exec one sh -c 'echo shared >/data/s'; {RUN} --volumes-from one $B cat /data/s; {RUN} --volumes-from one:ro $B touch /data/t"),
         "^shared$", "Read-only file system", status=1)


PROPAGATION = "mkdir -p $V; mountpoint -q $V || { mount -t tmpfs v $V; mount --make-shared $V; }; "


@case()
def volume_that_is_a_slave():
    call(sh(PROPAGATION))
    detached("-v $V:/v:rslave")
    says(sh("mkdir -p $V/later; mount -t tmpfs later $V/later; : >$V/later/seen; docker exec one ls /v/later; umount $V/later"), "^seen$")
    says(sh("docker exec one sed -n 's/.* \\/v .*\\(master:\\).*/\\1/p' /proc/self/mountinfo"), "^master:$")
    call(sh("docker rm -f one; umount $V"))


@case()
def volume_that_is_shared():
    call(sh(PROPAGATION))
    detached("--cap-add SYS_ADMIN --security-opt apparmor=unconfined -v $V:/v:rshared")
    says(sh("docker exec one sh -c 'mkdir -p /v/in; mount -t tmpfs in /v/in; : >/v/in/seen'; ls $V/in; umount $V/in"), "^seen$")
    call(sh("docker rm -f one; umount $V"))


@case()
def volume_that_is_private():
    call(sh(PROPAGATION))
    detached("-v $V:/v:rprivate")
    silent_about(sh("mkdir -p $V/later; mount -t tmpfs later $V/later; : >$V/later/seen; docker exec one ls /v/later; umount $V/later"), "seen")
    call(sh("docker rm -f one; umount $V"))


@case()
def volume_with_a_label_option():
    says(sh(f"mkdir -p $V; {RUN} -v $V:/v:z $B echo yes; {RUN} -v $V:/v:Z $B echo yes"), r"^yes\nyes$")


@case()
def mount_of_each_type():
    says(sh(f"mkdir -p $V; {RUN} --mount type=bind,source=$V,target=/b,readonly --mount type=volume,source=mine,target=/m "
            "--mount type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=700 $B sh -c 'stat -c %a /t; df -k /t | tail -1; touch /m/x && touch /b/x'"),
         "^700$", r"\s1024\s", "Read-only file system", status=1)


@case()
def mount_that_is_not_recursive():
    says(sh(f"mkdir -p $V; mount -t tmpfs v $V; mkdir $V/below; mount -t tmpfs below $V/below; : >$V/below/hidden; "
            f"{RUN} --mount type=bind,source=$V,target=/b,bind-nonrecursive $B sh -c 'ls /b; ls /b/below'; umount $V/below $V"), r"^below$")


@case()
def tmpfs():
    says(sh(f"{RUN} --tmpfs /t:size=2m,mode=1770,noexec $B sh -c 'stat -c %a /t; grep \" /t \" /proc/mounts'"), "^1770$", "noexec.*size=2048k")


@case()
def size_of_the_shared_memory():
    says(sh(f"{RUN} --shm-size 3m $B grep /dev/shm /proc/mounts"), "size=3072k")


# --- names and namespaces

@case()
def hostname_and_hosts():
    says(sh(f"{RUN} --hostname h --domainname d --add-host other:192.0.2.1 $B sh -c 'hostname; cat /proc/sys/kernel/domainname; cat /etc/hosts'"),
         r"^h\nd\n", r"192.0.2.1\s*other")


@case()
def pid_namespace_of_another():
    detached()
    says(sh(f"{RUN} --pid container:one $B ps"), r"\s1 .*sleep 1000")


@case()
def pid_namespace_of_the_host():
    detached("--pid host", "sh -c 'sleep 1000 & sleep 1000'")
    call(sh("docker stop -t 1 one"))


@case()
def ipc_namespace_shared():
    detached("--ipc shareable")
    says(sh(f"docker exec one sh -c 'echo s >/dev/shm/s'; {RUN} --ipc container:one $B cat /dev/shm/s"), "^s$")
    call(sh(f"{RUN} --ipc host $B true; {RUN} --ipc none $B true"))


@case()
def uts_namespace_of_the_host():
    says(sh(f"[ $({RUN} --uts host $B hostname) = $(hostname) ] && echo same"), "^same$")


# --- network

@case()
def network_none():
    says(sh(f"{RUN} --network none $B sh -c 'cd /sys/class/net; ls | grep -v -e tunl -e sit -e gre -e vti -e erspan -e ip6'"), "^lo$")


@case()
def network_of_the_host():
    says(sh(f"{RUN} --network host $B ip link"), "docker0")


@case()
def network_of_the_bridge():
    says(sh(f"{RUN} $B sh -c 'ip addr show eth0; ip route'"), r"inet 172\.", "^default via 172")


@case()
def network_of_another_container():
    detached()
    says(sh(f"a=$({RUN} --network container:one $B ip addr show eth0 | grep inet); docker exec one ip addr show eth0 | grep -F \"$a\""), "inet 172")


@case()
def network_between_containers():
    detached(command="sh -c 'mkdir /tmp/w; echo served >/tmp/w/x; httpd -f -h /tmp/w'")
    becomes(sh(f"{RUN} $B wget -qO- http://$(docker inspect -f '{{{{.NetworkSettings.IPAddress}}}}' one)/x"), "^served$")


@case()
def network_port_published():
    detached("-p 127.0.0.1:8080:80", "sh -c 'mkdir /tmp/w; echo served >/tmp/w/x; httpd -f -h /tmp/w'")
    becomes("busybox wget -qO- http://127.0.0.1:8080/x", "^served$")


@case()
def network_of_ones_own_with_names():
    call(sh("docker network create mine"))
    detached("--network mine", "sh -c 'mkdir /tmp/w; echo served >/tmp/w/x; httpd -f -h /tmp/w'")
    becomes(sh(f"{RUN} --network mine $B wget -qO- http://one/x"), "^served$")


@case()
def network_connected_later():
    detached()
    says(sh("docker network create mine; docker network connect mine one; docker exec one ls /sys/class/net"), "^eth1$")


# --- build

@case()
def build():
    says(sh("""printf 'FROM localhost/busybox\\nRUN echo built >/built && id -u\\nUSER 1000\\nRUN id -u >/tmp/me\\nCMD cat /built /tmp/me\\n' |
        docker build --network none -t built - && docker run --rm built; docker rmi built"""), r"^built\n1000$", seconds=120)


@case()
def build_fails_with_the_status_of_a_step():
    says(sh("printf 'FROM localhost/busybox\\nRUN exit 9\\n' | docker build --network none -"), "returned a non-zero code: 9", status=None)


# --- user namespaces, by a daemon of another configuration

@case()
def user_namespace_for_all():
    call(sh("docker rm -f $(docker ps -aq) 2>/dev/null || true"))
    stop()
    configure(**{"userns-remap": place.USER})
    start()
    says(sh(f"{RUN} $B cat /proc/self/uid_map"), r"0\s+100000\s+65536")
    says(sh(f"{RUN} --userns host $B cat /proc/self/uid_map"), r"0\s+0\s+4294967295")
    detached("--user 1000 --memory 64m")
    says(sh("docker exec one id -u; docker exec -u 0 one sh -c 'touch /root/x && echo root'"), r"^1000\nroot$")
    clean()
    stop()
    configure()
    start_again()


configure()
