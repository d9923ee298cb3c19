// What burns, who has it, what it looked like, and what shall be quiet.
import { useState } from "preact/hooks";
import { call, data } from "../api.js";
import { hostNow } from "../clock.js";
import * as f from "../format.js";
import { live, refreshAlerts } from "../live.js";
import { Badge, Card, Dialog, Labels, Name, Nothing, Table } from "../parts.jsx";

const RANK = { critical: 0, warning: 1, info: 2, none: 9 };
export const severityLevel = (s) => (s === "critical" ? "bad" : s === "warning" ? "warn" : "");
const remembered = () => {
  try {
    return localStorage.getItem("vitald.by") ?? "";
  } catch {
    return "";
  }
};
const remember = (by) => {
  try {
    localStorage.setItem("vitald.by", by);
  } catch {
    // a browser that keeps nothing: it is asked for again
  }
};

function Said({ error }) {
  return error ? (
    <p class="error" role="alert">
      {error}
    </p>
  ) : null;
}

// A form whose button does something with the agent, and says what came of it.
function Act({ title, verb, onClose, send, children }) {
  const [error, setError] = useState("");
  const [busy, setBusy] = useState(false);
  return (
    <Dialog title={title} onClose={onClose}>
      <form
        onSubmit={async (e) => {
          e.preventDefault();
          const given = Object.fromEntries(new FormData(e.currentTarget));
          setBusy(true);
          setError("");
          try {
            if (given.by) remember(given.by);
            await send(given);
            await refreshAlerts();
            onClose();
          } catch (x) {
            setError(x.message);
            setBusy(false);
          }
        }}
      >
        {children}
        <Said error={error} />
        <p class="buttons">
          <button type="submit" disabled={busy}>
            {verb}
          </button>
          <button type="button" class="plain" onClick={onClose}>
            Cancel
          </button>
        </p>
      </form>
    </Dialog>
  );
}
const By = () => (
  <label>
    Who
    <input name="by" autofocus required maxlength="200" value={remembered()} autocomplete="username" />
  </label>
);
const Comment = ({ required }) => (
  <label>
    Comment
    <input name="comment" maxlength="1000" required={required} />
  </label>
);
const For = ({ forever, initial }) => (
  <label>
    For
    <select name="duration" defaultValue={initial}>
      {forever ? <option value="">as long as it fires</option> : null}
      {["30m", "1h", "2h", "4h", "12h", "24h", "168h"].map((d) => (
        <option value={d} selected={d === initial}>
          {{ "30m": "30 minutes", "1h": "1 hour", "24h": "1 day", "168h": "1 week" }[d] ?? `${d.slice(0, -1)} hours`}
        </option>
      ))}
    </select>
  </label>
);
const HOURS = (d) => (d.endsWith("m") ? Number(d.slice(0, -1)) / 60 : Number(d.slice(0, -1)));

function Acknowledge({ alert, onClose }) {
  return (
    <Act
      title={`Acknowledge ${alert.labels.alertname}`}
      verb="Acknowledge"
      onClose={onClose}
      send={(g) => call(`api/v1/alerts/${alert.fingerprint}/acknowledgement`, { method: "POST", form: { by: g.by, comment: g.comment, ...(g.duration ? { duration: g.duration } : {}) } })}
    >
      <p>It stays visible; everybody sees that you have it. It ends with the alert.</p>
      <By />
      <Comment />
      <For forever />
    </Act>
  );
}
function Silence({ alert, onClose }) {
  const labels = Object.entries(alert.labels);
  return (
    <Act
      title={`Silence ${alert.labels.alertname}`}
      verb="Silence"
      onClose={onClose}
      send={(g) => {
        const matchers = labels.filter(([k]) => g[`use-${k}`] !== undefined).map(([name, value]) => ({ name, value, isRegex: false, isEqual: true }));
        const now = hostNow() * 1000;
        return call("api/v2/silences", {
          method: "POST",
          json: { matchers, startsAt: new Date(now).toISOString(), endsAt: new Date(now + HOURS(g.duration) * 3600000).toISOString(), createdBy: g.by, comment: g.comment },
        });
      }}
    >
      <p>Receivers of this host hear nothing of alerts with all these labels until it ends.</p>
      <fieldset>
        <legend>Labels that must be the same</legend>
        {labels.map(([k, v]) => (
          <label class="check">
            <input type="checkbox" name={`use-${k}`} defaultChecked checked={undefined} /> {k}=<b>{v}</b>
          </label>
        ))}
      </fieldset>
      <By />
      <Comment required />
      <For initial="2h" />
    </Act>
  );
}

