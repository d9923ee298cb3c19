# SPDX-License-Identifier: Apache-2.0
"""What every test here asks: does a scrape still come in time while something hangs?"""

import pathlib
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import metrics  # noqa: E402

FREEZE, THAW = signal.SIGUSR1, signal.SIGUSR2  # for fuse_server.py

# A bound on failure, not a measurement: Prometheus gives up after 10 s, node_exporter would never answer.
DEADLINE_S = 3.0


def timed_scrape(url):
    began = time.monotonic()
    _, samples = metrics(url)
    return time.monotonic() - began, samples


def scrapes_in_time(url, seconds, enough=lambda samples: False):
    """Scrapes for some seconds or until enough(samples). Every scrape in time, and the loadavg in every one."""
    end, slowest, samples = time.monotonic() + seconds, 0.0, {}
    while time.monotonic() < end:
        took, samples = timed_scrape(url)
        slowest = max(slowest, took)
        assert took < DEADLINE_S, f"a scrape took {took:.2f} s"
        assert ("node_load1", ()) in samples
        if enough(samples):
            break
        time.sleep(0.1)
    return slowest, samples
