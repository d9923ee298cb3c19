#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""deploy/k8s and deploy/grafana without a cluster: what is made is current; overlays are what the API knows, with flags,
endpoints and configuration that this binary has; rules and queries are PromQL, over metrics that there are."""

import fnmatch
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
import kubernetes_api  # noqa: E402
from harness import TOP, VITALD, skip, which  # noqa: E402

try:
    import yaml
except ImportError:
    skip("python3-yaml is not installed")

ROLES = ["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"]
OVERLAYS = {"minimal": [], "default": [], "hypervisor": [], "full": [], "node-conditions": ROLES, "full-node-conditions": ROLES}
# By namespace, as tests/e2e/kubernetes_test.py needs them; those without one are for the cluster.
NODE_RIGHTS = {(None, "get", "nodes"), (None, "patch", "nodes/status"), ("default", "create", "events")}
bad, skipped = [], []


def output(*argv):
    return subprocess.run(list(map(str, argv)), check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout


def expect(condition, text):
    if not condition:
        bad.append(text)


# 1. Current.
made = subprocess.run([sys.executable, TOP / "deploy/generate.py", "check"], capture_output=True, text=True)
expect(made.returncode == 0, f"run deploy/generate.py: {made.stdout}{made.stderr}")


# 2. Overlays.
def check_daemonset(overlay, spec, config_maps, flags):
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    where = f"overlay {overlay}"
    for argument in container["args"]:
        expect(argument.split("=")[0] in flags, f"{where}: vitald has no flag {argument}")
    volumes = {v["name"]: v for v in pod["volumes"]}
    mounts = {m["name"]: m for m in container["volumeMounts"]}
    expect(set(volumes) == set(mounts), f"{where}: volumes {set(volumes)} are not mounts {set(mounts)}")
    for argument in container["args"]:
        path = argument.split("=", 1)[1]
        expect(any(path == m["mountPath"] or path.startswith(m["mountPath"] + "/") for m in mounts.values()),
               f"{where}: {argument} is below no mount")
    for mount in mounts.values():
        expect(mount.get("readOnly") or "emptyDir" in volumes[mount["name"]], f"{where}: {mount} may be written to")
    security = {**pod["securityContext"], **container["securityContext"]}
    expect(security["runAsNonRoot"] and security["readOnlyRootFilesystem"] and not security.get("privileged"),
           f"{where}: {security}")
    expect(security["capabilities"]["drop"] == ["ALL"], f"{where}: {security}")
    added = security["capabilities"].get("add", [])
    expect(added == ([] if overlay.startswith("minimal") else ["BPF", "PERFMON", "DAC_READ_SEARCH"]), f"{where}: {added}")
    expect(security["allowPrivilegeEscalation"] == bool(added), f"{where}: escalation without a capability, or without use")
    expect([p.get("hostPort") for p in container["ports"]] == [9100], f"{where}: ports {container['ports']}")
    endpoints = re.findall(r"^\| `(/[^`]*)` \|", (TOP / "docs/api.md").read_text(), re.M)
    for probe in ("livenessProbe", "readinessProbe"):
        expect(container[probe]["httpGet"]["path"] in endpoints, f"{where}: {container[probe]}")
    check_configuration(where, container, volumes, config_maps)


def check_roles(overlay, documents):
    """Only who tells the API has a token, and that one may do what vitald asks for, and no more."""
    where = f"overlay {overlay}"
    (pod,) = (d["spec"]["template"]["spec"] for d in documents if d["kind"] == "DaemonSet")
    roles = {d["kind"]: d for d in documents if d["kind"].endswith("Role")}
    expect(pod["automountServiceAccountToken"] == bool(roles), f"{where}: a token without a role, or a role without a token")
    rights = {(role["metadata"].get("namespace"), verb, resource) for role in roles.values() for rule in role["rules"]
              for verb in rule["verbs"] for resource in rule["resources"]}
    expect(rights == (NODE_RIGHTS if roles else set()), f"{where}: {rights}")
    (account,) = ((d["metadata"]["name"], d["metadata"]["namespace"]) for d in documents if d["kind"] == "ServiceAccount")
    for binding in (d for d in documents if d["kind"].endswith("RoleBinding")):
        role = roles[binding["kind"].removesuffix("Binding")]
        expect((binding["roleRef"]["kind"], binding["roleRef"]["name"]) == (role["kind"], role["metadata"]["name"]) and
               binding["metadata"].get("namespace") == role["metadata"].get("namespace"), f"{where}: {binding}")
        expect([(s["name"], s["namespace"]) for s in binding["subjects"]] == [account], f"{where}: {binding['subjects']}")


def check_configuration(where, container, volumes, config_maps):
    """The files of the pod's ConfigMaps are good for this binary."""
    with tempfile.TemporaryDirectory() as folder:
        # What a kubelet gives a pod.
        pathlib.Path(folder, "token").write_text("token\n")
        account = f"{{name: cluster, bearer_token_file: {folder}/token, ca_file: {folder}/token}}"
        environment = {**os.environ, "KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}
        for mount in container["volumeMounts"]:
            volume = volumes[mount["name"]]
            if "configMap" not in volume:
                continue
            data = config_maps[volume["configMap"]["name"]]
            target = pathlib.Path(folder + mount["mountPath"])
            files = {target: data[mount["subPath"]]} if "subPath" in mount else {target / k: v for k, v in data.items()}
            for path, text in files.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text.replace("/etc/vitald/", f"{folder}/etc/vitald/").replace("{name: cluster}", account))
        done = subprocess.run([VITALD, f"--config.file={folder}/etc/vitald/vitald.yaml", "--config.check"],
                              capture_output=True, text=True, stdin=subprocess.DEVNULL, env=environment)
        expect(done.returncode == 0, f"{where}: {done.stdout}{done.stderr}")


