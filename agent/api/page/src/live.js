// What the agent said last, and the past of what charts show. One request a round for all numbers of the view, one for
// the alerts; none while nobody looks.
import { base, call, data, number, query, queryRange } from "./api.js";
import { hostHas, hostNow, hostSaid, ours } from "./clock.js";
import { withEvents } from "./events.js";
import { queries, together, withPast } from "./queries.js";

const POINTS = 180; // of a chart: more than a card has pixels for is only work for the agent

export const live = {
  view: "overview",
  window: 900,
  interval: 5,
  agent: null, // api/v1/agent: what runs, and why the rest does not
  host: {}, // labels of node_uname_info
  now: {}, // name of a query -> [{labels, value}]
  xs: [], // times of the points of charts, in seconds
  past: {}, // name of a query -> Map(key -> {labels, values}), as long as xs
  alerts: [],
  alertsError: "", // why they are those of before, or none
  silences: [],
  silencesError: "", // why they are those of before, or none
  events: { newest: 0, rows: [] }, // events.js
  rules: null,
  utilization: null,
  verdict: null, // api/v1/verdict, or {state: "unknown", why} where it has no answer
  loaded: false, // the view's numbers are there
  history: true, // false: this host keeps none, so no query has an answer
  error: "", // why the last round failed
  time: 0, // of the newest numbers, by the host's clock
};

const listeners = new Set();
let told = false;
export function listen(f) {
  listeners.add(f);
  return () => listeners.delete(f);
}
// Once a frame at most.
export function changed() {
  if (told) return;
  told = true;
  requestAnimationFrame(() => {
    told = false;
    for (const f of listeners) f();
  });
}

// What has no place in a chart is a gap in it.
const drawn = (v) => (Number.isFinite(v) ? v : null);
const keyOf = (labels) => JSON.stringify(labels);
function named(metric) {
  const { q, __name__: name, instance, job, ...labels } = metric;
  return [q, labels, name];
}
const window_ = () => `${Math.max(30, 4 * live.interval)}s`;
const step = () => Math.max(live.interval, Math.ceil(live.window / POINTS));

let serial = 0; // answers for a view that is left are no answers
let inRound = false;

async function loadPast(mine) {
  const wanted = withPast(queries[live.view](window_()));
  const end = Math.floor(hostNow());
  const start = end - live.window;
  const xs = [];
  for (let t = start; t <= end; t += step()) xs.push(t);
  const past = {};
  if (Object.keys(wanted).length > 0 && live.history) {
    const answer = await queryRange(together(wanted), start, end, step());
    if (mine !== serial) return;
    for (const row of answer.data.result) {
      const [q, labels] = named(row.metric);
      const values = new Array(xs.length).fill(null);
      for (const [t, v] of row.values) {
        const i = Math.round((t - start) / step());
        if (i >= 0 && i < values.length) values[i] = drawn(number(v));
      }
      (past[q] ??= new Map()).set(keyOf(labels), { labels, values });
    }
  }
  // The first points may be before the host's first sample: charts begin where its numbers do.
  const all = Object.values(past).flatMap((rows) => [...rows.values()]);
  let first = xs.findIndex((_, i) => all.some((row) => row.values[i] !== null));
  if (first < 0) first = xs.length;
  for (const row of all) row.values.splice(0, first);
  live.xs = xs.slice(first);
  live.past = past;
}

