"""Podman as root: besides the cases for everybody, limits, the freezer, and networks."""

import containers
import place
from case import becomes, call, case, says
from containers import RUN
from engine import limit

USER = containers.Podman(None, "/run/crust")
sh, detached, clean = USER.sh, USER.detached, USER.clean
# runc keeps its states elsewhere, whatever it is called.
nothing_left = lambda: place.expect_nothing_left("/run/crust/*", "/run/runc/*")


def start():
    containers.configure()
    call(sh("podman load -i $ARCHIVE"))


def stop():
    clean()


containers.cases(USER)

@case()
def limits():
    says(sh(f"{RUN} --memory 64m --cpus 0.5 --pids-limit 30 --cpuset-cpus 0 $B cat {limit('memory')} {limit('quota')} {limit('pids')} {limit('cpus')}"),
         r"^67108864\n50000.*\n30\n0$")


@case()
def limits_updated():
    detached("--memory 64m")
    call(sh("podman update --memory 128m --cpus 0.25 one"))
    says(sh(f"podman exec one cat {limit('memory')} {limit('quota')}"), r"^134217728\n25000")


@case()
def limit_of_memory_kills():
    detached("--memory 16m --memory-swap 16m", "sh -c 'head -c 100m /dev/zero | tail'")
    says(sh("podman wait one"), "^137$")


@case()
def pause_and_unpause():
    detached()
    says(sh("podman pause one; podman inspect -f '{{.State.Status}}' one"), "^paused$")
    says(sh("podman exec one true"), "(?i)paused|running", status=None)
    says(sh("podman unpause one; podman exec one echo on"), "^on$")


@case()
def remove_a_paused_container_by_force():
    detached()
    call(sh("podman pause one; podman rm -f -t 0 one"))


@case()
def stats():
    detached("--memory 64m")
    says(sh("podman stats --no-stream --format '{{.MemUsage}} {{.PIDs}}' one"), r"/ 67.11MB 1$")


@case("cgroup-manager")
def no_cgroup_at_all():
    says(sh(f"{RUN} --cgroups disabled $B echo yes"), "^yes$")


@case("v1")
def parent_of_the_cgroup():
    detached("--cgroup-parent /mine")
    says(sh("cat /proc/$(podman inspect -f '{{.State.Pid}}' one)/cgroup"), "^[0-9]+:memory:/mine/libpod-[0-9a-f]{64}$")


@case("systemd", "v2")
def scope_of_systemd():
    detached("--memory 64m")
    says(sh("cat /proc/$(podman inspect -f '{{.State.Pid}}' one)/cgroup"), r"^0::/machine.slice/libpod-[0-9a-f]{64}.scope")
    says(sh("systemctl show -p MemoryMax libpod-$(podman inspect -f '{{.Id}}' one).scope"), "^MemoryMax=67108864$")


@case("systemd")
def a_container_with_systemd_in_mind():
    says(sh(f"{RUN} --systemd always $B sh -c 'echo $container; stat -f -c %T /run /tmp'"), r"^(podman|oci)\ntmpfs\ntmpfs$")


@case()
def readiness_told_by_the_container():
    says(sh("podman create --sdnotify container --name one $B sleep 1000; podman rm one"), "one|[0-9a-f]{64}")


@case()
def device_for_reading_only():
    says(sh(f"{RUN} --device /dev/fuse:/dev/mine:r $B sh -c ': </dev/mine && echo read; : >/dev/mine'"), "read$", "(?i)not permitted", status=1)


@case()
def volume_that_is_shared():
    says(sh("mkdir -p $V; mountpoint -q $V || { mount -t tmpfs v $V; mount --make-shared $V; }; podman run -d --name one --cap-add SYS_ADMIN "
            "--security-opt apparmor=unconfined -v $V:/v:rshared $B sh -c 'mkdir -p /v/in; mount -t tmpfs in /v/in; : >/v/in/seen; sleep 1000'"))
    becomes("ls $F/tmp/volume/in", "^seen$")
    call(sh("podman rm -f -t 0 one; umount $V/in; umount $V"))


@case()
def network_of_the_bridge():
    says(sh(f"{RUN} $B sh -c 'ip addr show eth0; ip route'"), r"inet 10\.", "^default via 10")


@case()
def network_port_published():
    detached("-p 127.0.0.1:8081:80", "sh -c 'mkdir /tmp/w; echo served >/tmp/w/x; httpd -f -h /tmp/w'")
    becomes("busybox wget -qO- http://127.0.0.1:8081/x", "^served$")


@case()
def network_of_a_path():
    says(sh(f"ip netns add mine; {RUN} --network ns:/run/netns/mine $B readlink /proc/self/ns/net; ip netns exec mine readlink /proc/self/ns/net; "
            "ip netns del mine"), r"^(net:.*)\n\1$")


@case("apparmor")
def apparmor_by_default():
    says(sh(f"{RUN} $B cat /proc/self/attr/current"), r"^containers-default-\S+ \(enforce\)$")
