// Who uses this host, who waits, and because of whom.
import { useState } from "preact/hooks";
import * as f from "../format.js";
import { Chart } from "../chart.jsx";
import { lines, live, one, rows } from "../live.js";
import { Bar, Card, Nothing, Owner, ownerName, Table } from "../parts.jsx";
import { whyNot } from "./overview.jsx";

const COLUMNS = { o_cpu: "cpu", o_wait: "wait", o_io: "io", o_iotime: "iotime", o_mem: "mem", o_energy: "watts", o_oom: "oom" };

// One row an owner out of the columns' results.
function together() {
  const all = new Map();
  for (const [q, name] of Object.entries(COLUMNS))
    for (const { labels, value } of rows(q)) {
      const key = JSON.stringify(labels);
      if (!all.has(key)) all.set(key, { key, labels });
      all.get(key)[name] = value;
    }
  return [...all.values()].filter((r) => Object.values(COLUMNS).some((c) => r[c] > 0));
}
const matches = (text, labels) => !text || Object.values(labels).some((v) => v.toLowerCase().includes(text.toLowerCase()));

export function Owners() {
  const [text, setText] = useState("");
  const all = together();
  const found = all.filter((r) => matches(text, r.labels));
  const most = (c) => Math.max(...all.map((r) => r[c] ?? 0), 0);
  const tops = Object.fromEntries(Object.values(COLUMNS).map((c) => [c, most(c)]));
  const column = (key, name, format, title) => ({
    key,
    name,
    title,
    number: true,
    value: (r) => r[key],
    show: (r) => (
      <span class="cell">
        {r[key] === undefined ? f.NONE : format(r[key])}
        <Bar part={tops[key] > 0 ? (r[key] ?? 0) / tops[key] : 0} />
      </span>
    ),
  });
  const columns = [
    { key: "name", name: "Owner", value: (r) => ownerName(r.labels).name, show: (r) => <Owner labels={r.labels} /> },
    column("cpu", "CPU", f.cpus, "CPU time in each second"),
    column("wait", "Waits for CPU", f.stalled, "Time its tasks could run and waited, in each second"),
    column("io", "IO", f.rate, "Bytes moved by its block requests"),
    column("iotime", "IO time", f.stalled, "Time its block requests took, in each second"),
    column("mem", "Memory stalls", f.stalled, "Time its tasks were stopped to free or compact memory, in each second"),
    ...(tops.watts > 0 ? [column("watts", "Power", f.watts, "Energy that was put down to it")] : []),
    ...(tops.oom > 0 ? [column("oom", "OOM kills", f.count, "Processes killed for want of memory in the last 15 minutes")] : []),
  ];
  const blame = rows("blame")
    .slice()
    .sort((a, b) => b.value - a.value)
    .filter((r) => matches(text, r.labels));
  const worst = Math.max(...blame.map((r) => r.value), 0);
  const owners = one("owners");
  return (
    <>
      <div class="tools">
        <label>
          Find <input type="search" value={text} onInput={(e) => setText(e.currentTarget.value)} placeholder="name, pod, namespace" />
        </label>
        <p class="note">{owners === undefined ? "" : `${owners} owners${one("lumped") > 0 ? `; ${one("lumped")} more are counted together as "other"` : ""}. Each column has its 100 highest.`}</p>
      </div>
      <div class="grid">
        <Card title="Owners" note="Guests, pods, containers, units and sessions; what they use now." id="o-table" wide>
          <Table caption="Owners" columns={columns} rows={found} rowKey={(r) => r.key} sort={{ key: "cpu", down: true }} most={30} empty={all.length > 0 ? `No owner has "${text}" in its name.` : whyNot("runq_latency")} />
        </Card>
        <Card title="Who delays whom" note="Time that tasks which could run waited because another owner had their CPU." id="o-blame" double>
          {blame.length === 0 ? <Nothing>{rows("o_cpu").length > 0 ? "Nobody delays anybody." : whyNot("owner_waits")}</Nothing> : null}
          <ul class="bars">
            {blame.slice(0, 15).map((r) => (
              <li>
                <span class="name">
                  <Owner labels={r.labels} /> <span class="because">waits because of</span> <Owner labels={{ owner: r.labels.culprit, owner_kind: r.labels.culprit_kind }} />
                </span>
                <span class="amount">{f.stalled(r.value)}</span>
                <Bar part={worst > 0 ? r.value / worst : 0} level="warn" />
              </li>
            ))}
          </ul>
        </Card>
        <Card title="Why tasks wait" note="Of all owners: others had the CPU, their own tasks had it, or their quota was used up." id="o-causes">
          <Chart label="Waits by cause" xs={live.xs} format={f.stalled} why={whyNot("owner_waits")} series={lines("causes").map((s, i) => ({ name: s.labels.cause, color: `--series-${i}`, values: s.values }))} />
        </Card>
      </div>
    </>
  );
}
