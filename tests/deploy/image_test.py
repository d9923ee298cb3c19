#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The image: twice the same bytes, small, without a shell; and each overlay's pod run by a real runtime as a kubelet would
have it run (user, capabilities, no_new_privs, mounts, read-only root, seccomp), compared with a bare process of the same
rights. What this machine cannot do is said and skipped."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile

sys.path.append("/usr/lib/python3/dist-packages")  # Debian's modules, where another Python is the first
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import TOP, VITALD, free_port, metrics, need, running, skip, wait_for, wait_for_probes, which  # noqa: E402

need("strip", "dpkg-query", "ldd")
if os.geteuid() != 0:
    skip("only root may unpack an image with capabilities of files, and run it")

MOST_BYTES = 60e6
SECCOMP = pathlib.Path("/usr/share/containers/seccomp.json")  # golang-github-containers-common
RESTLESS = re.compile(r"vitald_(alerts|http|bpf_program|owner|owners|block|sched|runq|oom|memory|softirq|hardirq|tcp|network|process|events|worker|log|rules|delivery|history|cycle|collector|evidence|last_words)|"
                      r"process_|promhttp_|node_scrape_collector_duration|node_processes_|node_tcp_|ALERTS|host:|"
                      r"node_filesystem_|node_network_address|node_softirqs|node_interrupts|node_slabinfo")
bad, skipped = [], []


def run(*argv, ok=True, **kwargs):
    done = subprocess.run(list(map(str, argv)), capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300,
                          env=os.environ | {"SOURCE_DATE_EPOCH": "1700000000"}, **kwargs)
    assert not ok or done.returncode == 0, f"{argv}: exit status {done.returncode}\n{done.stdout}{done.stderr}"
    return done


def build(folder):
    images = []
    for name in ("one", "two"):
        run(sys.executable, TOP / "deploy/container/rootfs.py", VITALD, folder / name)
        run(sys.executable, TOP / "deploy/container/image.py", folder / name, folder / f"{name}.tar")
        images.append(folder / f"{name}.tar")
    assert images[0].read_bytes() == images[1].read_bytes(), "two images of one binary differ"
    return images[0]


def unpack(image, root):
    """Through the index and the manifest, as a runtime does."""
    with tarfile.open(image) as tar:
        read = lambda digest: tar.extractfile("blobs/" + digest.replace(":", "/")).read()  # noqa: E731
        index = json.load(tar.extractfile("index.json"))
        manifest = json.loads(read(index["manifests"][0]["digest"]))
        config = json.loads(read(manifest["config"]["digest"]))
        root.mkdir()
        for layer in manifest["layers"]:
            done = subprocess.run(["tar", "-xz", "--xattrs", "--xattrs-include=security.*", "-C", root],
                                  input=read(layer["digest"]), capture_output=True)
            assert done.returncode == 0, done.stderr
    return config["config"]


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
    sbom = json.loads((root / "usr/share/doc/vitald/sbom.spdx.json").read_text())
    listed = " ".join(p["comment"] for p in sbom["packages"])
    for file in files:
        name = "/" + str(file.relative_to(root))
        assert not re.search(r"\.so(\.|$)", name) or name in listed, f"the SBOM does not name {name}"
    print(f"SBOM: {len(sbom['packages'])} packages")


def seccomp(capabilities, architecture="amd64"):
    """Podman's and CRI-O's default, as those make it for these capabilities."""
    profile = json.loads(SECCOMP.read_text())
    # containerd since 1.6.9 and Docker since 23 allow each with its capability; so does CRI-O's of the end of 2025.
    allowed = [call for call, name in (("bpf", "CAP_BPF"), ("perf_event_open", "CAP_PERFMON")) if name in capabilities]
    rules = []
    for group in profile["syscalls"]:
        includes, excludes = group.get("includes") or {}, group.get("excludes") or {}
        if includes.get("caps") and not set(includes["caps"]) <= set(capabilities):
            continue
        if includes.get("arches") and architecture not in includes["arches"]:
            continue
        if excludes.get("caps") and set(excludes["caps"]) & set(capabilities):
            continue
        if excludes.get("arches") and architecture in excludes["arches"]:
            continue
        names = [n for n in group["names"] if n not in allowed]
        rule = {"names": names, "action": group["action"], "args": group.get("args") or []}
        if "errnoRet" in group and group["action"] == "SCMP_ACT_ERRNO":
            rule["errnoRet"] = group["errnoRet"]
        if names:
            rules.append(rule)
    if allowed:
        rules.append({"names": allowed, "action": "SCMP_ACT_ALLOW"})
    return {"defaultAction": profile["defaultAction"], "defaultErrnoRet": profile["defaultErrnoRet"],
            "architectures": ["SCMP_ARCH_X86_64"], "syscalls": rules}