// Of evidence whose shape grows: text as it is, lists of things as tables, the rest by name.
function Anything({ name, value }) {
  if (value === null || value === undefined || value === "" || (Array.isArray(value) && value.length === 0)) return null;
  const title = <h3>{name.replace(/_/g, " ")}</h3>;
  if (typeof value !== "object")
    return String(value).includes("\n") ? (
      <>
        {title}
        <pre tabindex="0">{String(value)}</pre>
      </>
    ) : (
      <p>
        <b>{name.replace(/_/g, " ")}</b>: {String(value)}
      </p>
    );
  if (Array.isArray(value) && value.every((v) => typeof v === "string"))
    return (
      <>
        {title}
        <pre tabindex="0">{value.join("\n")}</pre>
      </>
    );
  if (Array.isArray(value) && value.every((v) => v && typeof v === "object" && !Array.isArray(v))) {
    const keys = [...new Set(value.flatMap((v) => Object.keys(v)))];
    return (
      <>
        {title}
        <Table
          caption={name}
          rows={value}
          most={30}
          columns={keys.map((k) => ({
            key: k,
            name: k.replace(/_/g, " "),
            number: value.every((v) => v[k] === undefined || typeof v[k] === "number"),
            value: (r) => (typeof r[k] === "object" ? JSON.stringify(r[k]) : r[k]),
            show: (r) => (r[k] === undefined ? f.NONE : k.endsWith("bytes") ? f.bytes(r[k]) : typeof r[k] === "object" ? JSON.stringify(r[k]) : typeof r[k] === "number" && !k.endsWith("id") ? f.plain(r[k]) : String(r[k])),
          }))}
        />
      </>
    );
  }
  if (Array.isArray(value))
    return (
      <>
        {title}
        <pre tabindex="0">{JSON.stringify(value, null, 1)}</pre>
      </>
    );
  return (
    <>
      {Object.entries(value).map(([k, v]) => (
        <Anything name={`${name}: ${k}`} value={v} />
      ))}
    </>
  );
}

function Evidence({ alert, onClose }) {
  const [got, setGot] = useState(null);
  const [error, setError] = useState("");
  if (!got && !error)
    data(`api/v1/alerts/${alert.uuid}/evidence`)
      .then(setGot)
      .catch((e) => setError(e.message));
  const mine = got?.fired?.find((x) => JSON.stringify(x.labels) === JSON.stringify(alert.labels)) ?? got?.fired?.[0];
  return (
    <Dialog title={`Evidence: ${alert.labels.alertname}`} onClose={onClose}>
      <div class="evidence">
        <Said error={error} />
        {!got && !error ? <Nothing>Asking …</Nothing> : null}
        {got ? (
          <>
            <p class="note">
              Written down {new Date(got.time * 1000).toLocaleString([], { hour12: false })} on {got.host}.
            </p>
            {mine ? <Anything name="query" value={mine.query} /> : null}
            {mine ? <Anything name="series" value={mine.series} /> : null}
            <Anything name="owners" value={got.owners} />
            {Object.entries(got.machine ?? {}).map(([k, v]) => (
              <Anything name={k} value={v} />
            ))}
          </>
        ) : null}
      </div>
    </Dialog>
  );
}

// Rules come from others: a link is made of what leads to a page, and of nothing that a browser would run.
function Runbook({ url }) {
  if (!url) return null;
  const safe = URL.canParse(url) && ["http:", "https:"].includes(new URL(url).protocol);
  return (
    <p class="note">
      Runbook:{" "}
      {safe ? (
        <a href={url} target="_blank" rel="noopener noreferrer">
          {url}
        </a>
      ) : (
        url
      )}
    </p>
  );
}

// Since when it fires, as `vitald alerts` says it; of one that waits since when its expression holds.
const begin = (alert) => alert.firedAt ?? alert.activeAt;

