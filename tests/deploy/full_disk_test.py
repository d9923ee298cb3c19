#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A disk of the node runs full while the pod runs: in our DaemonSet and in those of kube-prometheus and of the Helm chart
with our image, the pod has the host's series and values, its own rules fire, and so do they and node_exporter's own in a
Prometheus that relabels as the operator does. The disk is mounted after the pod has started."""

import contextlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import urllib.parse

sys.path.append("/usr/lib/python3/dist-packages")  # Debian's modules, where another Python is the first
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import TOP, VITALD, free_port, get_json, need, running, shared, skip, skip_sanitized, wait_for  # noqa: E402
from pods import Pod, build_image, compare, kustomize, run, running_bare, running_pod, runtime, unpack  # noqa: E402

need("strip", "dpkg-query", "ldd", "unshare", "mkfs.ext4", "prometheus")
skip_sanitized("what ships has none, and its libraries are in no package or image")
try:
    import yaml
except ImportError:
    skip("python3-yaml is not installed")
if os.geteuid() != 0:
    skip("only root may mount a disk and run a pod")
if not runtime() or not kustomize("base"):
    skip("kubectl or kustomize, and runc or crun are needed")
if "VITALD_OWN_MOUNTS" not in os.environ:
    # A kubelet's node has a shared /, or HostToContainer would mean nothing; and process 1 has the disk. In namespaces of our
    # own nothing stays behind.
    done = subprocess.run(["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "--propagation", "private",
                           "sh", "-c", "mount --make-rshared / && \"$@\"", "sh",
                           sys.executable, *sys.argv], env=os.environ | {"VITALD_OWN_MOUNTS": "1"})
    sys.exit(done.returncode)

# node_exporter's flags, mounts and rights of the two DaemonSets that most clusters have, and no line of ours.
EXCLUDED = r"^/(dev|proc|sys|run/k3s/containerd/.+|var/lib/docker/.+|var/lib/kubelet/pods/.+)($|/)"
FOREIGN = {
    "kube-prometheus": {
        "args": ["--path.sysfs=/host/sys", "--path.rootfs=/host/root", "--path.udev.data=/host/root/run/udev/data",
                 "--no-collector.wifi", "--no-collector.hwmon", "--no-collector.btrfs",
                 f"--collector.filesystem.mount-points-exclude={EXCLUDED}",
                 "--collector.netclass.ignored-devices=^(veth.*|[a-f0-9]{15})$",
                 "--collector.netdev.device-exclude=^(veth.*|[a-f0-9]{15})$"],
        "mounts": {"/host/sys": "/sys", "/host/root": "/"},
        "security": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                     "capabilities": {"add": ["SYS_TIME"], "drop": ["ALL"]}},
    },
    "Helm chart": {
        "args": ["--path.procfs=/host/proc", "--path.sysfs=/host/sys", "--path.rootfs=/host/root",
                 "--path.udev.data=/host/root/run/udev/data"],
        "mounts": {"/host/proc": "/proc", "/host/sys": "/sys", "/host/root": "/"},
        "security": {"readOnlyRootFilesystem": True},
    },
}
bad = []


def foreign(given):
    mounts = [{"name": f"m{i}", "mountPath": at, "readOnly": True} |
              ({"mountPropagation": "HostToContainer"} if at == "/host/root" else {}) for i, at in enumerate(given["mounts"])]
    return [{"kind": "DaemonSet", "spec": {"template": {"spec": {
        "hostNetwork": True, "hostPID": True,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65534, "runAsGroup": 65534, "fsGroup": 65534},
        "containers": [{"args": given["args"], "volumeMounts": mounts, "securityContext": given["security"]}],
        "volumes": [{"name": f"m{i}", "hostPath": {"path": of}} for i, of in enumerate(given["mounts"].values())]}}}}]


def at_once(groups):
    """The rules without their waits; what they ask stays as it is."""
    return [g | {"rules": [{k: v for k, v in r.items() if k != "for"} for r in g["rules"]]} for g in groups]


def alerts_of(path, job=None):
    """Groups of the rules on file systems' space that need no history."""
    text = path.read_text()
    if job:
        text = text.replace('job="node"', f'job="{job}"')
    groups = at_once(yaml.safe_load(text)["groups"])
    chosen = lambda r: "node_filesystem_avail" in r["expr"] and "predict_linear" not in r["expr"]  # noqa: E731
    return [{"name": g["name"], "rules": [r for r in g["rules"] if "alert" in r and chosen(r)]} for g in groups]


