# SPDX-License-Identifier: Apache-2.0
"""The Debian package of the binary that is tested, and the one of its next version, with another configuration."""

import os
import re
import subprocess

from harness import TOP, VITALD

ENVIRONMENT = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8", "SOURCE_DATE_EPOCH": "1700000000"}


def run(*argv, ok=True, **kwargs):
    done = subprocess.run(list(map(str, argv)), capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=900,
                          env=ENVIRONMENT, **kwargs)
    assert not ok or done.returncode == 0, f"{argv}: exit status {done.returncode}\n{done.stdout}{done.stderr}"
    return done


def package(folder, name):
    """The package's path, below folder/name."""
    program = folder / "vitald"
    run("strip", "-o", program, VITALD)  # one of a build for developers has no place on a disk
    run(TOP / "deploy/package/deb", program, folder / name)
    return next((folder / name).glob("vitald_*.deb"))


def newer(deb, folder):
    """The same package as the next version, with another configuration and another rule file."""
    tree = folder / "newer"
    run("dpkg-deb", "-R", deb, tree)
    control = (tree / "DEBIAN/control").read_text()
    (tree / "DEBIAN/control").write_text(re.sub(r"^Version: .*", "Version: 99", control, flags=re.M))
    for name in ("vitald.yaml", "rules/cpu.yaml"):
        with open(tree / "etc/vitald" / name, "a", encoding="utf-8") as f:
            f.write("# of the next version\n")
    run("dpkg-deb", "--root-owner-group", "-b", tree, folder / "newer.deb")
    return folder / "newer.deb"
