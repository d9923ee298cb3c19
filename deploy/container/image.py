#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""image.py ROOTFS IMAGE.tar [TAG]: an OCI image (one layer) of a root that rootfs.py made, without a daemon, a builder or root.
The same root gives the same bytes. `podman load -i`, `ctr images import`, `docker load -i`, `skopeo copy oci-archive:`."""

import datetime
import gzip
import hashlib
import io
import json
import os
import pathlib
import platform
import re
import struct
import sys
import tarfile

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
EPOCH = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
VERSION = re.search(r"^project\(vitald VERSION ([\d.]+)", (TOP / "CMakeLists.txt").read_text(), re.M)[1]
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
CAPABILITIES = 1 << 39 | 1 << 38 | 1 << 2  # CAP_BPF, CAP_PERFMON, CAP_DAC_READ_SEARCH
# struct vfs_cap_data, revision 2, permitted and not effective: see docs/adr/0008-privileges.md.
FILE_CAPABILITIES = struct.pack("<5I", 0x02000000, CAPABILITIES & 0xffffffff, 0, CAPABILITIES >> 32, 0)


def add(tar, path, name):
    entry = tar.gettarinfo(path, name)
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = EPOCH
    if entry.isdir():
        entry.mode = 0o1777 if name == "tmp" else 0o755
    if name == "var/lib/vitald":
        entry.uid = entry.gid = 65534
    if name == "usr/bin/vitald":
        entry.pax_headers = {"SCHILY.xattr.security.capability": FILE_CAPABILITIES.decode("utf-8", "surrogateescape")}
    if entry.isreg():
        with open(path, "rb") as file:
            tar.addfile(entry, file)
    else:
        tar.addfile(entry)


def layer(root):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(root.rglob("*"), key=lambda p: p.relative_to(root).parts):
            add(tar, path, str(path.relative_to(root)))
    return buffer.getvalue()


def main():
    root, target = map(pathlib.Path, sys.argv[1:3])
    tag = sys.argv[3] if len(sys.argv) > 3 else VERSION
    blobs = {}

    def blob(data, media_type, **more):
        digest = hashlib.sha256(data).hexdigest()
        blobs[digest] = data
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data), **more}

    def document(value, media_type, **more):
        return blob(json.dumps(value, indent=1, sort_keys=True).encode(), media_type, **more)

    created = f"{datetime.datetime.fromtimestamp(EPOCH, datetime.timezone.utc):%Y-%m-%dT%H:%M:%SZ}"
    uncompressed = layer(root)
    compressed = gzip.compress(uncompressed, 9, mtime=0)
    config = {
        "architecture": ARCHITECTURE, "os": "linux", "created": created,
        "config": {
            "User": "65534:65534", "Entrypoint": ["/usr/bin/vitald"], "Cmd": ["--config.file=/etc/vitald/vitald.yaml"],
            "ExposedPorts": {"9100/tcp": {}}, "WorkingDir": "/", "StopSignal": "SIGTERM",
            "Labels": {"org.opencontainers.image.title": "vitald", "org.opencontainers.image.version": VERSION,
                       "org.opencontainers.image.licenses": "Apache-2.0"},
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(uncompressed).hexdigest()}"]},
        "history": [{"created": created, "created_by": "deploy/container/image.py"}],
    }
    manifest = {
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": document(config, "application/vnd.oci.image.config.v1+json"),
        "layers": [blob(compressed, "application/vnd.oci.image.layer.v1.tar+gzip")],
    }
    name = {"org.opencontainers.image.ref.name": tag, "io.containerd.image.name": f"localhost/vitald:{tag}"}
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
             "manifests": [document(manifest, "application/vnd.oci.image.manifest.v1+json", annotations=name,
                                    platform={"architecture": ARCHITECTURE, "os": "linux"})]}
    files = {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}', "index.json": json.dumps(index, indent=1).encode(),
             **{f"blobs/sha256/{digest}": data for digest, data in blobs.items()}}
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
        for path, data in sorted(files.items()):
            entry = tarfile.TarInfo(path)
            entry.size, entry.mtime, entry.mode = len(data), EPOCH, 0o644
            tar.addfile(entry, io.BytesIO(data))
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB, {len(uncompressed) / 1e6:.1f} MB unpacked, "
          f"sha256:{hashlib.sha256(target.read_bytes()).hexdigest()}")


main()
