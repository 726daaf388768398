"""The images that clients run, made from this machine's busybox: no registry is asked."""

import hashlib
import io
import json
import os
import stat
import subprocess
import tarfile

BUSYBOX = "/bin/busybox"
# Tag, what differs from the plain configuration.
IMAGES = {
    "localhost/busybox:latest": {"Cmd": ["sh"]},
    "localhost/pause:latest": {"Entrypoint": ["sleep", "1000000"]},
    "localhost/app:latest": {"User": "1000:1000", "WorkingDir": "/work", "Env": ["COLOUR=blue"], "Volumes": {"/data": {}},
                             "Entrypoint": ["sh", "-c", "echo \"$COLOUR $(id -u) $(pwd)\""]},
}


def root_file_system():
    """As a tar archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        def add(name, kind=tarfile.REGTYPE, mode=0o644, data=b"", link="", owner=0):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode, entry.size, entry.linkname, entry.uid, entry.gid = kind, mode, len(data), link, owner, owner
            tar.addfile(entry, io.BytesIO(data))

        for name in ("bin", "dev", "etc", "home", "proc", "run", "sys", "usr", "var"):
            add(name, tarfile.DIRTYPE, 0o755)
        add("root", tarfile.DIRTYPE, 0o700)
        add("tmp", tarfile.DIRTYPE, 0o1777)
        add("work", tarfile.DIRTYPE, 0o755, owner=1000)
        add("data", tarfile.DIRTYPE, 0o755, owner=1000)
        add("data/in-the-image", data=b"yes\n")
        add("etc/passwd", data=b"root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/home:/bin/sh\n")
        add("etc/group", data=b"root:x:0:\nuser:x:1000:\nextra:x:3000:user\n")
        add("etc/no-program", data=b"no program\n")
        with open(os.path.realpath(BUSYBOX), "rb") as busybox:
            add("bin/busybox", mode=0o755, data=busybox.read())
        for name in subprocess.check_output([BUSYBOX, "--list"], text=True).split():
            if name != "busybox":
                add(f"bin/{name}", tarfile.SYMTYPE, link="busybox")
    return buffer.getvalue()


def archive(path):
    """All images in one archive, which is an OCI layout and what `docker save` writes at the same time."""
    blobs, index, manifest = {}, [], []

    def blob(data, media_type):
        data = data if isinstance(data, bytes) else json.dumps(data).encode()
        digest = hashlib.sha256(data).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = data
        return {"mediaType": f"application/vnd.oci.image.{media_type}", "digest": f"sha256:{digest}", "size": len(data)}

    path_of = lambda descriptor: "blobs/" + descriptor["digest"].replace(":", "/")
    layer = blob(root_file_system(), "layer.v1.tar")
    for tag, differences in IMAGES.items():
        config = blob({"architecture": "amd64", "os": "linux", "created": "2020-01-01T00:00:00Z",
                       "config": {"Env": ["PATH=/bin"] + differences.get("Env", []),
                                  **{key: value for key, value in differences.items() if key != "Env"}},
                       "history": [{"created_by": "clients/image.py"}],
                       "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]}}, "config.v1+json")
        image = blob({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                      "config": config, "layers": [layer]}, "manifest.v1+json")
        index.append(image | {"annotations": {"io.containerd.image.name": tag, "org.opencontainers.image.ref.name": tag}})
        manifest.append({"Config": path_of(config), "RepoTags": [tag], "Layers": [path_of(layer)]})
    blobs |= {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "manifest.json": json.dumps(manifest).encode(),
              "index.json": json.dumps({"schemaVersion": 2, "manifests": index}).encode()}
    with tarfile.open(path, "w") as tar:
        for name, data in blobs.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH
            tar.addfile(entry, io.BytesIO(data))
