#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Many connections that say nothing, or a little at a time, and come back as soon as they are closed: a scraper is
answered all the while."""

import pathlib
import resource
import subprocess
import sys
import time
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from frozen import timed_scrape  # noqa: E402
from harness import vitald  # noqa: E402

CONNECTIONS = 1000
# A bound on failure, not a measurement: the median is printed.
LATE_S = 3.0
CROWD = """
import asyncio, sys
async def one(port, slow):
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            if slow:
                writer.write(b"GET /metrics HTTP/1.1\\r\\nHost: x\\r\\n")
            await reader.read(1)
            writer.close()
        except OSError:
            await asyncio.sleep(0.2)
async def main(port, many, slow):
    await asyncio.gather(*[one(port, slow) for _ in range(many)])
asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "slow"))
"""


def main():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    for kind in ("idle", "slow"):
        with vitald("--collector.disable-defaults", "--collector.loadavg") as (_, url):
            crowd = subprocess.Popen([sys.executable, "-c", CROWD, str(urllib.parse.urlsplit(url).port), str(CONNECTIONS), kind])
            try:
                time.sleep(1)
                took = []
                for _ in range(8):
                    took.append(timed_scrape(url)[0])
                    time.sleep(0.3)
            finally:
                crowd.kill()
                crowd.wait()
        took.sort()
        print(f"{CONNECTIONS} connections, {kind}: scrapes {took[len(took) // 2] * 1000:.0f} ms, slowest {took[-1] * 1000:.0f} ms")
        assert took[-1] < LATE_S, took


main()
