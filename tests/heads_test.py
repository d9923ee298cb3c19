#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every source file says first what its one job is: the licence, then a comment. A .cpp may leave that to its own
header; a *_test.cpp is named after what it tests."""
import pathlib
import sys

TOP = pathlib.Path(__file__).resolve().parent.parent
ROOMS = ("agent", "core", "exporters", "rules", "sensors", "tests")
LICENCE = "// SPDX-License-Identifier: Apache-2.0"


def has_head(text):
    lines = text.splitlines()
    return len(lines) > 1 and lines[0] == LICENCE and lines[1].startswith("// ") and len(lines[1]) > 12


bad = []
for path in sorted(p for room in ROOMS for p in (TOP / room).rglob("*") if p.suffix in (".h", ".cpp")):
    if path.name.endswith("_test.cpp") or has_head(path.read_text()):
        continue
    if path.suffix == ".cpp" and path.with_suffix(".h").exists():
        continue
    bad.append(f"{path.relative_to(TOP)}: line 2 is no comment that names the file's job, below the licence in line 1")

for text in (f"{LICENCE}\n#include <map>\n", "// A list.\n#pragma once\n", f"{LICENCE}\n//\n#pragma once\n", ""):
    if has_head(text):
        bad.append(f"this test takes {text!r} for a first comment")
print("\n".join(bad) if bad else "every file says what its job is")
sys.exit(1 if bad else 0)
