# SPDX-License-Identifier: Apache-2.0
"""Runs a DaemonSet's pod as a kubelet would have it run, without a cluster: our image's root below a real runtime with the
pod's mounts, user, capabilities, no_new_privs and seccomp; and compares what it shows with a bare process."""

import contextlib
import json
import os
import pathlib
import re
import subprocess
import sys
import time
import tarfile

from harness import TOP, VITALD, free_port, metrics, running, wait_for, wait_for_probes, which

SECCOMP = pathlib.Path("/usr/share/containers/seccomp.json")  # golang-github-containers-common
# What is of the process, or comes and goes while one looks; also what has no row before its first event.
RESTLESS = re.compile(r"vitald_(alerts|claims|http|bpf_|owner|owners|block|sched|runq|oom|memory|softirq|hardirq|tcp|network|process|events|worker|log|rules|delivery|history|cycle|collector|evidence|last_words)|"
                      r"process_|promhttp_|node_scrape_collector_duration|node_processes_|node_tcp_|ALERTS|host:|"
                      r"node_filesystem_|node_network_address|node_softirqs|node_interrupts|node_slabinfo")


def run(*argv, ok=True, **kwargs):
    done = subprocess.run(list(map(str, argv)), capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300,
                          env=os.environ | {"SOURCE_DATE_EPOCH": "1700000000"}, **kwargs)
    assert not ok or done.returncode == 0, f"{argv}: exit status {done.returncode}\n{done.stdout}{done.stderr}"
    return done


def kustomize(folder):
    """The objects of a folder in deploy/k8s, or None where there is no program to build them."""
    import yaml
    builder = ["kubectl", "kustomize"] if which("kubectl") else ["kustomize", "build"] if which("kustomize") else None
    return builder and list(yaml.safe_load_all(run(*builder, TOP / "deploy/k8s" / folder).stdout))


def runtime():
    return which("runc") or which("crun")


def build_image(folder, name, *flags):
    """Builds root and image; the image's path."""
    run(sys.executable, TOP / "deploy/container/rootfs.py", VITALD, folder / name, *flags)
    run(sys.executable, TOP / "deploy/container/image.py", folder / name, folder / f"{name}.tar")
    return folder / f"{name}.tar"


def unpack(image, root):
    """Through the index and the manifest, as a runtime does; the image's configuration."""
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


# What containerd leaves a container that names none; one that is not root has them in its bounding set alone.
RUNTIME = [f"CAP_{c}" for c in ("CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP",
                                "SETPCAP", "NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE")]


class Pod:
    """A DaemonSet's pod as the specification of an OCI runtime (config.json). `secrets`: {name: {file: text}}."""

    def __init__(self, documents, root, folder, image, secrets=None):
        (self.spec,) = [d["spec"]["template"]["spec"] for d in documents if d["kind"] == "DaemonSet"]
        (self.container,) = self.spec["containers"]
        self.maps = {d["metadata"]["name"]: d["data"] for d in documents if d["kind"] == "ConfigMap"}
        self.secrets = secrets or {}
        self.root, self.folder, self.image = root, folder, image
        self.security = {**self.spec["securityContext"], **self.container["securityContext"]}
        given = self.security.get("capabilities", {})
        self.capabilities = [*([] if "ALL" in given.get("drop", []) else RUNTIME), *(f"CAP_{c}" for c in given.get("add", []))]

    def source(self, volume):
        if "hostPath" in volume:
            return volume["hostPath"]["path"]
        folder = self.folder / f"volume-{volume['name']}"
        folder.mkdir()
        if "emptyDir" in volume:
            folder.chmod(0o777)
        for name, text in self.maps[volume["configMap"]["name"]].items() if "configMap" in volume else ():
            (folder / name).write_text(text)
        if "secret" in volume:
            for name, text in self.secrets[volume["secret"]["secretName"]].items():
                (folder / name).write_text(text)
                (folder / name).chmod(volume["secret"]["defaultMode"])
                os.chown(folder / name, 0, self.security["fsGroup"])
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
                "user": {"uid": self.security["runAsUser"], "gid": self.security.get("runAsGroup", 65534),
                         "additionalGids": [self.security.get("fsGroup", 65534)]},
                "args": [*self.image["Entrypoint"], *self.container["args"], *more], "cwd": "/",
                "env": ["PATH=/usr/bin", "HOSTNAME=" + os.uname().nodename],
                # No ambient and no inheritable ones, as containerd has it for who is not root.
                "capabilities": {s: self.capabilities for s in ("bounding", "effective", "permitted")},
                "noNewPrivileges": not self.security.get("allowPrivilegeEscalation", True),
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
def running_pod(pod, name, scheme="http"):
    """Its URL, once it answers and its probes are there."""
    port = free_port()
    pod.write(f"--web.listen-address=127.0.0.1:{port}", "--web.max-age=0")  # each is asked for numbers of that moment
    url, name = f"{scheme}://127.0.0.1:{port}", f"vitald-test-{os.getpid()}-{name}"
    at = [runtime(), "--root", str(pod.folder / "runtime")]
    try:
        with running([*at, "run", "--bundle", str(pod.folder), name], url + "/-/ready", seconds=60) as process:
            wait_for_probes(process, url)
            yield url
    finally:
        subprocess.run([*at, "delete", "--force", name], capture_output=True)


