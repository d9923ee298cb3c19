// The host at a glance.
import * as f from "../format.js";
import { Chart } from "../chart.jsx";
import { Heatmap } from "../heatmap.jsx";
import { line, lines, live, one, rows } from "../live.js";
import { Bar, Card, Nothing, Owner, Spark } from "../parts.jsx";
import { Verdict } from "./verdict.jsx";

// Why a number is missing, in the words of who would have it.
export function whyNot(...collectors) {
  if (!live.loaded) return "Asking …";
  if (!live.history) return "This host keeps no history: load rules (--rules.file) or set --history.without-rules.";
  const known = (live.agent?.collectors ?? []).filter((c) => collectors.includes(c.name) && c.state !== "on");
  // Several collectors may miss the same file.
  const told = [...new Set(known.map((c) => (c.state === "not here" && c.text ? c.text : `${c.name} is ${c.state}${c.text ? `: ${c.text}` : ""}`)))];
  if (told.length > 0) return told.join("; ");
  return "No numbers yet: two rounds are needed for a rate.";
}

const isOn = (collector) => (live.agent?.collectors ?? []).some((c) => c.name === collector && c.state === "on");

const level = (v, warn, bad) => (v === undefined || v === null ? "" : v >= bad ? "bad" : v >= warn ? "warn" : "");

function Tile({ name, value, sub, values, highest, why, lvl }) {
  return (
    <div class={`tile ${lvl ?? ""}`} role="group" aria-label={name}>
      <h2>{name}</h2>
      <p class="value">{value}</p>
      <p class="sub" title={value === f.NONE ? why : undefined}>
        {value === f.NONE && why ? why : sub}
      </p>
      <Spark values={values} highest={highest} label={`${name}, the last ${f.duration(live.window)}`} />
    </div>
  );
}

// Part of all time, by mode. Rates of a young series are too low, all of them alike: only their ratio is right.
function modes() {
  const all = lines("cpu");
  const sums = live.xs.map((_, i) => all.reduce((sum, s) => sum + (s.values[i] ?? 0), 0));
  return new Map(all.map((s) => [s.labels.mode, s.values.map((v, i) => (v === null || !(sums[i] > 0) ? null : v / sums[i]))]));
}
function busy() {
  const parts = modes();
  const idle = parts.get("idle");
  return idle?.map((v, i) => (v === null ? null : Math.max(0, 1 - v - (parts.get("iowait")?.[i] ?? 0))));
}
const lastOf = (values) => (values && values.length > 0 ? values[values.length - 1] : undefined);

function Tiles() {
  const u = live.history ? null : live.utilization;
  const part = (q) => (u?.[q] && u[q].percent !== undefined ? u[q].percent / 100 : undefined);
  const cpu = busy();
  const cpuNow = u ? part("cpu") : (lastOf(cpu) ?? undefined);
  const total = one("mem_total");
  const free = one("mem_free");
  const used = total ? 1 - free / total : part("memory");
  const memory = line("mem_free")?.map((v) => (v === null || !total ? null : 1 - v / total));
  const disk = one("disk_busy") ?? part("disk");
  const netIn = one("net_in");
  const netOut = one("net_out");
  const net = line("net_in")?.map((v, i) => (v === null ? null : v + (line("net_out")?.[i] ?? 0)));
  const temp = one("temp") ?? u?.temperature?.celsius;
  const watt = one("watts") ?? u?.power?.watts;
  const n = one("cpus");
  return (
    <div class="tiles">
      <Tile name="CPU" value={f.percent(cpuNow)} sub={n ? `${n} CPUs, load ${f.plain(one("load"))}` : ""} values={cpu} highest={1} why={whyNot("cpu")} lvl={level(cpuNow, 0.8, 0.95)} />
      <Tile
        name="Memory"
        value={f.percent(used)}
        sub={total ? `${f.bytes(free)} of ${f.bytes(total)} free${one("swap_total") > 0 ? `, swap ${f.bytes(one("swap_used"))}` : ""}` : ""}
        values={memory}
        highest={1}
        why={whyNot("meminfo")}
        lvl={level(used, 0.9, 0.95)}
      />
      <Tile name="Disk" value={f.percent(disk)} sub={`busy; ${f.rate(one("disk_read"))} read, ${f.rate(one("disk_write"))} written`} values={line("disk_busy")} highest={1} why={whyNot("diskstats")} lvl={level(disk, 0.9, 0.99)} />
      <Tile
        name="Network"
        value={netIn === undefined && u?.network ? f.percent(part("network")) : f.rate(netIn === undefined ? undefined : netIn + (netOut ?? 0))}
        sub={`${f.rate(netIn)} in, ${f.rate(netOut)} out${one("net_lost") > 0 ? `, ${f.perSecond(one("net_lost"))} lost` : ""}`}
        values={net}
        why={whyNot("netdev")}
      />
      <Tile name="Temperature" value={f.celsius(temp)} sub="the hottest sensor" values={line("temp")} why={whyNot("sensors", "hwmon", "thermal_zone")} lvl={level(temp, 70, 80)} />
      <Tile name="Power" value={f.watts(watt)} sub={rows("watts")[0]?.labels.source ? `by ${rows("watts")[0].labels.source}` : "CPU packages"} values={line("watts")} why={whyNot("rapl", "hwmon")} />
    </div>
  );
}

const MODES = [
  ["user", "--series-0"],
  ["system", "--series-1"],
  ["nice", "--series-2"],
  ["iowait", "--series-3"],
  ["softirq", "--series-4"],
  ["irq", "--series-5"],
  ["steal", "--series-6"],
];

