// Virtual machines, as libvirt tells of them.
import * as f from "../format.js";
import { Chart } from "../chart.jsx";
import { lines, live, one, rows } from "../live.js";
import { Badge, Bar, Card, Nothing, Spark, Table } from "../parts.jsx";
import { whyNot } from "./overview.jsx";

const STATES = ["none", "running", "blocked", "paused", "shutting down", "off", "crashed", "suspended"];
const FIELDS = { g_cpu: "cpu", g_delay: "delay", g_vcpus: "vcpus", g_state: "state", g_mem: "mem", g_rss: "rss", g_used: "used", g_read: "read", g_write: "write", g_in: "rx", g_out: "tx" };

export function Guests() {
  const all = new Map();
  for (const [q, name] of Object.entries(FIELDS))
    for (const { labels, value } of rows(q)) {
      const key = labels.uuid || labels.domain;
      if (!all.has(key)) all.set(key, { key, name: labels.domain, uuid: labels.uuid });
      all.get(key)[name] = value;
    }
  const guests = [...all.values()];
  const past = (key) => lines("g_cpu").find((s) => (s.labels.uuid || s.labels.domain) === key)?.values;
  const columns = [
    { key: "name", name: "Guest", value: (r) => r.name, show: (r) => <span title={r.uuid}>{r.name}</span> },
    { key: "state", name: "State", value: (r) => r.state, show: (r) => <Badge level={r.state === 1 ? "good" : r.state === undefined ? "" : "warn"}>{STATES[r.state] ?? "unknown"}</Badge> },
    {
      key: "cpu",
      name: "CPU",
      number: true,
      narrow: "second",
      value: (r) => r.cpu,
      show: (r) => (
        <span class="cell">
          {f.cpus(r.cpu)}
          {r.vcpus ? ` of ${r.vcpus}` : ""}
          <Bar part={r.vcpus ? r.cpu / r.vcpus : 0} />
        </span>
      ),
    },
    { key: "past", name: "Past", show: (r) => <Spark values={past(r.key)} label={`CPU time of ${r.name}`} /> },
    { key: "delay", name: "Ready and waiting", number: true, value: (r) => r.delay, show: (r) => f.stalled(r.delay), title: "Time its virtual CPUs could run and waited for a real one: what the guest sees as steal" },
    { key: "mem", name: "Memory", number: true, value: (r) => r.mem, show: (r) => `${f.bytes(r.mem)}${r.used !== undefined ? `, ${f.percent(r.used / 100)} used` : ""}` },
    { key: "rss", name: "Resident", number: true, value: (r) => r.rss, show: (r) => f.bytes(r.rss) },
    { key: "read", name: "Disk", number: true, value: (r) => (r.read ?? 0) + (r.write ?? 0), show: (r) => `${f.rate(r.read)} / ${f.rate(r.write)}`, title: "read / written" },
    { key: "rx", name: "Network", number: true, value: (r) => (r.rx ?? 0) + (r.tx ?? 0), show: (r) => `${f.rate(r.rx)} / ${f.rate(r.tx)}`, title: "in / out" },
  ];
  const why = one("up") === 0 ? "libvirt does not answer." : one("up") === 1 ? "libvirt has no guests." : whyNot("libvirt");
  return (
    <div class="grid">
      <Card title="Guests" note={guests.length > 0 ? `${guests.length} on this host` : undefined} id="g-table" wide>
        <Table caption="Guests" columns={columns} rows={guests} rowKey={(r) => r.key} sort={{ key: "cpu", down: true }} most={50} empty={why} />
      </Card>
      {guests.length > 0 ? (
        <Card title="CPU time by guest" id="g-cpu" wide>
          <Chart
            label="CPU time by guest"
            xs={live.xs}
            stacked
            format={f.cpus}
            why={whyNot("libvirt")}
            series={lines("g_cpu")
              .slice()
              .sort((a, b) => (b.values[b.values.length - 1] ?? 0) - (a.values[a.values.length - 1] ?? 0))
              .slice(0, 8)
              .map((s, i) => ({ name: s.labels.domain, color: `--series-${i}`, values: s.values }))}
          />
          {lines("g_cpu").length > 8 ? <p class="note">The 8 busiest.</p> : null}
        </Card>
      ) : null}
      {guests.length === 0 ? (
        <Card title="Containers and units" id="g-none" wide>
          <Nothing>
            What is no virtual machine is among the <a href="#/owners">owners</a>.
          </Nothing>
        </Card>
      ) : null}
    </div>
  );
}
