#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""No two types have one name: of two in one namespace the linker keeps one constructor, whichever room it is from, and the
other room's objects begin with garbage. What only one .cpp has belongs in an unnamed namespace, which is not looked at."""
import collections
import pathlib
import re
import sys

TOP = pathlib.Path(__file__).resolve().parent.parent
ROOMS = ("agent", "core", "exporters", "rules", "sensors")
TYPE = re.compile(r"(?:template <.*> )?(?:class|struct|enum class|enum|union) (?:alignas\(\w+\) )?(\w+)(?![\w:])[^;(]*\{")


def types(text):
    """Those that begin a line, each with its namespaces: `vitald::Batch`."""
    inside = []
    for line in text.splitlines():
        if begin := re.match(r"(?:inline )?namespace ?([\w:]*) \{", line):
            inside.append(begin[1])
        elif line.startswith("}  // namespace"):
            inside.pop()
        elif (found := TYPE.match(line)) and "" not in inside:
            yield "::".join([*inside, found[1]])


places = collections.defaultdict(list)
for path in sorted(p for room in ROOMS for p in (TOP / room).rglob("*") if p.suffix in (".h", ".cpp")):
    for name in types(path.read_text()):
        places[name].append(str(path.relative_to(TOP)))
bad = [f"{name} is defined in {' and in '.join(found)}" for name, found in places.items() if len(found) > 1]

sample = ("namespace a {\nstruct S final {\n};\nstruct S::Impl {\n};\nclass Later;\nnamespace {\nstruct Mine {\n};\n}  // namespace\n"
          "enum class E : char {\n};\n}  // namespace a\nnamespace a::b {\nstruct S : T {};\n}  // namespace a::b\n")
if list(types(sample)) != ["a::S", "a::E", "a::b::S"]:
    bad.append(f"this test finds {list(types(sample))} in its sample")
print("\n".join(bad) if bad else f"each of {len(places)} types has a name of its own")
sys.exit(1 if bad else 0)
