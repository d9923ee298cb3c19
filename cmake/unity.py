#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""unity.py TOP OUT SOURCE...: writes OUT, all sources in one, so that what their headers bring is instantiated once.

What a file keeps for itself in `namespace {` gets a namespace of its own inside, since each has its kMetrics. Below it, uses
of a name that no other source knows are made good by a using-declaration, others are qualified. It knows as much C++ as our
format has (`./dev fmt`); what it does not know does not compile. #line keeps messages at the places people know."""

import collections
import pathlib
import re
import sys

TOKEN = re.compile(r'R"(?P<d>[^()\\ ]*)\(.*?\)(?P=d)"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|//[^\n]*|/\*.*?\*/|^#[^\n]*'
                   r"|(?:(?:::|\.|->)\s*)?[A-Za-z_]\w*|\d[\w'.]*|.", re.S | re.M)
NAME, MACRO = re.compile(r"[A-Za-z_]\w*"), re.compile(r"[A-Z][A-Z_]+")
NO_NAMES = {"const", "noexcept", "default", "delete", "operator", "decltype", "static_assert"}
OPEN, CLOSE = "namespace {", "}  // namespace"


def declared(text):
    """The names that are declared at the outermost level of `text`, enumerators too."""
    names, depth, level, statement, enumerators, before = set(), 0, 0, [], False, ""
    for match in TOKEN.finditer(text):
        token = match[0].strip()
        if not token or token.startswith(("//", "/*", "#")):
            continue
        if statement[:1] == ["template"] and (len(statement) == 1 or level > 0):  # its parameters
            level += (token == "<") - (token == ">")
            statement.append(token)
            continue
        if depth == 0 and token in "{;=([":
            enumerators = token == "{" and statement[:1] == ["enum"] and "class" not in statement
            name = named(statement) or ""
            if NAME.fullmatch(name) and not (token == "(" and MACRO.fullmatch(name)):
                names.add(name)
            statement = ["="]  # its value, parameters or body
        if depth == 1 and enumerators and before in "{," and NAME.fullmatch(token):
            names.add(token)
        if token in "{([":
            depth += 1
        elif token in "})]":
            depth -= 1
        if depth == 0 and token in ("}", ";"):
            statement = []
        elif depth == 0 and token == "," and statement[:1] == ["="]:
            statement = ["="]  # the next of several
        elif depth == 0 and token not in ")]":
            statement.append(token)
        before = token
    return names - NO_NAMES


def named(words):
    """What a declaration that begins with `words` declares."""
    if words[:1] == ["="]:  # another declarator, or the end of one: `= 1`, `) {`
        return words[1] if len(words) == 2 else None
    if words[:1] == ["template"]:
        words = words[len(words) - words[::-1].index(">"):]
    if words[:2] == ["enum", "class"]:
        words = words[1:]
    if not words or words[0] in ("namespace", "friend", "static_assert"):
        return None
    if words[0] in ("class", "struct", "enum", "union"):
        return words[1] if len(words) > 1 and not "".join(words[2:3]).startswith("::") else None
    if words[0] == "using":
        return None if words[1:2] in (["namespace"], ["enum"]) else words[-1].removeprefix("::")
    return words[-1]


def split(path):
    """(own?, first line's number, text) of each part of the file: inside `namespace {` and outside."""
    parts, lines, own, begins = [], [], False, 1
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line == OPEN or (own and line == CLOSE):
            parts.append((own, begins, "\n".join(lines)))
            lines, own, begins = [], line == OPEN, number + 1
        else:
            lines.append(line)
    if own:
        sys.exit(f"{path}:{begins}: '{OPEN}' has no line '{CLOSE}' after it")
    parts.append((own, begins, "\n".join(lines)))
    return parts


def qualify(text, homes, outer, but=()):
    """`homes`: name -> the namespace it is in; `outer`: namespaces of the file that may be named before it."""
    text = TOKEN.sub(lambda m: f"{homes[m[0]]}::{m[0]}" if m[0] in homes and m[0] not in but else m[0], text)
    return re.sub(rf"\b({'|'.join(outer)})::(\w+)",
                  lambda m: f"{m[1]}::{homes[m[2]]}::{m[2]}" if m[2] in homes else m[0], text) if outer else text


def main(top, out, *sources):
    files = {pathlib.Path(s): split(pathlib.Path(s)) for s in sources}
    words = {f: {m[0] for _, _, text in parts for m in TOKEN.finditer(text)} for f, parts in files.items()}
    count = collections.Counter(w for some in words.values() for w in some)
    result = []
    for file, parts in files.items():
        base = "in_" + re.sub(r"\W", "_", str(file.relative_to(top).with_suffix("")))
        outer = set(re.findall(r"^namespace (\w+) \{", "\n".join(t for _, _, t in parts), re.M)) - {"vitald"}
        homes = {}  # of what other sources know too, so far
        for own, line, text in parts:
            here = f'#line {line} "{file}"'
            if own:
                space, names = f"{base}_{line}", declared(text)
                shared = {n for n in names if count[n] > 1}
                homes |= dict.fromkeys(shared, space)
                text = qualify(text, homes, outer, but=names)
                alone = " ".join(f"using {space}::{n};" for n in sorted(names - shared))
                also = " ".join(re.findall(r"^using (?:enum|namespace) [\w:]+;", text, re.M))
                result += [here, f"namespace {{ namespace {space} {{", here, text, f"}} {alone} {also} }}"]
            else:
                result += [here, qualify(text, homes, outer)]
    pathlib.Path(out).write_text("\n".join(result) + "\n")


main(*sys.argv[1:])