def operator_config(folder, url, rules):
    """What the Prometheus operator makes of deploy/k8s/monitoring/podmonitor.yaml, with one pod discovered from a file."""
    monitor = yaml.safe_load((TOP / "deploy/k8s/monitoring/podmonitor.yaml").read_text())
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    label = lambda name: "__meta_kubernetes_pod_label_" + re.sub(r"[^a-zA-Z0-9]", "_", name)  # noqa: E731
    address = urllib.parse.urlsplit(url).netloc
    (selected,) = monitor["spec"]["selector"]["matchLabels"].items()
    pods = [{"targets": [address], "labels": {
        "__meta_kubernetes_namespace": "vitald", "__meta_kubernetes_pod_name": "vitald-x2x4k",
        "__meta_kubernetes_pod_node_name": "worker-7", "__meta_kubernetes_pod_container_name": "vitald",
        "__meta_kubernetes_pod_container_port_name": "metrics", "__meta_kubernetes_pod_phase": "Running",
        label(selected[0]): selected[1]}}]
    # Another pod, which the selector does not mean: nothing may come of it.
    pods.append({"targets": ["127.0.0.1:1"], "labels": {label(selected[0]): "another",
                                                        "__meta_kubernetes_pod_container_port_name": "metrics"}})
    (folder / "pods.json").write_text(json.dumps(pods))
    (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": rules}))
    names = {"sourceLabels": "source_labels", "targetLabel": "target_label"}
    relabel = [
        {"source_labels": [label(selected[0])], "regex": selected[1], "action": "keep"},
        {"source_labels": ["__meta_kubernetes_pod_container_port_name"], "regex": endpoint["port"], "action": "keep"},
        {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
        {"source_labels": ["__meta_kubernetes_pod_container_name"], "target_label": "container"},
        {"source_labels": ["__meta_kubernetes_pod_name"], "target_label": "pod"},
        {"source_labels": [label(monitor["spec"]["jobLabel"])], "target_label": "job", "regex": "(.+)"},
        {"target_label": "endpoint", "replacement": endpoint["port"]},
        *({names.get(k, k): v for k, v in r.items()} for r in endpoint["relabelings"]),
    ]
    (folder / "prometheus.yaml").write_text(yaml.safe_dump({
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"}, "rule_files": [str(folder / "rules.yaml")],
        "scrape_configs": [{"job_name": "podMonitor/vitald/vitald/0", "relabel_configs": relabel,
                            "file_sd_configs": [{"files": [str(folder / "pods.json")]}]}]}))
    return folder / "prometheus.yaml"


@contextlib.contextmanager
def full_disk(folder):
    """A mounted ext4 with nothing left of it."""
    image, at = folder / "disk", folder / "full"
    with open(image, "wb") as f:
        f.truncate(64 << 20)
    at.mkdir()
    run("mkfs.ext4", "-q", "-m", "0", image)
    run("mount", "-o", "loop", image, at)
    try:
        with contextlib.suppress(OSError), open(at / "fill", "wb", buffering=0) as f:
            while f.write(b"x" * (1 << 20)):
                pass
        assert os.statvfs(at).f_bavail * 100 < os.statvfs(at).f_blocks, "the disk is not full"
        yield str(at)
    finally:
        run("umount", at)


def firing(alerts, mountpoint):
    return {a["labels"]["alertname"]: a["labels"] for a in alerts
            if a["state"] == "firing" and a["labels"].get("mountpoint") == mountpoint}


def try_shape(what, pod, program, rules, folder, expected_on_host):
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(running_pod(pod, re.sub(r"\W", "-", what)))
        port = free_port()
        prometheus = f"http://127.0.0.1:{port}"
        stack.enter_context(running(["prometheus", f"--config.file={operator_config(folder, url, rules)}",
                                     f"--storage.tsdb.path={folder}/tsdb", f"--web.listen-address=127.0.0.1:{port}"],
                                    prometheus + "/-/ready", seconds=60))
        mountpoint = stack.enter_context(full_disk(folder))
        alerts = lambda: firing(get_json(prometheus + "/api/v1/alerts")["data"]["alerts"], mountpoint)  # noqa: E731
        wanted = {r["alert"] for g in rules for r in g["rules"]}
        got = wait_for(f"{what}: {sorted(wanted)} in Prometheus", 60, lambda: wanted <= set(a := alerts()) and a, 0.5)
        for name, labels in got.items():
            here = {k: labels.get(k) for k in ("job", "instance", "node", "namespace", "pod", "container")}
            if here != {"job": "node-exporter", "instance": "worker-7", "node": "worker-7", "namespace": "vitald",
                        "pod": "vitald-x2x4k", "container": "vitald"} or labels["fstype"] != "ext4":
                bad.append(f"{what}: {name} has {labels}")
        if expected_on_host:
            own = lambda: firing(get_json(url + "/api/v1/alerts")["data"]["alerts"], mountpoint)  # noqa: E731
            wait_for(f"{what}: {expected_on_host} in the pod", 60, lambda: expected_on_host <= set(own()), 0.5)
        flags = [f for f in pod.container["args"] if not f.startswith(("--path.", "--config.", "--state."))]
        bare = stack.enter_context(running_bare(pod, program, "--state.directory=", *flags))
        # Ours has rules and a state folder, which the one on the host does without here.
        problems, equal = compare(what, url, bare, {"vitald_state_directory_usable", "vitald_scrapes_total"})
        bad.extend(problems)
        up = get_json(prometheus + "/api/v1/query?query=" + urllib.parse.quote("up"))["data"]["result"]
        if len(up) != 1 or up[0]["value"][1] != "1":
            bad.append(f"{what}: targets {up}")
        print(f"{what}: {sorted(got)} fire in Prometheus, {sorted(expected_on_host)} in the pod; {equal} values are the host's")


with tempfile.TemporaryDirectory(prefix="vitald-full-disk-") as scratch:
    top = pathlib.Path(scratch)
    top.chmod(0o755)
    run("strip", "-o", top / "vitald", VITALD)
    image = unpack(build_image(top, "one"), top / "root")
    shipped = alerts_of(TOP / "deploy/rules/disk.yaml")
    groups = [{"name": "ours-" + g["name"], "rules": g["rules"]} for g in shipped]
    theirs = shared("corpus/rules/node-mixin-alerts.yaml")
    if theirs:
        groups += alerts_of(theirs, "node-exporter")
    else:
        print("SKIPPED: node_exporter's own rules (corpus/rules) are not beside the checkout")
    for what in ("default", *FOREIGN):
        folder = top / re.sub(r"\W", "-", what)
        folder.mkdir()
        documents = foreign(FOREIGN[what]) if what in FOREIGN else kustomize(f"overlays/{what}")
        names = set()
        for document in documents:
            for name in document.get("data", {}) if what not in FOREIGN else ():
                if name == "disk.yaml":
                    document["data"][name] = yaml.safe_dump({"groups": shipped})
                    names = {r["alert"] for g in shipped for r in g["rules"]}
        assert names or what in FOREIGN, "the pod has no rules on disks"
        try_shape(what, Pod(documents, top / "root", folder, image), top / "vitald", groups, folder, names)
for text in bad:
    print(text)
sys.exit(1 if bad else 0)
