// A question in PromQL, with completion, as a graph and as a table.
import { useEffect, useRef, useState } from "preact/hooks";
import { data, number, query, queryRange } from "../api.js";
import { hostNow } from "../clock.js";
import * as f from "../format.js";
import { Chart } from "../chart.jsx";
import { live } from "../live.js";
import { Card, Nothing, Table } from "../parts.jsx";

const FUNCTIONS =
  "abs absent absent_over_time avg_over_time ceil changes clamp clamp_max clamp_min count_over_time day_of_month day_of_week delta deriv exp floor histogram_quantile hour idelta increase irate label_join label_replace last_over_time ln log10 log2 max_over_time min_over_time minute month predict_linear present_over_time quantile_over_time rate resets round scalar sgn sort sort_desc sqrt stddev_over_time sum_over_time time timestamp vector year avg bottomk count count_values group max min quantile stddev sum topk by without on ignoring group_left group_right offset bool and or unless".split(
    " ",
  );
const MOST = 20; // lines in a graph
const GRAPHED = 200; // series of whose past the agent is asked: more would keep it busy for a picture that nobody can read
const LISTED = 1000;

let names = null; // [{name, help}]; asked for once
async function metricNames() {
  if (names) return names;
  const [all, meta] = await Promise.all([data("api/v1/label/__name__/values"), data("api/v1/metadata")]);
  const helpOf = (n) => meta[n]?.[0]?.help ?? meta[n.replace(/_(bucket|sum|count)$/, "")]?.[0]?.help ?? "";
  names = all.map((name) => ({ name, help: helpOf(name) }));
  return names;
}

// What stands before the cursor: a word, and whether it is a metric's or function's name, a label's name, or its value.
export function context(text, at) {
  const before = text.slice(0, at);
  let quote = null;
  let brace = -1;
  for (let i = 0; i < before.length; i++) {
    const c = before[i];
    if (quote) {
      if (c === "\\") i++;
      else if (c === quote.c) quote = null;
    } else if (c === '"' || c === "'") quote = { c, at: i };
    else if (c === "{") brace = i;
    else if (c === "}") brace = -1;
  }
  const metric = brace >= 0 ? (/([a-zA-Z_:][\w:]*)\s*$/.exec(before.slice(0, brace))?.[1] ?? "") : "";
  if (quote && brace >= 0) {
    const label = /([a-zA-Z_]\w*)\s*(=~|!~|!=|=)\s*$/.exec(before.slice(0, quote.at))?.[1];
    return label ? { kind: "value", metric, label, word: before.slice(quote.at + 1), from: quote.at + 1 } : null;
  }
  if (quote) return null;
  const word = /[a-zA-Z_:][\w:]*$/.exec(before)?.[0] ?? "";
  if (brace >= 0) return { kind: "label", metric, word, from: at - word.length };
  return word.length > 0 ? { kind: "name", word, from: at - word.length } : null;
}

async function complete(c) {
  const fits = (n) => n.toLowerCase().includes(c.word.toLowerCase());
  const match = c.metric ? `?match[]=${encodeURIComponent(c.metric)}` : "";
  if (c.kind === "label") return (await data(`api/v1/labels${match}`)).filter((n) => n !== "__name__" && fits(n)).map((name) => ({ name, put: `${name}="`, help: "label" }));
  if (c.kind === "value") return (await data(`api/v1/label/${encodeURIComponent(c.label)}/values${match}`)).filter(fits).map((name) => ({ name, put: `${name.replace(/[\\"]/g, "\\$&")}"`, help: "" }));
  const first = (n) => (n.startsWith(c.word) ? 0 : 1);
  const functions = FUNCTIONS.filter(fits).map((name) => ({ name, put: /^(by|without|on|ignoring|offset|bool|and|or|unless)$/.test(name) ? name : `${name}(`, help: "function" }));
  const metrics = (await metricNames()).filter((m) => fits(m.name)).map((m) => ({ ...m, put: m.name }));
  return [...functions, ...metrics].sort((a, b) => first(a.name) - first(b.name) || a.name.length - b.name.length);
}

