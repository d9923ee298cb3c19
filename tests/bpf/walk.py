#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""walk.py TOP FOLDER: a copy of bpf/ and of the collector in FOLDER, changed as docs/adding-a-number-per-owner.md says, so
that the build compiles what newcomers are told to write."""

import pathlib
import re
import shutil
import sys
import textwrap

top, folder = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
page = top / "docs/adding-a-number-per-owner.md"
examples = [textwrap.dedent(e) for e in re.findall(r"^ *```c(?:pp)?\n(.*?)^ *```$", page.read_text(), re.M | re.S)]
if len(examples) != 4:
    sys.exit(f"{page}: {len(examples)} examples, expected the member, the line, the family, the row")
member, line, family, row = examples

row_struct = (top / "bpf/include/vitald/sched.h").read_text().partition("struct vitald_sched_row {")[2]
unused = int(re.search(r"__u64 unused\[(\d+)\];", row_struct)[1])
rest = f"\t__u64 unused[{unused - 1}];\n" if unused > 1 else ""
shutil.copytree(top / "bpf", folder / "bpf", dirs_exist_ok=True)
name = re.search(r"constexpr MetricDesc (\w+)", family)[1]
edits = {
    "bpf/include/vitald/sched.h": [(f"\t__u64 unused[{unused}];\n", textwrap.indent(member, "\t") + rest)],
    "bpf/sched.bpf.c": [("\t\trow->delay_ns += delay;\n", "\t\trow->delay_ns += delay;\n" + textwrap.indent(line, "\t"))],
    "sensors/bpf/runq_latency.cpp": [
        ("constexpr MetricDesc kMetrics[] = {", family + "constexpr MetricDesc kMetrics[] = {" + name + ", "),
        ("constexpr OwnerField kFields[] = {\n", "constexpr OwnerField kFields[] = {\n" + row),
    ],
}
for path, changes in edits.items():
    text = (top / path).read_text()
    for old, new in changes:
        if text.count(old) != 1:
            sys.exit(f"{path}: {old.strip()!r} is there {text.count(old)} times, expected once")
        text = text.replace(old, new)
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text(text)
shutil.copy(top / "sensors/bpf/sched.cpp", folder / "sensors/bpf/sched.cpp")
