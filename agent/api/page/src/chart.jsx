// A chart with a time axis (uPlot) and a legend of our own, which says the numbers under the cursor or the last ones.
import uPlot from "uplot";
import { useEffect, useRef, useState } from "preact/hooks";
import { NONE } from "./format.js";
import { Nothing } from "./parts.jsx";

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
export const color = (i) => `--series-${i % 8}`;

const lastOf = (values) => {
  for (let i = values.length - 1; i >= 0 && i > values.length - 4; i--) if (values[i] !== null) return values[i];
  return null;
};
// What lies on each other: from the bottom up, missing counts as nothing where another has a number.
function stackedUp(series) {
  const sums = [];
  let below = null;
  for (const s of series) {
    below = s.values.map((v, i) => (v === null && (below === null || below[i] === null) ? null : (v ?? 0) + (below?.[i] ?? 0)));
    sums.push(below);
  }
  return sums;
}

// Steps of an axis of bytes: 1, 2, 4 ... and not 1, 2, 5.
const POWERS = Array.from({ length: 60 }, (_, i) => 2 ** i);

let schemes = 0;
const schemeListeners = new Set();
if (typeof matchMedia !== "undefined")
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    schemes++;
    for (const f of schemeListeners) f(schemes);
  });

export function Chart({ label, xs, series, format, stacked, highest, lowest = 0, height = 150, why, mirrored, binary }) {
  const box = useRef();
  const plot = useRef(null);
  const [at, setAt] = useState(null);
  const [scheme, setScheme] = useState(0);
  useEffect(() => {
    schemeListeners.add(setScheme);
    return () => schemeListeners.delete(setScheme);
  }, []);
  const shown = series.filter((s) => s.values && s.values.some((v) => v !== null));
  const empty = shown.length === 0 || xs.length < 2;
  const shape = JSON.stringify([shown.map((s) => [s.name, s.color]), stacked, scheme, empty]);
  const ys = stacked ? stackedUp(shown) : shown.map((s) => (mirrored && s.below ? s.values.map((v) => (v === null ? null : -v)) : s.values));
  // The highest is drawn first, so that each lower one lies over it.
  const drawn = stacked ? ys.map((_, i) => ys.length - 1 - i) : ys.map((_, i) => i);
  const numbers = [xs, ...drawn.map((i) => ys[i])];

  useEffect(() => {
    if (empty) return;
    const grid = { stroke: css("--grid"), width: 1 };
    const axis = { stroke: css("--muted"), grid, ticks: { show: false }, font: "11px system-ui, sans-serif" };
    const element = box.current; // the reference is gone before the observer is
    const width = () => Math.max(120, element.clientWidth);
    const options = {
      width: width(),
      height,
      padding: [8, 26, 0, 0], // on the right: half of the last time, which may stand at the edge
      legend: { show: false },
      cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false }, sync: { key: "vitald", setSeries: false } },
      scales: {
        x: { time: true },
        y: { range: (_, low, high) => [mirrored ? Math.min(low, 0) : Math.min(lowest ?? low, low), highest ? Math.max(highest, high) : high === low ? high + 1 : high * 1.05] },
      },
      axes: [
        { ...axis, size: 26, space: 70, values: (_, ticks) => ticks.map((t) => new Date(t * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: ticks.length > 1 && ticks[1] - ticks[0] < 60 ? "2-digit" : undefined, hour12: false })) },
        { ...axis, size: 66, space: 34, ...(binary ? { incrs: POWERS } : {}), values: (_, ticks) => ticks.map((t) => format(Math.abs(t))) },
      ],
      series: [
        {},
        ...drawn.map((i) => {
          const stroke = css(shown[i].color ?? color(i));
          return { stroke, width: 1.5, fill: stacked ? stroke : `${stroke}22`, points: { show: false }, spanGaps: false };
        }),
      ],
      hooks: { setCursor: [(u) => setAt(u.cursor.idx ?? null)] },
    };
    plot.current = new uPlot(options, numbers, element);
    const sized = new ResizeObserver(() => plot.current?.setSize({ width: width(), height }));
    sized.observe(element);
    return () => {
      sized.disconnect();
      plot.current?.destroy();
      plot.current = null;
    };
  }, [shape, height]);
  useEffect(() => {
    plot.current?.setData(numbers);
  }, [shape, xs.length, xs[0], xs[xs.length - 1]]);

  const values = shown.map((s) => (at !== null && at < xs.length ? s.values[at] : lastOf(s.values)));
  const told = empty ? `${label}: ${why ?? "no data"}` : `${label}: ${shown.map((s, i) => `${s.name} ${format(values[i])}`).join(", ")}`;
  return (
    <div class="chart">
      <div class="plot" ref={box} style={{ height: `${height}px` }} role="img" aria-label={told}>
        {empty ? <Nothing>{why ?? "No data yet."}</Nothing> : null}
      </div>
      <ul class="legend" aria-hidden="true">
        {shown.map((s, i) => (
          <li>
            <i style={{ background: `var(${s.color ?? color(i)})` }} />
            {s.name} <b>{values[i] === null || values[i] === undefined ? NONE : format(values[i])}</b>
          </li>
        ))}
        {shown.length === 0 ? <li>&nbsp;</li> : null}
      </ul>
    </div>
  );
}
