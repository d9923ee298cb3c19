# SPDX-License-Identifier: Apache-2.0
"""A strict reader of OpenMetrics 2.0, written from the specification's ABNF and what it says MUST be."""

import math
import re

NUMBER = r"(?:[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[-+]?\d+)?)"
ANY_NUMBER = rf"(?:{NUMBER}|[-+]?(?i:inf|infinity)|(?i:nan))"
NAME, LABEL = r"[a-zA-Z_:][a-zA-Z0-9_:]*", r"[a-zA-Z_][a-zA-Z0-9_]*"
ESCAPED = r'(?:[^\n"\\]|\\[^\n])'
QUOTED = rf'"{ESCAPED}*"'
A_LABEL = rf'(?:{LABEL}|"{ESCAPED}+")={QUOTED}'
LABELS = rf"\{{(?:{A_LABEL}(?:,{A_LABEL})*)?\}}"
EXEMPLAR = rf" # {LABELS} {ANY_NUMBER} {NUMBER}"
DESCRIPTOR = re.compile(rf'# (TYPE|HELP|UNIT) ({NAME}|"{ESCAPED}+") (.*)')
SAMPLE = re.compile(rf"({NAME})({LABELS})? (?:({ANY_NUMBER})|\{{([^{{}} ]*)\}})(?: ({NUMBER}))?(?: st@({NUMBER}))?((?:{EXEMPLAR})*)")
ONE_EXEMPLAR = re.compile(rf" # ({LABELS}) ({ANY_NUMBER}) ({NUMBER})")
ONE_LABEL = re.compile(rf'({LABEL}|"{ESCAPED}+")="({ESCAPED}*)"')
SPAN, BUCKET = r"-?\d+:\d+", rf"{NUMBER}:{ANY_NUMBER}"
NATIVE = (rf"schema:(?P<schema>-?\d+),zero_threshold:(?P<threshold>{NUMBER}),zero_count:(?P<zero>{ANY_NUMBER})"
          rf"(?:,negative_spans:\[(?P<nspans>(?:{SPAN}(?:,\d+:\d+)*)?)\],negative_buckets:\[(?P<nbuckets>(?:{ANY_NUMBER}(?:,{ANY_NUMBER})*)?)\])?"
          rf"(?:,positive_spans:\[(?P<spans>(?:{SPAN}(?:,\d+:\d+)*)?)\],positive_buckets:\[(?P<buckets>(?:{ANY_NUMBER}(?:,{ANY_NUMBER})*)?)\])?")
CLASSIC = rf"bucket:\[(?P<classic>(?:(?:-Inf:{ANY_NUMBER}|{BUCKET})(?:,{BUCKET})*,)?\+Inf:{ANY_NUMBER})\]"
HISTOGRAM = re.compile(rf"count:(?P<count>{ANY_NUMBER}),sum:(?P<sum>{ANY_NUMBER}),(?:{CLASSIC}|{NATIVE}(?:,{CLASSIC.replace('<classic>', '<both>')})?)")
SUMMARY = re.compile(rf"count:(?P<count>{ANY_NUMBER}),sum:(?P<sum>{ANY_NUMBER}),quantile:\[(?P<quantiles>(?:{BUCKET}(?:,{BUCKET})*)?)\]")
TYPES = ("counter", "gauge", "histogram", "gaugehistogram", "stateset", "info", "summary", "unknown")


class Malformed(Exception):
    pass


def check(good, why):
    if not good:
        raise Malformed(why)


def plain(text):
    return re.sub(r"\\(.)", lambda m: {"n": "\n", "\\": "\\", '"': '"'}.get(m[1], m[0]), text, flags=re.S)


def labels_of(text):
    found = [(plain(k.strip('"')), plain(v)) for k, v in ONE_LABEL.findall(text or "")]
    check(len({k for k, _ in found}) == len(found), f"a label twice: {text}")
    return tuple(sorted(found))


def buckets_of(text):
    pairs = [p.rsplit(":", 1) for p in text.split(",")]
    bounds, counts = [float(a) for a, _ in pairs], [float(b) for _, b in pairs]
    check(bounds == sorted(set(bounds)), f"bounds out of order: {text}")
    check(all(c >= 0 for c in counts) and counts == sorted(counts), f"counts that fall: {text}")
    return list(zip(bounds, counts))


def native_of(spans, buckets):
    """{index: count}"""
    out, at, counts = {}, 0, [float(b) for b in buckets.split(",")]
    check(all(c >= 0 for c in counts), "a count below 0")
    for n, span in enumerate(spans.split(",")):
        offset, length = map(int, span.split(":"))
        at = offset if n == 0 else at + offset
        for _ in range(length):
            check(counts, "more in spans than buckets")
            out[at] = counts.pop(0)
            at += 1
    check(not counts, "more buckets than in spans")
    return out


