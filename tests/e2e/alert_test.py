#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One alert from inactive through pending and firing to resolved, with the hook's own record of it."""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import VITALD, get_json, metrics, vitald, wait_for  # noqa: E402

RULES = """
groups:
  - name: test
    interval: 200ms
    rules:
      - alert: TooHot
        expr: test_temperature_celsius > 70
        for: 1s
        labels: {severity: warning}
        annotations:
          summary: "{{ $labels.zone }} has {{ $value }} degrees"
"""
CONFIG = """
pipeline: {interval: 200ms}
notify:
  commands:
    - name: recorder
      command: ["%s", "a b", "$(touch /tmp/never)"]
      timeout: 5s
"""
# No shell stands between: the script sees its arguments as they are written.
HOOK = """#!/bin/sh
line=$(printf '%s|%s|%s|%s|%s|%s|' "$VITALD_ALERT_NAME" "$VITALD_ALERT_STATUS" "$VITALD_ALERT_SEVERITY" "$VITALD_ALERT_VALUE" "$1" "$2"
  tr -d '\\n')
printf '%s\\n' "$line" >> RECORD
echo "told of $VITALD_ALERT_STATUS" >&2
"""


def write(path, text):
    """As one would write a textfile metric: beside it, then renamed."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text)
    os.rename(temporary, path)


with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    folder.chmod(0o755)
    record = folder / "record"
    record.touch()
    record.chmod(0o666)  # the hook runs as nobody
    hook = folder / "hook"
    hook.write_text(HOOK.replace("RECORD", str(record)))
    hook.chmod(0o755)
    (folder / "rules.yaml").write_text(RULES)
    (folder / "vitald.yaml").write_text(CONFIG % hook)
    textfiles = folder / "textfiles"
    textfiles.mkdir()
    metric = textfiles / "t.prom"

    with vitald(f"--config.file={folder}/vitald.yaml", f"--rules.file={folder}/rules.yaml", "--web.max-age=0",
                "--collector.disable-defaults", "--collector.textfile",
                f"--collector.textfile.directory={textfiles}") as (_, url):

        def temperature(value):
            write(metric, f'test_temperature_celsius{{zone="cpu"}} {value}\n')

        def state():
            rules = get_json(url + "/api/v1/rules")["data"]["groups"][0]["rules"]
            return rules[0]["state"]

        def alerts_series():
            return {dict(labels).get("alertstate"): dict(labels) for (n, labels) in metrics(url)[1] if n == "ALERTS"}

        def hooked():
            return [line.split("|", 6) for line in record.read_text().splitlines()]

        temperature(50)
        wait_for("the first evaluation", 5, lambda: state() == "inactive")
        assert get_json(url + "/api/v1/alerts")["data"]["alerts"] == []
        assert not alerts_series() and not hooked()

        temperature(82.5)
        wait_for("pending", 5, lambda: state() == "pending")
        wait_for("ALERTS pending", 2, lambda: "pending" in alerts_series() or "firing" in alerts_series())
        assert state() == "firing" or not hooked(), "the hook ran before the alert fired"

        wait_for("firing", 10, lambda: state() == "firing")
        wait_for("ALERTS firing", 2, lambda: "firing" in alerts_series())
        series = alerts_series()["firing"]
        assert series == {"alertname": "TooHot", "alertstate": "firing", "severity": "warning", "zone": "cpu"}, series
        alert = get_json(url + "/api/v1/alerts")["data"]["alerts"][0]
        assert alert["state"] == "firing" and float(alert["value"]) == 82.5, alert
        assert alert["annotations"] == {"summary": "cpu has 82.5 degrees"}, alert
        wait_for("the hook for firing", 5, lambda: len(hooked()) == 1)

        temperature(50)
        wait_for("inactive", 5, lambda: state() == "inactive")
        wait_for("ALERTS gone", 2, lambda: not alerts_series())
        wait_for("the hook for resolved", 5, lambda: len(hooked()) == 2)

        # What it said is there for whoever asks.
        def receiver():
            (row,) = get_json(url + "/api/v1/receivers")["data"]
            return row
        wait_for("both runs", 5, lambda: len(receiver()["runs"]) == 2)
        row = receiver()
        assert (row["name"], row["waiting"], row["delivered"], row["failing"]) == ("recorder", 0, 2, False), row
        run = row["runs"][0]
        assert (run["alert"], run["status"], run["result"], run["exit_status"]) == ("TooHot", "resolved", "ok", 0), run
        assert run["output"] == "told of resolved\n" and 0 < run["seconds"] < 5, run
        said = subprocess.run([VITALD, "alerts", "receivers", f"--url={url}"], capture_output=True, text=True, check=True).stdout
        assert re.search(r"^recorder +ok +0 +2 +0 +command 'recorder'", said, re.M), said
        assert re.search(r"^recorder: \S+Z resolved TooHot: ok, exit status 0 after \S+ s\n  \| told of resolved$", said, re.M), said

        # What a reload takes away is resolved too, also when no rule is left.
        temperature(82.5)
        wait_for("the hook for firing again", 10, lambda: len(hooked()) == 3)
        (folder / "rules.yaml").write_text("groups: []\n")
        urllib.request.urlopen(urllib.request.Request(url + "/-/reload", method="POST"), timeout=10).close()
        wait_for("the hook for what was taken away", 5, lambda: len(hooked()) == 4)

    # What is over is told with the value that ended it; what a reload took away has only its last one.
    degrees = (82.5, 50, 82.5, 82.5)
    for got, status, value in zip(hooked(), ("firing", "resolved") * 2, degrees, strict=True):
        assert got[:3] == ["TooHot", status, "warning"], got
        assert got[4:6] == ["a b", "$(touch /tmp/never)"], got
        message = json.loads(got[6])
        assert message["version"] == "4" and message["status"] == status, message
        labels = dict(message["alerts"][0]["labels"])
        # As a server would add them; the exposition above has neither.
        assert labels.pop("job") == "node" and labels.pop("instance").endswith(url[url.rindex(":"):]), message
        assert labels == {"alertname": "TooHot", "severity": "warning", "zone": "cpu"}, message
        assert message["alerts"][0]["annotations"]["summary"] == f"cpu has {value} degrees", message
    assert not os.path.exists("/tmp/never")
    print("inactive, pending, firing, resolved; the hook saw:")
    for got in hooked():
        print("  ", *got[:4])