@contextlib.contextmanager
def running_bare(pod, program, *flags):
    """The same program on the host with the rights of that pod and no path of it; its URL."""
    # A process that is not root gets of a bounding set what its file has: these three, or nothing.
    given = [c for c in pod.capabilities if c in ("CAP_BPF", "CAP_PERFMON", "CAP_DAC_READ_SEARCH")]
    some = ",".join(["-all", *("+" + c.removeprefix("CAP_").lower() for c in given)])
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with running(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", f"--inh-caps={some}", f"--ambient-caps={some}",
                  f"--bounding-set={some}", str(program), *flags, "--web.max-age=0", f"--web.listen-address=127.0.0.1:{port}"],
                 url + "/-/ready", seconds=60) as process:
        wait_for_probes(process, url)
        yield url


def names(of):
    return {k for k in of if not RESTLESS.match(k[0])}


def values(of, family, label):
    return {dict(labels)[label]: value for (name, labels), value in of.items() if name == family}


def settled(url):
    """All series: what is a change between two collections comes with the second, a second later."""
    ratio = ("vitald_utilization_ratio", (("resource", "cpu"),))
    return wait_for("a ratio of two collections", 30, lambda: (found := metrics(url)[1]) and ratio in found and found, 0.5)


# Of the process, its start, its flags; free space of a machine that others write on.
OWN = re.compile(r"vitald_(bpf|probe|build|cycle|utilization|host_power|energy|descriptors|clock|uptime)|go_|node_time_|node_timex_|"
                 r"node_memory_|node_entropy|node_filefd|node_load|node_procs_|node_pressure|node_vmstat|node_netstat|node_sockstat|node_schedstat|vitald_host_cpu_peak")


def compare(what, pod_url, host_url, but=()):
    """(problems, number of equal values): the same series in both; and each value that was the same in the pod before and
    after is that of the host between the two. `but`: families that the two were told to differ in. A fault is there each
    time; what came, went or moved between two answers (a request in a disk's queue) is not."""
    settled(pod_url), settled(host_url)
    bad = None
    for _ in range(3):
        before, host, after = metrics(pod_url)[1], metrics(host_url)[1], metrics(pod_url)[1]
        found = {key: f"missing {key}" for key in names(host) - names(before)}
        found |= {key: f"not on the host: {key}" for key in names(before) - names(host)}
        still = [k for k in names(before) & names(host) & names(after)
                 if before[k] == after[k] and k[0] not in but and not OWN.match(k[0])]
        found |= {k: f"{k} is {before[k]}, on the host {host[k]}" for k in still if host[k] != before[k]}
        bad = {k: v for k, v in found.items() if k[0] not in but and (bad is None or k in bad)}
        if not bad:
            break
        time.sleep(0.3)
    return [f"{what}: {text}" for _, text in sorted(bad.items())], len(still)
