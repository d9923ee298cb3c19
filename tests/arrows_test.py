#!/usr/bin/env python3
"""Every #include follows the arrows of docs/architecture.md; the list matches the folder."""
import pathlib
import re
import sys

top = pathlib.Path(__file__).resolve().parent.parent
# What each room may include, of its own folder or of those before it.
allowed = {
    "core": {"core"},
    "sensors": {"core", "sensors", "bpf/include"},
    "rules/promql": {"core", "rules/promql"},
    "rules/history": {"core", "rules/promql", "rules/history"},
    "rules": {"core", "rules"},
    "exporters": {"core", "exporters"},
    "agent": {"core", "sensors", "rules", "exporters", "agent"},
}
ours = {"agent", "bpf", "core", "exporters", "rules", "sensors", "tests"}
# Generated headers, by the room that makes them.
generated = re.compile(r"sensors/collectors\.inc|bpf/[a-z_]+\.skel\.h")


def inside(path, room):
    return path.startswith(room + "/")


bad = []
for path in sorted(p for top_folder in ours - {"bpf", "tests"} for p in (top / top_folder).rglob("*")):
    if path.suffix not in {".h", ".cpp"}:
        continue
    name = str(path.relative_to(top))
    room = max((r for r in allowed if inside(name, r)), key=len)
    for number, line in enumerate(path.read_text().splitlines(), 1):
        found = re.match(r'\s*#include "([^"]+)"', line)
        if not found or found[1].split("/")[0] not in ours:
            continue
        if generated.fullmatch(found[1]):
            ok = room == "sensors"
        else:
            ok = any(inside(found[1], may) for may in allowed[room])
        if not ok:
            bad.append(f"{name}:{number}: {room} includes {found[1]}; allowed: {sorted(allowed[room])}")

# A deriver computes from batches and nothing else.
for path in sorted((top / "sensors/derived").glob("*")):
    for number, line in enumerate(path.read_text().splitlines(), 1):
        found = re.match(r'\s*#include ["<]((core/os|core/clock|sensors/read|fstream|unistd|fcntl|sys/)[^">]*)', line)
        if found:
            bad.append(f"{path.relative_to(top)}:{number}: a deriver includes {found[1]}; it reads no file and no clock")

listed = {}
for line in (top / "sensors/collectors.list").read_text().splitlines():
    if line and not line.startswith("#"):
        name, where, _, runs = line.split()[:4]
        if (where == "derived") != (runs == "after"):
            bad.append(f"sensors/collectors.list: {name} lies in {where} and runs {runs}; `after` is for derived, and only")
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
