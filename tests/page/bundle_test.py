#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""agent/api/page/built is made from the sources beside it, and is what the page promises: small, whole in itself, with
nothing that a strict policy refuses."""

import base64
import gzip
import hashlib
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from npm import PAGE, give_back, packages  # noqa: E402

HTML = (PAGE / "built/page.html").read_bytes()
INC = (PAGE / "built/page.inc").read_text()
TEXT = HTML.decode()


def sources():
    """As build.mjs has it: names and contents, sorted by name."""
    files = [p for p in (PAGE / "src").rglob("*") if p.is_file()] + [PAGE / n for n in ("build.mjs", "package.json", "package-lock.json")]
    digest = hashlib.sha256()
    for name, path in sorted((str(p.relative_to(PAGE)), p) for p in files):
        content = path.read_bytes()
        digest.update(f"{name}\n{len(content)}\n".encode() + content)
    return digest.hexdigest()


made_of = re.search(r"sources ([0-9a-f]{64})", TEXT)[1]
assert made_of == sources(), ("agent/api/page/built is not made from the sources as they are; "
                              "run: cd agent/api/page && npm ci && npm run build")

# What page.inc says of page.html.
assert f"kPageBytes = {len(HTML)};" in INC, "size"
assert f'kPageTag = "{hashlib.sha256(HTML).hexdigest()[:32]}"' in INC, "tag"
policy = "".join(re.findall(r'^    "(.*)"', INC, re.M))
directives = dict(d.split(" ", 1) for d in policy.split("; "))


def hash_of(element):
    (content,) = re.findall(rf"<{element}>(.*?)</{element}>", TEXT, re.S)
    return "'sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode() + "'"


assert directives["script-src"] == hash_of("script"), "a browser would refuse the script"
assert directives["style-src"] == hash_of("style"), "a browser would refuse the style"
assert directives["default-src"] == "'none'" and directives["connect-src"] == "'self'" and "unsafe" not in policy, policy

# Nothing from elsewhere; the one address is the name of SVG's namespace.
elsewhere = [u for u in re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}[^\s\"'`)]*", TEXT) if not u.startswith("http://www.w3.org/")]
assert not elsewhere, elsewhere
for path in (PAGE / "src").rglob("*.js*"):
    turned = re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", path.read_text())
    assert not turned, f"{path.name}: {turned[0]} makes HTML or a script out of text"
lock = (PAGE / "package-lock.json").read_text()
assert '"resolved"' not in lock, "package-lock.json names a registry; write it with omit-lockfile-registry-resolved=true"

packed = len(gzip.compress(HTML, 9))
print(f"{len(HTML)} bytes, {packed} packed")
assert packed <= 150_000, f"{packed} bytes packed, more than 150 kB"

folder, why = packages()
if not folder:
    print(f"NOT CHECKED: that a build gives the same bytes ({why})")
elif not shutil.which("node"):
    print("NOT CHECKED: that a build gives the same bytes (node is not installed)")
else:
    with tempfile.TemporaryDirectory() as out:
        work = pathlib.Path(out) / "page"
        shutil.copytree(PAGE / "src", work / "src")
        for name in ("build.mjs", "package.json", "package-lock.json"):
            shutil.copy(PAGE / name, work)
        (work / "node_modules").symlink_to(folder / "node_modules")
        subprocess.run(["node", "build.mjs", str(work / "out")], cwd=work, check=True, timeout=60, stdout=subprocess.DEVNULL)
        for name in ("page.html", "page.inc"):
            assert (work / "out" / name).read_bytes() == (PAGE / "built" / name).read_bytes(), f"another build gives another {name}"
        print("a build gives the same bytes")
    give_back(folder)
