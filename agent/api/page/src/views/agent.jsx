// vitald itself: where its numbers and alerts go, what its probes cost, what does not run and why, and the rules.
import { useState } from "preact/hooks";
import { base } from "../api.js";
import * as f from "../format.js";
import { line, lines, live, one, rows } from "../live.js";
import { Badge, Card, Name, Nothing, Spark, Table } from "../parts.jsx";
import { whyNot } from "./overview.jsx";

const STATE = { on: "good", failed: "bad", starting: "", off: "", "not here": "" };
const of = (q, key, value) => rows(q).find((r) => r.labels[key] === value)?.value;

function Self() {
  const facts = [
    ["Version", live.agent?.version ?? f.NONE],
    ["CPU", f.percent(one("a_cpu"))],
    ["Memory", f.bytes(one("a_rss"))],
    ["A round takes", f.seconds(one("a_cycle"))],
    ["Every", f.duration(live.interval)],
    ["Series", f.count(live.agent?.series ?? one("a_series"))],
    ["History", one("a_oldest") === undefined ? f.NONE : `${f.duration(one("a_oldest"))}, ${f.bytes(one("a_hist"))}`],
    ["State folder", one("a_state") === undefined ? f.NONE : one("a_state") === 1 ? "kept" : "nothing is kept"],
  ];
  const path = live.agent?.metrics_path ?? "/metrics";
  return (
    <Card title="This agent" id="self" wide>
      <dl class="facts">
        {facts.map(([k, v]) => (
          <div>
            <dt>{k}</dt>
            <dd>{v}</dd>
          </div>
        ))}
        <div>
          <dt>CPU, the last {f.duration(live.window)}</dt>
          <dd>
            <Spark values={line("a_cpu")} label="CPU time of vitald" />
          </dd>
        </div>
      </dl>
      <p class="links">
        <a href={base + path.slice(1)}>Metrics</a> <a href={`${base}-/healthy`}>Health</a> <a href={`${base}api/v1/alerts`}>Alerts as JSON</a> <a href={`${base}?plain`}>This page without scripts</a>
      </p>
    </Card>
  );
}

function Destinations() {
  const names = [...new Set([...rows("d_queued"), ...rows("d_done")].map((r) => r.labels.destination))].sort();
  const all = names.map((name) => ({
    name,
    queued: of("d_queued", "destination", name),
    age: of("d_age", "destination", name),
    done: of("d_done", "destination", name),
    failed: of("d_failed", "destination", name),
    taken: of("d_taken", "destination", name),
    lost: of("d_lost", "destination", name),
    dropped: of("d_pdropped", "destination", name) ?? of("d_dropped", "destination", name) ?? 0, // samples, where it is a push
    disk: of("d_disk", "destination", name),
    failing: of("d_failing", "destination", name),
    samples: of("d_samples", "destination", name),
  }));
  for (const r of rows("h_queue"))
    if (!names.includes(r.labels.hook)) {
      const runs = rows("h_runs").filter((x) => x.labels.hook === r.labels.hook);
      all.push({ name: r.labels.hook, queued: r.value, done: runs.filter((x) => x.labels.result === "ok").reduce((n, x) => n + x.value, 0), dropped: 0 });
    }
  // One that refuses answers, so nothing waits: what it lost tells it from one that takes all.
  const state = (r) => {
    if (r.failing === 1) return ["bad", "disk fails"];
    if (r.age > 60 || (r.age > 10 && r.failed > 0)) return ["warn", "away"];
    if (r.lost > 0) return r.taken > 0 ? ["warn", "loses some"] : ["bad", "takes nothing"];
    return r.done > 0 ? ["good", "takes all"] : ["", "nothing sent yet"];
  };
  return (
    <Card title="Destinations" note="Receivers of alerts and places where metrics are pushed, with what waits for them." id="dest" wide>
      <Table
        caption="Destinations"
        rows={all}
        rowKey={(r) => r.name}
        empty={live.loaded ? (live.history ? "There are none: notify: and push: in --config.file name them." : whyNot()) : "Asking …"}
        columns={[
          { key: "name", name: "Destination", value: (r) => r.name, show: (r) => r.name },
          { key: "state", name: "State", value: (r) => state(r)[1], show: (r) => <Badge level={state(r)[0]}>{state(r)[1]}</Badge> },
          { key: "queued", name: "Waiting", number: true, narrow: "second", value: (r) => r.queued, show: (r) => f.count(r.queued) },
          { key: "age", name: "Oldest", number: true, value: (r) => r.age, show: (r) => (r.age > 0 ? f.duration(r.age) : f.NONE) },
          { key: "done", name: "Delivered", number: true, value: (r) => r.done, show: (r) => f.count(r.done) },
          { key: "samples", name: "Samples", number: true, value: (r) => r.samples, show: (r) => f.perSecond(r.samples) },
          { key: "dropped", name: "Dropped", number: true, value: (r) => r.dropped, show: (r) => f.count(r.dropped) },
          { key: "disk", name: "On disk", number: true, value: (r) => r.disk, show: (r) => f.bytes(r.disk) },
        ]}
      />
    </Card>
  );
}