class Family:
    def __init__(self, name):
        self.name, self.type, self.unit, self.help = name, "unknown", "", ""
        self.seen = set()  # kinds of lines
        self.samples = {}  # labels -> Sample


class Sample:
    def __init__(self, value, start, exemplars):
        self.value, self.start, self.exemplars = value, start, exemplars
        self.count = self.sum = self.schema = None
        self.classic, self.native, self.quantiles = [], None, []


def composite(kind, text):
    sample = Sample(None, None, [])
    found = (SUMMARY if kind == "summary" else HISTOGRAM).fullmatch(text)
    check(found, f"no {kind}: {text}")
    sample.count, sample.sum = float(found["count"]), float(found["sum"])
    check(sample.count >= 0, f"a count below 0: {text}")
    if kind == "summary":
        check(sample.sum >= 0, f"a sum of a summary: {text}")
        sample.quantiles = [tuple(map(float, q.split(":"))) for q in found["quantiles"].split(",") if q]
        check(all(0 <= q <= 1 and not v < 0 for q, v in sample.quantiles), text)
        return sample
    classic = found["classic"] or found["both"]
    if classic:
        sample.classic = buckets_of(classic)
        check(sample.classic[-1][1] == sample.count, f"the count is not that of the last bucket: {text}")
    if found["schema"]:
        sample.schema = int(found["schema"])
        check(-4 <= sample.schema <= 8 and float(found["threshold"]) >= 0, text)
        sample.native = native_of(found["spans"], found["buckets"]) if found["spans"] else {}
        below = native_of(found["nspans"], found["nbuckets"]) if found["nspans"] else {}
        total = sum(sample.native.values()) + sum(below.values()) + float(found["zero"])
        check(total == sample.count or math.isnan(sample.sum), f"the count is not that of the native buckets: {text}")
    return sample


def parse(text):
    """{name: Family}; Malformed."""
    check("\r" not in text, "a carriage return")
    check(text.endswith("# EOF\n") or text.endswith("# EOF"), "no end")
    lines = text.removesuffix("\n").split("\n")
    check(lines.pop() == "# EOF", "the end is not a line of its own")
    families, family = {}, None
    for line in lines:
        if line.startswith("#"):
            found = DESCRIPTOR.fullmatch(line)
            check(found, f"no descriptor: {line}")
            what, name, rest = found[1], plain(found[2].strip('"')), found[3]
            if not family or family.name != name:
                check(name not in families, f"not together: {line}")
                family = families[name] = Family(name)
            check(not family.samples and what not in family.seen, f"twice, or behind samples: {line}")
            family.seen.add(what)
            if what == "TYPE":
                check(rest in TYPES, f"no type: {line}")
                family.type = rest
            elif what == "UNIT":
                check(re.fullmatch(r"[a-zA-Z0-9_:]*", rest), f"no unit: {line}")
                family.unit = rest
            else:
                check(re.fullmatch(rf"{ESCAPED}*", rest), f"no text: {line}")
                family.help = plain(rest)
            continue
        found = SAMPLE.fullmatch(line)
        check(found, f"no sample: {line}")
        name, value, inside = found[1], found[3], found[4]
        if not family or family.name != name:
            check(name not in families, f"not together: {line}")
            family = families[name] = Family(name)
        labels = labels_of(found[2])
        check(labels not in family.samples, f"twice: {line}")
        composed = family.type in ("histogram", "gaugehistogram", "summary")
        check(composed == (inside is not None) or family.type == "unknown", f"a number or none: {line}")
        check(not composed or not {"le", "quantile"} & {k for k, _ in labels}, f"a label of its parts: {line}")
        sample = composite(family.type, inside) if composed else Sample(float(value), None, [])
        if family.type == "counter":
            check(sample.value >= 0, f"a counter: {line}")
        check(not found[6] or family.type in ("counter", "histogram", "summary"), f"a start: {line}")
        sample.start = float(found[6]) if found[6] else None
        sample.exemplars = [(labels_of(a), float(b), float(c)) for a, b, c in ONE_EXEMPLAR.findall(found[7])]
        check(not sample.exemplars or family.type in ("counter", "histogram"), f"an exemplar: {line}")
        family.samples[labels] = sample
    for family in families.values():
        if family.type in ("info", "stateset"):
            check(not family.unit, f"a unit: {family.name}")
        if family.type == "info":
            check(family.name.endswith("_info"), family.name)
    return families
