// What happened, the newest first: the newest of each type, and deaths of one program by one signal as one row. A host
// whose processes die ten times a second would else show nothing but that.
const MOST_OF_TYPE = 30;
const MOST = 600; // programs post types of their own

const keyOf = (e) => (e.type === "process_death" ? JSON.stringify([e.fields.comm, e.fields.signal]) : e.sequence);

// The agent's answer to `after`: the newest sequence in `had`, 0 for none. {newest, rows: [{key, sequence, time, type, text, times, first}]}
export function withEvents(had, answer) {
  let rows = had.rows;
  // A clock that was ahead numbered those of before.
  if (answer.newest < had.newest) rows = [];
  // Some were overwritten before anybody asked, or vitald began anew: what was counted would be too few.
  else if (answer.events.length > 0 && answer.events[0].sequence > had.newest + 1) rows = rows.filter((r) => r.times === 1);
  const all = new Map(rows.slice().reverse().map((r) => [r.key, r]));
  for (const e of answer.events) {
    const key = keyOf(e);
    const before = all.get(key);
    all.delete(key); // the newest is the last of a Map
    all.set(key, { key, sequence: e.sequence, time: e.time, type: e.type, text: e.text, times: (before?.times ?? 0) + 1, first: before?.first ?? e.time });
  }
  const of = {};
  const left = [...all.values()].reverse().filter((r) => (of[r.type] = (of[r.type] ?? 0) + 1) <= MOST_OF_TYPE);
  return { newest: Math.max(answer.newest, ...answer.events.map((e) => e.sequence)), rows: left.slice(0, MOST) };
}