// A new point at `t`; one that is closer to the last but one than a step takes the last one's place.
function append(t, now) {
  const n = live.xs.length;
  const replace = n > 1 && t - live.xs[n - 2] < step();
  if (n > 0 && t <= live.xs[n - 1]) return;
  if (replace) live.xs[n - 1] = t;
  else live.xs.push(t);
  const size = live.xs.length;
  for (const q of Object.keys(withPast(queries[live.view](window_())))) {
    const rows = (live.past[q] ??= new Map());
    for (const { labels, value } of now[q] ?? []) {
      const key = keyOf(labels);
      if (!rows.has(key)) rows.set(key, { labels, values: new Array(size - 1).fill(null) });
      rows.get(key).values[size - 1] = drawn(value);
    }
    for (const row of rows.values()) if (row.values.length < size) row.values.push(null);
  }
  let old = 0;
  while (old < size && live.xs[old] < t - live.window - step()) old++;
  if (old === 0) return;
  live.xs.splice(0, old);
  for (const rows of Object.values(live.past))
    for (const [key, row] of rows) {
      row.values.splice(0, old);
      if (row.values.every((v) => v === null)) rows.delete(key);
    }
}

async function numbers(mine) {
  const wanted = queries[live.view](window_());
  if (Object.keys(wanted).length === 0) return {};
  const answer = await query(together(wanted));
  if (mine !== serial) return null;
  live.history = !(answer.warnings ?? []).some((w) => w.includes("no history"));
  const now = {};
  let time = 0;
  for (const row of answer.data.result) {
    const [q, labels, name] = named(row.metric);
    (now[q] ??= []).push({ labels, value: number(row.value[1]), name });
    time = Math.max(time, row.value[0]);
  }
  live.now = now;
  if (time > 0) {
    live.time = time;
    hostHas(time);
  }
  return now;
}

export async function refreshAlerts() {
  // Beside each other: silences that fail take no alerts along.
  const silences = live.view === "alerts" ? data("api/v2/silences").catch((e) => e) : live.silences;
  try {
    live.alerts = (await data("api/v1/alerts")).alerts;
    live.alertsError = "";
  } finally {
    const said = await silences;
    live.silencesError = said instanceof Error ? said.message : "";
    if (!live.silencesError) live.silences = said;
    changed();
  }
}
// However many come: asked for at once, then once a second, and always after the last of them.
const ALERTS_EVERY_MS = 1000;
let alertsCame = false;
let askingAlerts = false;
async function alertsCome() {
  alertsCame = true;
  if (askingAlerts) return;
  askingAlerts = true;
  while (alertsCame && !document.hidden) {
    alertsCame = false;
    await refreshAlerts().catch(() => {}); // the next round says why
    await new Promise((done) => setTimeout(done, ALERTS_EVERY_MS));
  }
  askingAlerts = false;
}
async function refreshAgent() {
  const asked = ours();
  live.agent = await data("api/v1/agent");
  if (live.agent.time > 0) hostSaid(live.agent.time, asked);
}
// Beside the round: a verdict that fails or takes its time keeps nothing else from being shown.
const VERDICT_WAIT_MS = 1000;
let judging = false;
async function refreshVerdict() {
  if (judging) return;
  judging = true;
  try {
    live.verdict = await data("api/v1/verdict");
  } catch (e) {
    live.verdict = { state: "unknown", why: e.message };
  }
  judging = false;
  changed();
}
let happened = true; // something that is not in live.events yet
async function refreshEvents() {
  if (live.view !== "alerts") return;
  happened = false;
  const answer = await data(`api/v1/events?limit=1024&after=${live.events.newest}`).catch((e) => {
    happened = true;
    throw e;
  });
  live.events = withEvents(live.events, answer);
}
// What changes seldom: at once when its view is opened or an alert came or went, then every sixth round.
let seldom = 0;
async function refreshSeldom(mine) {
  if (seldom > 0) {
    seldom--;
    if (happened) await refreshEvents();
    return;
  }
  seldom = 5;
  await refreshAgent(); // on every view, since clocks may be set
  await refreshEvents(); // types that nobody listens to
  if (live.view === "agent" || live.view === "alerts") {
    const rules = await data("api/v1/rules");
    if (mine === serial) live.rules = rules.groups;
  }
}
export const has = (path) => Boolean(live.agent?.endpoints?.includes(path));

let fresh = true; // nothing of this view is there yet
let timer = 0;