def check_overlays():
    kustomize = ["kubectl", "kustomize"] if which("kubectl") else ["kustomize", "build"] if which("kustomize") else None
    if not kustomize:
        return skipped.append("neither kubectl nor kustomize is installed (Debian 12's kubernetes-client is too old): "
                              "overlays were not built")
    flags = {f.replace("[no-]", "") for f in re.findall(r"^  (--[\[\]\w.-]+)", output(VITALD, "--help"), re.M)}
    if kubernetes_api.models is None:
        skipped.append("python3-kubernetes is not installed: manifests were not compared with the API's types")

    def check(overlay, folder, roles):
        documents = list(yaml.safe_load_all(output(*kustomize, folder)))
        config_maps = {d["metadata"]["name"]: d["data"] for d in documents if d["kind"] == "ConfigMap"}
        expect(sorted(d["kind"] for d in documents) ==
               sorted(["ConfigMap", "ConfigMap", "DaemonSet", "Namespace", "NetworkPolicy", "ServiceAccount", *roles]),
               f"overlay {overlay}: {[d['kind'] for d in documents]}")
        for d in documents:
            if kubernetes_api.models is not None:
                bad.extend(kubernetes_api.type_problems(d, f"V1{d['kind']}", f"overlay {overlay}, {d['kind']}"))
            if d["kind"] == "DaemonSet":
                check_daemonset(overlay, d["spec"], config_maps, flags)
        check_roles(overlay, documents)
        print(f"overlay {overlay}: {len(documents)} objects")
        return yaml.safe_load(next(m["vitald.yaml"] for n, m in config_maps.items() if "rules" not in n))

    configurations = {o: check(o, TOP / "deploy/k8s/overlays" / o, roles) for o, roles in OVERLAYS.items()}
    notify = {"notify": {"kubernetes": [{"name": "cluster"}]}}
    # Beside the component only `notify` is another: by itself where the configuration is the base's, else with a variant.
    for overlay in (o for o in OVERLAYS if not o.endswith("node-conditions")):
        variant = configurations.get(f"{overlay}-node-conditions")
        if variant is None:
            with tempfile.TemporaryDirectory() as folder:
                copy = pathlib.Path(shutil.copytree(TOP / "deploy/k8s", f"{folder}/k8s"))
                (copy / "overlays/own").mkdir()
                (copy / "overlays/own/kustomization.yaml").write_text(
                    f"resources: [../{overlay}]\ncomponents: [../../components/node-conditions]\n")
                variant = check(f"{overlay} with node-conditions", copy / "overlays/own", ROLES)
        expect(variant == configurations[overlay] | notify, f"overlay {overlay} with node-conditions: {variant}")
    expect(configurations["node-conditions"] == configurations["default"] | notify, "overlay node-conditions")
    kinds = [d["kind"] for d in yaml.safe_load_all(output(*kustomize, TOP / "deploy/k8s/monitoring"))]
    expect(sorted(kinds) == ["PodMonitor", "PrometheusRule"], f"monitoring: {kinds}")


check_overlays()
# Each capability has its reason beside it.
for line in (TOP / "deploy/k8s/overlays/default/capabilities.yaml").read_text().splitlines():
    expect(not re.match(r"\s+- [A-Z_]+\s*$", line), f"capabilities.yaml: '{line.strip()}' without what needs it")


# 3. Rules and queries.
def promtool(groups, what):
    if not which("promtool"):
        return skipped.append(f"promtool is not installed: {what} was not checked")
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump({"groups": groups}, file, allow_unicode=True)
        file.flush()
        done = subprocess.run(["promtool", "check", "rules", file.name], capture_output=True, text=True)
        expect(done.returncode == 0, f"{what}: {done.stdout}{done.stderr}")
        print(f"{what}: {re.search(r'[0-9]+ rules found', done.stdout + done.stderr)[0] if done.returncode == 0 else 'bad'}")


def alerts_of(groups):
    return sorted(r["alert"] for g in groups for r in g["rules"] if "alert" in r)


cluster = yaml.safe_load((TOP / "deploy/k8s/monitoring/prometheusrule.yaml").read_text())["spec"]["groups"]
host = [g for f in sorted((TOP / "deploy/rules").glob("*.yaml")) for g in yaml.safe_load(f.read_text())["groups"]]
expect(cluster == host, "the PrometheusRule is not deploy/rules")
promtool(cluster, "PrometheusRule")

dashboards = [json.loads(p.read_text()) for p in sorted((TOP / "deploy/grafana").glob("*.json"))]
queries = [t["expr"] for d in dashboards for p in d["panels"] for t in p.get("targets", [])]
promtool([{"name": "panels", "rules": [{"record": f"panel:{i}", "expr": q.replace("$job", "a").replace("$instance", "b")}
                                       for i, q in enumerate(queries)]}], "dashboards")
described = re.findall(r"^\| `([^`]+)` \|", (TOP / "docs/metrics.md").read_text(), re.M) + ["ALERTS"]
for name in {n for q in queries for n in re.findall(r"\b(?:node|vitald|libvirt)_\w+|\bALERTS\b", q)}:
    plain = re.sub(r"_(bucket|count|sum)$", "", name)
    expect(any(fnmatch.fnmatchcase(n, d) for d in described for n in (name, plain)), f"dashboard: no metric {name}")
for d in dashboards:
    expect(len({p["id"] for p in d["panels"]}) == len(d["panels"]), f"dashboard {d['title']}: ids are not unique")

for text in skipped:
    print(f"SKIPPED: {text}")
for text in bad:
    print(text)
sys.exit(1 if bad else 77 if skipped else 0)  # a check that was left out is not a pass
