"""The daemon that ctr.py and cri.py speak to."""

import os

import place
from case import call

DAEMONS = []


def configure():
    """The docs' file; what this machine has not or has elsewhere is changed or added."""
    text = place.block("containerd.md", "toml")
    if not place.SYSTEMD:
        text = text.replace("SystemdCgroup = true", "SystemdCgroup = false")
    plugin = 'plugins."io.containerd.grpc.v1.cri"'
    text += f'\n[{plugin}]\nsandbox_image = "localhost/pause:latest"\n'
    if not place.FACTS["resource"][0]():
        text += "restrict_oom_score_adj = true\n"
    text += f'\n[{plugin}.cni]\nbin_dir = "/usr/lib/cni"\nconf_dir = "/etc/cni/net.d"\n'
    place.write("/etc/containerd/config.toml", text)
    place.write("/etc/cni/net.d/10-pods.conflist", """{"cniVersion": "0.4.0", "name": "pods", "plugins": [
        {"type": "ptp", "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.99.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}""")


def start(*namespaces):
    configure()
    again()
    for namespace in namespaces:
        call(f"ctr -n {namespace} image import $ARCHIVE")


def again():
    DAEMONS.append(place.daemon(["containerd"], f"{os.environ['F']}/containerd.log", "ctr version"))


def stop():
    daemon = DAEMONS.pop()
    daemon.terminate()
    daemon.wait()
