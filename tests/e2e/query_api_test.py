#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The query API against a real Prometheus over the same samples: what vitald recorded is read back from it, imported
into a Prometheus, and both are asked the same."""

import concurrent.futures
import gzip
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import free_port, need, metrics, running, vitald, wait_for, which  # noqa: E402

need("prometheus", "promtool")

RULES = """
groups:
  - name: test
    interval: 200ms
    rules:
      - {record: "test:sum", expr: sum(test_gauge)}
      - {alert: Always, expr: vector(1) > 0, labels: {severity: critical}, annotations: {summary: "it is {{ $value }}"}}
      - {alert: Big, expr: test_gauge > 1e9}
  - name: other
    rules:
      - {alert: Never, expr: test_gauge > 1e12, labels: {severity: warning}}
"""
HISTOGRAM = (1, 3, 7, 11)

# Compared with Prometheus 2.42 at one time.
INSTANT = [
    "1+1", "vector(1)", "time()", '"text"', "test_gauge", 'test_gauge{a="x"}', 'test_gauge{a!="x"}', 'test_gauge{a=~"x|y"}',
    'test_gauge{a!~"x|y"}', '{__name__=~"test_.*"}', "-test_gauge", "test_gauge * 2", "test_gauge > 1",
    "test_gauge > bool 1", "sum(test_gauge)", "sum by (a) (test_gauge)", "sum without (a) (test_gauge)",
    "avg(test_gauge)", "min(test_gauge)", "max(test_gauge)", "count(test_gauge)", "group(test_gauge)",
    "stddev(test_gauge)", "stdvar(test_gauge)", "topk(2, test_gauge)", "bottomk(1, test_gauge)",
    "quantile(0.5, test_gauge)", 'count_values("v", test_gauge)', "rate(test_total[3s])", "irate(test_total[3s])",
    "increase(test_total[3s])", "delta(test_gauge[3s])", "idelta(test_gauge[3s])", "deriv(test_gauge[3s])",
    "predict_linear(test_gauge[3s], 60)", "avg_over_time(test_gauge[3s])", "min_over_time(test_gauge[3s])",
    "max_over_time(test_gauge[3s])", "sum_over_time(test_gauge[3s])", "count_over_time(test_gauge[3s])",
    "stddev_over_time(test_gauge[3s])", "quantile_over_time(0.9, test_gauge[3s])", "last_over_time(test_gauge[3s])",
    "present_over_time(test_gauge[3s])", "changes(test_gauge[3s])", "resets(test_total[3s])",
    "absent(test_gauge)", "absent(nothing)", 'absent(up{job="node"} == 1)', "absent_over_time(nothing[3s])",
    "histogram_quantile(0.9, test_seconds_bucket)", "histogram_quantile(0.5, rate(test_seconds_bucket[3s]))",
    "abs(test_gauge)", "ceil(test_gauge)", "floor(test_gauge)", "round(test_gauge, 0.5)", "exp(test_gauge / 100)",
    "ln(test_gauge)", "log2(test_gauge)", "sqrt(test_gauge)", "clamp(test_gauge, 1, 2)", "sgn(test_gauge)",
    "timestamp(test_gauge)", "hour()", "day_of_week()", "scalar(sum(test_gauge))", "sort_desc(test_gauge)",
    "test_gauge / on (a) test_other", "test_gauge * on (a) group_left (c) test_other", "test_gauge and test_gauge > 1",
    "test_gauge or test_other", "test_gauge unless test_gauge > 1", "test_gauge offset 1s", "test_gauge[1s]",
    "max_over_time(rate(test_total[2s])[3s:500ms])", 'label_replace(test_gauge, "b", "$1", "a", "(.*)")',
    'label_join(test_gauge, "j", "-", "a", "job")', "test_nan", "test_inf", "-test_inf", "test_small", "test_large",
    'up{job="node"}', 'count by (job, instance) (test_gauge)', "test:sum", "0/0", "1/0", "1e-7", "1e21", "123456.789",
]
# And every function over every selector, every aggregation over every expression, every operator. `rate` and its like
# extrapolate otherwise in version 3 where a counter is near zero or its samples are late: they are asked above. atan2
# keeps the name in version 2.
OVER_TIME = ["avg_over_time({})", "min_over_time({})", "max_over_time({})", "sum_over_time({})", "count_over_time({})",
             "stddev_over_time({})", "stdvar_over_time({})", "last_over_time({})", "present_over_time({})",
             "quantile_over_time(0.1, {})", "quantile_over_time(0.5, {})", "quantile_over_time(0.99, {})", "changes({})",
             "resets({})", "deriv({})", "idelta({})", "predict_linear({}, 30)", "irate({})", "absent_over_time({})"]
SELECTORS = ["test_gauge", "test_other", "test_total", 'test_gauge{a=~"x|z"}']
AGGREGATIONS = ["sum", "avg", "min", "max", "count", "group", "stddev", "stdvar", "topk(2", "quantile(0.25"]
GROUPINGS = ["", "by (a) ", "without (a) ", "by (job) ", "by (a, c) "]
AGGREGATED = ["test_gauge", "test_other", "rate(test_total[3s])", "abs(test_gauge)"]
OPERATORS = ["+", "-", "*", "/", "%", "^", "==", "!=", ">", "<", ">=", "<=", "== bool", "> bool"]


def aggregated(name, grouping, expression):
    return f"{name}, {expression}) {grouping}" if "(" in name else f"{name} {grouping}({expression})"


MORE = [
    *(f.format(f"{selector}[{window}]") for f in OVER_TIME for selector in SELECTORS for window in ("1s", "2s", "3s")),
    *(aggregated(name, grouping, e) for name in AGGREGATIONS for grouping in GROUPINGS for e in AGGREGATED),
    *(f"{left} {operator} {right}" for operator in OPERATORS
      for left, right in (("test_gauge", "1.5"), ("2", "test_other"), ("test_gauge", "on (a) test_other"),
                          ("test_gauge", "ignoring (c) group_right () test_other"))),
]
INSTANT += MORE
# Over a time, with a step.
RANGE = ["test_gauge", "sum(test_gauge)", "rate(test_total[2s])", "1", "test_gauge > 40", "avg_over_time(test_gauge[1s])",
         "topk(1, test_gauge)", "nothing", "histogram_quantile(0.9, rate(test_seconds_bucket[2s]))", "time()",
         "test_gauge @ end()", "test_gauge offset 500ms", "test:sum", *MORE[::5]]
# Both answer with this status and type of error.
BAD = [
    ("query", {}), ("query", {"query": "sum("}), ("query", {"query": "foo", "time": "yesterday"}),
    ("query", {"query": "sum(1)"}), ("query", {"query": "{}"}), ("query", {"query": "foo", "timeout": "soon"}),
    ("query_range", {"query": "foo"}), ("query_range", {"query": "foo", "start": "2", "end": "1", "step": "1"}),
    ("query_range", {"query": "foo", "start": "1", "end": "2", "step": "0"}),
    ("query_range", {"query": "foo", "start": "1", "end": "2", "step": "-1"}),
    ("query_range", {"query": "foo", "start": "1", "end": "2", "step": "x"}),
    ("query_range", {"query": "foo", "start": "0", "end": "11001", "step": "1"}),
    ("query_range", {"query": "foo[1m]", "start": "1", "end": "2", "step": "1"}),
    ("query_range", {"query": '"a"', "start": "1", "end": "2", "step": "1"}),
    ("query", {"query": "test_gauge * on () test_gauge"}), ("series", {}), ("series", {"match[]": "{}"}),
    ("series", {"match[]": "a{"}), ("labels", {"match[]": "a{"}), ("labels", {"start": "x"}),
    ("label/0/values", {}), ("label/a/values", {"match[]": "a{"}), ("query_exemplars", {"query": "("}),
    ("query_exemplars", {"query": "a", "start": "2", "end": "1"}), ("format_query", {"query": "("}),
    ("rules", {"type": "nothing"}),
]


def ask(url, path, parameters=None, post=False, headers=None):
    """(status, headers, parsed body)"""
    data = urllib.parse.urlencode(parameters or {}, doseq=True)
    target = f"{url}/api/v1/{path}"
    request = urllib.request.Request(target if post or not data else f"{target}?{data}", headers=headers or {})
    if post:
        request.data = data.encode()
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            status, found, body = answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        status, found, body = error.code, error.headers, error.read()
    if found.get("Content-Encoding") == "gzip":
        body = gzip.decompress(body)
    return status, found, json.loads(body) if body else None


def near(a, b):
    if isinstance(a, str) and isinstance(b, str):
        try:
            x, y = float(a), float(b)
        except ValueError:
            return a == b
        # Sums in another order; the text must be as Go writes it where the number is the same.
        return a == b or (x != y and math.isclose(x, y, rel_tol=1e-9)) or (math.isnan(x) and math.isnan(y))
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(near(x, y) for x, y in zip(a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(near(a[k], b[k]) for k in a)
    return a == b


def canonical(data, ordered):
    """A vector's order is only some expressions' promise."""
    result = data["result"]
    if data["resultType"] == "vector" and not ordered:
        result = sorted(result, key=lambda row: json.dumps(row["metric"], sort_keys=True))
    return {"resultType": data["resultType"], "result": result}


with tempfile.TemporaryDirectory() as top:
    folder = pathlib.Path(top)
    (folder / "textfiles").mkdir()
    (folder / "rules.yaml").write_text(RULES)

    def numbers(i):
        counts = "".join(f'test_seconds_bucket{{le="{le}"}} {i * n}\n' for le, n in zip((0.1, 0.5, 1, "+Inf"), HISTOGRAM))
        text = f"""# HELP test_gauge A gauge.