function Alert({ alert, open }) {
  const [error, setError] = useState("");
  const a = alert.acknowledgement;
  const severity = alert.severity || alert.labels.severity || "";
  return (
    <article class={`alert ${alert.state === "firing" && severity !== "none" ? severityLevel(severity) : ""}`} aria-label={`${alert.labels.alertname}, ${alert.state}`}>
      <header>
        <h3><Name text={alert.labels.alertname} /></h3>
        <Badge level={alert.state === "firing" ? severityLevel(severity) : ""}>
          {alert.state}
          {severity && severity !== "none" ? `, ${severity}` : ""}
        </Badge>
        <span class="note">
          {alert.state === "firing" ? "fires" : "pending"} for {f.since(begin(alert))}, since {f.moment(begin(alert))}
        </span>
      </header>
      <p>{alert.annotations.summary}</p>
      {alert.annotations.description ? <p class="note">{alert.annotations.description}</p> : null}
      <Runbook url={alert.annotations.runbook_url} />
      <Labels labels={alert.labels} />
      {alert.metric ? (
        <p class="note">
          {alert.metric} is {f.plain(alert.current_value)}
          {alert.threshold !== null ? `; it fires at ${alert.operator} ${f.plain(alert.threshold)}` : ""}
        </p>
      ) : null}
      {a ? (
        <p>
          <Badge level="good">acknowledged</Badge> by <b>{a.by}</b>
          {a.comment ? `: ${a.comment}` : ""}
          {a.until ? `, until ${f.moment(a.until)}` : ""}
        </p>
      ) : null}
      {alert.silencedBy?.length > 0 ? <p><Badge>silenced</Badge> receivers of this host hear nothing of it</p> : null}
      {alert.inhibitedBy?.length > 0 ? <p><Badge>inhibited</Badge> by another alert that fires</p> : null}
      <Said error={error} />
      <p class="buttons">
        {a ? (
          <button
            type="button"
            class="plain"
            onClick={() =>
              call(`api/v1/alerts/${alert.fingerprint}/acknowledgement`, { method: "DELETE" })
                .then(refreshAlerts)
                .catch((e) => setError(e.message))
            }
          >
            Take back
          </button>
        ) : (
          <button type="button" onClick={() => open("acknowledge", alert)}>
            Acknowledge
          </button>
        )}
        <button type="button" class="plain" onClick={() => open("silence", alert)}>
          Silence
        </button>
        {alert.evidence ? (
          <button type="button" class="plain" onClick={() => open("evidence", alert)}>
            Evidence
          </button>
        ) : null}
      </p>
    </article>
  );
}

export function Alerts() {
  const [shown, setShown] = useState(null);
  const [error, setError] = useState("");
  const alerts = live.alerts.slice().sort((a, b) => (a.state === b.state ? (RANK[a.severity] ?? 3) - (RANK[b.severity] ?? 3) : a.state === "firing" ? -1 : 1) || begin(a).localeCompare(begin(b)));
  const silences = live.silences.filter((s) => s.status?.state !== "expired");
  const Shown = shown && { acknowledge: Acknowledge, silence: Silence, evidence: Evidence }[shown.what];
  const many = live.rules?.reduce((n, g) => n + g.rules.filter((r) => r.type === "alerting").length, 0);
  return (
    <>
      <div class="grid">
        <Card title="Alerts" note={many !== undefined ? `${many} alerting rules watch this host.` : undefined} id="a-list" wide>
          <Said error={live.alertsError} />
          {alerts.length === 0 && !live.alertsError ? <Nothing>{live.loaded ? (many === 0 ? "No rules are loaded (--rules.file), so nothing can fire." : "Nothing fires and nothing is pending.") : "Asking …"}</Nothing> : null}
          <div class="alerts">
            {alerts.map((a) => (
              <Alert key={a.fingerprint} alert={a} open={(what, alert) => setShown({ what, alert })} />
            ))}
          </div>
        </Card>
        <Card title="Silences" id="a-silences">
          <Said error={error} />
          <Said error={live.silencesError} />
          {silences.length === 0 && !live.silencesError ? <Nothing>There are none.</Nothing> : null}
          <ul class="rows">
            {silences.map((s) => (
              <li>
                <p>
                  <Badge level={s.status?.state === "active" ? "warn" : ""}>{s.status?.state}</Badge> {s.matchers.map((m) => `${m.name}${m.isEqual === false ? "!" : "="}${m.isRegex ? "~" : m.isEqual === false ? "=" : ""}"${m.value}"`).join(", ")}
                </p>
                <p class="note">
                  {s.createdBy}: {s.comment}; until {f.moment(s.endsAt)}
                </p>
                <button
                  type="button"
                  class="plain"
                  onClick={() =>
                    call(`api/v2/silence/${s.id}`, { method: "DELETE" })
                      .then(refreshAlerts)
                      .catch((e) => setError(e.message))
                  }
                >
                  End it now
                </button>
              </li>
            ))}
          </ul>
        </Card>
        <Card title="What happened" note="The newest first, 30 of a kind at most." id="a-events" double>
          {live.events.rows.length === 0 ? <Nothing>Nothing was told since the start.</Nothing> : null}
          <ol class="rows events">
            {live.events.rows.map((e) => (
              <li key={e.key}>
                <time>{f.moment(e.time * 1000)}</time> <Badge level={e.type === "alert_firing" || e.type === "oom_kill" ? "warn" : ""}>{e.type.replace(/_/g, " ")}</Badge> {e.text}
                {e.times > 1 ? <span class="note"> (the last of {f.plain(e.times)} since {f.moment(e.first * 1000)})</span> : null}
              </li>
            ))}
          </ol>
        </Card>
      </div>
      {Shown ? <Shown alert={shown.alert} onClose={() => setShown((now) => (now === shown ? null : now))} /> : null}
    </>
  );
}