class Pod:
    """A DaemonSet's pod as the specification of an OCI runtime (config.json)."""

    def __init__(self, documents, root, folder, image):
        (self.spec,) = [d["spec"]["template"]["spec"] for d in documents if d["kind"] == "DaemonSet"]
        (self.container,) = self.spec["containers"]
        self.maps = {d["metadata"]["name"]: d["data"] for d in documents if d["kind"] == "ConfigMap"}
        self.root, self.folder, self.image = root, folder, image
        self.security = {**self.spec["securityContext"], **self.container["securityContext"]}
        self.capabilities = [f"CAP_{c}" for c in self.security["capabilities"].get("add", [])]

    def source(self, volume):
        if "hostPath" in volume:
            return volume["hostPath"]["path"]
        folder = self.folder / f"volume-{volume['name']}"
        folder.mkdir()
        if "emptyDir" in volume:
            folder.chmod(0o777)
        for name, text in self.maps[volume["configMap"]["name"]].items() if "configMap" in volume else ():
            (folder / name).write_text(text)
        return str(folder)

    def mounts(self):
        volumes = {v["name"]: v for v in self.spec["volumes"]}
        out = [{"destination": "/proc", "type": "proc", "source": "proc"},
               {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=65536k"]},
               {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]}]
        for mount in self.container["volumeMounts"]:
            source = self.source(volumes[mount["name"]])
            if "subPath" in mount:
                source += "/" + mount["subPath"]
            spread = "rslave" if mount.get("mountPropagation") == "HostToContainer" else "rprivate"
            out.append({"destination": mount["mountPath"], "type": "bind", "source": source,
                        "options": ["rbind", spread, "ro" if mount.get("readOnly") else "rw"]})
        return out

    def write(self, *more):
        (self.folder / "config.json").write_text(json.dumps({
            "ociVersion": "1.0.2",
            "process": {
                "user": {"uid": self.security["runAsUser"], "gid": self.security["runAsGroup"],
                         "additionalGids": [self.security["fsGroup"]]},
                "args": [*self.image["Entrypoint"], *self.container["args"], *more], "cwd": "/",
                "env": ["PATH=/usr/bin", "HOSTNAME=" + os.uname().nodename],
                # No ambient and no inheritable ones, as containerd has it for who is not root.
                "capabilities": {s: self.capabilities for s in ("bounding", "effective", "permitted")},
                "noNewPrivileges": not self.security["allowPrivilegeEscalation"],
                "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 4096, "soft": 1024}],
            },
            "root": {"path": str(self.root), "readonly": self.security["readOnlyRootFilesystem"]},
            "mounts": self.mounts(),
            "linux": {
                "namespaces": [{"type": "mount"}, {"type": "ipc"}] +
                              ([] if self.spec.get("hostPID") else [{"type": "pid"}]) +
                              ([] if self.spec.get("hostNetwork") else [{"type": "network"}]),
                "maskedPaths": ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
                                "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware"],
                "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
                **({"seccomp": seccomp(self.capabilities)} if SECCOMP.exists() else {}),
            },
        }))


@contextlib.contextmanager
def run_pod(runtime, pod, number):
    port = free_port()
    pod.write(f"--web.listen-address=127.0.0.1:{port}")
    url, name = f"http://127.0.0.1:{port}", f"vitald-test-{os.getpid()}-{number}"
    try:
        with running([runtime, "--root", str(pod.folder / "runtime"), "run", "--bundle", str(pod.folder), name],
                     url + "/-/ready", seconds=30) as process:
            wait_for_probes(process, url)
            yield url
    finally:
        subprocess.run([runtime, "--root", str(pod.folder / "runtime"), "delete", "--force", name], capture_output=True)


