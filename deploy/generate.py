#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What is made from deploy/rules and from deploy/grafana/panels/*.yaml, so that the rules of the host, of a cluster's
Prometheus and the panels that show them agree: `generate.py` writes it, `generate.py check` says what is not current."""

import json
import pathlib
import sys

import yaml

DEPLOY = pathlib.Path(__file__).resolve().parent
RULES = sorted((DEPLOY / "rules").glob("*.yaml"))
PANELS = sorted((DEPLOY / "grafana/panels").glob("*.yaml"))
HOST = 'job="$job",instance="$instance"'
MADE = "# Made by deploy/generate.py from deploy/rules. SPDX-License-Identifier: Apache-2.0\n"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def groups(path):
    """The text below "groups:", which is the whole file but for comments at its beginning."""
    before, _, after = path.read_text().partition("groups:\n")
    assert all(line.startswith("#") or not line.strip() for line in before.splitlines()), f"{path}: more than groups"
    return after


def prometheus_rule():
    text = "".join(groups(path) for path in RULES)
    indented = "".join("  " + line if line.strip() else line for line in text.splitlines(keepends=True))
    return MADE + """apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: vitald
  labels: {app.kubernetes.io/name: vitald}
spec:
  groups:
""" + indented


def panel(number, row, column, width, height, given):
    """One panel of a file in panels/; thresholds are lines, and where a rule judges the same the link leads to it."""
    kind = given.get("type", "timeseries")
    thresholds = [{"color": "green", "value": None}]
    thresholds += [{"color": "orange" if i == 0 else "red", "value": v} for i, v in enumerate(given.get("thresholds", []))]
    options = {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
               "tooltip": {"mode": "multi", "sort": "desc"}}
    custom = {"fillOpacity": 10, "lineWidth": 1, "showPoints": "never"}
    if given.get("stack"):
        custom |= {"stacking": {"group": "A", "mode": "normal"}, "fillOpacity": 40}
    if len(thresholds) > 1:
        custom["thresholdsStyle"] = {"mode": "dashed"}
    if kind == "stat":
        options, custom = {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value", "graphMode": "area"}, {}
    elif kind == "table":
        options, custom = {"showHeader": True}, {}
    elif kind == "heatmap":
        # The buckets are there already: sum by (le) of a rate.
        options = {"calculate": False, "color": {"mode": "scheme", "scheme": "Oranges"}, "cellGap": 1, "yAxis": {"unit": given["unit"]},
                   "tooltip": {"show": True}, "legend": {"show": True}}
        custom = {}
    targets = [{"refId": chr(ord("A") + i), "datasource": SOURCE, "expr": q["expr"].replace("$host", HOST), "legendFormat": q.get("legend", ""),
                "instant": kind in ("stat", "table"), "range": kind not in ("stat", "table"),
                "format": {"table": "table", "heatmap": "heatmap"}.get(kind, "time_series")}
               for i, q in enumerate(given["queries"])]
    return {"id": number, "type": kind, "title": given["title"], "description": given.get("description", ""),
            "datasource": SOURCE, "gridPos": {"x": column, "y": row, "w": width, "h": height}, "targets": targets,
            "fieldConfig": {"defaults": {"unit": given.get("unit", "short"), "custom": custom, "min": given.get("min"),
                                         "thresholds": {"mode": "absolute", "steps": thresholds}}, "overrides": []},
            "options": options}


def dashboard(path):
    source = yaml.safe_load(path.read_text())
    panels, y = [], 0
    for section in source["rows"]:
        panels.append({"id": len(panels) + 1, "type": "row", "title": section["row"], "collapsed": False, "panels": [],
                       "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}})
        y += 1
        height = section.get("height", 8)
        width = 24 // section.get("columns", 3)
        for i, given in enumerate(section["panels"]):
            per_row = 24 // width
            panels.append(panel(len(panels) + 1, y + i // per_row * height, i % per_row * width, width, height, given))
        y += -(-len(section["panels"]) // (24 // width)) * height
    query = 'label_values(node_uname_info{job="$job"}, instance)'
    variables = [
        {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"},
        {"name": "job", "type": "query", "datasource": SOURCE, "query": {"query": "label_values(node_uname_info, job)",
         "refId": "job"}, "refresh": 2, "sort": 1, "label": "Job"},
        {"name": "instance", "type": "query", "datasource": SOURCE, "query": {"query": query, "refId": "instance"},
         "refresh": 2, "sort": 1, "label": "Host"},
    ]
    return json.dumps({"uid": f"vitald-{path.stem}", "title": source["title"], "tags": ["vitald"], "schemaVersion": 38, "version": 1,
                       "editable": True, "refresh": "15s", "time": {"from": "now-1h", "to": "now"}, "timezone": "browser",
                       "graphTooltip": 1, "templating": {"list": variables}, "annotations": {"list": [{
                           "name": "Alerts", "enable": True, "datasource": SOURCE, "iconColor": "red",
                           "expr": 'ALERTS{alertstate="firing",instance="$instance"}', "titleFormat": "{{alertname}}"}]},
                       "panels": panels}, indent=1, ensure_ascii=False) + "\n"


def made():
    yield DEPLOY / "k8s/monitoring/prometheusrule.yaml", prometheus_rule()
    for path in PANELS:
        yield DEPLOY / f"grafana/{path.stem}.json", dashboard(path)
    for path in RULES:
        # kustomize reads nothing above the folder of its kustomization.yaml.
        yield DEPLOY / "k8s/base/rules" / path.name, MADE + path.read_text()


def main():
    stale = []
    for path, text in made():
        if path.exists() and path.read_text() == text:
            continue
        stale.append(path)
        if sys.argv[1:] != ["check"]:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    for path in stale:
        print(("not current: " if sys.argv[1:] == ["check"] else "written: ") + str(path.relative_to(DEPLOY.parent)))
    sys.exit(1 if stale and sys.argv[1:] == ["check"] else 0)


if __name__ == "__main__":
    main()
