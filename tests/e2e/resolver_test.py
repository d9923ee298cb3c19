#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A resolver that never answers: whoever is sent to by name fails within his timeout, others are delivered to, and
neither the end nor doctor waits for it."""

import os
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import VITALD, metrics, patience, vitald, wait_for  # noqa: E402

environment = dict(os.environ, LD_PRELOAD=os.environ["SILENT_RESOLVER"])

with tempfile.TemporaryDirectory() as top:
    folder = pathlib.Path(top)
    folder.chmod(0o777)  # commands run as nobody
    (folder / "rules.yaml").write_text("groups: [{name: g, interval: 1s, rules: [{alert: Always, expr: vector(1)}]}]\n")
    (folder / "vitald.yaml").write_text(f"""
pipeline: {{interval: 1s}}
rules: {{files: [rules.yaml]}}
notify:
  webhooks: [{{name: hook, url: "http://hook.silent.example/x", timeout: 1s}}]
  alertmanagers: [{{name: am, urls: ["http://am.silent.example:9093"], timeout: 1s}}]
  commands: [{{name: told, command: [/bin/sh, -c, "cat > {top}/told"]}}]
push:
  remote_write: [{{name: far, url: "http://far.silent.example/api/v1/write", interval: 1s, timeout: 1s}}]
  influx: [{{name: lines, url: "http://lines.silent.example:8086", database: d, interval: 1s, timeout: 1s}}]
  events: [{{name: log, to: "udp://log.silent.example:514", timeout: 1s}}]
  json_file: [{{name: here, path: {top}/here.json, interval: 1s}}]
""")
    with vitald(f"--config.file={top}/vitald.yaml", f"--state.directory={top}/state", "--collector.disable-defaults",
                "--collector.loadavg", "--collector.posted", "--collector.self", env=environment) as (process, url):
        event = urllib.request.Request(url + "/api/v1/events", data=b'{"type":"deploy","text":"x"}', method="POST")
        assert urllib.request.urlopen(event, timeout=10).status == 202
        wait_for("the command", 20, lambda: (folder / "told").exists())
        wait_for("the file", 20, lambda: (folder / "here.json").exists())

        def failed(name, data_type):
            labels = (("data_type", data_type), ("destination", name))
            return metrics(url)[1].get(("vitald_delivery_failed_total", labels), 0)
        for name, what in (("hook", "alerts"), ("am", "alerts"), ("far", "samples"), ("lines", "samples"), ("log", "events")):
            wait_for(f"two attempts of {name}", 40, lambda: failed(name, what) >= 2)
            assert "the resolver does not say where it is" in process.output(), process.output()[-2000:]
        # One thread for each name, however many attempts there were.
        threads = [(pathlib.Path(task) / "comm").read_text().strip() for task in pathlib.Path(f"/proc/{process.pid}/task").iterdir()]
        assert threads.count("resolver") == 5, sorted(threads)
        written = (folder / "here.json").stat().st_mtime_ns
        wait_for("the next file", 10, lambda: (folder / "here.json").stat().st_mtime_ns > written)
        took = process.stop(10)
        assert took < patience(2) and process.process.returncode == 0, (took, process.process.returncode)

    began = time.monotonic()
    done = subprocess.run([VITALD, "doctor", f"--config.file={top}/vitald.yaml", "--state.directory=", "--collector.disable-defaults"],
                          env=environment, capture_output=True, text=True, timeout=60)
    took = time.monotonic() - began
    lines = [line for line in done.stdout.splitlines() if "does not say where it is" in line]
    assert len(lines) >= 5 and took < 20, (took, done.stdout)
    print(f"doctor took {took:.1f} s; {len(lines)} destinations named, {threads.count('resolver')} threads in the resolver")
