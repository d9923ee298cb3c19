# SPDX-License-Identifier: Apache-2.0
"""A host of any size as a folder: /proc, /sys, /run/udev/data and a root for --path.*, with as many CPUs, disks and
network interfaces as wanted. What does not grow with them is the running kernel's own text."""

import os
import pathlib
import shutil

# Read by collectors that are on by default and the same size on every host.
COPIED = """meminfo vmstat loadavg version mdstat net/netstat net/snmp net/snmp6 net/sockstat net/sockstat6 net/udp net/udp6
            pressure/cpu pressure/io pressure/memory sys/fs/file-nr sys/kernel/random/entropy_avail
            sys/kernel/random/poolsize sys/net/netfilter/nf_conntrack_count sys/net/netfilter/nf_conntrack_max""".split()

THREADS, CORES = 2, 32  # per core, per package


class Host:
    def __init__(self, folder, cpus, disks, links):
        self.folder = pathlib.Path(folder)
        self.cpus, self.disks, self.links = range(cpus), range(disks), range(links)
        self.time = 1000
        self.open = {}  # what changes: path -> descriptor
        self.files = 0
        for name in COPIED:
            if os.path.exists(f"/proc/{name}"):
                self.put(f"proc/{name}", pathlib.Path(f"/proc/{name}").read_bytes())
        self.make_root()
        for cpu in self.cpus:
            self.make_cpu(cpu)
        self.make_packages()
        for disk in self.disks:
            self.make_disk(disk)
        for link in self.links:
            self.make_link(link)
        self.put("proc/net/arp", "IP address       HW type     Flags       HW address            Mask     Device\n" + "".join(
            f"10.{n >> 8}.{n & 255}.1{'':8} 0x1         0x2         {self.address(n)}     *        {self.link_name(n)}\n"
            for n in self.links))
        self.tick()

    def flags(self):
        return [f"--path.procfs={self.folder}/proc", f"--path.sysfs={self.folder}/sys",
                f"--path.rootfs={self.folder}/root", f"--path.udev.data={self.folder}/udev"]

    def put(self, name, text):
        path = self.folder / name
        try:
            file = open(path, "wb")
        except FileNotFoundError:
            path.parent.mkdir(parents=True)
            file = open(path, "wb")
        with file:
            file.write(text if isinstance(text, bytes) else text.encode())
        self.files += 1

    def put_all(self, folder, attributes):
        for name, value in attributes.items():
            self.put(f"{folder}/{name}", f"{value}\n")

    def moves(self, name, text):
        """In place, as the kernel's files change: who has it open sees the new text."""
        if name not in self.open:
            self.put(name, "")
            self.open[name] = os.open(self.folder / name, os.O_RDWR)
        os.pwrite(self.open[name], text.encode(), 0)

    def close(self):
        for fd in self.open.values():
            os.close(fd)
        shutil.rmtree(self.folder)

    def make_root(self):
        self.put("root/etc/os-release", 'NAME="Debian GNU/Linux"\nID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian 12"\n')
        self.put("proc/1/mounts", "/dev/sda1 / ext4 rw,relatime 0 0\ntmpfs /run tmpfs rw,nosuid,nodev 0 0\n")
        self.put("proc/1/mountinfo", "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
                                     "23 22 0:21 / /run rw,nosuid,nodev shared:2 - tmpfs tmpfs rw\n")
        (self.folder / "root/run").mkdir()
        self.put_all("sys/class/dmi/id", {"bios_vendor": "Example", "product_name": "Synthetic", "sys_vendor": "Example"})
        self.put_all("sys/devices/system/clocksource/clocksource0",
                     {"available_clocksource": "tsc hpet acpi_pm", "current_clocksource": "tsc"})
        cpus = f"0-{len(self.cpus) - 1}" if len(self.cpus) > 1 else "0"
        self.put_all("sys/devices/system/cpu", {"online": cpus, "present": cpus, "possible": cpus, "isolated": ""})

    # CPUs, and what servers have one of for each: a thermal zone per package, a cooling device per CPU.
    def make_cpu(self, cpu):
        folder = f"sys/devices/system/cpu/cpu{cpu}"
        core, package = cpu // THREADS % CORES, cpu // (THREADS * CORES)
        if cpu:
            self.put(f"{folder}/online", "1\n")
        self.put_all(f"{folder}/topology", {
            "core_id": core, "physical_package_id": package, "die_id": 0,
            "thread_siblings_list": f"{cpu // THREADS * THREADS}-{cpu // THREADS * THREADS + 1}"})
        self.put_all(f"{folder}/thermal_throttle", {
            "core_throttle_count": 3, "core_throttle_total_time_ms": 9, "package_throttle_count": 5,
            "package_throttle_total_time_ms": 12})
        self.put_all(f"sys/devices/system/cpu/cpufreq/policy{cpu}", {
            "affected_cpus": cpu, "related_cpus": cpu, "cpuinfo_min_freq": 800000, "cpuinfo_max_freq": 3900000,
            "cpuinfo_transition_latency": 0, "scaling_min_freq": 800000, "scaling_max_freq": 3900000,
            "scaling_available_governors": "performance powersave", "scaling_driver": "intel_pstate",
            "scaling_governor": "powersave", "scaling_setspeed": "<unsupported>"})
        (self.folder / folder / "cpufreq").symlink_to(f"../cpufreq/policy{cpu}")
        self.put_all(f"sys/class/thermal/cooling_device{cpu}", {"type": "Processor", "cur_state": 0, "max_state": 10})

    def make_packages(self):
        for package in range((len(self.cpus) - 1) // (THREADS * CORES) + 1):
            cores = min(CORES, (len(self.cpus) - package * THREADS * CORES + 1) // THREADS)
            chip = {"name": "coretemp"}
            for n in range(cores + 1):
                chip |= {f"temp{n + 1}_label": f"Core {n - 1}" if n else f"Package id {package}",
                         f"temp{n + 1}_input": 41000 + n, f"temp{n + 1}_max": 82000, f"temp{n + 1}_crit": 92000,
                         f"temp{n + 1}_crit_alarm": 0}
            device = self.folder / f"sys/devices/platform/coretemp.{package}"
            self.put_all(f"sys/devices/platform/coretemp.{package}/hwmon/hwmon{package}", chip)
            (device / f"hwmon/hwmon{package}/device").symlink_to("../../../coretemp.%d" % package)
            hwmon = self.folder / "sys/class/hwmon"
            hwmon.mkdir(parents=True, exist_ok=True)
            (hwmon / f"hwmon{package}").symlink_to(device / f"hwmon/hwmon{package}")
            self.put_all(f"sys/class/thermal/thermal_zone{package}", {
                "type": "x86_pkg_temp", "temp": 43000, "policy": "step_wise", "mode": "enabled"})
            self.put_all(f"sys/class/powercap/intel-rapl:{package}", {
                "name": f"package-{package}", "energy_uj": 123456789, "max_energy_range_uj": 262143328850})
            self.put_all(f"sys/class/powercap/intel-rapl:{package}:0", {
                "name": "dram", "energy_uj": 23456789, "max_energy_range_uj": 65712999613})
            node = f"sys/devices/system/node/node{package}"
            self.put(f"{node}/meminfo", "".join(
                f"Node {package} {what + ':':15} {n + 1000 * package:8} kB\n"
                for n, what in enumerate("MemTotal MemFree MemUsed Active Inactive Dirty Writeback FilePages".split())))
            self.put(f"{node}/numastat", "".join(f"{what} {n * 1000}\n" for n, what in enumerate(
                "numa_hit numa_miss numa_foreign interleave_hit local_node other_node".split())))
            first = package * THREADS * CORES
            self.put(f"{node}/cpulist", f"{first}-{first + cores * THREADS - 1}\n")

    @staticmethod
    def disk_name(n):
        name = ""
        while n >= 0:
            name = chr(ord("a") + n % 26) + name
            n = n // 26 - 1
        return "sd" + name

    def make_disk(self, n):
        name = self.disk_name(n)
        self.put_all(f"sys/block/{name}", {"dev": f"8:{16 * n}", "size": 7814037168, "queue/rotational": 1,
                                           "queue/logical_block_size": 512})
        self.put(f"udev/b8:{16 * n}", "S:disk/by-id/wwn-0x5000c500%08x\nI:2217593\n" % n + "".join(f"E:{p}\n" for p in (
            "ID_ATA=1", "ID_TYPE=disk", "ID_BUS=ata", "ID_MODEL=EXAMPLE_4000", f"ID_SERIAL=EXAMPLE_4000_{n:06}",
            f"ID_SERIAL_SHORT={n:06}", "ID_REVISION=SN04", "ID_ATA_WRITE_CACHE=1", "ID_ATA_WRITE_CACHE_ENABLED=1",
            "ID_ATA_FEATURE_SET_SMART=1", "ID_ATA_ROTATION_RATE_RPM=7200", "ID_WWN=0x5000c500%08x" % n,
            f"ID_PATH=pci-0000:00:17.0-ata-{n}", f"ID_PART_TABLE_UUID=00000000-0000-4000-8000-{n:012}", "ID_PART_TABLE_TYPE=gpt")))

    @staticmethod
    def link_name(n):
        return f"eth{n}"

    @staticmethod
    def address(n):
        return f"02:00:5e:00:{n >> 8:02x}:{n & 255:02x}"

    def make_link(self, n):
        self.put_all(f"sys/class/net/{self.link_name(n)}", {
            "addr_assign_type": 0, "addr_len": 6, "address": self.address(n), "broadcast": "ff:ff:ff:ff:ff:ff", "carrier": 1,
            "carrier_changes": 2, "carrier_up_count": 1, "carrier_down_count": 1, "dev_id": "0x0", "dev_port": 0,
            "dormant": 0, "duplex": "full", "flags": "0x1003", "ifalias": "", "ifindex": n + 2, "iflink": n + 2,
            "link_mode": 0, "mtu": 1500, "name_assign_type": 4, "netdev_group": 0, "operstate": "up", "speed": 10000,
            "tx_queue_len": 1000, "type": 1})

    def tick(self):
        """A second passes: all CPUs run, a fourth of disks and interfaces is busy."""
        self.time += 1
        t = self.time
        cpus = [(f"cpu{c}", t * 7 + c * 3, 102, t * 3 + c, 90 * t + c, 665, 0, 60 + c, 0, 5, 0) for c in self.cpus]
        total = ["cpu "] + [sum(row[i] for row in cpus) for i in range(1, 11)]
        interrupts = 256 + 2 * len(self.cpus)
        text = "".join(" ".join(map(str, row)) + "\n" for row in [total, *cpus])
        self.moves("proc/stat", f"{text}intr {t * 100} {'0 ' * 32}{'7 ' * interrupts}\nctxt {t * 991}\nbtime 1764000000\n"
                                f"processes {t * 3}\nprocs_running 2\nprocs_blocked 0\nsoftirq {t * 50} 0 1 2 3 4 5 6 7 8 {t}\n")
        self.moves("proc/schedstat", f"version 15\ntimestamp {4295000000 + t}\n" + "".join(
            f"cpu{c} 0 0 0 0 0 0 {t * 10 ** 9 + c} {t * 10 ** 6 + c} {t * 40 + c}\n"
            f"domain0 {'ffffffff,' * (len(self.cpus) // 32)}ffffffff {'0 ' * 36}\n" for c in self.cpus))
        self.moves("proc/net/softnet_stat", "".join(
            f"{t * 20 + c:08x} {'00000000 ' * 11}{c:08x} 00000000 00000000\n" for c in self.cpus))
        row = " ".join(f"{t * 3 + c:10}" for c in self.cpus)
        self.moves("proc/softirqs", " " * 20 + " ".join(f"CPU{c:<7}" for c in self.cpus) + "\n" + "".join(
            f"{name + ':':>12} {row}\n" for name in "HI TIMER NET_TX NET_RX BLOCK IRQ_POLL TASKLET SCHED HRTIMER RCU".split()))
        self.moves("proc/interrupts", " " * 11 + " ".join(f"CPU{c:<7}" for c in self.cpus) + "\n" + "".join(
            f"{irq:4}: {row}  IR-PCI-MSI {irq}-edge      nvme0q{irq}\n" for irq in range(16, 48)) + "".join(
            f"{name:>4}: {row}  {what}\n" for name, what in (("NMI", "Non-maskable interrupts"), ("LOC", "Local timer interrupts"),
                                                          ("RES", "Rescheduling interrupts"), ("TLB", "TLB shootdowns"))))
        for c in self.cpus:
            self.moves(f"sys/devices/system/cpu/cpufreq/policy{c}/scaling_cur_freq", f"{2000000 + (t * 1009 + c * 31) % 999999}\n")
        self.moves("proc/diskstats", "".join(self.disk_rows(n, t if n % 4 == 0 else 0) for n in self.disks))
        self.moves("proc/net/dev", "Inter-|   Receive                                                |  Transmit\n"
                   " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls "
                   "carrier compressed\n" + "".join(self.link_row(n, t if n % 4 == 0 else 0) for n in self.links))

    def disk_rows(self, n, t):
        def numbers(k):
            return f"{678445 + t + k} {599 + k} {2432583 + 8 * t} {1084 + t} {54507 + t} 9856 {1029511 + 8 * t} {9157 + t} 0 " \
                   f"{76320 + t} {90670 + 2 * t} 0 0 0 0 {10460 + t} {377 + t}"
        name = self.disk_name(n)
        return f"   8 {16 * n:7} {name} {numbers(n)}\n   8 {16 * n + 1:7} {name}1 {numbers(n)}\n"

    def link_row(self, n, t):
        return f"{self.link_name(n):>6}: {6491016800 + 1500 * t + n} {5209930 + t} 0 0 0 0 0 {12 + n} " \
               f"{465431200 + 900 * t + n} {434510 + t} 0 0 0 0 0 0\n"
