#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A frozen libvirtd costs the guests' numbers and nothing else, and they come back by themselves."""

import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "virt"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from frozen import scrapes_in_time, timed_scrape  # noqa: E402
from guests import children, define, enter_namespace, libvirtd, virsh  # noqa: E402
from harness import patience, vitald, wait_for  # noqa: E402


def value(samples, name, **wanted):
    found = [v for (n, labels), v in samples.items() if n == name and wanted.items() <= dict(labels).items()]
    return found[0] if len(found) == 1 else None


def main():
    enter_namespace()
    with libvirtd() as daemon:
        define("frozen-web", "qemu")
        virsh("start", "frozen-web")
        flags = ["--web.max-age=0", "--collector.disable-defaults", "--collector.loadavg", "--collector.libvirt"]
        with vitald(*flags) as (agent, url):
            wait_for("the guest", 20, lambda: value(timed_scrape(url)[1], "libvirt_domain_info_vstate") == 1)
            worker = children(agent.pid)

            # First the last numbers stay, with their age; then the worker is killed at its deadline of 5 s and
            # the next one says that libvirt does not answer.
            daemon.freeze()
            began = time.monotonic()
            slowest, samples = scrapes_in_time(url, 3, lambda s: value(s, "node_scrape_collector_success") == 0)
            if value(samples, "libvirt_up") == 1:
                assert value(samples, "libvirt_domain_info_vstate") == 1
                assert value(samples, "vitald_collector_age_seconds", collector="libvirt") > 1
            slower, samples = scrapes_in_time(
                url, 30, lambda s: value(s, "libvirt_domain_info_vstate") is None
                and value(s, "vitald_worker_starts_total") == 2)
            noticed = time.monotonic() - began
            assert value(samples, "vitald_worker_deadline_kills_total") == 1, samples
            assert value(samples, "node_scrape_collector_success", collector="libvirt") == 0
            assert value(samples, "libvirt_up") == 0
            assert value(samples, "libvirt_domain_info_vstate") is None
            assert children(agent.pid) != worker
            # The new worker waits for libvirtd in a thread and goes on answering: no kill, no restart any more.
            slow, samples = scrapes_in_time(url, 3)
            assert value(samples, "vitald_worker_starts_total") == 2
            print(f"frozen: slowest scrape {max(slowest, slower, slow) * 1000:.0f} ms, "
                  f"libvirt_up 0 after {noticed:.1f} s")

            daemon.thaw()
            began = time.monotonic()
            # libvirtd has clients to answer that are long gone. Once in many runs it dies of that, and its unit would
            # start it anew.
            back = lambda s: value(s, "libvirt_domain_info_vstate") == 1 or not daemon.alive()  # noqa: E731
            scrapes_in_time(url, 40, back)
            if not daemon.alive():
                print(f"libvirtd itself ended with {daemon.process.returncode}; it is started again")
                daemon.start()
                scrapes_in_time(url, 40, lambda s: value(s, "libvirt_domain_info_vstate") == 1)
            _, samples = timed_scrape(url)
            assert value(samples, "libvirt_up") == 1
            assert value(samples, "libvirt_domain_info_vstate") == 1
            assert value(samples, "node_scrape_collector_success", collector="libvirt") == 1
            print(f"thawed: back after {time.monotonic() - began:.1f} s")

            # SIGTERM ends agent and worker at once, also while libvirtd hangs.
            daemon.freeze()
            timed_scrape(url)
            pids = [agent.pid, *children(agent.pid)]
            took = agent.stop()
            assert took < patience(2), f"{took:.1f} s to end"
            assert not any(pathlib.Path(f"/proc/{pid}").exists() for pid in pids)
            print(f"ended in {took * 1000:.0f} ms")


main()
