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
  - name: test
    rules:
      - {record: test_count, expr: 'count_over_time(test_x[10m])'}
      - {record: test_first, expr: 'min_over_time(test_x[10m])'}
"""

with tempfile.TemporaryDirectory() as top:
    folder = pathlib.Path(top)
    state = folder / "state"
    (folder / "rules.yaml").write_text(RULES)
    (folder / "textfiles").mkdir()

    def number(value):
        temporary = folder / "textfiles/t.tmp"
        temporary.write_text(f"test_x {value}\n")
        os.rename(temporary, folder / "textfiles/t.prom")

    def running(*flags):
        return vitald(f"--rules.file={top}/rules.yaml", "--web.max-age=0", "--pipeline.interval=100ms",
                      "--collector.disable-defaults", "--collector.textfile", "--collector.self",
                      f"--collector.textfile.directory={top}/textfiles", f"--state.directory={state}", *flags)

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

    good = (state / "history").read_bytes()
    for what, content in (("torn", good[:len(good) // 2]), ("empty", b""), ("of a later version", b"vitaldh9" + good[8:]),
                          ("not ours", b"#!/bin/sh\n" * 100)):
        (state / "history").write_bytes(content)
        with running() as (process, url):
            reach(url, 3)
            assert value(url, "vitald_history_restored_samples") == 0
            text = process.output()
            assert text.count("history: what an earlier run saved cannot be used, it begins anew") == 1, text
        assert (state / "history.damaged").read_bytes() == content, what
        print(f"{what}: set aside", flush=True)

    # A disk that does not take it costs the history of a restart, nothing else.
    (state / "history").unlink()
    (state / "history.new").mkdir()
    with running("--history.save-interval=100ms") as (process, url):
        wait_for("failures", 10, lambda: value(url, "vitald_history_save_failures_total") >= 3)
        assert process.output().count("history: it is not saved") == 1, process.output()
        (state / "history.new").rmdir()
        wait_for("saved again", 10, lambda: value(url, "vitald_history_saved_timestamp_seconds"))
        wait_for("that it is said", 10, lambda: "history: it is saved again" in process.output())
    print("a disk that says no: said once", flush=True)
