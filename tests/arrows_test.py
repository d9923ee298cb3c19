#!/usr/bin/env python3
"""Every #include follows the arrows core <- sensors, rules, exporters <- agent; the list matches the folder."""
import pathlib
import re
import sys

top = pathlib.Path(__file__).resolve().parent.parent
allowed = {
    "core": {"core"},
    "sensors": {"core", "sensors", "bpf"},
    "rules": {"core", "rules"},
    "exporters": {"core", "exporters"},
    "agent": {"core", "sensors", "rules", "exporters", "agent"},
}
# Generated headers, by the folder of the build tree they lie in.
generated = {"sensors/collectors.inc": "sensors"}
bad = []
for folder, may in allowed.items():
    for path in sorted((top / folder).rglob("*")):
        if path.suffix not in {".h", ".cpp"}:
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            found = re.match(r'\s*#include "([^"]+)"', line)
            if not found:
                continue
            target = generated.get(found[1], found[1].split("/")[0])
            if target in allowed or target in {"bpf", "tests"}:
                if target not in may:
                    bad.append(f"{path.relative_to(top)}:{number}: {folder} includes {found[1]}; allowed: {sorted(may)}")

listed = {}
for line in (top / "sensors/collectors.list").read_text().splitlines():
    if line and not line.startswith("#"):
        name, where = line.split()[:2]
        listed[f"sensors/{where}/{name}.cpp"] = name
for path in listed:
    if not (top / path).exists():
        bad.append(f"sensors/collectors.list names {path}, which does not exist")
for path in sorted((top / "sensors").glob("*/*.cpp")):
    relative = str(path.relative_to(top))
    if "CollectorInfo collector_" in path.read_text() and relative not in listed:
        bad.append(f"{relative} defines a collector that sensors/collectors.list does not name")

print("\n".join(bad) if bad else "the arrows hold")
sys.exit(1 if bad else 0)