const textOf = (labels) => {
  const { __name__: name, instance, job, ...rest } = labels;
  const inner = Object.entries(rest).map(([k, v]) => `${k}="${v}"`).join(", ");
  return `${name ?? ""}${inner ? `{${inner}}` : name ? "" : "{}"}`;
};

export function Query({ initial }) {
  const [text, setText] = useState(initial || 'topk(5, rate(vitald_owner_cpu_seconds_total[1m]))');
  const [answer, setAnswer] = useState(null);
  const [error, setError] = useState("");
  const [busy, setBusy] = useState(false);
  const [offers, setOffers] = useState([]);
  const [chosen, setChosen] = useState(-1);
  const box = useRef();
  const asked = useRef(0);

  const run = async (what = text) => {
    setOffers([]);
    if (!what.trim()) return;
    // Not where the reader has left already, and the page is about to hear of it.
    if (location.hash.startsWith("#/query")) history.replaceState(null, "", `#/query/${encodeURIComponent(what)}`);
    const mine = ++asked.current;
    setBusy(true);
    try {
      const end = Math.floor(hostNow());
      const now = await query(what, { form: { limit: LISTED } });
      const many = now.data.resultType === "vector" ? now.data.result.length : 1;
      const past = many <= GRAPHED && (now.data.resultType === "vector" || now.data.resultType === "scalar") ? await queryRange(what, end - live.window, end, Math.max(live.interval, Math.ceil(live.window / 240)), { form: { limit: GRAPHED } }) : null;
      if (mine !== asked.current) return;
      setAnswer({ now: now.data, past: past?.data, many, notes: [...(now.warnings ?? []), ...(now.infos ?? [])], end });
      setError("");
    } catch (e) {
      if (mine !== asked.current) return;
      setAnswer(null);
      setError(e.message);
    }
    setBusy(false);
  };
  useEffect(() => {
    run(initial || text);
  }, [initial, live.window]);

  const offer = async (e) => {
    const c = context(e.currentTarget.value, e.currentTarget.selectionStart ?? 0);
    const mine = (offer.serial = (offer.serial ?? 0) + 1);
    const found = c ? await complete(c).catch(() => []) : [];
    if (mine !== offer.serial) return;
    setOffers(c ? found.slice(0, 12).map((o) => ({ ...o, from: c.from, to: c.from + c.word.length })) : []);
    setChosen(-1);
  };
  const take = (o) => {
    const next = text.slice(0, o.from) + o.put + text.slice(o.to);
    setText(next);
    setOffers([]);
    const at = o.from + o.put.length;
    requestAnimationFrame(() => {
      box.current.focus();
      box.current.setSelectionRange(at, at);
    });
  };
  const keys = (e) => {
    if (offers.length > 0 && (e.key === "ArrowDown" || e.key === "ArrowUp")) {
      e.preventDefault();
      setChosen((chosen + (e.key === "ArrowDown" ? 1 : offers.length) + (chosen < 0 && e.key === "ArrowUp" ? 0 : 0)) % offers.length);
    } else if (offers.length > 0 && (e.key === "Tab" || (e.key === "Enter" && chosen >= 0)) && !e.shiftKey) {
      e.preventDefault();
      take(offers[Math.max(0, chosen)]);
    } else if (e.key === "Escape") setOffers([]);
    else if (e.key === "Enter" && !e.shiftKey) {
      e.preventDefault();
      run();
    }
  };

  const series = answer?.past?.result ?? [];
  const xs = [];
  if (series.length > 0) {
    const all = new Set();
    for (const s of series.slice(0, MOST)) for (const [t] of s.values) all.add(t);
    xs.push(...[...all].sort((a, b) => a - b));
  }
  const place = new Map(xs.map((t, i) => [t, i]));
  const lines = series.slice(0, MOST).map((s, i) => {
    const values = new Array(xs.length).fill(null);
    for (const [t, v] of s.values) if (Number.isFinite(number(v))) values[place.get(t)] = number(v);
    return { name: textOf(s.metric), color: `--series-${i % 8}`, values };
  });
  const table = !answer
    ? []
    : answer.now.resultType === "vector"
      ? answer.now.result.map((r) => ({ metric: textOf(r.metric), value: number(r.value[1]) }))
      : answer.now.resultType === "matrix"
        ? answer.now.result.map((r) => ({ metric: textOf(r.metric), value: number(r.values[r.values.length - 1][1]) }))
        : [{ metric: answer.now.resultType, value: answer.now.resultType === "scalar" ? number(answer.now.result[1]) : answer.now.result[1] }];
  const what = answer?.now.resultType;
  const undrawn = what === "matrix" ? "A range of samples has no graph; rate() and the like make one value of it." : what === "string" ? "A text has no graph." : "This expression has no finite value within this time.";
  return (
    <div class="grid">
      <Card title="Query" note="PromQL; Enter asks, arrows and Tab complete." id="q-box" wide>
        <form
          class="query"
          onSubmit={(e) => {
            e.preventDefault();
            run();
          }}
        >
          <div class="combo">
            <textarea
              ref={box}
              rows="2"
              aria-label="PromQL expression"
              aria-controls="offers"
              aria-autocomplete="list"
              aria-activedescendant={chosen >= 0 ? `offer-${chosen}` : undefined}
              spellcheck={false}
              autocapitalize="off"
              value={text}
              onInput={(e) => {
                setText(e.currentTarget.value);
                offer(e);
              }}
              onKeyDown={keys}
              onBlur={() => setTimeout(() => setOffers([]), 150)}
            />
            <p class="hidden" role="status">
              {offers.length > 0 ? `${offers.length} completions` : ""}
            </p>
            <ul id="offers" role="listbox" aria-label="Completions" hidden={offers.length === 0}>
              {offers.map((o, i) => (
                <li id={`offer-${i}`} role="option" aria-selected={i === chosen} onMouseDown={(e) => (e.preventDefault(), take(o))}>
                  <b>{o.name}</b> <small>{o.help}</small>
                </li>
              ))}
            </ul>
          </div>
          <button type="submit" disabled={busy}>
            Ask
          </button>
        </form>
        {error ? (
          <p class="error" role="alert">
            {error}
          </p>
        ) : null}
        {(answer?.notes ?? []).map((n) => (
          <p class="note">{n}</p>
        ))}
      </Card>
      <Card title="Graph" note={series.length > MOST ? `The first ${MOST} of ${series.length} series.` : undefined} id="q-graph" wide>
        <Chart label="Result" xs={xs} series={lines} format={f.plain} lowest={null} height={260} why={answer?.many > GRAPHED ? `${answer.many}${answer.many === LISTED ? " or more" : ""} series are too many for a graph; choose fewer, for example with topk(10, …).` : answer ? undrawn : error ? "See above." : "Asking …"} />
      </Card>
      <Card title="Now" note={what === "matrix" ? "Of each series the newest sample of the range." : undefined} id="q-now" wide>
        {answer ? (
          <Table
            caption="Result"
            rows={table}
            most={100}
            empty="No series."
            columns={[
              { key: "metric", name: "Series", value: (r) => r.metric, show: (r) => <code>{r.metric}</code> },
              { key: "value", name: "Value", number: true, value: (r) => r.value, show: (r) => (typeof r.value === "number" ? f.plain(r.value) : r.value) },
            ]}
          />
        ) : (
          <Nothing>{error ? "See above." : "Asking …"}</Nothing>
        )}
      </Card>
    </div>
  );
}
