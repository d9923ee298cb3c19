# SPDX-License-Identifier: Apache-2.0
"""The page's npm packages, for those tests that want them: those of the checkout where they are the locked ones, else
fetched into a temporary folder. Where npm or the network is missing there are none, and the test says so."""

import json
import pathlib
import shutil
import subprocess
import tempfile

PAGE = pathlib.Path(__file__).resolve().parent.parent.parent / "agent/api/page"


def locked(folder):
    """Whether node_modules in `folder` is what package-lock.json says."""
    try:
        there = json.loads((folder / "node_modules/.package-lock.json").read_text())["packages"]
        wanted = json.loads((PAGE / "package-lock.json").read_text())["packages"]
    except (OSError, ValueError, KeyError):
        return False
    return all(name in there and there[name]["version"] == p["version"]
               for name, p in wanted.items() if name and not p.get("optional"))


def packages():
    """(folder with node_modules, "") or (None, why there are none)."""
    if locked(PAGE):
        return PAGE, ""
    if not shutil.which("npm"):
        return None, "npm is not installed"
    folder = pathlib.Path(tempfile.mkdtemp(prefix="vitald-npm-"))
    for name in ("package.json", "package-lock.json"):
        shutil.copy(PAGE / name, folder)
    try:
        done = subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=0",
                               "--fetch-timeout=20000"], cwd=folder, capture_output=True, text=True, timeout=60)
        problem = done.stderr.strip()[-300:] if done.returncode else ""
    except subprocess.TimeoutExpired:
        problem = "npm ci: nothing within 60 s"
    if problem:
        shutil.rmtree(folder, ignore_errors=True)
        return None, problem
    return folder, ""


def give_back(folder):
    if folder and folder != PAGE:
        shutil.rmtree(folder, ignore_errors=True)
