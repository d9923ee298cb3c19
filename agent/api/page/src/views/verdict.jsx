// What is wrong, in the agent's own judgement, and what changed: shown where the agent has these endpoints.
import { useState } from "preact/hooks";
import { data } from "../api.js";
import * as f from "../format.js";
import { has, live } from "../live.js";
import { Badge, Card, Nothing, ownerName, Table } from "../parts.jsx";

const known = (v) => v !== undefined && v !== null;
const LEVEL = { ok: "good", bad: "bad", unknown: "" };

// "host", or an owner's or guest's name.
function whose(object, scope) {
  const { instance, job, ...labels } = object ?? {};
  if (labels.owner || labels.guest || labels.container) return ownerName(labels).name;
  const rest = Object.entries(labels).map(([k, v]) => `${k}=${v}`);
  return rest.length > 0 ? rest.join(", ") : scope === "host" ? "this host" : scope;
}

function Changes() {
  const [got, setGot] = useState(null);
  const [error, setError] = useState("");
  const [busy, setBusy] = useState(false);
  if (!has("/api/v1/explain")) return null;
  const ask = () => {
    setBusy(true);
    data("api/v1/explain?limit=10")
      .then((d) => (setGot(d), setError("")))
      .catch((e) => setError(e.message))
      .finally(() => setBusy(false));
  };
  const name = (m) => {
    const { __name__: metric, instance, job, ...rest } = m;
    const inner = Object.entries(rest).map(([k, v]) => `${k}="${v}"`).join(", ");
    return `${metric ?? ""}${inner ? `{${inner}}` : ""}`;
  };
  return (
    <>
      <p class="buttons">
        <button type="button" class="plain" onClick={ask} disabled={busy}>
          What changed in the last 5 minutes?
        </button>
      </p>
      {error ? (
        <p class="error" role="alert">
          {error}
        </p>
      ) : null}
      {got ? (
        <Table
          caption="What changed"
          rows={got.changes}
          empty={got.too_short * 2 > got.series ? `${got.too_short} of ${got.series} series have too few samples to be compared yet, and no other one stands out.` : "Nothing that stands out."}
          columns={[
            { key: "metric", name: "Series", show: (r) => <code>{name(r.metric)}</code> },
            { key: "before", name: "Before", number: true, show: (r) => (known(r.before) ? f.plain(r.before) + (r.rate ? "/s" : "") : f.NONE) },
            { key: "now", name: "Now", number: true, show: (r) => (known(r.now) ? f.plain(r.now) + (r.rate ? "/s" : "") : f.NONE) },
            { key: "note", name: "", label: "Note", show: (r) => r.note ?? "" },
          ]}
        />
      ) : null}
    </>
  );
}

export function Verdict() {
  const v = live.verdict;
  if (!has("/api/v1/verdict") || !live.history) return null;
  if (!v)
    return (
      <Card title="Verdict" id="verdict" wide>
        <Nothing>Asking …</Nothing>
      </Card>
    );
  const unknown = (v.checked ?? []).filter((c) => c.state === "unknown");
  return (
    <Card title="Verdict" id="verdict" wide note={unknown.length > 0 ? `${unknown.length} of ${v.checked.length} could not be judged` : undefined}>
      {v.state === "ok" ? (
        <p class="calm">
          <Badge level="good">ok</Badge> As far as its numbers tell, nothing is wrong with this host, its owners and guests.
        </p>
      ) : null}
      {v.state === "unknown" ? <Nothing>Nobody knows: {v.why ?? unknown.map((c) => `${c.verdict}: ${c.why ?? "no numbers"}`).join("; ")}</Nothing> : null}
      <ul class="verdicts">
        {(v.bad ?? []).map((b) => (
          <li>
            <Badge level={LEVEL[b.state] ?? "bad"}>{b.verdict.replace(/_/g, " ")}</Badge> <b>{whose(b.object, b.scope)}</b>: {b.says}{" "}
            <span class="note">
              {(b.numbers ?? [])
                .filter((n) => known(n.value))
                .map((n) => `${n.what} ${f.plain(n.value)} (${n.op} ${f.plain(n.threshold)})`)
                .join(", ")}
              {b.who?.length > 0 ? `; because of ${b.who.map((w) => whose(w.labels, "")).join(", ")}` : ""}
              {`; for ${b.since_at_least ? "at least " : ""}${f.since(b.since)}`}
            </span>
          </li>
        ))}
      </ul>
      <Changes />
    </Card>
  );
}
