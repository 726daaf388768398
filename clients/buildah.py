"""Buildah, and Podman's build, which is the same: every RUN is a container."""

import containers
import place
from case import call, case, says, says_at_a_terminal

PREAMBLE = "B=localhost/busybox; "


def sh(command):
    return PREAMBLE + command


def start():
    containers.configure()
    call("podman load -i $ARCHIVE")


def stop():
    clean()


def clean():
    call("buildah rm -a; podman image prune -f", None)


def nothing_left():
    place.expect_nothing_left("/run/crust/*", "/run/runc/*")


def run(options, command, *patterns, status=0):
    call(sh("buildah from --name w $B"))
    says(sh(f"buildah run --isolation oci {options} w -- {command}"), *patterns, status=status)


@case()
def run_ends_with_the_status_of_the_process():
    run("", "sh -c 'echo in; exit 7'", "^in$", status=7)


@case()
def run_of_a_missing_program():
    run("", "no-such-program", "executable file not found|no such file", status=1)


@case()
def run_by_the_path_of_the_runtime():
    run(f"--runtime {place.RUNTIME}", "echo yes", "^yes$")


@case()
def run_as_a_user_with_an_environment():
    run("--user 1000 --env COLOUR=red", "sh -c 'id -u; echo $COLOUR'", "^1000\nred$")


@case()
def run_with_volumes():
    call("mkdir -p $F/v; echo content >$F/v/f")
    run("-v $F/v:/v:ro --mount type=tmpfs,target=/t", "sh -c 'cat /v/f; touch /t/x && touch /v/x'", "^content$", "Read-only file system", status=1)


@case()
def run_with_capabilities():
    run("--cap-drop CAP_CHOWN --cap-add CAP_NET_ADMIN", "grep CapEff /proc/self/status", "CapEff:\t00000000800415fa|CapEff:\t[0-9a-f]*a$")


@case()
def run_on_no_network():
    run("--network none", "ip addr show lo", "inet 127")


@case()
def run_on_the_network_of_the_host():
    run("--network host", "echo yes", "^yes$")


@case()
def run_with_a_hostname():
    run("--hostname h", "hostname", "^h$")


@case()
def run_with_a_terminal():
    call(sh("buildah from --name w $B"))
    says_at_a_terminal("buildah run --isolation oci -t w -- tty", "/dev/pts/0$")


@case()
def run_twice_and_commit():
    run("", "sh -c 'echo one >/one'")
    says(sh("buildah run --isolation oci w -- sh -c 'cat /one; echo two >/two'; buildah commit -q w changed; podman run --rm changed cat /one /two; "
            "podman rmi changed"), r"one\n.*\none\ntwo$|one\ntwo$")


@case()
def run_in_a_chroot():
    call(sh("buildah from --name w $B"))
    says("buildah run --isolation chroot w -- echo yes", "^yes$")


BUILD = "printf 'FROM localhost/busybox\\nRUN echo built >/built && id -u\\nUSER 1000\\nRUN id -u >/tmp/me\\nCMD cat /built /tmp/me\\n' | "


@case()
def build():
    says(sh(BUILD + "buildah bud --isolation oci --network none -t built -f - && podman run --rm built; podman rmi built"), r"^built\n1000$", seconds=120)


@case()
def build_by_podman():
    says(sh(BUILD + "podman build --isolation oci --network none -t built -f - && podman run --rm built; podman rmi built"), r"^built\n1000$", seconds=120)


@case()
def build_fails_with_the_status_of_a_step():
    says("printf 'FROM localhost/busybox\\nRUN exit 9\\n' | buildah bud --isolation oci --network none -f -", "exit status 9", status=9)


@case()
def build_with_a_secret_and_a_cache():
    says("""printf hidden >$F/secret; printf 'FROM localhost/busybox\\nRUN --mount=type=secret,id=s cat /run/secrets/s\\n
RUN --mount=type=tmpfs,target=/t --mount=type=cache,target=/c touch /t/x /c/x\\n' |
        buildah bud --isolation oci --network none --secret id=s,src=$F/secret -f -""", "hidden")
