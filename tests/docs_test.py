#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the documentation says exists: generated files are current, flags, links, verbs and metrics are real; examples of
configuration are good, and commands that ask a vitald are answered."""

import fnmatch
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import harness

TOP = pathlib.Path(__file__).resolve().parent.parent
VITALD = os.environ.get("VITALD", str(TOP / "build/release/vitald"))
bad = []


def output(*argv):
    return subprocess.run(argv, check=True, capture_output=True, text=True, cwd=TOP, stdin=subprocess.DEVNULL).stdout


def expand(flag):
    """--[no-]x is both."""
    return {flag.replace("[no-]", ""), flag.replace("[no-]", "no-")}


def anchors(page):
    """The headings of a page as links name them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


# 1. Generated files.
for name, flag in (("metrics", "--dump-metrics-docs"), ("cli", "--dump-flags-docs"), ("config", "--dump-config-docs"),
                   ("api", "--dump-api-docs")):
    path = TOP / f"docs/{name}.md"
    if path.read_text() != output(VITALD, flag):
        bad.append(f"docs/{name}.md is not what the binary says; run ./dev docs")

# 2. Every family that leaves this machine is described, and every instrument of the sources.
described = re.findall(r"^\| `([^`]+)` \|", output(VITALD, "--dump-metrics-docs"), re.M)
families = re.findall(r"^# TYPE (\S+)", output(VITALD, "--once", "--log.level=error"), re.M)
for source in TOP.glob("*/**/*.cpp"):
    relative = source.relative_to(TOP)
    if relative.parts[0] in ("agent", "core", "sensors", "rules", "exporters"):
        families += re.findall(r'\.Name\("([^"]+)"\)', source.read_text())
for family in families:
    if not any(fnmatch.fnmatchcase(family, pattern) for pattern in described):
        bad.append(f"no descriptor describes {family} (agent/docs.cpp lists the instruments)")

# 3. Flags, verbs, files and metrics that prose mentions.
flags = set().union(*(expand(f) for f in re.findall(r"^  (--[\[\]\w.-]+)", output(VITALD, "--help"), re.M)))
prefixes = {f.rsplit(".", 1)[0] for f in flags}
verbs = set(re.findall(r"^  ([a-z]+)", output("./dev"), re.M))
other_programs = {"--cacert", "--data-urlencode", "--reuid", "--regid", "--init-groups", "--inh-caps", "--ambient-caps",
                  # Of vitald's own commands that ask a vitald.
                  "--url", "--user", "--password-file", "--ca-file", "--scope", "--all",
                  "--benchmark_filter", "--gtest_filter", "--now", "--test-dir", "--preset", "--rounds", "--cold", "--load", "--quiet"}
# What a page names because it is not there: the example of a new collector, and what node_exporter has and vitald not.
absent = {
    "CHANGELOG.md": {"vitald_oom_kills_total"},
    "docs/adding-a-collector.md": {"--collector.aio", "sensors/proc/aio.cpp", "tests/sensors/aio_test.cpp",
                                   "vitald_aio_requests"},
    "docs/adding-a-number-per-owner.md": {"vitald_owner_waits_total", "vitald_sched_row"},
    "docs/adding-a-destination.md": {"exporters/deliver/file.cpp"},
    "docs/adding-an-endpoint.md": {"agent/api/uptime.cpp"},
    "docs/adding-a-derived-metric.md": {"--collector.swap_used", "sensors/derived/swap_used.cpp",
                                        "tests/sensors/swap_used_test.cpp", "vitald_swap_used_ratio"},
    "docs/dashboards.md": {"node_kernel_hung_tasks"},
    # Of dpkg.
    "docs/node_exporter.md": {"--force-confold"},
    # Of Prometheus.
    "docs/destinations.md": {"--web.enable-remote-write-receiver", "--enable-feature"},
    "docs/formats.md": {"--enable-feature"},
    "docs/troubleshooting.md": {"--web.enable-remote-write-receiver"},
    # The client's source file.
    "docs/schedulers.md": {"vitald_client"},
    # Of `vitald alerts`, of amtool and of kubectl.
    "docs/alerts.md": {"--severity", "--acknowledged", "--comment", "--duration", "--until", "--alertmanager.url", "--subresource", "--type"},
}
for path in [*TOP.glob("*.md"), *TOP.glob("docs/**/*.md")]:
    text, name = path.read_text(), path.relative_to(TOP)
    if name.name in ("metrics.md", "cli.md", "config.md"):
        continue  # generated
    without = absent.get(str(name), set())
    for word in without:  # whoever follows the page makes them, and is not told off for it
        if word not in text:
            bad.append(f"{name}: {word} is not named any more")
    for flag in re.findall(r"(?<![\w-])--[a-z][\w.-]*\w", text):
        if flag not in flags | other_programs | without and not any(f"--{p}.NAME" == flag for p in ("collector", "no-collector", "probe", "no-probe")):
            bad.append(f"{name}: there is no flag {flag}")
    for verb in re.findall(r"\./dev ([a-z]+)", text):
        if verb not in verbs:
            bad.append(f"{name}: there is no ./dev {verb}")
    for target, anchor in re.findall(r"\]\(([^)#:\s]*)(?:#([^)]*))?\)", text):
        other = path.parent / target if target else path
        if not other.exists():
            bad.append(f"{name}: link to {target}, which is not there")
        elif anchor and anchor not in anchors(other):
            bad.append(f"{name}: link to {target}#{anchor}: there is no such heading")
    for target in re.findall(r"`((?:agent|bpf|core|deploy|docs|exporters|rules|sensors|tests)/[\w./-]+\.\w+)`", text):
        if target not in without and not (TOP / target).exists():
            bad.append(f"{name}: mentions {target}, which is not there")
    for metric in re.findall(r"\b(?:vitald|node)_[a-z0-9_]+[a-z0-9]\b(?!\*)", text):
        base = re.sub(r"_(bucket|sum|count)$", "", metric)
        if metric not in without | {"node_exporter"} and not any(fnmatch.fnmatchcase(m, p) for p in described for m in (metric, base)):
            bad.append(f"{name}: there is no metric {metric}")

