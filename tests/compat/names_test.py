#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every metric name that known dashboards and rule files ask for is one of vitald's, is recorded by one of the
rule files, or is in the list below with the reason; docs/dashboards.md tells the same list to people. The
dashboards and rules are not part of this repository: harness.shared() says where they are looked for."""

import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import harness

# Asked for, and not there on any Linux host -> why.
ABSENT = {
    "node_kernel_hung_tasks": "the dashboard's mistake: node_exporter and vitald say node_kernel_hung_tasks_total",
}

NAME = re.compile(r"(?<![\w:$])[a-zA-Z_:][\w:]*")
NO_METRICS = {"and", "or", "unless", "on", "ignoring", "group_left", "group_right", "by", "without", "bool", "offset", "inf",
              "nan"}


def documented():
    """What the binary's descriptors name: exact names, and patterns for those of which the source names a part."""
    text = subprocess.run([harness.VITALD, "--dump-metrics-docs"], check=True, capture_output=True, text=True).stdout
    names = set(re.findall(r"^\| `([^`]+)`", text, re.M))
    patterns = [re.compile(".+".join(map(re.escape, n.split("*")))) for n in names if "*" in n]
    return names, patterns


def names_of_expression(expr):
    """Metric names in PromQL: identifiers that are no function, keyword, label, string or duration."""
    expr = re.sub(r'"(\\.|[^"\\])*"|\'(\\.|[^\'\\])*\'', "", expr)
    expr = re.sub(r"#.*", "", expr)
    expr = re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", expr)
    expr = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", "", expr, flags=re.I)
    return {m[0] for m in NAME.finditer(expr)
            if m[0].lower() not in NO_METRICS and not re.match(r"\s*\(", expr[m.end():]) and not m[0].isdigit()}


def expressions(path):
    """(kind, text) of every rule: 'expr' and 'record' keys, whose values may be blocks that are indented deeper."""
    lines = path.read_text().splitlines()
    for i, line in enumerate(lines):
        found = re.match(r"(\s*)(?:- )?(\s*)\"?(expr|record)\"?:\s*(.*)$", line)
        if not found:
            continue
        indent, key, value = len(line) - len(line.lstrip(" -")), found[3], found[4].strip()
        if re.match(r"[|>][-+]?$", value) or value == "":
            value = ""
        for more in lines[i + 1:]:
            if more.strip() and len(more) - len(more.lstrip(" ")) <= indent:
                break
            value += "\n" + more
        if key == "record":
            value = value.splitlines()[0]
        if value[:1] in "'\"" and value.strip().endswith(value[0]):
            quote = value[0]
            value = value.strip()[1:-1]
            value = value.replace("''", "'") if quote == "'" else value.replace('\\"', '"').replace("\\n", "\n")
        yield key, value.strip()


def main():
    dashboards, rules = harness.shared("corpus/dashboards"), harness.shared("corpus/rules")
    if not dashboards or not rules:
        harness.skip("no dashboards and rules to look at (corpus/dashboards, corpus/rules of the shared material)")
    wanted, recorded, lists, rule_count = {}, set(), 0, 0
    for path in sorted(dashboards.glob("*.metrics.txt")):
        lists += 1
        for name in path.read_text().split():
            wanted.setdefault(name, set()).add(path.name)
    for path in sorted(rules.glob("*.yaml")):
        for key, text in expressions(path):
            if key == "record":
                recorded.add(text)
                continue
            rule_count += 1
            found = names_of_expression(text)
            assert found, f"{path.name}: no metric name found in: {text}"
            for name in found:
                wanted.setdefault(name, set()).add(path.name)
    assert lists and rule_count, "the folders are empty"

    names, patterns = documented()
    missing, stale = [], set(ABSENT)
    for name, where in sorted(wanted.items()):
        if name.startswith("=~"):
            known = any(re.fullmatch(name[2:], n) for n in names)
        else:
            known = name in names or name in recorded or any(p.fullmatch(name) for p in patterns)
        if known:
            continue
        if name in ABSENT:
            stale.discard(name)
        else:
            missing.append(f"{name}: asked for by {', '.join(sorted(where))}")
    problems = missing + [f"{name}: in the list of what is absent, and either there or not asked for" for name in stale]
    page = (harness.TOP / "docs/dashboards.md").read_text()
    problems += [f"{name}: not in docs/dashboards.md" for name in ABSENT if f"`{name}`" not in page]
    print(f"{len(wanted)} names in {lists} dashboards and {rule_count} rules: {len(recorded)} recorded by rules, "
          f"{len(ABSENT)} absent with a reason, {len(problems)} problems")
    print("\n".join(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
