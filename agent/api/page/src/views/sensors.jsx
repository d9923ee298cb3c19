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
const LIMITED = { temp: "s_temp", fan: "s_fan", in: "s_volt", power: "s_power", curr: "s_amps" };
const WORDS = { lcrit: "critical below", min: "low below", max: "high from", crit: "critical from", emergency: "emergency from", cap: "capped at" };
const same = (a, b) => a.chip === b.chip && a.sensor === b.sensor;

// Those of a sensor's limits by which it is judged, as sensors/hwmon/sensor_state.h has it: chips that nobody has set up
// have limits like 0 and 0. {lcrit, min, max, crit, emergency, cap}
function limitsThatCount(q, value, all) {
  const has = Object.fromEntries(all);
  const temp = q === "s_temp";
  const electric = q === "s_volt" || q === "s_amps";
  const pair = (lower, upper, plain) =>
    lower === undefined || upper === undefined || (lower < upper && !(plain && electric && lower === 0 && (value === lower || value === upper)));
  const upper = (u, l, plain) => u !== undefined && pair(l, u, plain) && ((temp ? u > 0 : u !== 0) || l > -40);
  const lower = (l, u, plain) => l !== undefined && !(temp && u <= 0 && !upper(u, l, plain)) && pair(l, u, plain) && (l !== 0 || upper(u, l, plain));
  const out = {};
  if (lower(has.lcrit, has.crit)) out.lcrit = has.lcrit;
  if (lower(has.min, has.max, true)) out.min = has.min;
  if (upper(has.max, has.min, true)) out.max = has.max;
  if (upper(has.crit, has.lcrit)) out.crit = has.crit;
  if (upper(has.emergency, has.lcrit)) out.emergency = has.emergency;
  if (has.cap > 0) out.cap = has.cap;
  return out;
}
// For a host without vitald_sensor_state: by limits alone, without their hysteresis and without alarms.
function judged(q, value, is) {
  if (!Object.keys(is).some((name) => name !== "cap")) return "";
  if (value >= is.emergency) return "emergency";
  if (value >= is.crit || value < is.lcrit) return "critical";
  if (q === "s_temp" ? value >= is.max : value > is.max) return "high";
  return value < is.min ? "low" : "ok";
}
// "80 / 100 °C", "11.4 to 12.6 V", "from 600 rpm": what the state is about, and the unit once.
function limitsText(r) {
  // A minimum at which a chip's scale begins says nothing to anybody.
  const lowers = ["lcrit", "min"].filter((name) => r.limits[name] !== undefined && (r.kind !== "temperature" || r.limits[name] > -40 || r.value < r.limits[name]));
  const uppers = ["max", "cap", "crit", "emergency"].filter((name) => r.limits[name] !== undefined);
  if (lowers.length + uppers.length === 0) return f.NONE;
  const texts = new Map([...lowers, ...uppers].map((name) => [name, r.format(r.limits[name])]));
  const unit = (text) => text.slice(text.lastIndexOf(" "));
  const last = [...texts.values()].pop();
  const once = [...texts.values()].every((text) => unit(text) === unit(last));
  const said = (names) => names.map((name) => (once ? texts.get(name).slice(0, -unit(last).length) : texts.get(name))).join(" / ");
  const text = lowers.length === 0 ? said(uppers) : uppers.length === 0 ? `from ${said(lowers)}` : `${said(lowers)} to ${said(uppers)}`;
  return <span title={[...texts].map(([name, text]) => `${WORDS[name]} ${text}`).join(", ")}>{once ? text + unit(last) : text}</span>;
}

function all() {
  const out = [];
  const chipName = (chip) => rows("s_names").find((r) => r.labels.chip === chip)?.labels.chip_name ?? chip;
  const labelOf = (l) => l.label || rows("s_labels").find((r) => same(r.labels, l))?.labels.label || l.sensor;
  const computed = (l) => rows("s_computed").some((r) => same(r.labels, l));
  for (const [q, kind, format] of KINDS)
    for (const { labels, value } of rows(q)) {
      const states = rows("s_state").filter((r) => same(r.labels, labels));
      const past = lines(q).find((s) => same(s.labels, labels))?.values;
      const mine = rows("s_limit").filter((r) => same(r.labels, labels) && !computed(labels)).map((r) => [r.name.split("_"), r.value]).filter(([words]) => LIMITED[words[2]] === q);
      const limits = limitsThatCount(q, value, mine.map(([words, limit]) => [words[3], limit]));
      const state = states[0]?.labels.state ?? judged(q, value, limits);
      out.push({ key: `${q}${labels.chip}/${labels.sensor}`, chip: chipName(labels.chip), name: labelOf(labels), sensor: labels.sensor, kind, value, format, state, limits, past });
    }
  for (const { labels, value } of rows("s_zone"))
    out.push({ key: `zone${labels.zone}`, chip: "thermal zone", name: labels.type, sensor: labels.zone, kind: "temperature", value, format: f.celsius, state: "", limits: {}, past: lines("s_zone").find((s) => s.labels.zone === labels.zone)?.values });
  for (const { labels, value } of rows("s_battery"))
    out.push({ key: `battery${labels.power_supply}`, chip: "power supply", name: labels.power_supply, sensor: "", kind: "charge", value: value / 100, format: f.percent, state: "", limits: {}, past: lines("s_battery").find((s) => s.labels.power_supply === labels.power_supply)?.values });
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
    { key: "name", name: "Sensor", value: (r) => r.name, show: (r) => <span title={`${r.chip} ${r.sensor}, ${r.kind}`}>{r.name}</span> },
    { key: "chip", name: "Chip", narrow: "none", value: (r) => r.chip, show: (r) => r.chip },
    { key: "kind", name: "Measures", narrow: "none", value: (r) => r.kind, show: (r) => r.kind },
    { key: "state", name: "State", value: (r) => r.state, show: (r) => (r.state ? <Badge level={LEVEL[r.state] ?? "warn"}>{r.state}</Badge> : f.NONE) },
    { key: "value", name: "Now", number: true, narrow: "second", value: (r) => r.value, show: (r) => r.format(r.value) },
    { key: "limit", name: "Limit", number: true, value: (r) => r.limits.max ?? r.limits.crit ?? r.limits.cap ?? r.limits.min, show: limitsText },
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
