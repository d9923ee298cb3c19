// The small parts that all views are made of.
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { NONE } from "./format.js";

export function Card({ title, note, wide, double, children, id }) {
  return (
    <section class={`card${wide ? " wide" : double ? " double" : ""}`} aria-labelledby={id ?? undefined}>
      <header>
        <h2 id={id}>{title}</h2>
        {note ? <p class="note">{note}</p> : null}
      </header>
      {children}
    </section>
  );
}

// Why there is nothing, instead of an empty chart.
export const Nothing = ({ children }) => <p class="nothing">{children}</p>;

// A name in one piece or broken between its words: HostFilesystem|TurnedReadOnly, node_memory_|MemTotal_bytes.
export const Name = ({ text }) => <span class="name">{String(text).split(/(?<=[a-z0-9])(?=[A-Z])|(?<=[_:])(?=.)/).flatMap((word, i) => (i === 0 ? [word] : [<wbr />, word]))}</span>;

// A line without axes; gaps stay gaps.
export function Spark({ values, highest, label }) {
  const known = (values ?? []).filter((v) => v !== null && Number.isFinite(v));
  const parts = [];
  if (known.length > 1) {
    const top = highest ?? Math.max(...known);
    const low = highest === undefined ? Math.min(0, ...known) : 0;
    const span = top - low || 1;
    let open = false;
    values.forEach((v, i) => {
      if (v === null || !Number.isFinite(v)) {
        open = false;
        return;
      }
      const x = (i / Math.max(1, values.length - 1)) * 100;
      const y = 27 - (Math.min(Math.max(v - low, 0), span) / span) * 25;
      parts.push(`${open ? "L" : "M"}${x.toFixed(2)} ${y.toFixed(2)}`);
      open = true;
    });
  }
  return (
    <svg class="spark" viewBox="0 0 100 28" preserveAspectRatio="none" role="img" aria-label={label}>
      <path d={parts.join("")} vector-effect="non-scaling-stroke" />
    </svg>
  );
}

export function Bar({ part, level = "" }) {
  const width = Math.max(0, Math.min(1, part || 0)) * 100;
  return (
    <span class={`bar ${level}`} aria-hidden="true">
      <span style={{ width: `${width}%` }} />
    </span>
  );
}

export const Badge = ({ level, children }) => <span class={`badge ${level}`}>{children}</span>;

// As style.css has it.
const NARROW = typeof matchMedia === "undefined" ? null : matchMedia("(max-width: 720px)");
function useNarrow() {
  const [narrow, setNarrow] = useState(Boolean(NARROW?.matches));
  useEffect(() => {
    const changed = () => setNarrow(NARROW.matches);
    NARROW?.addEventListener("change", changed);
    return () => NARROW?.removeEventListener("change", changed);
  }, []);
  return narrow;
}
// columns: [{key, name, number, show(row), value(row), title, narrow}]; sorted by a click on a head, or Enter. On a narrow
// screen a column comes behind the name (narrow: "second") or not at all (narrow: "none").
export function Table({ caption, columns: given, rows, sort, empty, most = 200, rowKey }) {
  const narrow = useNarrow();
  const [name, ...others] = given;
  const columns = narrow ? [name, ...others.filter((c) => c.narrow === "second"), ...others.filter((c) => !c.narrow)] : given;
  const [by, setBy] = useState(sort ?? null);
  const [all, setAll] = useState(false);
  if (rows.length === 0) return <Nothing>{empty}</Nothing>;
  const column = columns.find((c) => c.key === by?.key);
  const sorted = column
    ? rows.slice().sort((a, b) => {
        const x = column.value(a);
        const y = column.value(b);
        const order = typeof x === "string" || typeof y === "string" ? String(x ?? "").localeCompare(String(y ?? "")) : (x ?? -Infinity) - (y ?? -Infinity);
        return by.down ? -order : order;
      })
    : rows;
  const shown = all ? sorted : sorted.slice(0, most);
  return (
    <div class="scroll" tabindex="0" role="group" aria-label={caption}>
      <table>
        <caption class="hidden">{caption}</caption>
        <thead>
          <tr>
            {columns.map((c) => (
              <th scope="col" class={c.number ? "number" : ""} aria-sort={by?.key === c.key ? (by.down ? "descending" : "ascending") : undefined} title={c.title}>
                {c.value ? (
                  <button type="button" class="sort" onClick={() => setBy({ key: c.key, down: by?.key === c.key ? !by.down : Boolean(c.number) })}>
                    {c.name}
                    <span aria-hidden="true">{by?.key === c.key ? (by.down ? " ▾" : " ▴") : ""}</span>
                  </button>
                ) : c.name ? (
                  c.name
                ) : (
                  <span class="hidden">{c.label}</span>
                )}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {shown.map((row, i) => (
            <tr key={rowKey ? rowKey(row) : i}>
              {columns.map((c, n) =>
                n === 0 ? (
                  <th scope="row">{c.show(row)}</th>
                ) : (
                  <td class={c.number ? "number" : ""}>{c.show(row)}</td>
                ),
              )}
            </tr>
          ))}
        </tbody>
      </table>
      {sorted.length > shown.length ? (
        <button type="button" class="more" onClick={() => setAll(true)}>
          Show all {sorted.length}
        </button>
      ) : null}
    </div>
  );
}

export function Dialog({ title, onClose, children }) {
  const ref = useRef();
  // Before anybody can type: opening it moves the focus.
  useLayoutEffect(() => {
    const d = ref.current;
    d.showModal();
    return () => d.close();
  }, []);
  return (
    <dialog ref={ref} onClose={onClose} onCancel={onClose} aria-label={title}>
      <header>
        <h2>{title}</h2>
        <button type="button" class="plain" onClick={() => ref.current.close()} aria-label="Close">
          ✕
        </button>
      </header>
      {children}
    </dialog>
  );
}

const KINDS = { guest: "guest", pod: "pod", container: "container", service: "service", unit: "unit", session: "session" };
// An owner in words: its name first, then where it belongs.
export function ownerName(labels) {
  const name = labels.container || labels.guest || labels.owner || "?";
  const more = [labels.namespace && labels.pod ? `${labels.namespace}/${labels.pod}` : "", KINDS[labels.owner_kind] ?? labels.owner_kind ?? ""].filter(Boolean);
  return { name, more: more.join(" · ") };
}
export function Owner({ labels }) {
  const { name, more } = ownerName(labels);
  return (
    <span class="owner" title={labels.owner}>
      {name} {more && more !== name ? <small>{more}</small> : null}
    </span>
  );
}

export function Labels({ labels, without = [] }) {
  const left = Object.entries(labels).filter(([k]) => !without.includes(k) && k !== "alertname" && k !== "severity");
  if (left.length === 0) return null;
  return (
    <ul class="labels" aria-label="Labels">
      {left.map(([k, v]) => (
        <li>
          {k}=<b>{v || NONE}</b>
        </li>
      ))}
    </ul>
  );
}
