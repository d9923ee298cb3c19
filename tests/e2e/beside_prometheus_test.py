#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Forty rules in vitald and in a real Prometheus that scrapes it, over numbers that jump: the same alerts become pending,
fire and end, each at about the same time. MINUTES (0.75) says how long."""

import os
import pathlib
import random
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import free_port, get_json, need, running, vitald, wait_for  # noqa: E402

need("prometheus")

MINUTES = float(os.environ.get("MINUTES", "0.75"))
INTERVAL_S = 1  # of rules and scrapes
# A level stays so long that everybody sees it: the two look at their own moments, and a scrape is late now and then.
STEP_S = 9
# A sample may be an interval old, an evaluation come an interval later, and we look twice a second.
APART_S = 2 * INTERVAL_S + 1.5


def rules():
    """Names and expressions; no level is near a threshold."""
    alerts = {}
    for i, level in enumerate((5, 15, 25, 35)):
        alerts[f"Above{level}"] = (f"t_level > {level}", {})
        alerts[f"Above{level}For3"] = (f"t_level > {level}", {"for": "3s"})
    alerts |= {
        "Below5": ("t_level < 5", {"for": "2s"}),
        "KeptFor4": ("t_level > 25", {"keep_firing_for": "4s"}),
        "KeptAndFor": ("t_level > 15", {"for": "2s", "keep_firing_for": "3s"}),
        "OneOf": ("count(t_level > 15) > 0", {}),
        "Most": ("count(t_level > 15) >= 2", {}),
        "Sum": ("sum(t_level) > 62", {}),
        "Highest": ("max(t_level) >= 40", {}),
        "Lowest": ("min(t_level) == 0", {}),
        "ByKind": ("sum by (kind) (t_level) > 35", {}),
        "WithoutName": ("sum without (name) (t_level) > 35", {}),
        "NotTheOther": ('t_level{name="a"} > 15 unless on (kind) t_level{name="c"} > 15', {}),
        "BothHigh": ('t_level{name="a"} > 15 and on (kind) t_level{name="b"} > 15', {}),
        "EitherLow": ('t_level{name="a"} == 0 or t_level{name="b"} == 0', {}),
        "OnOff": ("t_on == 1", {}),
        "OnFor4": ("t_on == 1", {"for": "4s"}),
        "Gone": ("absent(t_sometimes)", {}),
        "GoneFor3": ("absent(t_sometimes)", {"for": "3s"}),
        "There": ("t_sometimes == 1", {}),
        "Renamed": ('label_replace(t_level > 35, "who", "$1-$1", "name", "(.*)")', {}),
        "Joined": ('label_join(t_level > 35, "who", "/", "kind", "name")', {}),
        "Ratio": ('t_level{name="a"} / on (kind) group_left () t_full > 0.7', {}),
        "FromRecord": ("t:level:max > 25", {}),
        "FromRecordFor": ("t:level:max > 25", {"for": "3s"}),
        "FromTwo": ("t:level:sum > 62 and t:on:count > 0", {}),
        "Quantile": ("quantile(0.5, t_level) > 15", {}),
        "Always": ("vector(1) == 1", {}),
        "Never": ("t_level > 1000", {}),
        "TheHost": ("node_load1 >= 0", {}),
        "Up": ('absent(up{job="node"} == 1)', {}),
    }
    records = {"t:level:max": "max(t_level)", "t:level:sum": "sum(t_level)", "t:on:count": "count(t_on == 1)"}
    assert len(alerts) + len(records) == 40, len(alerts) + len(records)
    lines = ["groups:", "- name: beside", f"  interval: {INTERVAL_S}s", "  rules:"]
    lines += [f"  - {{record: '{name}', expr: '{e}'}}" for name, e in records.items()]
    for name, (e, more) in alerts.items():
        extra = "".join(f", {key}: {value}" for key, value in more.items())
        quoted = e.replace("'", "''")
        lines.append(f"  - {{alert: {name}, expr: '{quoted}'{extra}, labels: {{severity: info}}}}")
    return "\n".join(lines) + "\n"


class Watched:
    """What one of the two says, and when it began to."""

    def __init__(self):
        self.now, self.changes = {}, {}

    def look(self, base, at):
        found = {}
        for alert in get_json(base + "/api/v1/alerts")["data"]["alerts"]:
            found[tuple(sorted(alert["labels"].items()))] = alert["state"]
        for key in self.now.keys() | found.keys():
            state = found.get(key, "")
            if self.now.get(key, "") != state:
                self.changes.setdefault(key, []).append((state, at))
        self.now = found


def compare(top):
    folder = pathlib.Path(top)
    (folder / "text").mkdir()
    (folder / "rules.yaml").write_text(rules())
    seed = int.from_bytes(os.urandom(4), "little")
    chance = random.Random(seed)
    print(f"seed {seed}")

    def step():
        rows = [f't_level{{kind="k{i // 2}",name="{name}"}} {chance.choice((0, 10, 20, 30, 40))}' for i, name in enumerate("abc")]
        rows += [f't_full{{kind="k{i}"}} 50' for i in (0, 1)]
        rows += [f't_on{{n="{i}"}} {chance.randint(0, 1)}' for i in (0, 1)]
        rows += ["t_sometimes 1"] if chance.random() < 0.5 else []
        (folder / "new").write_text("\n".join(rows) + "\n")
        os.rename(folder / "new", folder / "text/t.prom")

    step()
    port = free_port()
    server = f"http://127.0.0.1:{port}"
    with vitald(f"--rules.file={top}/rules.yaml", "--collector.disable-defaults", "--collector.textfile", "--collector.loadavg",
                f"--collector.textfile.directory={top}/text", f"--pipeline.interval={INTERVAL_S}s", "--web.max-age=0",
                "--rules.series-label=instance=web1:9100") as (_, url):
        (folder / "prometheus.yaml").write_text(
            f"global: {{scrape_interval: {INTERVAL_S}s, evaluation_interval: {INTERVAL_S}s}}\n"
            f"rule_files: [{top}/rules.yaml]\n"
            "scrape_configs:\n- job_name: node\n  metric_relabel_configs:\n"
            "  - {source_labels: [__name__], regex: 'ALERTS|ALERTS_FOR_STATE|t:.*', action: drop}\n"
            f"  static_configs: [{{targets: ['{url.removeprefix('http://')}'], labels: {{instance: 'web1:9100'}}}}]\n")
        with running(["prometheus", f"--config.file={top}/prometheus.yaml", f"--storage.tsdb.path={top}/data",
                      f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"], server + "/-/ready", 60):
            ours, theirs = Watched(), Watched()
            wait_for("alerts of both", 60, lambda: all(len(get_json(u + "/api/v1/alerts")["data"]["alerts"]) > 2 for u in (url, server)))
            time.sleep(STEP_S)
            # They did not begin together: what each has at the beginning is compared when it is the same.
            def differ():
                for who, base in ((ours, url), (theirs, server)):
                    who.look(base, 0)
                return ours.now != theirs.now

            wait_for("the same alerts", 60, lambda: not differ(), 0.5)
            began = stepped = time.monotonic()
            ours.changes.clear()
            theirs.changes.clear()
            while (now := time.monotonic()) < began + 60 * MINUTES:
                if now - stepped >= STEP_S:
                    stepped = now
                    step()
                for who, base in ((ours, url), (theirs, server)):
                    who.look(base, time.monotonic() - began)
                time.sleep(0.5)
            # The last step is let end in both.
            while time.monotonic() < stepped + STEP_S:
                for who, base in ((ours, url), (theirs, server)):
                    who.look(base, time.monotonic() - began)
                time.sleep(0.5)

    # A server that is too late to scrape sees what a host without a number sees: nothing to compare.
    missed = any(dict(key)["alertname"] == "Up" for key in theirs.changes)
    wrong, count, worst = [], 0, 0.0
    if ours.now != theirs.now:
        wrong.append(f"at the end: {sorted(ours.now.items() ^ theirs.now.items())[:4]}")
    for key in sorted(ours.changes.keys() | theirs.changes.keys()):
        a, b = ours.changes.get(key, []), theirs.changes.get(key, [])
        # What is pending for less than a look apart is seen by one and not by the other.
        if [s for s, _ in a if s != "pending"] != [s for s, _ in b if s != "pending"]:
            wrong.append(f"{dict(key)}\n  vitald:     {a}\n  Prometheus: {b}")
            continue
        for (state, x), (_, y) in zip([c for c in a if c[0] != "pending"], [c for c in b if c[0] != "pending"]):
            count, worst = count + 1, max(worst, abs(x - y))
            if abs(x - y) > APART_S:
                wrong.append(f"{dict(key)}: {state or 'ends'} after {x:.1f} s, in Prometheus after {y:.1f} s")
    return missed, wrong, count, worst


for attempt in range(3):
    with tempfile.TemporaryDirectory() as run:
        scrape_failed, differences, compared, apart = compare(run)
    if not scrape_failed:
        break
    print("Prometheus missed a scrape: once more", flush=True)
assert not scrape_failed, "Prometheus missed a scrape in each of three runs"
assert not differences, f"{len(differences)} differ\n" + "\n".join(d[:2000] for d in differences[:5])
assert compared >= 10 * MINUTES, "nothing moved"
print(f"40 rules for {MINUTES:g} minutes: {compared} alerts that fired or ended in both, {apart:.1f} s apart at most, none in one "
      "alone")
