#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""rootfs.py VITALD FOLDER [--libvirt]: the root of the image: the binary, the libraries it loads as this machine's Debian
packages have them, and nothing else: no shell, no package manager. What is in it is in its SBOM (SPDX)."""

import argparse
import datetime
import json
import os
import pathlib
import re
import shutil
import subprocess

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
# Opened at run time where there is something to ask: the service managers' bus; receivers over HTTP (9 MB); guests (61 MB,
# so only on demand).
RUN_TIME = {"libsystemd.so.0": True, "libcurl-gnutls.so.4": True, "libsnappy.so.1": True, "libvirt.so.0": False}
USERS = "root:x:0:0:root:/:/usr/sbin/nologin\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n"
GROUPS = "root:x:0:\nnogroup:x:65534:\n"


def output(*argv):
    return subprocess.run(argv, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout


def libraries(program):
    """{soname: path} of what the loader would load, itself among it."""
    found = {}
    for line in output("ldd", program).splitlines():
        assert "not found" not in line, f"{program}: {line.strip()}"
        if match := re.match(r"\s+(?:(\S+) => )?(/\S+) \(0x", line):
            found[os.path.basename(match[1] or match[2])] = match[2]
    return found


def package_of(path):
    """(name, version, architecture) of the installed package that owns a file."""
    for name in dict.fromkeys((path, os.path.realpath(path), "/usr" + path, path.removeprefix("/usr"))):
        done = subprocess.run(["dpkg", "-S", name], capture_output=True, text=True)
        if done.returncode == 0:
            package = done.stdout.split(": ")[0].split(",")[0]
            return tuple(output("dpkg-query", "-W", "-f", "${Package} ${Version} ${Architecture}", package).split())
    raise SystemExit(f"rootfs: {path} is of no package; the image is made of Debian's packages alone")


def put(source, target, mode):
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(mode)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("vitald", type=pathlib.Path)
    arguments.add_argument("folder", type=pathlib.Path)
    arguments.add_argument("--libvirt", action="store_true", help="with libvirt's client library, for hypervisors")
    given = arguments.parse_args()
    root = given.folder
    root.mkdir(parents=True)  # a folder with something in it would be in the image

    (root / "usr/bin").mkdir(parents=True)
    subprocess.run(["strip", "-o", root / "usr/bin/vitald", given.vitald], check=True)
    (root / "usr/bin/vitald").chmod(0o755)
    needed = libraries(given.vitald)
    for soname, always in RUN_TIME.items():
        if not (always or given.libvirt):
            continue
        path = re.search(rf"{re.escape(soname)} .*=> (/\S+)", output("/sbin/ldconfig", "-p"))
        assert path, f"rootfs: {soname} is not installed"
        needed |= {soname: path[1]} | libraries(path[1])
    packages = {}
    for soname, path in sorted(needed.items()):
        # The loader has its place in each program; the rest lies where Debian's loader looks without a cache.
        folder = "usr/lib64" if soname.startswith("ld-linux") and "lib64" in path else "usr/lib/" + multiarch()
        put(os.path.realpath(path), root / folder / soname, 0o755)
        packages.setdefault(package_of(path), []).append(f"/{folder}/{soname}")
    for link in ("lib", "lib64", "bin"):
        if (root / "usr" / link).exists():
            (root / link).symlink_to(f"usr/{link}")
    sensors = pathlib.Path("/etc/sensors3.conf")
    if sensors.exists():
        put(sensors, root / "etc/sensors3.conf", 0o644)
        packages.setdefault(package_of(str(sensors)), []).append("/etc/sensors3.conf")
    for name, _, _ in packages:
        put(f"/usr/share/doc/{name}/copyright", root / f"usr/share/doc/{name}/copyright", 0o644)

    put(TOP / "LICENSE", root / "usr/share/doc/vitald/LICENSE", 0o644)
    put(TOP / "deploy/vitald.yaml", root / "etc/vitald/vitald.yaml", 0o644)
    for rule in sorted((TOP / "deploy/rules").glob("*.yaml")):
        put(rule, root / "etc/vitald/rules" / rule.name, 0o644)
    for rule in sorted((TOP / "deploy/rules-optional").glob("*.yaml")):
        put(rule, root / "usr/share/vitald/rules-optional" / rule.name, 0o644)
    put(TOP / "deploy/verdict.yaml", root / "usr/share/vitald/verdict.yaml", 0o644)
    (root / "etc/passwd").write_text(USERS)
    (root / "etc/group").write_text(GROUPS)
    # Mount points, since the root is read-only.
    for folder in ("proc", "sys", "dev", "tmp", "run", "host/proc", "host/sys", "host/root", "var/lib/vitald"):
        (root / folder).mkdir(parents=True)
    (root / "usr/share/doc/vitald/sbom.spdx.json").write_text(sbom(packages))
    size = sum(f.stat().st_size for f in root.rglob("*") if f.is_file() and not f.is_symlink())
    print(f"{root}: {size / 1e6:.1f} MB, {len(needed)} libraries of {len(packages)} packages")


def multiarch():
    return output("dpkg-architecture", "-qDEB_HOST_MULTIARCH").strip()


def sbom(packages):
    """SPDX 2.3, the same text for the same packages."""
    version = re.search(r"^project\(vitald VERSION ([\d.]+)", (TOP / "CMakeLists.txt").read_text(), re.M)[1]
    when = datetime.datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), datetime.timezone.utc)

    def row(name, version_, purl, files):
        return {"SPDXID": "SPDXRef-Package-" + re.sub(r"[^A-Za-z0-9.-]", "-", name), "name": name,
                "versionInfo": version_, "downloadLocation": "NOASSERTION", "licenseConcluded": "NOASSERTION",
                "licenseDeclared": "NOASSERTION", "copyrightText": "NOASSERTION", "filesAnalyzed": False,
                "comment": "files: " + " ".join(files),
                "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl",
                                  "referenceLocator": purl}]}

    rows = [row("vitald", version, f"pkg:generic/vitald@{version}", ["/usr/bin/vitald"])]
    rows += [row(name, version_, f"pkg:deb/debian/{name}@{version_}?arch={arch}", files)
             for (name, version_, arch), files in sorted(packages.items())]
    document = {
        "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": f"vitald-{version}",
        "documentNamespace": f"https://spdx.org/spdxdocs/vitald-{version}",
        "creationInfo": {"created": f"{when:%Y-%m-%dT%H:%M:%SZ}", "creators": ["Tool: deploy/container/rootfs.py"]},
        "packages": rows,
        "relationships": [{"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES",
                           "relatedSpdxElement": "SPDXRef-Package-vitald"}] +
                         [{"spdxElementId": "SPDXRef-Package-vitald", "relationshipType": "DYNAMIC_LINK",
                           "relatedSpdxElement": r["SPDXID"]} for r in rows[1:]],
    }
    return json.dumps(document, indent=1) + "\n"


main()
