#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A real Prometheus scrapes vitald: the target is up, every sample arrives, promtool finds nothing to say."""

import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import TOP, free_port, get, get_json, need, running, vitald, wait_for  # noqa: E402

need("prometheus", "promtool")

CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: vitald
    static_configs: [{{targets: ["{target}"]}}]
"""


def query(base, expression):
    answer = get_json(f"{base}/api/v1/query?query={expression}")
    return answer["data"]["result"]


with tempfile.TemporaryDirectory() as folder, vitald(f"--rules.file={TOP}/deploy/rules/*.yaml") as (_, url):
    for accept in ({}, {"Accept-Encoding": "gzip"}):
        status, headers, body = get(url + "/metrics", accept)
        assert status == 200 and headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8", headers
        if accept:
            assert headers["Content-Encoding"] == "gzip"
            import gzip
            body = gzip.decompress(body)
        lint = subprocess.run(["promtool", "check", "metrics"], input=body, capture_output=True, check=False)
        # promtool also lints names; node_exporter's own families break its rules, and names are the interface.
        said = [line for line in (lint.stdout + lint.stderr).decode().splitlines() if not line.startswith("node_")]
        assert not said, said

    config = pathlib.Path(folder, "prometheus.yml")
    config.write_text(CONFIG.format(target=url.removeprefix("http://")))
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder}/data",
               f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
    with running(command, base + "/-/ready", seconds=60):
        wait_for("up == 1", 30, lambda: [r for r in query(base, "up") if r["value"][1] == "1"])
        scraped = float(query(base, "scrape_samples_scraped")[0]["value"][1])
        sent = sum(1 for line in get(url + "/metrics")[2].splitlines() if line and not line.startswith(b"#"))
        assert abs(scraped - sent) <= 0.05 * sent, (scraped, sent)
        for name in ("node_load1", "node_cpu_seconds_total", "node_memory_MemTotal_bytes", "vitald_build_info"):
            assert query(base, name), f"{name} did not arrive"
        target = get_json(base + "/api/v1/targets")["data"]["activeTargets"][0]
        assert target["health"] == "up" and not target["lastError"], target
        print(f"Prometheus took {scraped:.0f} samples in {target['lastScrapeDuration'] * 1000:.1f} ms")