def names(of):
    return {k for k in of if not RESTLESS.match(k[0])}


def values(of, family, label):
    return {dict(labels)[label]: value for (name, labels), value in of.items() if name == family}


def settled(url):
    """All series: what is a change between two collections comes with the second, a second later."""
    ratio = ("vitald_utilization_ratio", (("resource", "cpu"),))
    return wait_for("a ratio of two collections", 30, lambda: (found := metrics(url)[1]) and ratio in found and found, 0.5)


def try_overlay(runtime, overlay, documents, root, folder, image, number):
    folder.mkdir()
    pod = Pod(documents, root, folder, image)
    if overlay == "full":  # its Secret is the administrator's
        pod.container["args"] = [a for a in pod.container["args"] if not a.startswith("--web.config.file")]
        pod.container["volumeMounts"] = [m for m in pod.container["volumeMounts"] if m["name"] != "web"]
    with run_pod(runtime, pod, number) as url:
        here = settled(url)
    capabilities = ",".join(["-all", *("+" + c.removeprefix("CAP_").lower() for c in pod.capabilities)])
    rights = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", f"--inh-caps={capabilities}",
              f"--ambient-caps={capabilities}", f"--bounding-set={capabilities}"]
    configuration = folder / "bare.yaml"
    text = next(m["vitald.yaml"] for m in pod.maps.values() if "vitald.yaml" in m)
    configuration.write_text(text.replace("/etc/vitald/rules", str(folder / "volume-rules")))
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with running([*rights, str(folder.parent / "vitald"), f"--config.file={configuration}", "--state.directory=",
                  f"--web.listen-address=127.0.0.1:{port}"], url + "/-/ready") as process:
        wait_for_probes(process, url)
        host = settled(url)
    missing, more = names(host) - names(here), names(here) - names(host)
    up, up_there = values(here, "vitald_probe_up", "probe"), values(host, "vitald_probe_up", "probe")
    print(f"pod of {overlay}: {len(names(here))} series, probes {up}, view {values(here, 'vitald_host_view', 'of')}, "
          f"RSS {here[('process_resident_memory_bytes', ())] / 2**20:.1f} MiB")
    for key in sorted(missing):
        bad.append(f"pod of {overlay}: missing {key}")
    for key in sorted(more):
        bad.append(f"pod of {overlay}: not on the host: {key}")
    if up != up_there or set(up.values()) != ({1.0} if pod.capabilities else {0.0}):
        bad.append(f"pod of {overlay}: probes {up}, on the host {up_there}")
    if set(values(here, "vitald_host_view", "of").values()) != {1.0}:
        bad.append(f"pod of {overlay}: {values(here, 'vitald_host_view', 'of')}")


def run_overlays(root, image, folder):
    kustomize = ["kubectl", "kustomize"] if which("kubectl") else ["kustomize", "build"] if which("kustomize") else None
    runtime = which("runc") or which("crun")
    if not kustomize or not runtime:
        return skipped.append("pods were not run: kubectl or kustomize (Debian 12's kubernetes-client is too old), and "
                              "runc or crun are needed")
    if not SECCOMP.exists():
        skipped.append(f"no {SECCOMP} (golang-github-containers-common): pods were run without seccomp")
    import yaml
    run("strip", "-o", folder / "vitald", VITALD)
    for number, overlay in enumerate(("minimal", "default", "full")):
        documents = list(yaml.safe_load_all(run(*kustomize, TOP / "deploy/k8s/overlays" / overlay).stdout))
        try_overlay(runtime, overlay, documents, root, folder / overlay, image, number)


with tempfile.TemporaryDirectory(prefix="vitald-image-") as scratch:
    top = pathlib.Path(scratch)
    top.chmod(0o755)
    found = unpack(build(top), top / "root")
    look(top / "root", found)
    try:
        run_overlays(top / "root", found, top)
    finally:
        shutil.rmtree(top / "root")
for text in skipped:
    print(f"SKIPPED: {text}")
for text in bad:
    print(text)
sys.exit(1 if bad else 77 if skipped else 0)  # a check that was left out is not a pass
