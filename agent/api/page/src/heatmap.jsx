// A histogram over time: one column a point, one row a bucket, the darker the more often.
import { useEffect, useRef, useState } from "preact/hooks";
import { clock, perSecond, seconds } from "./format.js";
import { Nothing } from "./parts.jsx";

// rows of `sum by (le) (rate(..._bucket))`: cumulative rates -> rates of single buckets, from the shortest up.
export function bucketsOf(rows) {
  const sorted = rows
    .map((r) => ({ le: r.labels.le === "+Inf" ? Infinity : Number(r.labels.le), values: r.values }))
    .sort((a, b) => a.le - b.le);
  return sorted.map((row, i) => ({
    from: i === 0 ? 0 : sorted[i - 1].le,
    to: row.le,
    values: row.values.map((v, t) => (v === null ? null : Math.max(0, v - (i === 0 ? 0 : (sorted[i - 1].values[t] ?? 0))))),
  }));
}
// Of one column, as histogram_quantile() has it but for the bucket that has no end.
export function quantile(buckets, t, q) {
  const all = buckets.reduce((sum, b) => sum + (b.values[t] ?? 0), 0);
  if (!(all > 0)) return null;
  let seen = 0;
  for (const b of buckets) {
    const here = b.values[t] ?? 0;
    if (seen + here >= q * all && here > 0) return b.to === Infinity ? b.from : b.from + (b.to - b.from) * ((q * all - seen) / here);
    seen += here;
  }
  return null;
}
const span = (b) => (b.to === Infinity ? `over ${seconds(b.from)}` : `${seconds(b.from)} to ${seconds(b.to)}`);

export function Heatmap({ label, xs, rows, height = 150, why }) {
  const canvas = useRef();
  const [at, setAt] = useState(null);
  let buckets = bucketsOf(rows);
  // Rows in which nothing ever was are left out above and below.
  const used = buckets.map((b) => b.values.some((v) => v > 0));
  const low = used.indexOf(true);
  const high = used.lastIndexOf(true);
  const empty = low < 0;
  const all = buckets;
  buckets = empty ? [] : buckets.slice(Math.max(0, low - 1), Math.min(buckets.length, high + 2));
  const columns = xs.length;
  const most = Math.max(...buckets.flatMap((b) => b.values.map((v) => v ?? 0)), 0);
  let last = columns - 1;
  while (last > 0 && !all.some((b) => b.values[last] !== null && b.values[last] !== undefined)) last--;

  useEffect(() => {
    const c = canvas.current;
    if (!c || empty) return;
    const paint = () => {
      const scale = window.devicePixelRatio || 1;
      const width = c.clientWidth;
      c.width = Math.round(width * scale);
      c.height = Math.round(height * scale);
      const g = c.getContext("2d");
      g.scale(scale, scale);
      g.clearRect(0, 0, width, height);
      g.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--heat").trim();
      const w = width / columns;
      const h = height / buckets.length;
      buckets.forEach((b, r) => {
        const y = height - (r + 1) * h;
        b.values.forEach((v, x) => {
          if (!(v > 0)) return;
          g.globalAlpha = 0.08 + 0.92 * Math.cbrt(v / most);
          const left = Math.floor(x * w * scale) / scale;
          g.fillRect(left, y, Math.ceil((x + 1) * w * scale) / scale - left, Math.max(1, h - 1));
        });
      });
      g.globalAlpha = 1;
    };
    paint();
    const sized = new ResizeObserver(paint);
    sized.observe(c);
    return () => sized.disconnect();
  });

  if (empty) return <div class="plot" style={{ height: `${height}px` }}><Nothing>{why ?? "No data yet."}</Nothing></div>;
  const half = quantile(all, last, 0.5);
  const slow = quantile(all, last, 0.99);
  const said = half === null ? "nothing waited just now" : `now half within ${seconds(half)}, 99 of 100 within ${seconds(slow)}`;
  const under = at && buckets[at.row] && at.column < columns ? `${clock(xs[at.column])}: ${span(buckets[at.row])}, ${perSecond(buckets[at.row].values[at.column] ?? 0)}` : said;
  const every = Math.max(1, Math.ceil(buckets.length / 6));
  return (
    <div class="heat">
      <div class="heat-box">
        <ol class="heat-axis" style={{ height: `${height}px` }} aria-hidden="true">
          {buckets.map((b, i) => (i % every === 0 ? <li style={{ bottom: `${(i / buckets.length) * 100}%` }}>{b.to === Infinity ? `> ${seconds(b.from)}` : seconds(b.to)}</li> : null))}
        </ol>
        <canvas
          ref={canvas}
          style={{ height: `${height}px` }}
          role="img"
          aria-label={`${label}: ${said}`}
          onMouseMove={(e) => {
            const box = e.currentTarget.getBoundingClientRect();
            setAt({ column: Math.floor(((e.clientX - box.left) / box.width) * columns), row: buckets.length - 1 - Math.floor(((e.clientY - box.top) / box.height) * buckets.length) });
          }}
          onMouseLeave={() => setAt(null)}
        />
      </div>
      <p class="heat-note">{under}</p>
    </div>
  );
}
