#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The Debian package: built from this binary, linted, its unit rated, and in a clean chroot installed, upgraded with a
changed configuration, removed and purged, beside node_exporter's. What cannot be tried here is said and skipped."""

import os
import pathlib
import re
import shutil
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import TOP, need, skip, skip_sanitized, which  # noqa: E402
from packages import newer, package, run  # noqa: E402

need("dpkg-buildpackage", "dh", "dpkg-deb")
skip_sanitized("what ships has none, and its libraries are in no package or image")
if os.geteuid() != 0:
    skip("only root may make chroots")


def build(folder):
    one, two = (package(folder, name) for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes(), "two packages of one source differ"
    return one


def lint(deb):
    if not which("lintian"):
        return print("SKIPPED: lintian is not installed")
    # "1" with --fail-on; what is informational is shown nowhere.
    done = run("lintian", "--allow-root", "--tag-display-limit", "0", "--fail-on", "error,warning", deb, ok=False)
    assert done.returncode == 0, done.stdout
    print("lintian: no error, no warning")


def rate_unit():
    if not which("systemd-analyze"):
        return print("SKIPPED: systemd-analyze is not installed")
    done = run("systemd-analyze", "security", "--offline=true", TOP / "deploy/systemd/vitald.service")
    exposure = float(re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)[1])
    print(f"systemd-analyze security: {exposure}")
    assert exposure <= 2.5, done.stdout


class Chroot:
    def __init__(self, root):
        self.root = root

    def __call__(self, *argv, ok=True):
        return run("chroot", self.root, *argv, ok=ok)

    def exists(self, path):
        return os.path.lexists(f"{self.root}{path}")

    def read(self, path):
        return pathlib.Path(f"{self.root}{path}").read_text()


def make_chroot(deb, root):
    """What the package depends on and no more, and node_exporter."""
    depends = run("dpkg-deb", "-f", deb, "Depends", "Pre-Depends").stdout
    names = {re.split(r"[ |(]", d.strip(), maxsplit=1)[0] for d in re.sub(r"^[\w-]+:", ",", depends, flags=re.M).split(",")}
    wanted = ",".join(sorted(names - {""}) + ["prometheus-node-exporter"])
    release = re.search(r"^VERSION_CODENAME=(\w+)", pathlib.Path("/etc/os-release").read_text(), re.M)[1]
    done = run("mmdebstrap", "--mode=root", "--variant=apt", f"--include={wanted}", release, root, ok=False)
    return None if done.returncode == 0 else done.stderr[-500:]


def live(deb, folder):
    root = folder / "root"
    if not which("mmdebstrap"):
        return print("SKIPPED: mmdebstrap is not installed: the package was not installed anywhere")
    if why := make_chroot(deb, root):
        return print(f"SKIPPED: no clean chroot could be made, the package was not installed anywhere: {why}")
    here = Chroot(root)
    for file in (deb, newer(deb, folder)):
        shutil.copy(file, root / file.name)
    mounts = [root / "proc", root / "sys"]
    for mount in mounts:
        run("mount", "--bind", f"/{mount.name}", mount)
    try:
        use(here, deb)
    finally:
        for mount in mounts:
            run("umount", mount)


def use(here, deb):
    changed = "# changed by the administrator\n"

    here("dpkg", "-i", f"/{deb.name}")
    user = here("getent", "passwd", "vitald").stdout.split(":")
    assert int(user[2]) < 1000 and user[6].strip() == "/usr/sbin/nologin", user
    assert here.exists("/etc/systemd/system/multi-user.target.wants/vitald.service"), "the service is not enabled"
    listed = here("dpkg-query", "-W", "-f", "${Conffiles}", "vitald").stdout
    for file in ("/etc/vitald/vitald.yaml", "/etc/default/vitald", "/etc/vitald/rules/disk.yaml"):
        assert f" {file} " in listed, f"{file} is no conffile: {listed}"
    assert not here.exists("/usr/lib/x86_64-linux-gnu/libvirt.so.0"), "a small host got libvirt"
    for file in ("/usr/share/man/man8/vitald.8.gz", "/usr/share/bash-completion/completions/vitald",
                 "/usr/share/zsh/vendor-completions/_vitald", "/usr/share/doc/vitald/copyright"):
        assert here.exists(file), file
    check = here("vitald", "--config.file=/etc/vitald/vitald.yaml", "--config.check")
    print("config.check:", check.stdout.strip() or check.stderr.strip())
    # As the service's user, with the service's configuration.
    once = here("setpriv", "--reuid=vitald", "--regid=vitald", "--clear-groups", "vitald", "--once", "--log.level=error",
                "--config.file=/etc/vitald/vitald.yaml")
    assert "node_memory_MemTotal_bytes " in once.stdout, once.stdout[:500]
    status = here("dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", "vitald", "prometheus-node-exporter")
    assert status.stdout == "prometheus-node-exporter installed\nvitald installed\n", status.stdout

    with open(f"{here.root}/etc/vitald/vitald.yaml", "a", encoding="utf-8") as f:
        f.write(changed)
    here("mkdir", "-p", "/var/lib/vitald")
    here("touch", "/var/lib/vitald/alerts")
    here("dpkg", "--force-confdef", "--force-confold", "-i", "/newer.deb")
    assert here.read("/etc/vitald/vitald.yaml").endswith(changed), "the upgrade took a changed configuration away"
    assert here.read("/etc/vitald/vitald.yaml.dpkg-dist").endswith("# of the next version\n")
    assert here.read("/etc/vitald/rules/cpu.yaml").endswith("# of the next version\n"), "an unchanged file stayed old"

    here("dpkg", "-r", "vitald")
    assert not here.exists("/usr/bin/vitald") and here.exists("/etc/vitald/vitald.yaml")
    assert here.exists("/var/lib/vitald/alerts"), "removal took the state"
    here("dpkg", "-P", "vitald")
    for gone in ("/etc/vitald", "/etc/default/vitald", "/var/lib/vitald",
                 "/etc/systemd/system/multi-user.target.wants/vitald.service"):
        assert not here.exists(gone), f"{gone} is left after purge"
    print("installed, upgraded, removed, purged beside prometheus-node-exporter")


with tempfile.TemporaryDirectory(prefix="vitald-package-") as scratch:
    built = build(pathlib.Path(scratch))
    print(f"{built.name}: {built.stat().st_size} bytes")
    lint(built)
    rate_unit()
    live(built, pathlib.Path(scratch))
