#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The names that users of a telemetry library know: the rule file that has them is right for promtool and for vitald, its
two alerts fire for their cause, and a host that loads it has every name. Events of local programs are taken and seen."""

import json
import pathlib
import re
import subprocess
import sys
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import TOP, VITALD, get_json, metrics, need, vitald, wait_for  # noqa: E402

need("promtool")

RULES = TOP / "deploy/rules-optional/telemetry.yaml"
CASES = TOP / "tests/rules/telemetry_rules_test.yaml"
# All but the helper of health_status, which is there while a collector fails.
NAMES = [n for n in re.findall(r"record: ([a-z_]+)", RULES.read_text()) if n != "telemetry_collector_fails"]

assert len(NAMES) == 14 and len(set(NAMES)) == 14, NAMES
# Nothing is sent here, so there is no time that it took.
UNSENT = "message_processing_duration_seconds"
ALWAYS = [name for name in NAMES if name != UNSENT]
for command in (["promtool", "check", "rules", str(RULES)], ["promtool", "test", "rules", str(CASES)],
                [VITALD, "rules", "check", str(RULES)], [VITALD, "rules", "test", str(CASES)]):
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, (command, done.stdout, done.stderr)


def post(url, body):
    request = urllib.request.Request(url + "/api/v1/events", data=body, headers={"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


with vitald(f"--rules.file={RULES}", "--pipeline.interval=200ms", "--collector.disable-defaults", "--collector.self",
            "--collector.posted", "--collector.loadavg", "--collector.stat") as (_, url):
    def all_there():
        samples = metrics(url)[1]
        return samples if all((name, ()) in samples for name in ALWAYS) else None
    samples = wait_for("every name", 60, all_there, 0.5)
    assert samples[("health_status", ())] == 1 and samples[("coordination_active_nodes", ())] >= 3, samples
    assert (UNSENT, ()) not in samples and ("vitald_cycles_failed_total", ()) in samples, samples
    assert 0 < samples[("telemetry_collection_duration_seconds", ())] < 10
    firing = [a for a in get_json(url + "/api/v1/alerts")["data"]["alerts"] if a["labels"]["alertname"].endswith("Failed")]
    assert not firing, firing

    before = get_json(url + "/api/v1/events")["data"]["newest"]
    status, body = post(url, json.dumps({"type": "deploy", "text": "Version 3 is here", "value": 3, "labels": {"app": "a"},
                                         "metadata": {"by": "me"}}).encode())
    assert status == 202, (status, body)

    def mine():
        return [e for e in get_json(f"{url}/api/v1/events?after={before}")["data"]["events"] if e["type"] == "deploy"]
    event = wait_for("the event", 10, mine)[0]
    assert event["collector"] == "posted" and event["text"] == "Version 3 is here", event
    assert event["fields"] == {"value": "3", "app": "a", "by": "me"}, event
    status, body = post(url, b'{"text": "no type"}')
    assert status == 400 and b"type: expected a word" in body, (status, body)
    # A flood is bounded, and brings no flood of collections.
    cycles = metrics(url)[1][("vitald_cycles_total", ())]
    codes = [post(url, b'{"type": "flood"}')[0] for _ in range(400)]
    assert set(codes) <= {202, 503} and codes.count(202) >= 256, {c: codes.count(c) for c in set(codes)}
    wait_for("what was taken is counted", 10, lambda: metrics(url)[1][
        ("vitald_posted_events_total", (("result", "taken"),))] == codes.count(202) + 1)
    assert metrics(url)[1][("vitald_posted_events_total", (("result", "malformed"),))] == 1
    print(f"14 names, two alerts; {codes.count(202)} of 400 events at once were taken, "
          f"{metrics(url)[1][('vitald_cycles_total', ())] - cycles:.0f} collections")