async function round() {
  if (inRound || document.hidden) return;
  inRound = true;
  const mine = serial;
  try {
    const wasAway = live.xs.length > 0 && hostNow() - live.xs[live.xs.length - 1] > 4 * step();
    const reload = fresh || wasAway;
    let judged = null;
    const now = await numbers(mine);
    if (mine === serial) {
      if (reload) await loadPast(mine);
      if (now && mine === serial && live.time > 0) append(live.time, now);
      if (live.view === "overview") {
        if (!live.history) live.utilization = await data("api/v1/utilization");
        // It asks for a dozen expressions: not every round.
        if (live.history && has("/api/v1/verdict") && (fresh || seldom % 3 === 0)) judged = refreshVerdict();
      }
      // They keep nothing else from being shown, and are missing aloud.
      await refreshAlerts().catch((e) => {
        if (e.status === 401) throw e;
        live.alertsError = e.message;
      });
      await refreshSeldom(mine);
      // At first everything comes at once, so that nothing moves; but not for a verdict that takes its time.
      if (judged && !live.loaded) await Promise.race([judged, new Promise((done) => setTimeout(done, VERDICT_WAIT_MS))]);
      if (mine === serial) {
        live.loaded = true;
        live.error = "";
        fresh = false;
      }
    }
  } catch (e) {
    live.error = e.status === 401 ? "log in again: vitald asks for a password" : e.message;
  }
  inRound = false;
  changed();
  plan(mine === serial ? Math.min(30, Math.max(2, live.interval)) * 1000 : 0);
}
function plan(ms) {
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(round, ms);
}

// Events come by themselves, so that an alert is there when it fires and not a round later. Only for those who stay for a
// while: the agent lets 16 watch from one address, and notices late that one has left.
const STAYS_MS = 10000;
let stream = null;
let staying = 0;
function watch(after = STAYS_MS) {
  clearTimeout(staying);
  if (!document.hidden && typeof EventSource !== "undefined") staying = setTimeout(listenToEvents, after);
}
function listenToEvents() {
  if (stream || document.hidden) return;
  stream = new EventSource(`${base}api/v1/events/watch`);
  for (const type of ["alert_firing", "alert_resolved"])
    stream.addEventListener(type, () => {
      happened = true;
      seldom = 0;
      alertsCome();
    });
  // No alerts, and where processes die there may be hundreds of them: the next round asks what they were.
  for (const type of ["oom_kill", "process_death"]) stream.addEventListener(type, () => (happened = true));
  stream.onerror = () => {
    if (stream && stream.readyState === EventSource.CLOSED) {
      stream = null;
      watch(60000);
    }
  };
}
function unwatch() {
  clearTimeout(staying);
  stream?.close();
  stream = null;
}

export function show(view, window = live.window) {
  if (view === live.view && window === live.window) return;
  live.view = view;
  live.window = window;
  live.loaded = false;
  live.past = {};
  live.xs = [];
  serial++;
  fresh = true;
  seldom = 0;
  changed();
  plan(0);
}

export async function start(view) {
  live.view = view;
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      clearTimeout(timer);
      unwatch();
    } else {
      plan(0);
      watch();
    }
  });
  try {
    await refreshAgent();
    if (live.agent.interval_seconds > 0) live.interval = live.agent.interval_seconds;
  } catch (e) {
    live.error = e.message;
    changed();
  }
  call("api/v1/query", { method: "POST", form: { query: "node_uname_info" } })
    .then((a) => {
      live.host = a.data.result[0]?.metric ?? {};
      changed();
    })
    .catch(() => {});
  plan(0);
  watch();
}

// For views: the one number of a query, or undefined.
export const one = (q) => live.now[q]?.[0]?.value;
export const rows = (q) => live.now[q] ?? [];
export const lines = (q) => [...(live.past[q]?.values() ?? [])];
export const line = (q) => lines(q)[0]?.values;
