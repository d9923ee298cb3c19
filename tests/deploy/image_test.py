#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The image: twice the same bytes, small, without a shell; and each overlay's pod run by a real runtime as a kubelet would
have it run (user, capabilities, no_new_privs, mounts, read-only root, seccomp), compared with a bare process of the same
rights. What this machine cannot do is said and skipped."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.append("/usr/lib/python3/dist-packages")  # Debian's modules, where another Python is the first
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import TOP, VITALD, need, skip, skip_sanitized  # noqa: E402
from pods import (SECCOMP, Pod, build_image, compare, kustomize, metrics, run, running_bare, running_pod, runtime,  # noqa: E402
                  unpack, values)

need("strip", "dpkg-query", "ldd", "openssl")
skip_sanitized("what ships has none, and its libraries are in no package or image")
if os.geteuid() != 0:
    skip("only root may unpack an image with capabilities of files, and run it")

MOST_BYTES = 60e6
bad, skipped = [], []


def build(folder):
    images = [build_image(folder, name) for name in ("one", "two")]
    assert images[0].read_bytes() == images[1].read_bytes(), "two images of one binary differ"
    return images[0]


def look(root, config):
    files = [f for f in root.rglob("*") if f.is_file() and not f.is_symlink()]
    size = sum(f.stat().st_size for f in files)
    print(f"image: {len(files)} files, {size / 1e6:.1f} MB unpacked")
    assert size <= MOST_BYTES, f"{size} bytes"
    assert config["User"] == "65534:65534", config
    programs = sorted(str(f.relative_to(root)) for f in files if f.stat().st_mode & 0o111 and "lib" not in str(f.relative_to(root)))
    assert programs == ["usr/bin/vitald"], programs
    capabilities = os.getxattr(root / "usr/bin/vitald", "security.capability")
    assert capabilities[0] & 1 == 0, "effective: below a smaller bounding set it could not be executed"
    # What the package has beside the binary, in the same places; no hooks, which are scripts.
    for source, there in (("rules", "etc/vitald/rules"), ("rules-optional", "usr/share/vitald/rules-optional")):
        shipped = {f.name for f in (TOP / "deploy" / source).glob("*.yaml")}
        assert {f.name for f in (root / there).iterdir()} == shipped, f"/{there} is not deploy/{source}"
    sbom = json.loads((root / "usr/share/doc/vitald/sbom.spdx.json").read_text())
    listed = " ".join(p["comment"] for p in sbom["packages"])
    for file in files:
        name = "/" + str(file.relative_to(root))
        assert not re.search(r"\.so(\.|$)", name) or name in listed, f"the SBOM does not name {name}"
    print(f"SBOM: {len(sbom['packages'])} packages")


def secret(folder):
    """The Secret of the overlay `full`, with a certificate for the loopback, which this process trusts from here on."""
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=a",
        "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", folder / "tls.key", "-out", folder / "tls.crt")
    os.environ["SSL_CERT_FILE"] = str(folder / "tls.crt")
    files = {name: (folder / name).read_text() for name in ("tls.key", "tls.crt")}
    return {"vitald-web": files | {"web.yaml": "tls_server_config: {cert_file: tls.crt, key_file: tls.key}\n"}}


def try_overlay(overlay, documents, root, folder, image):
    folder.mkdir()
    pod = Pod(documents, root, folder, image, secret(folder) if overlay == "full" else None)
    with running_pod(pod, overlay, "https" if overlay == "full" else "http") as url:
        configuration = folder / "bare.yaml"
        text = next(m["vitald.yaml"] for m in pod.maps.values() if "vitald.yaml" in m)
        configuration.write_text(text.replace("/etc/vitald/rules", str(folder / "volume-rules")))
        state = folder / "state"
        state.mkdir()
        os.chown(state, 65534, 65534)
        with running_bare(pod, folder.parent / "vitald", f"--config.file={configuration}", f"--state.directory={state}") as host_url:
            # The one on the host has no Secret.
            problems, equal = compare(f"pod of {overlay}", url, host_url, {"vitald_web_config_in_force"})
            here, host = metrics(url)[1], metrics(host_url)[1]
    bad.extend(problems)
    up, up_there = values(here, "vitald_probe_up", "probe"), values(host, "vitald_probe_up", "probe")
    print(f"pod of {overlay}: {len(here)} series, {equal} values equal, {int(sum(up.values()))} of {len(up)} probes, "
          f"view {values(here, 'vitald_host_view', 'of')}, RSS {here[('process_resident_memory_bytes', ())] / 2**20:.1f} MiB")
    if up != up_there or set(up.values()) != ({1.0} if pod.capabilities else {0.0}):
        bad.append(f"pod of {overlay}: probes {up}, on the host {up_there}")
    if set(values(here, "vitald_host_view", "of").values()) != {1.0}:
        bad.append(f"pod of {overlay}: {values(here, 'vitald_host_view', 'of')}")
    if equal < 100:
        bad.append(f"pod of {overlay}: only {equal} values to compare")


def run_overlays(root, image, folder):
    if not kustomize("base") or not runtime():
        return skipped.append("pods were not run: kubectl or kustomize (Debian 12's kubernetes-client is too old), and "
                              "runc or crun are needed")
    if not SECCOMP.exists():
        skipped.append(f"no {SECCOMP} (golang-github-containers-common): pods were run without seccomp")
    run("strip", "-o", folder / "vitald", VITALD)
    for overlay in ("minimal", "default"):
        try_overlay(overlay, kustomize(f"overlays/{overlay}"), root, folder / overlay, image)
    shutil.rmtree(folder / "one")
    image = unpack(build_image(folder, "libvirt", "--libvirt"), folder / "with-libvirt")
    assert list((folder / "with-libvirt").glob("usr/lib/*/libvirt.so.0")), "the image for hypervisors has no libvirt"
    for overlay in ("hypervisor", "full"):
        try_overlay(overlay, kustomize(f"overlays/{overlay}"), folder / "with-libvirt", folder / overlay, image)


with tempfile.TemporaryDirectory(prefix="vitald-image-") as scratch:
    top = pathlib.Path(scratch)
    top.chmod(0o755)
    found = unpack(build(top), top / "root")
    look(top / "root", found)
    run_overlays(top / "root", found, top)
for text in skipped:
    print(f"SKIPPED: {text}")
for text in bad:
    print(text)
sys.exit(1 if bad else 77 if skipped else 0)  # a check that was left out is not a pass
