#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every query of every dashboard in deploy/grafana, asked of a real Prometheus that scrapes vitald and of vitald's own API:
both understand it, and both have an answer, or it is said why this machine or this moment has none."""

import fnmatch
import json
import pathlib
import re
import sys
import tempfile
import time
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import TOP, Process, free_port, get, get_json, need, running, skip, vitald, wait_for  # noqa: E402,F401

try:
    import yaml
except ImportError:
    skip("python3-yaml is not installed; ./dev setup installs it")
need("prometheus")

NAME = re.compile(r"\b(?:node|vitald|libvirt|process)_\w+|\bALERTS\b")
PANELS = sorted((TOP / "deploy/grafana/panels").glob("*.yaml"))
bad = []


def queries():
    """(dashboard, panel's title, expression, why it may be empty or None)"""
    for path in PANELS:
        for section in yaml.safe_load(path.read_text())["rows"]:
            for panel in section["panels"]:
                for q in panel["queries"]:
                    yield path.stem, panel["title"], q["expr"], panel.get("quiet")


def givers():
    """[(pattern of a family, collector or probe)] as docs/metrics.md has them."""
    out, section = [], ""
    for line in (TOP / "docs/metrics.md").read_text().splitlines():
        if line.startswith("## "):
            section = line[3:].strip()
        elif found := re.match(r"\| `([^`]+)` \|", line):
            out.append((found[1], section))
    return out


GIVERS = givers()


def plain(name):
    return re.sub(r"_(bucket|sum|count)$", "", name)


def of(name):
    return [section for pattern, section in GIVERS if fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(plain(name), pattern)]


def why_missing(names, collectors):
    """In the words of those who would have these families."""
    said = []
    for name in names:
        states = [(c, collectors[c]) for c in of(name) if c in collectors]
        off = [f"{c} is {s['state']}: {s['text']}" for c, s in states if s["state"] != "on"]
        said.append(f"{name}: " + ("; ".join(off) if off else "no such series on this machine"))
    return ", ".join(said)


def ask(base, expression):
    status, _, body = get(f"{base}/api/v1/query?" + urllib.parse.urlencode({"query": expression}))
    answer = json.loads(body)
    return (answer["data"]["result"], "") if status == 200 else (None, answer.get("error", f"status {status}"))


def native_only(folder, url):
    """Queries over histograms in a Prometheus that has native ones and no buckets: as many have an answer as where there are
    buckets."""
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    with running(["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/native",
                  "--enable-feature=native-histograms", f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"],
                 base + "/-/ready", seconds=60):
        wait_for("five scrapes of native histograms", 60,
                 lambda: any(float(r["value"][1]) >= 5 for r in ask(base, "count_over_time(node_load1[1m])")[0]))
        host = ask(base, "node_load1")[0][0]["metric"]
        out = []
        for dashboard, title, text, _ in queries():
            if "_bucket" not in text:
                continue
            filled = text.replace("$host", f'job="{host["job"]}",instance="{host["instance"]}"')
            result, error = ask(base, filled)
            if result is None:
                bad.append(f"{dashboard}: {title}: a Prometheus with native histograms says {error}: {filled}")
            classic = next(n for n in NAME.findall(text) if n.endswith("_bucket"))
            if ask(base, f"count({classic})")[0]:
                continue  # its bounds are none of a native one
            counted = ask(base, f"count(count by (instance) (histogram_count(rate({plain(classic)}[5m])) > 0))")[0]
            if counted and not result:
                bad.append(f"{dashboard}: {title}: empty where histograms are native only: {filled}")
            out.append((f"{dashboard}: {title}", bool(result), bool(counted)))
        print(f"{len(out)} queries over histograms that are native only, {sum(answered for _, answered, _ in out)} with an answer,"
              f" {sum(c for _, _, c in out)} with observations")
        probes = any(line.startswith("vitald_sched_runqueue") for line in get(url + "/metrics")[2].decode().splitlines())
        assert not probes or any(answered for _, answered, _ in out), out


with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    (folder / "vitald.yaml").write_text(f"""
notify: {{commands: [{{name: nobody, command: [/bin/true]}}]}}
push: {{json_file: [{{name: file, path: {folder}/metrics.json, interval: 1s}}]}}
""")
    (folder / "state").mkdir()
    with vitald(f"--rules.file={TOP}/deploy/rules/*.yaml", f"--config.file={folder}/vitald.yaml", f"--state.directory={folder}/state",
                "--pipeline.interval=1s", "--history.save-interval=2s") as (_, url):
        port = free_port()
        base = f"http://127.0.0.1:{port}"
        (folder / "prometheus.yml").write_text(f"""
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs: [{{job_name: vitald, static_configs: [{{targets: ["{url.removeprefix('http://')}"]}}]}}]
""")
        with running(["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
                      f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"], base + "/-/ready", seconds=60):
            wait_for("the first scrape", 60, lambda: ask(base, "up == 1")[0])
            wait_for("five rounds", 60, lambda: any(float(r["value"][1]) >= 5 for r in ask(url, "count_over_time(node_load1[1m])")[0]))
            wait_for("five scrapes", 60, lambda: any(float(r["value"][1]) >= 5 for r in ask(base, "count_over_time(node_load1[1m])")[0]))
            wait_for("a save", 30, lambda: ask(url, "vitald_history_saved_timestamp_seconds > 0")[0])
            native_only(folder, url)
            collectors = {c["name"]: c for c in get_json(url + "/api/v1/agent")["data"]["collectors"]}
            there = {line.split("{")[0].split(" ")[0] for line in get(url + "/metrics")[2].decode().splitlines() if line and line[0] != "#"}
            hosts = {server: ask(server, "node_load1")[0][0]["metric"] for server in (url, base)}

            def both(text):
                results, errors = [], []
                for what, server in (("vitald", url), ("Prometheus", base)):
                    job, instance = hosts[server]["job"], hosts[server]["instance"]
                    filled = text.replace("$host", f'job="{job}",instance="{instance}"').replace("$instance", instance)
                    result, error = ask(server, filled)
                    results.append(result)
                    errors += [f"{what} says {error}: {filled}"] if result is None else []
                return results, errors

            counted, empty = 0, []
            for dashboard, title, text, quiet in queries():
                counted += 1
                where = f"{dashboard}: {title}"
                names = {n for n in NAME.findall(text) if n + "_bucket" not in text}  # of a native one: its classic one says it
                for n in names - {"ALERTS"}:
                    if not of(n) and not any(fnmatch.fnmatchcase(plain(n), p) for p, _ in GIVERS):
                        bad.append(f"{where}: nobody has {n}")
                missing = sorted(names - there - {"ALERTS"})
                # What one has and the other has not yet comes with its next round.
                end = time.monotonic() + (0 if missing or quiet else 20)
                while True:
                    answers, errors = both(text)
                    if errors or all(answers) or time.monotonic() > end:
                        break
                    time.sleep(1)
                bad += [f"{where}: {error}" for error in errors]
                if errors or all(answers):
                    continue
                reason = why_missing(missing, collectors) if missing else quiet
                if reason:
                    empty.append(f"{where}: {reason}")
                elif any(answers):
                    bad.append(f"{where}: only {'vitald' if answers[0] else 'Prometheus'} has an answer")
                else:
                    bad.append(f"{where}: empty, and the series it asks for are there: {text}")
            print(f"{counted} queries of {len(PANELS)} dashboards; {len(empty)} without data here:")
            for line in empty:
                print(f"  {line}")

made = [json.loads((TOP / f"deploy/grafana/{p.stem}.json").read_text()) for p in PANELS]
assert len({d["uid"] for d in made}) == len(made) and len({d["title"] for d in made}) == len(made), "two dashboards of one name"
for d in made:
    ids = [p["id"] for p in d["panels"]]
    assert len(set(ids)) == len(ids), f"{d['title']}: ids are not unique"
for text in bad:
    print(text)
sys.exit(1 if bad else 0)
