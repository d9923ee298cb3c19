#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Notifications get through: a storm of alerts, a vitald that ends or is killed while a command runs, a reload."""

import contextlib
import os
import pathlib
import signal
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import metrics, patience, vitald, wait_for  # noqa: E402

STORM = 300
RULES = """
groups:
  - name: test
    interval: 200ms
    rules:
      - {alert: Storm, expr: test_storm > 0}
      - {alert: Single, expr: test_single > 0}
"""
CONFIG = """
pipeline: {interval: 200ms}
notify:
  commands:
    - {name: recorder, command: [HOOK], timeout: TIMEOUT}
"""
# Says that it runs; while there is a file "block" it does not come to its end.
HOOK = """#!/bin/sh
name="$VITALD_ALERT_NAME $VITALD_ALERT_STATUS $VITALD_ALERT_LABELS"
echo "$name" >> FOLDER/started
if [ -e FOLDER/block ]; then echo $$ >> FOLDER/pids; exec sleep 1000; fi
echo "$name" >> FOLDER/told
"""

with tempfile.TemporaryDirectory() as top:
    folder = pathlib.Path(top)
    folder.chmod(0o755)
    for record in ("started", "told", "pids"):
        (folder / record).touch()
        (folder / record).chmod(0o666)  # the hook runs as nobody
    (folder / "hook").write_text(HOOK.replace("FOLDER", top))
    (folder / "hook").chmod(0o755)
    (folder / "rules.yaml").write_text(RULES)
    (folder / "textfiles").mkdir()

    def configure(timeout):
        (folder / "vitald.yaml").write_text(CONFIG.replace("HOOK", f"{top}/hook").replace("TIMEOUT", timeout))

    def numbers(text):
        temporary = folder / "textfiles/t.tmp"
        temporary.write_text(text)
        os.rename(temporary, folder / "textfiles/t.prom")

    def lines(record):
        return (folder / record).read_text().splitlines()

    def told(word):
        return [line for line in lines("told") if word in line]

    def running(state=f"{top}/state"):
        return vitald(f"--config.file={top}/vitald.yaml", f"--rules.file={top}/rules.yaml", "--web.max-age=0",
                      "--collector.disable-defaults", "--collector.textfile", "--collector.self",
                      f"--collector.textfile.directory={top}/textfiles", f"--state.directory={state}")

    def delivery(url, family, **labels):
        want = {"data_type": "alerts", "destination": "recorder", **labels}
        return metrics(url)[1].get((f"vitald_delivery_{family}", tuple(sorted(want.items()))))

    @contextlib.contextmanager
    def blocked():
        (folder / "block").touch()
        yield
        (folder / "block").unlink()
        for pid in lines("pids"):  # what a killed vitald leaves behind
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        (folder / "pids").write_text("")

    def reload(url):
        urllib.request.urlopen(urllib.request.Request(url + "/-/reload", method="POST"), timeout=10).close()

    configure("30s")
    numbers("test_single 0\n")
    with running() as (process, url):
        numbers("".join(f'test_storm{{n="{i}"}} 1\n' for i in range(STORM)))
        wait_for("all of the storm", 60, lambda: len(told("Storm firing")) == STORM)
        assert len({line for line in told("Storm firing")}) == STORM
        assert delivery(url, "delivered_total") >= STORM and delivery(url, "dropped_total", reason="full") == 0
    numbers("test_single 0\n")
    print(f"storm: {STORM} of {STORM}", flush=True)

    for how, end in (("SIGTERM", signal.SIGTERM), ("SIGKILL", signal.SIGKILL)):
        for record in ("started", "told"):
            (folder / record).write_text("")
        with running() as (process, url), blocked():
            numbers('test_single{n="' + how + '"} 1\n')
            wait_for("the command", 10, lambda: lines("started"))
            began = time.monotonic()
            process.process.send_signal(end)
            process.process.wait(10)
            took = time.monotonic() - began
            assert took < patience(2), took
        assert not told("Single"), lines("told")
        numbers("test_single 0\n")  # what is told now is from the journal
        with running() as (process, url):
            wait_for("what was interrupted", 10, lambda: told("Single firing"))
            assert how in told("Single firing")[0], lines("told")
            wait_for("nothing waits", 10, lambda: delivery(url, "queued") == 0)
        print(f"{how}: told after the next start", flush=True)

    # A reload with another timeout ends the command; what it was told is told by the new one, with a state folder or
    # without.
    for state in (f"{top}/state", ""):
        for record in ("started", "told"):
            (folder / record).write_text("")
        configure("30s")
        with running(state) as (process, url):
            (folder / "block").touch()
            numbers('test_single{n="reload"} 1\n')
            wait_for("the command", 10, lambda: lines("started"))
            (folder / "block").unlink()
            configure("20s")
            reload(url)
            wait_for("what was interrupted", 10, lambda: told("Single firing"))
            numbers("test_single 0\n")
            wait_for("resolved", 10, lambda: told("Single resolved"))
    print("reload: told by the new command", flush=True)

    # Without a state folder what waits at the end is lost, and said to be.
    with running("") as (process, url):
        with blocked():
            numbers('test_single{n="lost"} 1\n')
            wait_for("the command", 10, lambda: "lost" in "".join(lines("started")))
            process.stop()
        assert "what waits is lost; --state.directory would keep it\" destination=recorder items=1" in process.output(), \
            process.output()
