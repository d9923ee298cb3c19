#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Real guests: vitald's numbers against `virsh domstats` and Debian's libvirt exporter; guests that come and go;
a libvirtd that is killed and comes back."""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from guests import IMAGES, can_run, children, define, domstats, enter_namespace, libvirtd, virsh  # noqa: E402
from harness import free_port, metrics, need, running, vitald, wait_for  # noqa: E402

# domstats key -> (series, factor)
DOMAIN = {
    "state.state": ("libvirt_domain_info_vstate", 1),
    "balloon.maximum": ("libvirt_domain_info_maximum_memory_bytes", 1024),
    "balloon.current": ("libvirt_domain_info_memory_usage_bytes", 1024),
    "vcpu.current": ("libvirt_domain_info_virtual_cpus", 1),
    "vcpu.maximum": ("libvirt_domain_vcpu_maximum", 1),
}
DISK = {
    "rd.bytes": ("read_bytes_total", 1), "rd.reqs": ("read_requests_total", 1), "rd.times": ("read_time_seconds_total", 1e-9),
    "wr.bytes": ("write_bytes_total", 1), "wr.reqs": ("write_requests_total", 1), "wr.times": ("write_time_seconds_total", 1e-9),
    "fl.reqs": ("flush_requests_total", 1), "fl.times": ("flush_time_seconds_total", 1e-9),
    "allocation": ("allocation", 1), "capacity": ("capacity_bytes", 1), "physical": ("physicalsize_bytes", 1),
}
NET = {f"{way}.{key}": (f"{name}_{what}_total", 1)
       for way, name in (("rx", "receive"), ("tx", "transmit"))
       for key, what in (("bytes", "bytes"), ("pkts", "packets"), ("errs", "errors"), ("drop", "drops"))}
VCPU = {"state": ("state", 1), "wait": ("wait_seconds_total", 1e-9)}
# Of Debian's exporter (the kumina lineage): the families that all libvirt exporters have.
COMMON = ["libvirt_up", "libvirt_domains_number", "libvirt_domain_state_code", "libvirt_domain_info_maximum_memory_bytes",
          "libvirt_domain_info_memory_usage_bytes", "libvirt_domain_info_virtual_cpus",
          *(f"libvirt_domain_block_stats_{way}_{what}_total" for way in ("read", "write") for what in ("bytes", "requests")),
          *(f"libvirt_domain_interface_stats_{name}" for name, _ in NET.values())]


# All names of the Tinkoff and inovex exporters that a running guest with a disk, a limit of it and an interface has; what a
# guest's own balloon driver would tell is absent here, since the firmware has none.
LIMITS = ["size_iops_bytes", *(f"limit_{burst}{way}_{what}" for burst in ("", "burst_") for way in ("total", "read", "write")
                               for what in ("bytes", "requests")),
          *(f"limit_burst_{way}_bytes_length_seconds" for way in ("total", "read", "write")),
          *(f"limit_burst_length_{way}_requests_seconds" for way in ("total", "read", "write"))]
NAMES = ["libvirt_up", "libvirt_versions_info", "libvirt_domains", *(f"libvirt_pool_info_{n}_bytes" for n in (
    "capacity", "allocation", "available")), *(f"libvirt_storage_pool_{n}" for n in (
        "state", "capacity_bytes", "allocation_bytes", "available_bytes", "timed_out")),
    *(f"libvirt_domain_{n}" for n in ("info", "info_meta", "info_state", "openstack_info", "timed_out", "block_meta",
                                      "block_stats_info", "interface_meta", "interface_stats_info", "vcpu_current", "vcpu_maximum",
                                      "vcpu_cpu", "vcpu_state", *(f"vcpu_{n}_seconds_total" for n in ("time", "delay", "wait")))),
    *(f"libvirt_domain_info_{n}" for n in ("maximum_memory_bytes", "memory_usage_bytes", "virtual_cpus", "vstate",
                                           "cpu_time_seconds_total")),
    *(f"libvirt_domain_memory_stats_{n}_bytes" for n in ("actual_balloon", "rss", "current_balloon", "maximum")),
    *(f"libvirt_domain_block_stats_{n}" for n in (*(n for n, _ in DISK.values()), *LIMITS)),
    *(f"libvirt_domain_interface_stats_{n}" for n, _ in NET.values()),
    *(f"libvirt_domain_job_info_{n}" for n in ("type", "time_elapsed_seconds", "time_remaining_seconds", *(
        f"{of}_{n}_bytes" for of in ("data", "memory", "file") for n in ("total", "processed", "remaining"))))]


def series(samples, name, **labels):
    """The values of all series with that name and at least these labels."""
    return [v for (n, have), v in samples.items() if n == name and labels.items() <= dict(have).items()]


def one(samples, name, **labels):
    found = series(samples, name, **labels)
    assert len(found) == 1, f"{name} {labels}: {len(found)} series"
    return found[0]


def close(a, b):
    return abs(a - b) <= 1e-9 * max(1, abs(a), abs(b))


def compare_with_domstats(samples, name):
    stats, compared = domstats(name), 0

    def check(key, metric, factor, **labels):
        nonlocal compared
        got = one(samples, metric, domain=name, **labels)
        assert close(got, stats[key] * factor), f"{name} {metric}: {got}, domstats {key} {stats[key]}"
        compared += 1

    for key, (metric, factor) in DOMAIN.items():
        check(key, metric, factor)
    for n in range(stats["block.count"]):
        disk = stats[f"block.{n}.name"]
        for key, (suffix, factor) in DISK.items():
            check(f"block.{n}.{key}", f"libvirt_domain_block_stats_{suffix}", factor, target_device=disk)
    nics = [n for n in range(stats["net.count"]) if f"net.{n}.name" in stats]
    assert len(nics) == 1, stats  # the user network has no device on the host, and no series
    for key, (suffix, factor) in NET.items():
        check(f"net.{nics[0]}.{key}", f"libvirt_domain_interface_stats_{suffix}", factor,
              target_device=stats[f"net.{nics[0]}.name"])
    for n in range(stats["vcpu.current"]):
        for key, (suffix, factor) in VCPU.items():
            check(f"vcpu.{n}.{key}", f"libvirt_domain_vcpu_{suffix}", factor, vcpu=str(n))
        # Read from /proc, where libvirt reads it too, in ticks of 10 ms.
        time = one(samples, "libvirt_domain_vcpu_time_seconds_total", domain=name, vcpu=str(n))
        assert abs(time - stats[f"vcpu.{n}.time"] / 1e9) < 0.03, f"{name} vcpu {n}: {time}, {stats[f'vcpu.{n}.time']}"
        delay = one(samples, "libvirt_domain_vcpu_delay_seconds_total", domain=name, vcpu=str(n))
        assert 0 <= stats[f"vcpu.{n}.delay"] / 1e9 - delay < 0.05, f"{name} vcpu {n}: {delay}"
    # These go on a little while the guest is paused.
    assert 0 < one(samples, "libvirt_domain_info_cpu_time_seconds_total", domain=name) <= stats["cpu.time"] / 1e9
    assert one(samples, "libvirt_domain_memory_stats_rss_bytes", domain=name) > 1e6
    for key in ("unused", "available", "usable", "swap_in"):  # the firmware has no balloon driver: absent, not 0
        assert f"balloon.{key}" not in stats
        assert not series(samples, f"libvirt_domain_memory_stats_{key}_bytes", domain=name)
    return compared


def compare_with_exporter(samples):
    need("prometheus-libvirt-exporter")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with running(["prometheus-libvirt-exporter", f"--web.listen-address=127.0.0.1:{port}"], url + "/metrics"):
        types, theirs = metrics(url)
    compared = 0
    for (name, labels), value in theirs.items():
        if name not in COMMON:
            continue
        # It puts the source of a device on every series; ours is in the _meta series.
        wanted = {k: v for k, v in labels if k not in ("source_file", "source_bridge")}
        got = one(samples, name, **wanted)
        assert close(got, value), f"{name} {labels}: {got}, the exporter says {value}"
        compared += 1
    return compared


def main():
    enter_namespace()
    kinds = [kind for kind in ("qemu", "kvm") if can_run(kind)]
    with libvirtd() as daemon:
        names = [f"{kind}-web" for kind in kinds]
        for name, kind in zip(names, kinds):
            define(name, kind, vcpus=2)
            virsh("start", name)
            virsh("blkdeviotune", name, "vda", "--total-bytes-sec", "10485760", "--write-iops-sec-max", "700", "--write-iops-sec",
                  "500")
        define("idle", "qemu", vcpus=4, current=2)
        virsh("pool-create-as", "p", "dir", "--target", str(IMAGES))

        flags = ["--web.max-age=0", "--collector.disable-defaults", "--collector.libvirt",
                 "--collector.libvirt.slow-interval=0", "--collector.libvirt.inventory-interval=1s", "--collector.libvirt.compat=tinkoff,inovex,kumina"]
        with vitald(*flags) as (agent, url):
            def scrape():
                return metrics(url)[1]

            def up():
                return series(scrape(), "libvirt_up") == [1]

            wait_for("libvirt_up 1", 20, up)
            for name in names:  # until the firmware has read the disk; then nothing moves any more
                wait_for(f"{name} reading its disk", 60, lambda: domstats(name)["block.0.rd.reqs"] > 0)
                virsh("suspend", name)
            samples = scrape()
            compared = sum(compare_with_domstats(samples, name) for name in names)
            print(f"{compared} values equal to virsh domstats ({', '.join(kinds)})")
            print(f"{compare_with_exporter(samples)} values equal to prometheus-libvirt-exporter")
            assert one(samples, "libvirt_domain_info_meta", domain=names[0], flavor="m1.tiny",
                       instance_name=f"inst & {names[0]}") == 1
            assert one(samples, "libvirt_domain_block_meta", domain=names[0], target_device="vda", serial="SER1",
                       bus="virtio", driver_type="qcow2") == 1
            assert one(samples, "libvirt_domain_interface_stats_info", domain=names[0], interface_type="ethernet") == 1
            assert one(samples, "libvirt_domain_info_vstate", domain="idle") == 5
            assert one(samples, "libvirt_domain_info_maximum_memory_bytes", domain="idle") == 32 << 20
            for name in ("libvirt_domain_info_virtual_cpus", "libvirt_domain_vcpu_current"):
                assert one(samples, name, domain="idle") == domstats("idle")["vcpu.current"] == 2, name
            assert one(samples, "libvirt_domain_vcpu_maximum", domain="idle") == domstats("idle")["vcpu.maximum"] == 4
            assert one(samples, "libvirt_domains") == len(names)
            wait_for("pools", 20, lambda: series(scrape(), "libvirt_pool_info_capacity_bytes"))
            samples = scrape()
            missing = {n for n in NAMES} - {n for n, _ in samples}
            assert not missing, f"names of the exporters: {sorted(missing)} are missing"
            print(f"{len(NAMES)} names of Tinkoff's and inovex' exporters are there")
            pool = dict(line.split(":", 1) for line in virsh("pool-info", "p", "--bytes").splitlines() if ":" in line)
            assert one(samples, "libvirt_pool_info_capacity_bytes", pool="p") == int(pool["Capacity"])
            assert one(samples, "libvirt_storage_pool_state", storage_pool="p") == 2, pool
            for suffix, want in (("limit_total_bytes", 10485760), ("limit_write_requests", 500),
                                 ("limit_burst_write_requests", 700), ("limit_read_bytes", 0)):
                assert one(samples, f"libvirt_domain_block_stats_{suffix}", domain=names[0], target_device="vda") == want, suffix
            for name, kind in zip(names, kinds):
                stats = domstats(name)
                assert one(samples, "vitald_guest_id", domain=name) == int(virsh("domid", name))
                assert one(samples, "libvirt_domain_timed_out", domain=name) == 0
                if "vcpu.0.exits.sum" in stats:  # KVM's own, which are asked for once a minute
                    exits = one(samples, "vitald_guest_exits_total", domain=name)
                    assert 0 < exits <= sum(stats[f"vcpu.{n}.exits.sum"] for n in (0, 1)), exits
                    assert series(samples, "vitald_guest_exits_by_kind_total", domain=name, kind="io")
                if "cpu.haltpoll.success.time" in stats:
                    assert close(one(samples, "vitald_guest_halt_poll_success_seconds_total", domain=name),
                                 stats["cpu.haltpoll.success.time"] / 1e9)

            # A guest whose hypervisor does not answer: what libvirtd knows without asking it is there all the same.
            qemu = int(pathlib.Path(f"/run/libvirt/qemu/{names[0]}.pid").read_text())
            os.kill(qemu, signal.SIGSTOP)
            try:
                wait_for("that it does not answer", 30, lambda: one(scrape(), "libvirt_domain_timed_out", domain=names[0]) == 1)
                assert series(scrape(), "libvirt_domain_info_memory_usage_bytes", domain=names[0])
            finally:
                os.kill(qemu, signal.SIGCONT)
            wait_for("that it answers", 30, lambda: one(scrape(), "libvirt_domain_timed_out", domain=names[0]) == 0)

            virsh("resume", names[0])
            wait_for("that it runs", 5, lambda: series(scrape(), "libvirt_domain_info_vstate", domain=names[0]) == [1])

            # Guests come and go; each is seen by the next scrape.
            virsh("destroy", names[0])
            assert one(scrape(), "libvirt_domain_info_vstate", domain=names[0]) == 5
            assert not series(scrape(), "libvirt_domain_vcpu_time_seconds_total", domain=names[0])
            virsh("start", names[0])
            samples = scrape()
            assert one(samples, "libvirt_domain_info_vstate", domain=names[0]) == 1
            assert len(series(samples, "libvirt_domain_vcpu_time_seconds_total", domain=names[0])) == 2
            virsh("domrename", "idle", "resting \u00e9")
            wait_for("its new name", 5, lambda: series(scrape(), "libvirt_domain_info_vstate", domain="resting \u00e9") == [5])
            wait_for("the end of the old one", 5, lambda: not series(scrape(), "libvirt_domain_info_vstate", domain="idle"))
            virsh("domrename", "resting \u00e9", "idle")
            # Its hypervisor dies: what is left of it is that it is shut off.
            os.kill(int(pathlib.Path(f"/run/libvirt/qemu/{names[0]}.pid").read_text()), signal.SIGKILL)
            wait_for("that it died", 10, lambda: series(scrape(), "libvirt_domain_info_vstate", domain=names[0]) == [5])
            wait_for("its number's end", 5, lambda: not series(scrape(), "vitald_guest_id", domain=names[0]))
            virsh("start", names[0])

            # libvirtd hangs: nobody waits for it, and its numbers are there again when it goes on.
            daemon.freeze()
            for _ in range(3):
                began = time.monotonic()
                scrape()
                assert time.monotonic() - began < 2, "a scrape waits for libvirtd"
            wait_for("that it is late", 30, lambda: one(scrape(), "node_scrape_collector_success", collector="libvirt") == 0)
            daemon.thaw()
            wait_for("libvirt_up 1 after the freeze", 60, up)
            wait_for("its guests", 20, lambda: series(scrape(), "libvirt_domain_info_vstate", domain=names[0]) == [1])
            starts = one(scrape(), "vitald_worker_starts_total", collector="libvirt")

            virsh("undefine", "idle")
            assert not series(scrape(), "libvirt_domain_info_vstate", domain="idle")

            # libvirtd dies and comes back; the guests live on.
            daemon.kill()
            wait_for("libvirt_up 0", 10, lambda: series(scrape(), "libvirt_up") == [0])
            samples = scrape()
            assert not series(samples, "libvirt_domain_info_vstate")
            assert one(samples, "node_scrape_collector_success", collector="libvirt") == 0
            daemon.start()
            wait_for("libvirt_up 1 again", 40, up)
            samples = scrape()
            assert one(samples, "vitald_libvirt_reconnects_total") >= 1
            assert one(samples, "vitald_worker_starts_total", collector="libvirt") == starts  # the worker lived through it
            assert one(samples, "libvirt_domain_info_vstate", domain=names[0]) == 1
            worker_rss(agent.pid)

        # What costs the hypervisor's time is asked for once an hour here, but a disk that is plugged in has its numbers as
        # soon as libvirt has told of it.
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", IMAGES / "more.qcow2", "8M"], check=True)
        with vitald(*(f for f in flags if "slow-interval" not in f), "--collector.libvirt.slow-interval=1h") as (_, url):
            def disks():
                return series(metrics(url)[1], "libvirt_domain_block_stats_read_requests_total", domain=names[0])

            wait_for("the guest's disk", 20, lambda: len(disks()) == 1)
            virsh("attach-disk", names[0], str(IMAGES / "more.qcow2"), "sda", "--targetbus", "usb", "--subdriver",
                  "qcow2", "--live")
            wait_for("the disk that was plugged in", 3, lambda: len(disks()) == 2)
            # It ends and starts again, and nobody looks in between: nothing of its former life is left.
            virsh("destroy", names[0])
            virsh("start", names[0])
            assert len(disks()) == 1, disks()

        # As in a container: the host's sockets and pid files lie below --path.rootfs.
        with tempfile.TemporaryDirectory() as root:
            os.mkdir(f"{root}/run")
            os.symlink("/run/libvirt", f"{root}/run/libvirt")
            define("hot", "qemu", vcpus=4, current=2)
            virsh("start", "hot")
            with vitald(*flags, f"--path.rootfs={root}") as (_, url):
                def vcpus():
                    return series(metrics(url)[1], "libvirt_domain_info_virtual_cpus", domain="hot")

                wait_for("libvirt_up 1 through another root", 20, lambda: series(metrics(url)[1], "libvirt_up") == [1])
                # Virtual CPUs are asked for once a minute, and where one was plugged in.
                wait_for("its virtual CPUs", 5, lambda: vcpus() == [2])
                virsh("setvcpus", "hot", "3", "--live")
                wait_for("the one that was plugged in", 5, lambda: vcpus() == [3])


def worker_rss(agent):
    for pid in [agent, *children(agent)]:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        rss = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
        print(f"{'agent' if pid == agent else 'worker'}: {rss} KiB resident")


main()