function Filesystems() {
  const sizes = rows("fs_size")
    .map((s) => {
      const free = rows("fs_free").find((r) => r.labels.mountpoint === s.labels.mountpoint && r.labels.device === s.labels.device)?.value;
      return { ...s, free, part: free === undefined ? undefined : 1 - free / s.value };
    })
    .filter((s) => s.part !== undefined)
    .sort((a, b) => b.part - a.part);
  return (
    <Card title="File systems" id="fs">
      {sizes.length === 0 ? <Nothing>{whyNot("filesystem")}</Nothing> : null}
      <ul class="bars">
        {sizes.slice(0, 8).map((s) => (
          <li>
            <span class="name" title={`${s.labels.device} (${s.labels.fstype})`}>
              {s.labels.mountpoint}
            </span>
            <span class="amount">
              {f.percent(s.part)} of {f.bytes(s.value)}
            </span>
            <Bar part={s.part} level={level(s.part, 0.9, 0.97)} />
          </li>
        ))}
      </ul>
      {sizes.length > 8 ? <p class="note">The 8 fullest of {sizes.length}.</p> : null}
    </Card>
  );
}

function Top({ title, q, format, id, empty }) {
  const top = rows(q)
    .slice()
    .sort((a, b) => b.value - a.value);
  const most = Math.max(...top.map((r) => r.value), 0);
  return (
    <Card title={title} id={id}>
      {top.length === 0 ? <Nothing>{empty}</Nothing> : null}
      <ul class="bars">
        {top.map((r) => (
          <li>
            <span class="name">
              <Owner labels={r.labels} />
            </span>
            <span class="amount">{format(r.value)}</span>
            <Bar part={most > 0 ? r.value / most : 0} />
          </li>
        ))}
      </ul>
    </Card>
  );
}

export function Overview() {
  const parts = modes();
  const total = one("mem_total");
  const free = line("mem_free");
  const cache = line("mem_cache");
  const used = free?.map((v, i) => (v === null || !total ? null : Math.max(0, total - v)));
  const rest = free?.map((v, i) => (v === null || !cache || cache[i] === null ? null : Math.min(v, cache[i])));
  return (
    <>
      <Tiles />
      <Verdict />
      <div class="grid">
        <Card title="CPU time" id="c-cpu">
          <Chart label="CPU time by mode" xs={live.xs} stacked highest={1} format={f.percent} why={whyNot("cpu")} series={MODES.map(([mode, color]) => ({ name: mode, color, values: parts.get(mode) }))} />
        </Card>
        <Card title="Memory" id="c-mem">
          <Chart
            label="Memory"
            xs={live.xs}
            stacked
            highest={total}
            format={f.bytes}
            binary
            why={whyNot("meminfo")}
            series={[
              { name: "used", color: "--series-0", values: used },
              { name: "cache that can go", color: "--series-6", values: rest },
            ]}
          />
        </Card>
        <Card title="Pressure" note="Part of the time in which something waits." id="c-psi">
          <Chart
            label="Pressure"
            xs={live.xs}
            format={f.percent}
            why={whyNot("pressure")}
            series={[
              { name: "CPU", color: "--series-0", values: line("psi_cpu") },
              { name: "IO", color: "--series-1", values: line("psi_io") },
              { name: "memory", color: "--series-3", values: line("psi_mem") },
            ]}
          />
        </Card>
        <Card title="Disks" note="Read above the line, written below." id="c-disk">
          <Chart
            label="Disk throughput"
            xs={live.xs}
            format={f.rate}
            mirrored
            why={whyNot("diskstats")}
            series={[
              { name: "read", color: "--series-0", values: line("disk_read") },
              { name: "written", color: "--series-1", values: line("disk_write"), below: true },
            ]}
          />
        </Card>
        <Card title="Network" note="In above the line, out below." id="c-net">
          <Chart
            label="Network throughput"
            xs={live.xs}
            format={f.rate}
            mirrored
            why={whyNot("netdev")}
            series={[
              { name: "in", color: "--series-2", values: line("net_in") },
              { name: "out", color: "--series-3", values: line("net_out"), below: true },
            ]}
          />
        </Card>
        <Card title="Heat and power" id="c-heat">
          <div class="two">
            <Chart label="Hottest sensor" xs={live.xs} height={150} format={f.celsius} lowest={20} why={whyNot("sensors", "hwmon", "thermal_zone")} series={[{ name: "hottest", color: "--series-1", values: line("temp") }]} />
            <Chart label="Power" xs={live.xs} height={150} format={f.watts} why={whyNot("rapl", "hwmon")} series={[{ name: "power", color: "--series-5", values: line("watts") }]} />
          </div>
        </Card>
        <Card title="Waiting for a CPU" note="How long tasks stood in the run queue." id="c-runq">
          <Heatmap label="Run-queue latency" xs={live.xs} rows={lines("runq")} why={whyNot("runq_latency")} />
        </Card>
        <Card title="Waiting for a disk" note="From handing a request to the device until it is done." id="c-block">
          <Heatmap label="Block latency" xs={live.xs} rows={lines("block")} why={lines("block").length > 0 ? "No request within this time." : whyNot("block_latency")} />
        </Card>
        <Filesystems />
        <Top title="Most CPU time" id="top-cpu" q="top_cpu" format={f.cpus} empty={whyNot("runq_latency")} />
        <Top title="Most IO" id="top-io" q="top_io" format={f.rate} empty={isOn("owner_io") && rows("top_cpu").length > 0 ? "No owner reads or writes." : whyNot("owner_io")} />
        <Top title="Longest waits for a CPU" id="top-wait" q="top_wait" format={f.stalled} empty={isOn("owner_waits") && rows("top_cpu").length > 0 ? "Nobody waits for a CPU." : whyNot("owner_waits")} />
      </div>
    </>
  );
}