# TYPE test_gauge gauge
test_gauge{{a="x"}} {i % 7 * 1.5}
test_gauge{{a="y"}} {40 + math.sin(i)}
test_gauge{{a="z"}} 0.30000000000000004
# TYPE test_other gauge
test_other{{a="x",c="p"}} 2
test_other{{a="y",c="q \\"quoted\\" \\\\ <&>"}} {i}
test_other{{a="z",c="ü"}} 0
# TYPE test_total counter
test_total {1000 + i * 3 if i < 20 else 480 + i}
test_nan NaN
test_inf +Inf
test_small 1e-7
test_large 1.5e21
# TYPE test_seconds histogram
{counts}test_seconds_sum {i * 2.5}
test_seconds_count {i * HISTOGRAM[-1]}
"""
        # The counter stays far from zero: near it, and where samples come late, versions 2 and 3 extrapolate differently.
        (folder / "t.tmp").write_text(text)
        os.rename(folder / "t.tmp", folder / "textfiles/t.prom")

    numbers(0)
    instance = "web1:9100"
    with vitald(f"--rules.file={top}/rules.yaml", "--collector.disable-defaults", "--collector.textfile",
                "--collector.self", f"--collector.textfile.directory={top}/textfiles", "--pipeline.interval=200ms",
                f"--rules.series-label=instance={instance}", "--web.max-age=0") as (process, url):
        began = time.time()
        i = 0
        while time.time() < began + 8:
            i += 1
            numbers(i)
            time.sleep(0.1)

        # ---- the same samples into a Prometheus
        status, _, raw = ask(url, "query", {"query": '{__name__=~"test.*|up"}[30s]'})
        assert status == 200 and raw["data"]["resultType"] == "matrix", raw
        lines, spans = [], []
        for row in sorted(raw["data"]["result"], key=lambda r: r["metric"]["__name__"]):
            labels = dict(row["metric"])
            name = labels.pop("__name__")
            inside = ",".join('{}="{}"'.format(k, v.replace("\\", "\\\\").replace('"', '\\"')) for k, v in labels.items())
            spans.append((row["values"][0][0], row["values"][-1][0]))
            # promtool cuts what is below a millisecond, and 1.017 times 1000 is less than 1017.
            lines += [f"{name}{{{inside}}} {value} {t + 0.0004:.4f}" for t, value in row["values"]]
        (folder / "samples.om").write_text("\n".join(lines) + "\n# EOF\n")
        done = subprocess.run([which("promtool"), "tsdb", "create-blocks-from", "openmetrics", f"{top}/samples.om",
                               f"{top}/data"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        (folder / "prometheus.yaml").write_text("global: {scrape_interval: 1h}\n")
        port = free_port()
        server = f"http://127.0.0.1:{port}"
        with running([which("prometheus"), f"--config.file={top}/prometheus.yaml", f"--storage.tsdb.path={top}/data",
                      f"--web.listen-address=127.0.0.1:{port}", "--storage.tsdb.retention.time=10y"],
                     server + "/-/ready", 60):
            begin, end = max(s[0] for s in spans), min(s[1] for s in spans)
            # Where a window begins exactly on a sample the two versions differ, and on purpose: such times are not asked.
            taken = {round(t * 1000) for row in raw["data"]["result"] for t, _ in row["values"]}
            windows = (500, 1000, 2000, 3000)
            at_ms = next(t for t in range(round(end * 1000) - 44, 0, -1) if not any(t - w in taken for w in windows))
            at, step_ms = at_ms / 1000, 377
            first_ms = next(t for t in range(round(begin * 1000) + 2014, at_ms) if not any(
                step - w in taken for step in range(t, at_ms + 1, step_ms) for w in windows))
            # Steps of a subquery are at whole multiples of it.
            instant = [q for q in INSTANT if ":500ms]" not in q or not any(t % 500 == 0 for t in taken)]
            wrong = []
            for query in instant:
                asked = {"query": query, "time": f"{at:.3f}"}
                theirs, ours = (ask(u, "query", asked) for u in (server, url))
                ordered = query.startswith(("sort", "topk", "bottomk"))
                if ours[0] != 200 or theirs[0] != 200 or not near(canonical(ours[2]["data"], ordered),
                                                                  canonical(theirs[2]["data"], ordered)):
                    wrong.append((query, theirs[2], ours[2]))
            for query in RANGE:
                for post in (False, True):
                    asked = {"query": query, "start": f"{first_ms / 1000:.3f}", "end": f"{at:.3f}", "step": f"{step_ms / 1000:.3f}"}
                    theirs, ours = (ask(u, "query_range", asked, post) for u in (server, url))
                    if ours[0] != 200 or not near(ours[2], theirs[2]):
                        wrong.append((query, theirs[2], ours[2]))
            for query, theirs, ours in wrong:
                print(f"--- {query}\nPrometheus: {json.dumps(theirs)[:600]}\nvitald:     {json.dumps(ours)[:600]}")
            assert not wrong, f"{len(wrong)} queries have other answers: {[w[0] for w in wrong]}"
            print(f"{len(instant)} instant and {2 * len(RANGE)} range queries have the same answers")

            # ---- mistakes
            for path, parameters in BAD:
                theirs, ours = (ask(u, path, parameters) for u in (server, url))
                assert (ours[0], ours[2].get("errorType")) == (theirs[0], theirs[2].get("errorType")), \
                    f"{path} {parameters}: {theirs[0]} {theirs[2]}, not {ours[0]} {ours[2]}"
                assert ours[2]["status"] == "error" and ours[2]["error"], ours

            # ---- series and labels, as Grafana's editor and variables ask
            window = {"start": f"{begin:.3f}", "end": f"{at:.3f}"}
            for path, parameters in [
                    ("series", {"match[]": "test_gauge"}), ("series", {"match[]": ["test_gauge", 'test_other{a="x"}']}),
                    ("series", {"match[]": '{__name__=~"test_.+",a="y"}'}), ("series", {"match[]": "nothing"}),
                    ("labels", {"match[]": "test_other"}), ("labels", {"match[]": '{__name__=~"test.*"}'}),
                    ("label/a/values", {}), ("label/c/values", {}), ("label/a/values", {"match[]": "test_other"}),
                    ("label/job/values", {"match[]": "test_gauge"}), ("label/instance/values", {"match[]": "up"}),
                    ("label/nothing/values", {}), ("query_exemplars", {"query": "test_gauge"}),
                    ("format_query", {"query": "sum(test_gauge)by(a)"})]:
                asked = {**parameters, **({} if path == "format_query" else window)}
                theirs, ours = (ask(u, path, asked) for u in (server, url))
                key = (lambda r: json.dumps(r, sort_keys=True)) if path == "series" else str
                assert sorted(ours[2]["data"], key=key) == sorted(theirs[2]["data"], key=key), \
                    f"{path} {parameters}: {theirs[2]}, not {ours[2]}"
                if path in ("series", "labels", "format_query"):
                    assert ask(url, path, asked, post=True)[2] == ours[2]

        # ---- Grafana's test of a data source, and what it asks afterwards
        assert ask(url, "query", {"query": "1+1", "time": "4"}, post=True)[2] == \
            {"status": "success", "data": {"resultType": "scalar", "result": [4, "2"]}}
        build = ask(url, "status/buildinfo")[2]["data"]
        assert build["version"] == "3.0.0" and "features" not in build, build
        assert ask(url, "query", {"query": "up", "time": "1e300"})[0] == 400
        assert ask(url, "query", post=True)[0] == 400

        target = ask(url, "targets", {"state": "active"})[2]["data"]["activeTargets"][0]
        assert target["health"] == "up" and target["labels"] == {"instance": instance, "job": "node"}, target
        about = ask(url, "metadata", {"metric": "test_gauge"})[2]["data"]
        assert about == {"test_gauge": [{"type": "gauge", "help": "A gauge.", "unit": ""}]}, about
        assert len(ask(url, "metadata", {"limit": "3"})[2]["data"]) == 3

        # ---- rules and their filters
        def names(**filters):
            groups = ask(url, "rules", {k.replace("_x", "[]"): v for k, v in filters.items()})[2]["data"]["groups"]
            return [r["name"] for g in groups for r in g["rules"]]

        for filters, want in [({}, ["test:sum", "Always", "Big", "Never"]), ({"type": "record"}, ["test:sum"]),
                              ({"type": "alert"}, ["Always", "Big", "Never"]), ({"rule_name_x": ["Big", "Never"]}, ["Big", "Never"]),
                              ({"rule_group_x": "other"}, ["Never"]), ({"file_x": f"{top}/rules.yaml"}, ["test:sum", "Always", "Big", "Never"]),
                              ({"file_x": "elsewhere"}, []), ({"match_x": '{severity="critical"}'}, ["Always"])]:
            assert names(**filters) == want, (filters, names(**filters))
        groups = ask(url, "rules", {"exclude_alerts": "true", "rule_name[]": "Always"})[2]["data"]["groups"]
        assert len(groups) == 1 and groups[0]["rules"][0]["alerts"] == [], groups

        # ---- limits
        status, headers, answer = ask(url, "query", {"query": '{__name__=~".+"}'}, headers={"Accept-Encoding": "gzip"})
        assert status == 200 and headers["Content-Encoding"] == "gzip" and answer["data"]["result"]
        slow = "sum(max_over_time(rate({__name__=~'.+'}[8s])[8s:10ms]))"
        asked = {"query": slow, "start": f"{begin:.3f}", "end": f"{end:.3f}", "step": "0.01", "timeout": "300ms"}
        status, _, answer = ask(url, "query_range", asked)
        assert (status, answer["errorType"]) == (503, "timeout") or (status, answer["errorType"]) == (422, "execution"), answer
        # A storm of them holds up no scrape.
        with concurrent.futures.ThreadPoolExecutor(100) as many:
            asked = {**asked, "timeout": "2s"}
            answers = [many.submit(ask, url, "query_range", {**asked, "start": f"{begin + n / 1000:.3f}"}) for n in range(100)]
            time.sleep(0.2)
            worst = 0.0
            for _ in range(20):
                start = time.monotonic()
                metrics(url)
                worst = max(worst, time.monotonic() - start)
            kinds = {(a.result()[0], a.result()[2].get("errorType")) for a in answers}
        print(f"100 slow queries: {sorted(map(str, kinds))}; the slowest of 20 scrapes meanwhile took {worst * 1000:.0f} ms")
        assert worst < 2, worst
        assert kinds <= {(200, None), (422, "execution"), (503, "timeout"), (503, "unavailable")}, kinds

        # ---- repeated within a round: from the cache
        with urllib.request.urlopen(url + "/api/stats/telemetry") as answer:
            before = json.load(answer)
        for _ in range(200):
            ask(url, "query", {"query": "vector(1)"})
        with urllib.request.urlopen(url + "/api/stats/telemetry") as answer:
            after = json.load(answer)
        hits = after["cache_hits"] - before["cache_hits"]
        assert after["query_count"] - before["query_count"] == 200 and hits > 50, (before, after)
        assert after["in_flight"] == 0 and after["avg_latency_ms"] > 0 and after["avg_ms"] == after["avg_latency_ms"]
        samples = metrics(url)[1]
        assert samples[("vitald_query_cache_hits_total", ())] == after["cache_hits"]
        assert not any(dict(labels).get("instance") == instance for _, labels in samples), "/metrics has no instance"
        print(f"of 200 repeated queries {hits} came from the cache")
        assert process.alive()

    # ---- without rules: an answer, and a word on what is missing
    with vitald("--collector.disable-defaults", "--collector.self") as (_, url):
        answer = ask(url, "query", {"query": "up"})[2]
        assert answer["data"]["result"] == [] and "no history" in answer["warnings"][0], answer
    with vitald("--collector.disable-defaults", "--collector.self", "--history.without-rules",
                "--pipeline.interval=200ms") as (_, url):
        wait_for("history without rules", 10, lambda: ask(url, "query", {"query": "up"})[2]["data"]["result"])

    # ---- a group's interval below the pipeline's is honoured
    with vitald("--collector.disable-defaults", "--collector.self", f"--rules.file={top}/rules.yaml",
                "--pipeline.interval=5s") as (_, url):
        asked = {"query": 'count_over_time(up[2s])'}
        wait_for("samples more often than every 5 s", 10,
                 lambda: any(float(r["value"][1]) >= 5 for r in ask(url, "query", asked)[2]["data"]["result"]))
