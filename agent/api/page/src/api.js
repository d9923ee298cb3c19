// The agent's API, and nothing else. Addresses begin where the page is, so that it works under any prefix; they are whole,
// since the page's own may have a password in it and what is relative to that is refused by fetch().
export const base = location.origin + location.pathname.replace(/\/*$/, "/");

export class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

export async function call(path, { method = "GET", form, json, signal } = {}) {
  const headers = {};
  let body;
  if (form) {
    body = new URLSearchParams(form).toString();
    headers["Content-Type"] = "application/x-www-form-urlencoded";
  } else if (json) {
    body = JSON.stringify(json);
    headers["Content-Type"] = "application/json";
  }
  const timeout = AbortSignal.timeout(20000);
  let answer, text;
  try {
    answer = await fetch(base + path, { method, headers, body, cache: "no-store", signal: signal ? AbortSignal.any([signal, timeout]) : timeout });
    text = await answer.text();
  } catch (e) {
    throw new Refused(0, timeout.aborted ? "no answer within 20 s" : e.name === "AbortError" ? "given up" : "vitald does not answer");
  }
  let made;
  try {
    made = text ? JSON.parse(text) : {};
  } catch {
    made = null;
  }
  if (!answer.ok) throw new Refused(answer.status, (made && made.error) || text.trim().slice(0, 400) || `HTTP ${answer.status}`);
  return made;
}
export const data = async (path, options) => {
  const made = await call(path, options);
  return made && "data" in made ? made.data : made;
};
// A sample's value; JavaScript has other words for the infinite ones.
export const number = (text) => (text === "+Inf" ? Infinity : text === "-Inf" ? -Infinity : Number(text));
export const query = (text, options = {}) => call("api/v1/query", { method: "POST", form: { query: text, ...options.form }, signal: options.signal });
export const queryRange = (text, start, end, step, options = {}) =>
  call("api/v1/query_range", { method: "POST", form: { query: text, start, end, step, ...options.form }, signal: options.signal });
