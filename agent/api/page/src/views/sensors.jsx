// Every sensor with its state, its limits and its last hour.
import * as f from "../format.js";
import { Chart } from "../chart.jsx";
import { lines, live, one, rows } from "../live.js";
import { Badge, Card, Nothing, Spark, Table } from "../parts.jsx";
import { whyNot } from "./overview.jsx";

const KINDS = [
  ["s_temp", "temperature", f.celsius],
  ["s_fan", "fan", (v) => (v === undefined ? f.NONE : `${f.plain(v)} rpm`)],
  ["s_volt", "voltage", (v) => (v === undefined ? f.NONE : `${f.plain(v)} V`)],
  ["s_power", "power", f.watts],
  ["s_amps", "current", (v) => (v === undefined ? f.NONE : `${f.plain(v)} A`)],
  ["s_hum", "humidity", f.percent],
];
const LEVEL = { ok: "good", low: "warn", high: "warn", warning: "warn", critical: "bad", emergency: "bad", fault: "bad" };
const same = (a, b) => a.chip === b.chip && a.sensor === b.sensor;

function all() {
  const out = [];
  const chipName = (chip) => rows("s_names").find((r) => r.labels.chip === chip)?.labels.chip_name ?? chip;
  const labelOf = (l) => l.label || rows("s_labels").find((r) => same(r.labels, l))?.labels.label || l.sensor;
  for (const [q, kind, format] of KINDS)
    for (const { labels, value } of rows(q)) {
      const limit = (name) => (q === "s_temp" ? rows(name).find((r) => same(r.labels, labels))?.value : undefined);
      const states = rows("s_state").filter((r) => same(r.labels, labels));
      const past = lines(q).find((s) => same(s.labels, labels))?.values;
      const high = limit("s_high");
      const critical = limit("s_crit");
      const state = states[0]?.labels.state ?? (critical && value >= critical ? "critical" : high && value >= high ? "high" : high || critical ? "ok" : "");
      out.push({ key: `${q}${labels.chip}/${labels.sensor}`, chip: chipName(labels.chip), name: labelOf(labels), sensor: labels.sensor, kind, value, format, state, high, critical, past });
    }
  for (const { labels, value } of rows("s_zone"))
    out.push({ key: `zone${labels.zone}`, chip: "thermal zone", name: labels.type, sensor: labels.zone, kind: "temperature", value, format: f.celsius, state: "", past: lines("s_zone").find((s) => s.labels.zone === labels.zone)?.values });
  for (const { labels, value } of rows("s_battery"))
    out.push({ key: `battery${labels.power_supply}`, chip: "power supply", name: labels.power_supply, sensor: "", kind: "charge", value: value / 100, format: f.percent, state: "", past: lines("s_battery").find((s) => s.labels.power_supply === labels.power_supply)?.values });
  return out;
}

export function Sensors() {
  const sensors = all();
  const nameOf = (l) => sensors.find((s) => s.key === `s_temp${l.chip}/${l.sensor}`);
  const meters = [
    ...lines("s_host").map((s) => ({ name: `host${s.labels.source ? ` (${s.labels.source})` : ""}`, values: s.values })),
    ...lines("s_package").map((s) => ({ name: `package ${s.labels.index ?? ""}`, values: s.values })),
    ...lines("s_dram").map((s) => ({ name: `memory ${s.labels.index ?? ""}`, values: s.values })),
  ].map((s, i) => ({ ...s, color: `--series-${i % 8}` }));
  const hottest = lines("s_temp")
    .concat(lines("s_zone"))
    .slice()
    .sort((a, b) => Math.max(...b.values.map((v) => v ?? -1e9)) - Math.max(...a.values.map((v) => v ?? -1e9)))
    .slice(0, 8)
    .map((s, i) => ({ name: s.labels.type ?? `${nameOf(s.labels)?.chip ?? s.labels.chip} ${nameOf(s.labels)?.name ?? s.labels.sensor}`, color: `--series-${i}`, values: s.values }));
  const columns = [
    { key: "name", name: "Sensor", value: (r) => r.name, show: (r) => <span title={r.sensor}>{r.name}</span> },
    { key: "chip", name: "Chip", value: (r) => r.chip, show: (r) => r.chip },
    { key: "kind", name: "Measures", value: (r) => r.kind, show: (r) => r.kind },
    { key: "state", name: "State", value: (r) => r.state, show: (r) => (r.state ? <Badge level={LEVEL[r.state] ?? "warn"}>{r.state}</Badge> : f.NONE) },
    { key: "value", name: "Now", number: true, value: (r) => r.value, show: (r) => r.format(r.value) },
    { key: "limit", name: "Limit", number: true, value: (r) => r.critical ?? r.high, show: (r) => (r.critical ?? r.high ? r.format(r.critical ?? r.high) : f.NONE) },
    { key: "past", name: "Past", show: (r) => <Spark values={r.past} label={`${r.name}, the last ${f.duration(live.window)}`} /> },
  ];
  const bad = sensors.filter((s) => LEVEL[s.state] === "bad").length;
  return (
    <div class="grid">
      <Card title="Temperatures" note={one("s_throttle") > 0 ? `CPUs are throttled for heat ${f.perSecond(one("s_throttle"))}.` : "The eight hottest."} id="s-temp" double>
        <Chart label="Temperatures" xs={live.xs} format={f.celsius} lowest={20} why={whyNot("sensors", "hwmon", "thermal_zone")} series={hottest} height={190} />
      </Card>
      <Card title="Power" id="s-power">
        <Chart label="Power" xs={live.xs} format={f.watts} why={whyNot("rapl", "hwmon")} series={meters} height={190} />
      </Card>
      <Card title="All sensors" note={bad > 0 ? `${bad} beyond their limits.` : undefined} id="s-all" wide>
        <Table caption="All sensors" columns={columns} rows={sensors} rowKey={(r) => r.key} most={100} empty={whyNot("sensors", "hwmon", "thermal_zone")} />
      </Card>
    </div>
  );
}
