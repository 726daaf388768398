"""What Podman and Buildah share: containers.conf as the docs have it, and cases of Podman with and without root."""

import os
import re
import shutil

import engine
import place
from case import becomes, call, case, says

PREAMBLE = "B=localhost/busybox; V=$F/tmp/volume; "
RUN = "podman run --rm"


def configure():
    """The docs' file; what this machine has not or has elsewhere is added."""
    more = ""
    if not place.FACTS["resource"][0]():
        # Podman asks for more than this machine gives to anybody.
        more = '\n[containers]\ndefault_ulimits = ["nofile=20000:20000", "nproc=20000:20000"]\n'
    network = []
    if os.path.exists("/usr/lib/podman/netavark") and not shutil.which("nft"):
        network.append('firewall_driver = "iptables"')
    if not shutil.which("pasta") and int(re.search(r"\d+", call("podman --version"))[0]) >= 5:
        network.append('default_rootless_network_cmd = "slirp4netns"')
    if network:
        more += "\n[network]\n" + "\n".join(network) + "\n"
    place.write("/etc/containers/containers.conf", place.block("podman.md", "toml") + more)


class Podman:
    """One user's Podman: how its lines are run, and what they leave in the runtime's own default root."""

    def __init__(self, user, root):
        self.user, self.root = user, root
        self.preamble = f'mine() {{ {AS_USER if user else ""} "$@"; }}; podman() {{ mine /usr/bin/podman "$@"; }}; engine() {{ podman "$@"; }}; {PREAMBLE}'

    def sh(self, command):
        return self.preamble + command

    def detached(self, options="", command="sleep 1000", name="one"):
        call(self.sh(f"podman run -d --name {name} {options} $B {command}"))

    def clean(self):
        # A pod has a container of its own. Most cases leave none, and a client takes seconds to start where all is emulated.
        call(self.sh("[ -z \"$(podman ps -aq)\" ] || { podman pod rm -af -t 0; podman rm -afv -t 0; }"), None)

    def nothing_left(self):
        place.expect_nothing_left(f"{self.root}/*")


AS_USER = (f"setpriv --reuid {place.USER} --regid {place.USER} --init-groups env HOME=$F/user USER={place.USER} "
           "XDG_RUNTIME_DIR=/run/user/$(id -u user)")


