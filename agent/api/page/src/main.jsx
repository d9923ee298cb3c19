// The page: a head that says which host this is and how old its numbers are, and one view at a time.
import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { hostNow } from "./clock.js";
import * as f from "./format.js";
import { listen, live, one, show, start } from "./live.js";
import { Agent } from "./views/agent.jsx";
import { Alerts, severityLevel } from "./views/alerts.jsx";
import { Guests } from "./views/guests.jsx";
import { Overview } from "./views/overview.jsx";
import { Owners } from "./views/owners.jsx";
import { Query } from "./views/query.jsx";
import { Sensors } from "./views/sensors.jsx";

const VIEWS = { overview: ["Overview", Overview], owners: ["Owners", Owners], guests: ["Guests", Guests], sensors: ["Sensors", Sensors], alerts: ["Alerts", Alerts], query: ["Query", Query], agent: ["Agent", Agent] };
const WINDOWS = [300, 900, 3600, 21600];

// #/query/EXPRESSION
function place() {
  const [, view = "", ...rest] = location.hash.slice(1).split("/");
  let argument = rest.join("/");
  try {
    argument = decodeURIComponent(argument);
  } catch {
    // a % that somebody wrote by hand
  }
  return { view: VIEWS[view] ? view : "overview", argument };
}

function Age() {
  const [, tick] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => document.hidden || tick((n) => n + 1), 1000);
    return () => clearInterval(timer);
  }, []);
  const age = live.time > 0 ? Math.max(0, hostNow() - live.time) : null;
  const late = age !== null && age > 4 * live.interval + 5;
  return (
    <p class={`age ${live.error || late ? "bad" : ""}`}>
      <i aria-hidden="true" />
      {live.error ? live.error : age === null ? (live.loaded ? "live" : "asking …") : late ? `newest numbers ${f.duration(age)} old` : `${f.duration(age)} old`}
    </p>
  );
}

function Head({ view }) {
  const name = live.agent?.host ?? live.host.nodename ?? "vitald";
  const boot = one("boot");
  const facts = [live.host.sysname && `${live.host.sysname} ${live.host.release}`, live.host.machine, boot && `up ${f.duration(hostNow() - boot)}`, live.agent && `vitald ${live.agent.version}`].filter(Boolean);
  const firing = live.alerts.filter((a) => a.state === "firing" && a.severity !== "none");
  const open = firing.filter((a) => !a.acknowledged && !(a.silencedBy?.length > 0) && !(a.inhibitedBy?.length > 0));
  const worst = open.some((a) => a.severity === "critical") ? "critical" : open.length > 0 ? "warning" : "none";
  return (
    <header class="head">
      <div class="title">
        <svg viewBox="0 0 32 32" aria-hidden="true">
          <rect width="32" height="32" rx="7" />
          <path d="M4 17h6l3-8 5 15 4-11 2 4h4" />
        </svg>
        <h1>{name}</h1>
        <p class="facts-line">{facts.join(" · ") || " "}</p>
        <div class="right">
          <Age />
          <label class="window">
            <span class="hidden">Time shown</span>
            <select value={live.window} onChange={(e) => show(view, Number(e.currentTarget.value))}>
              {WINDOWS.map((w) => (
                <option value={w}>{f.duration(w)}</option>
              ))}
            </select>
          </label>
        </div>
      </div>
      <nav aria-label="Views">
        <ul>
          {Object.entries(VIEWS).map(([key, [title]]) => (
            <li>
              <a href={`#/${key === "overview" ? "" : key}`} aria-current={key === view ? "page" : undefined}>
                {title}
                {key === "alerts" && firing.length > 0 ? (
                  <span class={`count ${severityLevel(worst)}`}>
                    {firing.length}
                    <span class="hidden"> firing</span>
                  </span>
                ) : null}
              </a>
            </li>
          ))}
        </ul>
      </nav>
    </header>
  );
}

function Urgent({ view }) {
  if (view === "alerts") return null;
  if (live.alertsError)
    return (
      <p class="urgent warn" role="status">
        <b>Alerts cannot be asked for:</b> {live.alertsError}
      </p>
    );
  const open = live.alerts.filter((a) => a.state === "firing" && a.severity !== "none" && !a.acknowledged && !(a.silencedBy?.length > 0) && !(a.inhibitedBy?.length > 0));
  if (open.length === 0) return null;
  const first = open.find((a) => a.severity === "critical") ?? open[0];
  return (
    <p class={`urgent ${severityLevel(first.severity)}`} role="status">
      <b>{first.labels.alertname}</b> {first.annotations.summary} <a href="#/alerts">{open.length > 1 ? `and ${open.length - 1} more` : "look at it"}</a>
    </p>
  );
}

function Page() {
  const [where, setWhere] = useState(place());
  const [, again] = useState(0);
  useEffect(() => {
    const stop = listen(() => again((n) => n + 1));
    const moved = () => {
      const p = place();
      setWhere(p);
      show(p.view);
      scrollTo(0, 0);
    };
    addEventListener("hashchange", moved);
    return () => {
      stop();
      removeEventListener("hashchange", moved);
    };
  }, []);
  const title = `${VIEWS[where.view][0]} · ${live.agent?.host ?? "vitald"}`;
  useEffect(() => {
    document.title = title;
  }, [title]);
  useEffect(() => {
    document.querySelector("nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
  }, [where.view]);
  const View = VIEWS[where.view][1];
  return (
    <>
      <a class="skip" href="#content" onClick={(e) => (e.preventDefault(), document.getElementById("content").focus())}>
        To the content
      </a>
      <Head view={where.view} />
      <main id="content" tabindex="-1" aria-busy={!live.loaded}>
        <h2 class="hidden">{VIEWS[where.view][0]}</h2>
        {live.loaded ? (
          <>
            <Urgent view={where.view} />
            <View key={where.view} initial={where.argument} />
          </>
        ) : (
          // All of a view comes at once: nothing that is there moves when the rest arrives.
          <p class="asking">{live.error || "Asking …"}</p>
        )}
      </main>
      {live.loaded ? (
        <footer>
          <p>
            Everything here comes from <a href="#/agent">this agent</a> over its own API; nothing is loaded from elsewhere.
          </p>
        </footer>
      ) : null}
    </>
  );
}

const app = document.getElementById("app");
app.textContent = "";
render(<Page />, app);
start(place().view);
