# SPDX-License-Identifier: Apache-2.0
"""A libvirtd of the test's own, with real QEMU guests: in a private mount and network namespace, so that the
host's libvirt and its guests are neither seen nor touched."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import need, skip, wait_for  # noqa: E402

IMAGES = pathlib.Path("/var/lib/libvirt/images")
PRIVATE = ["/etc/libvirt", "/run/libvirt", "/var/lib/libvirt", "/var/log/libvirt", "/var/cache/libvirt"]
QEMU = "/usr/bin/qemu-system-x86_64"
# libvirt starts QEMU as root here: no change of /dev/kvm's owner is needed.
# A /dev of its own for each QEMU is a thing that libvirt cannot make in a chroot, so it is off.
QEMU_CONF = ('user = "root"\ngroup = "root"\nsecurity_driver = "none"\ncgroup_controllers = []\nnamespaces = []\n'
             'stdio_handler = "file"\n')
LIBVIRTD_CONF = 'auth_unix_ro = "none"\nauth_unix_rw = "none"\nunix_sock_ro_perms = "0777"\n'


def enter_namespace():
    """Starts this program again in namespaces of its own; returns in there."""
    need("unshare", "libvirtd", "virsh", "qemu-img", "ip")
    if os.geteuid() != 0:
        skip("needs root: runs a libvirtd of its own")
    if os.environ.get("VITALD_TEST_NAMESPACE") != "1":
        os.environ["VITALD_TEST_NAMESPACE"] = "1"
        os.execvp("unshare", ["unshare", "--mount", "--net", "--propagation", "private", sys.executable, *sys.argv])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for folder in PRIVATE:
        os.makedirs(folder, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", folder], check=True)
    IMAGES.mkdir()
    pathlib.Path("/etc/libvirt/qemu.conf").write_text(QEMU_CONF)
    pathlib.Path("/etc/libvirt/libvirtd.conf").write_text(LIBVIRTD_CONF)


def virsh(*arguments, check=True):
    done = subprocess.run(["virsh", "-q", "-c", "qemu:///system", *arguments], capture_output=True, text=True)
    assert done.returncode == 0 or not check, f"virsh {' '.join(arguments)}: {done.stderr}"
    return done.stdout


class Libvirtd:
    """libvirtd in the foreground; it is talkative, so its words go to a file that goes with the namespace."""

    def __init__(self):
        self.process = None

    def start(self):
        with open("/var/log/libvirt/libvirtd.log", "a") as log:
            self.process = subprocess.Popen(["libvirtd", "--pid-file", "/run/libvirt/libvirtd.pid"],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for("libvirtd answering", 30,
                 lambda: subprocess.run(["virsh", "-q", "version"], capture_output=True).returncode == 0)

    def alive(self):
        return self.process.poll() is None

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        if self.process and self.alive():
            self.thaw()
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()


@contextlib.contextmanager
def libvirtd():
    daemon = Libvirtd()
    daemon.start()
    try:
        yield daemon
    finally:
        if daemon.alive():
            daemon.thaw()
            for name in virsh("list", "--name", check=False).split():
                virsh("destroy", name, check=False)
        daemon.stop()


def can_run(kind):
    """Whether QEMU can run such guests here; KVM needs its device."""
    return kind == "qemu" or os.access("/dev/kvm", os.R_OK | os.W_OK)


def define(name, kind, vcpus=1, current=None):
    disk = IMAGES / f"{name}.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, "8M"], check=True)
    xml = IMAGES / f"{name}.xml"
    xml.write_text(f"""
<domain type='{kind}'>
  <name>{name}</name>
  <metadata><nova:instance xmlns:nova="http://openstack.org/xmlns/libvirt/nova/1.1">
    <nova:name>inst &amp; {name}</nova:name><nova:flavor name="m1.tiny"/></nova:instance></metadata>
  <memory unit='MiB'>32</memory>
  <vcpu current='{current or vcpus}'>{vcpus}</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices>
    <emulator>{QEMU}</emulator>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' cache='none'/><source file='{disk}'/><target dev='vda' bus='virtio'/>
      <serial>SER1</serial>
    </disk>
    <interface type='ethernet'><target dev='tap-{name[:8]}'/><model type='virtio'/></interface>
    <interface type='user'><model type='virtio'/></interface>
    <memballoon model='virtio'><stats period='2'/></memballoon>
    <video><model type='none'/></video>
  </devices>
</domain>
""")
    virsh("define", str(xml))


def domstats(name):
    """{"block.0.rd.bytes": 512, ...}; numbers where they are."""
    out = {}
    for line in virsh("domstats", name, "--nowait").splitlines():
        key, eq, value = line.strip().partition("=")
        if eq:
            out[key] = int(value) if value.lstrip("-").isdigit() else value
    return out


def cpu_seconds(pid):
    """CPU time of all threads of a process, with the nanoseconds of the scheduler."""
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def children(pid):
    """Of all its threads: a worker is the child of the thread that started it."""
    lists = [(task / "children").read_text().split() for task in pathlib.Path(f"/proc/{pid}/task").iterdir()]
    return sorted(int(child) for some in lists for child in some)