def cases(podman):
    """The cases for every user."""
    sh, detached = podman.sh, podman.detached
    engine.cases(sh, detached)

    # --- run

    @case()
    def run_ends_with_128_and_the_signal():
        says(sh(f"{RUN} --init $B sh -c 'kill -15 $$'"), status=143)

    @case()
    def run_uses_the_runtime_of_the_configuration():
        detached()
        says(sh("podman inspect -f '{{.OCIRuntime}}' one; podman info -f '{{.Host.OCIRuntime.Path}}'"), f"^crust\n{place.RUNTIME}$")

    @case()
    def run_by_the_path_of_the_runtime():
        says(sh(f"podman --runtime {place.RUNTIME} run --rm $B echo yes"), "^yes$")

    @case()
    def run_of_a_directory():
        says(sh(f"{RUN} $B /etc"), "permission denied|is a directory", status=126)

    @case()
    def init_then_start():
        says(sh("podman create --name one $B sleep 1000; podman init one; podman inspect -f '{{.State.Status}}' one; podman start one; "
                "podman inspect -f '{{.State.Status}}' one"), "^(created|initialized)$", "^running$")

    @case()
    def descriptors_preserved():
        says(sh(f"echo from-three >$F/three; chmod 644 $F/three; {RUN} --preserve-fds 1 -i $B sh -c 'cat <&3' 3<$F/three"), "^from-three$")

    # --- the life of a container

    @case()
    def restart_on_failure():
        detached("--restart on-failure:2", "sh -c 'echo again; exit 1'")
        becomes(sh("podman logs one"), "again\nagain\nagain")

    @case()
    def remove_a_running_container_by_force():
        detached()
        call(sh("podman rm -f -t 0 one"))

    # --- exec

    @case()
    def exec_of_a_missing_program():
        detached()
        says(sh("podman exec one no-such-program"), "executable file .*not found in \\$PATH", status=127)

    @case()
    def exec_as_a_user_in_a_directory_with_an_environment():
        detached()
        says(sh("podman exec -u user -w /tmp -e COLOUR=red one sh -c 'id; pwd; echo $COLOUR'"),
             r"uid=1000\(user\) gid=1000\(user\)", "^/tmp$", "^red$")

    @case()
    def exec_with_descriptors_preserved():
        detached()
        says(sh("echo from-three >$F/three; chmod 644 $F/three; podman exec --preserve-fds 1 one sh -c 'cat <&3' 3<$F/three"), "^from-three$")

    @case()
    def exec_privileged():
        detached()
        says(sh("podman exec --privileged one sh -c 'grep CapEff /proc/self/status'"), "CapEff:\t0000[0-9a-f]*ffff")

    # --- what the client asks about a container

    @case()
    def copy_in_and_out():
        detached()
        says(sh("echo copied >$F/tmp/in; chmod 644 $F/tmp/in; podman cp $F/tmp/in one:/tmp/in; podman exec one cat /tmp/in; "
                "podman cp one:/etc/passwd - | tar t"),
             "^copied$", "^passwd$")

    @case()
    def diff_and_commit():
        detached(command="sh -c 'echo new >/new'")
        says(sh("podman wait one; podman diff one; podman commit -q one changed"), "^A /new$")
        says(sh(f"{RUN} changed cat /new; podman rmi changed"), "^new$")

    @case()
    def healthcheck():
        # Its timer is systemd's; without one it is run by hand.
        detached("--health-cmd 'test -e /tmp/well' --health-interval disable")
        says(sh("podman healthcheck run one"), status=1)
        says(sh("podman exec one touch /tmp/well; podman healthcheck run one"), status=0)

    # --- rights

    @case()
    def user_and_groups():
        says(sh(f"{RUN} --user 1000:1000 --group-add 3000 $B id"), r"uid=1000\(user\) gid=1000\(user\) groups=.*3000\(extra\)")

    @case()
    def seccomp_by_default():
        says(sh(f"{RUN} $B grep Seccomp: /proc/self/status"), r"\s2$")

    @case()
    def privileged():
        says(sh(f"{RUN} --privileged $B sh -c 'mount -t tmpfs t /tmp && echo mounted'"), "^mounted$")

    @case()
    def read_only():
        says(sh(f"{RUN} --read-only $B sh -c ': >/tmp/x && echo tmp; : >/x'"), "tmp$", "Read-only file system", status=1)

    @case()
    def unmasked():
        says(sh(f"{RUN} --security-opt unmask=/proc/timer_list --security-opt mask=/etc/passwd $B sh -c 'wc -c </etc/passwd'"), "^0$")

    @case()
    def resource_limits():
        says(sh(f"{RUN} --ulimit nofile=100:100 --ulimit nproc=1000:1000 $B sh -c 'ulimit -Sn; ulimit -Hn'"), r"^100\n100$")

    @case()
    def timezone_and_umask():
        says(sh(f"{RUN} --umask 0027 $B sh -c umask"), "^0027$")

    # --- devices and volumes

    @case()
    def device_added():
        says(sh(f"{RUN} --device /dev/fuse $B sh -c ': <>/dev/fuse && stat -c %t:%T /dev/fuse'"), "^a:e5$")

    @case()
    def volumes_in_every_mode():
        folder = "rm -rf $V; mkdir -p $V; chmod 777 $V; "
        says(sh(f"{folder}{RUN} -v $V:/v $B sh -c 'echo written >/v/file'; cat $V/file"), "^written$")
        says(sh(f"{RUN} -v $V:/v:ro $B touch /v/x"), "Read-only file system", status=1)
        for options in ("rw", "z", "Z", "rslave", "rprivate", "private", "slave", "nosuid,nodev,noexec", "bind", "rbind", "exec", "dev", "suid"):
            says(sh(f"{RUN} -v $V:/v:{options} $B sh -c 'cat /v/file; grep \" /v \" /proc/mounts'"), "^written$")
        says(sh(f"{RUN} -v $V:/v:noexec $B grep ' /v ' /proc/mounts"), "noexec")

    @case()
    def volume_with_its_owner_changed():
        says(sh(f"{RUN} -v owned:/v:U --user 1000:1000 $B sh -c 'stat -c %u:%g /v'"), "^1000:1000$")

    @case()
    def volume_in_layers():
        says(sh(f"rm -rf $V; mine mkdir $V; echo below | mine tee $V/f; {RUN} -v $V:/v:O $B sh -c 'cat /v/f; echo above >/v/f; cat /v/f'; cat $V/f"),
             r"^below\nbelow\nabove\nbelow$")

    @case()
    def mount_of_each_type():
        says(sh(f"mkdir -p $V; chmod 755 $V; {RUN} --mount type=bind,source=$V,target=/b,ro=true --mount type=volume,source=mine,target=/m "
                "--mount type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=700 --mount type=devpts,target=/p "
                "$B sh -c 'stat -c %a /t; df -k /t | tail -1; touch /m/x && touch /b/x'"), "700$", r"\s1024\s", "Read-only file system", status=1)

    @case()
    def mount_of_an_image():
        says(sh(f"{RUN} --mount type=image,source=localhost/busybox,target=/i $B cat /i/data/in-the-image"), "^yes$")

    @case()
    def secrets():
        says(sh(f"printf hidden | podman secret create mine -; {RUN} --secret mine $B cat /run/secrets/mine; podman secret rm mine"), "hidden")

    @case()
    def tmpfs_and_shared_memory():
        says(sh(f"{RUN} --tmpfs /t:size=2m,mode=1770,noexec --tmpfs /data --shm-size 3m $B sh -c 'stat -c %a /t; cat /data/in-the-image; "
                "grep -E \" /t | /dev/shm \" /proc/mounts'"), "^1770$", "^yes$", "noexec.*size=2048k", "size=3072k")

    # --- names, namespaces, networks

    @case()
    def hostname_and_hosts():
        says(sh(f"{RUN} --hostname h --add-host other:192.0.2.1 $B sh -c 'hostname; cat /etc/hosts'"), r"^h\n", r"192.0.2.1\s*other")

    @case()
    def namespaces_of_another():
        detached("--ipc shareable --hostname h")
        says(sh(f"{RUN} --pid container:one --ipc container:one --uts container:one --network container:one $B sh -c 'ps; hostname'"),
             r"1 .*sleep 1000", "^h$")

    @case()
    def namespaces_of_the_host():
        says(sh(f"{RUN} --pid host --uts host --network host --cgroupns host $B sh -c 'echo yes'"), "^yes$")

    @case("mqueue")
    def ipc_namespace_of_the_host():
        says(sh(f"{RUN} --ipc host $B echo yes"), "^yes$")

    @case()
    def user_namespace_of_its_own():
        says(sh(f"{RUN} --uidmap 0:1:1000 --gidmap 0:1:1000 $B cat /proc/self/uid_map"), r"0\s+\d+\s+1000")

    @case()
    def network_none():
        says(sh(f"{RUN} --network none $B ip addr show lo"), r"inet 127\.0\.0\.1")

    # --- pods

    @case()
    def a_pod():
        says(sh("podman pod create --name p --share net,ipc,uts,pid; podman run -d --pod p --name one $B sleep 1000; podman run --rm --pod p $B ps; "
                "podman pod ps; podman pod stop -t 0 p; podman pod start p; podman pod kill p; podman pod rm -f -t 0 p"), "sleep 1000", r"p\s+Running\s")

    @case()
    def play_kube():
        place.write(f"{os.environ['F']}/tmp/pod.yaml", KUBE)
        says(sh("podman play kube --network none $F/tmp/pod.yaml 2>&1; podman exec web-two sh -c 'cat /shared/by-init; id -u'; podman ps --format '{{.Names}}'; "
                "podman play kube --down $F/tmp/pod.yaml"), r"^from-init\n1000$", "^web-one$")

    @case()
    def generate_kube():
        detached("--label a=b")
        says(sh("podman generate kube one"), "^kind: Pod$")

    @case()
    def many_at_a_time():
        call(sh(f"for i in $(seq 8); do {RUN} --network none $B true & jobs+=($!); done; for j in ${{jobs[@]}}; do wait $j || exit 1; done"))


KUBE = """
apiVersion: v1
kind: Pod
metadata:
  name: web
  annotations:
    # Podman 4 may be too early with removing one that runs once.
    io.podman.annotations.init.container.type: always
spec:
  initContainers:
  - {name: first, image: localhost/busybox, imagePullPolicy: Never, command: [sh, -c, "echo from-init >/shared/by-init"],
     volumeMounts: [{name: shared, mountPath: /shared}]}
  containers:
  - {name: one, image: localhost/busybox, imagePullPolicy: Never, command: [sleep, "1000"], volumeMounts: [{name: shared, mountPath: /shared}]}
  - {name: two, image: localhost/busybox, imagePullPolicy: Never, command: [sleep, "1000"], volumeMounts: [{name: shared, mountPath: /shared}],
     securityContext: {runAsUser: 1000, capabilities: {drop: [ALL]}}}
  volumes:
  - {name: shared, emptyDir: {}}
"""
