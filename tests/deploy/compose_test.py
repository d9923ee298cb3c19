#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""deploy/container without a registry: compose.yaml is what the compose schema knows and names files and ports that there
are, Prometheus takes its configuration and both snippets in it, Grafana's data source and dashboards are found."""

import json
import pathlib
import re
import subprocess
import sys
import tempfile

sys.path.append("/usr/lib/python3/dist-packages")  # Debian's modules, where another Python is the first
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import TOP, VITALD, need, skip  # noqa: E402

need("docker-compose", "promtool")
try:
    import yaml
except ImportError:
    skip("python3-yaml is not installed")
FOLDER = TOP / "deploy/container"
bad = []


def run(*argv):
    return subprocess.run(list(map(str, argv)), capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120)


def expect(condition, text):
    if not condition:
        bad.append(text)


# 1. The schema, by docker-compose itself, which needs no daemon for it; and it does refuse what is wrong.
done = run("docker-compose", "-f", FOLDER / "compose.yaml", "config")
expect(done.returncode == 0, f"compose.yaml: {done.stderr}")
with tempfile.TemporaryDirectory() as folder:
    wrong = pathlib.Path(folder) / "compose.yaml"
    wrong.write_text((FOLDER / "compose.yaml").read_text().replace("read_only: true", "readonly: true", 1))
    refused = run("docker-compose", "-f", wrong, "config")
    expect(refused.returncode != 0 and "readonly" in refused.stderr, f"a wrong key is taken: {refused.stderr}")
services = yaml.safe_load(done.stdout or "services: {}")["services"]
expect(set(services) == {"vitald", "prometheus", "grafana"}, f"services {set(services)}")

# 2. What it names is there.
raw = yaml.safe_load((FOLDER / "compose.yaml").read_text())
for name, service in raw["services"].items():
    for volume in service["volumes"]:
        source = volume.split(":")[0] if isinstance(volume, str) else volume["source"]
        if source.startswith("."):
            expect((FOLDER / source).is_dir(), f"{name}: no folder {source}")
        elif not source.startswith("/"):
            expect(source in raw["volumes"], f"{name}: no volume {source}")
version = re.search(r"^project\(vitald VERSION ([\d.]+)", (TOP / "CMakeLists.txt").read_text(), re.M)[1]
expect(raw["services"]["vitald"]["image"] == f"localhost/vitald:{version}", f"the image is {raw['services']['vitald']['image']}")
# As in the DaemonSet: capabilities, and no mount that may be written to but the state's.
capabilities = yaml.safe_load((TOP / "deploy/k8s/overlays/default/capabilities.yaml").read_text())
(pod,) = capabilities["spec"]["template"]["spec"]["containers"]
expect(raw["services"]["vitald"]["cap_add"] == pod["securityContext"]["capabilities"]["add"], "capabilities are not the DaemonSet's")
with tempfile.TemporaryDirectory() as folder:
    # Its flags are vitald's, and the configuration of the image is good with them.
    configuration = pathlib.Path(folder) / "vitald.yaml"
    configuration.write_text((TOP / "deploy/vitald.yaml").read_text())
    (pathlib.Path(folder) / "rules").symlink_to(TOP / "deploy/rules")
    # The volume is a folder here: on this machine nobody may have made /var/lib/vitald.
    flags = [f.replace("/etc/vitald", folder).replace("/var/lib/vitald", folder) for f in raw["services"]["vitald"]["command"]]
    check = run(VITALD, *flags, "--config.check")
    expect(check.returncode == 0, f"vitald with the flags of compose.yaml: {check.stdout}{check.stderr}")

# 3. Prometheus: as it is, and with each snippet in place of its static targets.
text = (FOLDER / "prometheus/prometheus.yaml").read_text()
snippets = re.findall(r"^( *)# ((?:file|http)_sd_configs: .*?) +# (.*)$", text, re.M)
expect([s[1].split(":")[0] for s in snippets] == ["file_sd_configs", "http_sd_configs"], f"snippets: {snippets}")
with tempfile.TemporaryDirectory() as folder:
    hosts = pathlib.Path(folder) / "hosts.yaml"
    hosts.write_text(next((s[2] for s in snippets if s[1].startswith("file")), ""))
    static = re.search(r"^ *static_configs:\n.*\n", text, re.M)[0]
    cases = {"static": text} | {s[1].split(":")[0]: text.replace(static, f"{s[0]}{s[1]}\n".replace(
        "/etc/prometheus/hosts/*.yaml", str(hosts))) for s in snippets}
    for name, configuration in cases.items():
        file = pathlib.Path(folder) / "prometheus.yaml"
        file.write_text(configuration)
        done = run("promtool", "check", "config", file)
        expect(done.returncode == 0, f"prometheus, {name}: {done.stdout}{done.stderr}")
    for s in snippets:
        targets = yaml.safe_load(s[2])
        expect(targets and all("targets" in t for t in targets), f"snippet {s[1]}: its targets are {targets}")
port = services["vitald"]["command"] if services else []
expect(any(f.endswith("127.0.0.1:9100") for f in port) and "127.0.0.1:9100" in text, "Prometheus scrapes another address than vitald's")

# 4. Grafana: the data source is that Prometheus, the dashboards are in the folder that is mounted.
(source,) = yaml.safe_load((FOLDER / "grafana/provisioning/datasources/prometheus.yaml").read_text())["datasources"]
prometheus = next(f.split("=")[1] for f in raw["services"]["prometheus"]["command"] if "listen-address" in f)
expect(source["url"] == f"http://{prometheus}" and source["type"] == "prometheus", f"data source {source}")
(provider,) = yaml.safe_load((FOLDER / "grafana/provisioning/dashboards/vitald.yaml").read_text())["providers"]
mounted = {v.split(":")[1]: v.split(":")[0] for v in raw["services"]["grafana"]["volumes"]}
folder = FOLDER / mounted.get(provider["options"]["path"], "nowhere")
titles = [json.loads(f.read_text())["title"] for f in folder.glob("*.json")]
expect(len(titles) >= 6, f"Grafana finds the dashboards {titles} in {provider['options']['path']}")
print(f"compose: {sorted(services)}; prometheus: {sorted(cases)}; {len(titles)} dashboards")
for line in bad:
    print(line)
sys.exit(1 if bad else 0)
