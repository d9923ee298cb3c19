#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the rules know survives a restart: SIGTERM, SIGKILL at any moment, a file that is torn, one of another version."""

import os
import pathlib
import random
import signal
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import metrics, vitald, wait_for  # noqa: E402

RULES = """
groups:
  - name: alerts
    rules:
      - {alert: Hot, expr: test_hot > 0}
      - {alert: Rising, expr: 'rate(test_count_total[10s]) > 0.01'}
  - name: test
    rules:
      - {record: test_count, expr: 'count_over_time(test_x[10m])'}
      - {record: test_first, expr: 'min_over_time(test_x[10m])'}
"""

CONFIG = """
notify:
  commands:
    - {name: recorder, command: [HOOK]}
"""
# One line per notification, with what a receiver knows it by.
HOOK = """#!/bin/sh
echo "$VITALD_ALERT_NAME $VITALD_ALERT_STATUS $VITALD_ALERT_FINGERPRINT $VITALD_ALERT_STARTS_AT" >> FOLDER/told
"""

with tempfile.TemporaryDirectory() as top:
    folder = pathlib.Path(top)
    folder.chmod(0o755)
    state = folder / "state"
    (folder / "told").touch()
    (folder / "told").chmod(0o666)  # the hook runs as nobody
    (folder / "hook").write_text(HOOK.replace("FOLDER", top))
    (folder / "hook").chmod(0o755)
    (folder / "vitald.yaml").write_text(CONFIG.replace("HOOK", f"{top}/hook"))
    (folder / "rules.yaml").write_text(RULES)
    (folder / "textfiles").mkdir()

    def text(name, content):
        temporary = folder / "textfiles/tmp"
        temporary.write_text(content)
        os.rename(temporary, folder / f"textfiles/{name}.prom")

    def number(value):
        text("x", f"test_x {value}\n")

    def told(word):
        return [line for line in (folder / "told").read_text().splitlines() if word in line]

    def running(*flags):
        return vitald(f"--config.file={top}/vitald.yaml", f"--rules.file={top}/rules.yaml", "--web.max-age=0", "--pipeline.interval=100ms",
                      "--collector.disable-defaults", "--collector.textfile", "--collector.self",
                      f"--collector.textfile.directory={top}/textfiles", f"--state.directory={state}",
                      "--rules.series-label=instance=lab1", *flags)  # each start has another port

    def value(url, name):
        return metrics(url)[1].get((name, ()))

    def reach(url, count):
        return wait_for(f"{count} samples", 20, lambda: (value(url, "test_count") or 0) >= count and value(url, "test_count"))

    number(1)
    with running() as (process, url):
        assert value(url, "vitald_history_restored_samples") == 0
        before = reach(url, 20)
        assert value(url, "vitald_history_saved_timestamp_seconds") == 0, "five minutes are not over"
        process.stop()
        assert process.process.returncode == 0, process.output()
    assert (state / "history").stat().st_mode & 0o777 == 0o600
    number(2)
    with running() as (process, url):
        assert reach(url, before + 5) and value(url, "test_first") == 1
        assert value(url, "vitald_history_restored_samples") > before
        assert "history: it goes on where an earlier run ended" in process.output(), process.output()
    print("SIGTERM: the history goes on", flush=True)

    # Saved all the time and killed at any moment: what is there is always a good one.
    last = 0
    for i in range(12):
        with running("--history.save-interval=100ms") as (process, url):
            assert value(url, "vitald_history_restored_samples") >= last, (i, process.output())
            wait_for("saved", 10, lambda: value(url, "vitald_history_saved_timestamp_seconds"))
            last = value(url, "vitald_history_restored_samples")
            assert value(url, "vitald_history_save_failures_total") == 0
            time.sleep(random.uniform(0, 0.2))  # where in the writing it is hit must differ
            process.process.send_signal(signal.SIGKILL)
            process.process.wait(10)
            assert "cannot be used" not in process.output(), process.output()
    print("SIGKILL: 12 times, nothing torn", flush=True)

    # An alert that fires fires on, and a receiver hears of it once: as over when it is.
    def hot(value):
        text("hot", f"test_hot {value}\n")

    rising = 0

    def rise():
        global rising
        rising += 1
        text("rising", f"# TYPE test_count_total counter\ntest_count_total {rising}\n")

    def alerts(url):
        return {dict(labels)["alertname"] for (name, labels), _ in metrics(url)[1].items()
                if name == "ALERTS" and dict(labels)["alertstate"] == "firing"}

    def rounds(url, count):
        first = value(url, "vitald_rules_rounds_total")
        wait_for(f"{count} rounds", 10, lambda: value(url, "vitald_rules_rounds_total") >= first + count)

    hot(0)
    rise()
    with running() as (process, url):
        hot(1)
        wait_for("hot", 10, lambda: told("Hot firing"))
        wait_for("rising", 10, lambda: (rise(), told("Rising firing"))[1])
    for end in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
        with running() as (process, url):
            rounds(url, 8)
            rise()
            rounds(url, 2)
            assert alerts(url) == {"Hot", "Rising"}, (alerts(url), process.output())
            assert value(url, "vitald_alerts_restored") == 2
            process.process.send_signal(end)
            process.process.wait(10)
        assert len(told("Hot")) == 1 and len(told("Rising")) == 1, told("")
    with running() as (process, url):
        rounds(url, 3)
        hot(0)
        wait_for("it is over", 10, lambda: told("Hot resolved"))
        rounds(url, 3)
        assert len(told("Hot resolved")) == 1 and len(told("Hot firing")) == 1, told("")
        assert told("Hot resolved")[0].split()[2:] == told("Hot firing")[0].split()[2:], told("Hot")
    print("alerts fire on over SIGKILL and SIGTERM", flush=True)
    with running() as (process, url):  # its cause went while nobody looked
        wait_for("it is over", 30, lambda: told("Rising resolved"))
        rounds(url, 3)
        assert len(told("Rising")) == 2 and len(told("Hot")) == 2, told("")
    print("what was over meanwhile is told as over", flush=True)

    # Killed at any moment of an alert's life: each change is told, and told again only with the same key.
    (folder / "told").write_text("")
    for i in range(1, 20):
        with running() as (process, url):
            wait_for("a round", 10, lambda: value(url, "vitald_rules_rounds_total"))
            hot(i % 2)
            time.sleep(random.uniform(0, 0.25))  # where in telling it is hit must differ
            process.process.send_signal(signal.SIGKILL)
            process.process.wait(10)
    with running() as (process, url):
        wait_for("the last one", 30, lambda: told("Hot firing"))
        wait_for("nothing waits", 10, lambda: metrics(url)[1].get(("vitald_delivery_queued", (("data_type", "alerts"), ("destination", "recorder")))) == 0)
        hot(0)
        wait_for("it is over", 10, lambda: told("Hot resolved"))
        rounds(url, 3)
    seen = []
    for line in told("Hot"):
        status, key = line.split()[1], line.split()[2:]
        if (status, key) in seen:
            continue  # again, with the same key
        assert status == ("resolved" if seen and seen[-1][0] == "firing" else "firing"), told("Hot")
        assert status == "firing" or seen[-1][1] == key, told("Hot")
        seen.append((status, key))
    assert seen[-1][0] == "resolved", told("Hot")
    print(f"killed 19 times: {len(told('Hot'))} told, {len(seen)} of them for the first time, in order", flush=True)

    good = (state / "history").read_bytes()
    for what, content in (("torn", good[:len(good) // 2]), ("empty", b""), ("of a later version", b"vitaldh9" + good[8:]),
                          ("not ours", b"#!/bin/sh\n" * 100)):
        (state / "history").write_bytes(content)
        with running() as (process, url):
            reach(url, 3)
            assert value(url, "vitald_history_restored_samples") == 0
            output = process.output()
            assert output.count("history: what an earlier run saved cannot be used, it begins anew") == 1, output
        assert (state / "history.damaged").read_bytes() == content, what
        print(f"{what}: set aside", flush=True)

    # A disk that does not take it costs the history of a restart, nothing else.
    (state / "history").unlink()
    (state / "history.new").mkdir()
    with running("--history.save-interval=100ms") as (process, url):
        wait_for("failures", 10, lambda: value(url, "vitald_history_save_failures_total") >= 3)
        assert process.output().count("history: not saved") == 1, process.output()
        (state / "history.new").rmdir()
        wait_for("saved again", 10, lambda: value(url, "vitald_history_saved_timestamp_seconds"))
        wait_for("that it is said", 10, lambda: "history: saved again" in process.output())
    print("a disk that says no: said once", flush=True)
