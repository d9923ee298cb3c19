# SPDX-License-Identifier: Apache-2.0
"""What the programs that run inside the lab's virtual machine share: checks, vitald as a child, its series."""

import contextlib
import re
import subprocess
import time
import urllib.request

bad = []


def check(good, text):
    print(("ok       " if good else "NOT OK   ") + text, flush=True)
    if not good:
        bad.append(text)


def near(a, b, share=0.01, least=0.011):
    return abs(a - b) <= max(least, share * abs(b))


def series(text):
    """{(family, labels): value}"""
    out = {}
    for line in text.splitlines():
        m = re.match(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$", line)
        if m:
            labels = tuple(sorted(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', m[2] or "")))
            out[m[1], labels] = float(m[3])
    return out


def scrape(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        return series(answer.read().decode())


def of(found, family, **labels):
    wanted = set(labels.items())
    values = [v for (name, have), v in found.items() if name == family and wanted <= set(have)]
    return values[0] if len(values) == 1 else None


@contextlib.contextmanager
def started(*argv):
    child = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        yield child
    finally:
        child.kill()
        log = child.communicate()[1]
        if bad:
            print(log[-3000:])


def wait_for(what, seconds, condition):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            value = condition()
            if value:
                return value
        time.sleep(1)
    check(False, f"{what} within {seconds} s")
    return None


def law(found):
    owners = sum(v for (name, _), v in found.items() if name == "vitald_owner_energy_joules_total")
    gone = of(found, "vitald_gone_owners_energy_joules_total") or 0
    nobodys = sum(v for (name, _), v in found.items() if name == "vitald_unattributed_energy_joules_total")
    counter = sum(v for (name, labels), v in found.items()
                  if name == "vitald_energy_joules_total" and ("domain", "package") in labels)
    return owners + gone + nobodys, counter