function Runs({ probes }) {
  const [text, setText] = useState("");
  const [only, setOnly] = useState(!probes);
  const all = (live.agent?.collectors ?? []).filter((c) => c.probe === probes);
  const found = all.filter((c) => (!only || c.state !== "off") && (!text || `${c.name} ${c.text}`.toLowerCase().includes(text.toLowerCase())));
  const more = probes
    ? [
        { key: "cost", name: "CPU", number: true, narrow: "second", value: (r) => of("p_cost", "probe", r.name), show: (r) => f.percent(of("p_cost", "probe", r.name)), title: "Of one CPU, by the programs' own clock" },
        { key: "past", name: "Past", show: (r) => <Spark values={lines("p_cost").find((s) => s.labels.probe === r.name)?.values} label={`Cost of ${r.name}`} /> },
        { key: "runs", name: "Runs", number: true, value: (r) => of("p_runs", "probe", r.name), show: (r) => f.perSecond(of("p_runs", "probe", r.name)) },
      ]
    : [
        { key: "took", name: "Takes", number: true, value: (r) => of("c_took", "collector", r.name), show: (r) => f.seconds(of("c_took", "collector", r.name)) },
        { key: "cpu", name: "CPU", number: true, narrow: "second", value: (r) => of("c_cpu", "collector", r.name), show: (r) => f.percent(of("c_cpu", "collector", r.name)) },
      ];
  return (
    <Card title={probes ? "Probes" : "Collectors"} note={`${all.filter((c) => c.state === "on").length} of ${all.length} run.`} id={probes ? "probes" : "collectors"} wide>
      <div class="tools">
        <label>
          Find <input type="search" value={text} onInput={(e) => setText(e.currentTarget.value)} />
        </label>
        <label class="check">
          <input type="checkbox" checked={only} onChange={(e) => setOnly(e.currentTarget.checked)} /> without those that are off
        </label>
      </div>
      <Table
        caption={probes ? "Probes" : "Collectors"}
        rows={found}
        rowKey={(r) => r.name}
        empty={all.length > 0 ? "None like this." : "Asking …"}
        columns={[
          { key: "name", name: probes ? "Probe" : "Collector", value: (r) => r.name, show: (r) => r.name },
          { key: "state", name: "State", value: (r) => r.state, show: (r) => <Badge level={STATE[r.state] ?? ""}>{r.state}</Badge> },
          ...more,
          { key: "text", name: probes ? "How, or why not" : "Why not", value: (r) => r.text, show: (r) => <span class="why">{[r.text, ...(r.left_out ?? []).map((x) => `without ${x}`)].filter(Boolean).join("; ") || f.NONE}</span> },
        ]}
      />
    </Card>
  );
}

function Rules() {
  const [text, setText] = useState("");
  const all = (live.rules ?? []).flatMap((g) => g.rules.map((r) => ({ ...r, group: g.name })));
  const found = all.filter((r) => !text || `${r.group} ${r.name} ${r.query}`.toLowerCase().includes(text.toLowerCase()));
  const rank = { firing: 0, pending: 1, inactive: 2 };
  return (
    <Card title="Rules" note={`${all.length} in ${live.rules?.length ?? 0} groups.`} id="rules" wide>
      <div class="tools">
        <label>
          Find <input type="search" value={text} onInput={(e) => setText(e.currentTarget.value)} />
        </label>
      </div>
      <Table
        caption="Rules"
        rows={found}
        most={40}
        rowKey={(r) => `${r.group}/${r.name}/${r.query}/${JSON.stringify(r.labels)}`}
        empty={all.length > 0 ? "None like this." : live.rules ? "None are loaded; see --rules.file." : "Asking …"}
        columns={[
          { key: "name", name: "Rule", value: (r) => r.name, show: (r) => <Name text={r.name} /> },
          { key: "group", name: "Group", narrow: "none", value: (r) => r.group, show: (r) => r.group },
          {
            key: "state",
            name: "State",
            value: (r) => String(rank[r.state] ?? 3),
            show: (r) => <Badge level={r.health === "err" ? "bad" : r.state === "firing" ? "warn" : r.state === "inactive" ? "good" : ""}>{r.health === "err" ? "error" : r.type === "recording" ? "records" : r.state}</Badge>,
          },
          { key: "took", name: "Takes", number: true, narrow: "second", value: (r) => r.evaluationTime, show: (r) => f.seconds(r.evaluationTime) },
          {
            key: "query",
            name: "Expression",
            value: (r) => r.query,
            show: (r) => (
              <>
                <a class="expr" href={`#/query/${encodeURIComponent(r.query)}`}>
                  <code>{r.query}</code>
                </a>
                {r.lastError ? <p class="error">{r.lastError}</p> : null}
              </>
            ),
          },
        ]}
      />
    </Card>
  );
}

export function Agent() {
  return (
    <div class="grid">
      <Self />
      <Destinations />
      <Rules />
      <Runs probes />
      <Runs probes={false} />
      {live.agent ? null : <Nothing>Asking …</Nothing>}
    </div>
  );
}