# 4. Nothing is hidden: docs/README.md has every page.
linked = set(re.findall(r"\]\(([^)#:\s]+)", (TOP / "docs/README.md").read_text()))
for page in TOP.glob("docs/*.md"):
    if page.name != "README.md" and page.name not in linked:
        bad.append(f"docs/README.md has no link to {page.name}")

# 5. Examples of configuration: `vitald --config.check`, `rules check` and `rules test` find nothing wrong but files that
#    only the reader has.
not_here = re.compile(r"No such file|no folder|nothing is there|no such file")
for path in [TOP / "README.md", *TOP.glob("docs/*.md")]:
    if path.name == "config.md":
        continue
    with tempfile.TemporaryDirectory() as folder:
        for example in re.findall(r"^```yaml\n(.*?)^```$", path.read_text(), re.M | re.S):
            key = re.search(r"^(\w+):", example, re.M)
            kind = key[1] if key else ""
            name = {"groups": "rules.yaml", "thresholds": "rules.yaml", "rule_files": "test.yaml"}.get(kind, "example.yaml")
            file = pathlib.Path(folder, name)
            file.write_text(example)
            if kind == "scrape_configs":  # Prometheus'
                continue
            if name == "rules.yaml":
                command = ["rules", "check", file]
            elif name == "test.yaml":
                command = ["rules", "test", file]
            elif kind in ("verdicts", "checks"):
                command = [f"--{'verdict' if kind == 'verdicts' else kind}.file={file}", "--config.check"]
            elif kind in ("tls_server_config", "basic_auth_users"):
                command = [f"--web.config.file={file}", "--config.check"]
            else:
                # With the shipped rules: receivers without one that alerts are warned of.
                command = [f"--config.file={file}", f"--rules.file={TOP}/deploy/rules/*.yaml", "--config.check"]
            done = subprocess.run([VITALD, *map(str, command)], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                                  env={**os.environ, "KUBERNETES_SERVICE_HOST": "10.96.0.1"})  # as a pod has it
            wrong = [line for line in done.stderr.splitlines() if line.strip() and not not_here.search(line)]
            if done.returncode and (wrong or not done.stderr):
                bad.append(f"{path.relative_to(TOP)}: {kind}: {' '.join(wrong) or done.stdout}")

# 6. Commands that only ask: each is answered. What changes something is tried by the tests of alerts and events, and
#    `explain` by those of verdicts: it wants a history that is longer than a test.
asks = re.compile(r"^    ((?:curl (?!.*(?:-X POST|explain|history\?|UUID|--cacert))|q '|"
                  r"vitald (?:verdict|registration|top --once|doctor\b(?!.*config))).*)$", re.M)
shell = r"""
curl() { command curl -sSf --max-time 20 "$@"; }
vitald() {
  case $1 in verdict | registration | top) "$VITALD" "$@" --url="$URL" ;; *) "$VITALD" "$@" ;; esac
}
q() { curl -sG "$URL/api/v1/query" --data-urlencode "query=$1"; }
"""
if harness.which("curl"):
    off = [f"--no-probe.{probe}" for probe in harness.probes()]
    with harness.vitald("--history.without-rules", *off) as (_, url):
        first = url + "/api/v1/query?query=vitald_cycles_total"
        harness.wait_for("a round", 60, lambda: harness.get_json(first)["data"]["result"])
        for path in [TOP / "README.md", *TOP.glob("docs/*.md")]:
            for command in asks.findall(path.read_text()):
                command = re.sub(r"\s#\s.*", "", command)
                here = re.sub(r"(?:http://)?(?:127\.0\.0\.1|localhost|compute-001):9100", url, command)
                done = subprocess.run(["bash", "-c", shell + here], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                                      env={**os.environ, "URL": url, "VITALD": VITALD})
                # A verdict that is bad (2) or unknown (3) is an answer, as is grep's that finds nothing; (23) is `head`'s end.
                failed = re.search(r"curl: \((?!23\))|vitald: error", done.stderr)
                if failed or done.returncode not in (0, 1, 2, 3):
                    bad.append(f"{path.relative_to(TOP)}: {command}: {done.stderr.strip()}")

print("\n".join(bad) if bad else f"{len(described)} metrics and {len(flags)} flags described, all there")
sys.exit(1 if bad else 0)
