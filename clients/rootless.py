"""Podman of an ordinary user."""

import os

import containers
import place
from case import call, case, says
from containers import RUN

USER = containers.Podman(place.USER, "/run/user/*/crust")
sh, detached, clean = USER.sh, USER.detached, USER.clean


def nothing_left():
    place.expect_nothing_left("/run/user/*/crust/*", "/run/user/*/runc/*")


def start():
    containers.configure()
    call(f"""mkdir -p $F/user; chown {place.USER}: $F/user
        id=$(id -u {place.USER})
        if [ -d /run/systemd/system ]; then systemctl start user@$id
        else mkdir -p /run/user/$id; chmod 700 /run/user/$id; chown {place.USER}: /run/user/$id; fi""")
    call(sh("podman load -i $ARCHIVE"))


def stop():
    clean()
    # What keeps the user's namespaces.
    call(sh("podman system migrate"), None)


containers.cases(USER)


@case("delegation")
def limits():
    says(sh(f"{RUN} --memory 64m --pids-limit 30 $B cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max"), r"^67108864\n30$")


@case("delegation")
def pause_and_unpause():
    detached()
    says(sh("podman pause one; podman inspect -f '{{.State.Status}}' one; podman unpause one; podman exec one echo on"), r"paused$", "^on$")


@case("delegation")
def limits_updated():
    detached("--memory 64m")
    says(sh("podman update --memory 128m one; podman exec one cat /sys/fs/cgroup/memory.max"), "^134217728$")


@case("tun")
def network_of_slirp4netns():
    says(sh(f"{RUN} --network slirp4netns $B ip addr show tap0"), r"inet 10\.0\.2\.100")


@case()
def user_kept():
    says(sh(f"{RUN} --userns keep-id $B sh -c 'id -u'"), f"^{os.popen(f'id -u {place.USER}').read().strip()}$")


@case()
def root_of_the_container_is_the_user():
    says(sh(f"rm -rf $V; mine mkdir $V; {RUN} -v $V:/v $B touch /v/mine; stat -c %U $V/mine"), f"^{place.USER}$")
