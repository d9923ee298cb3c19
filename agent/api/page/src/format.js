// Numbers as people read them: short, with their unit, and a dash where there is none.
import { hostNow } from "./clock.js";

export const NONE = "–";
const known = (v) => typeof v === "number" && Number.isFinite(v);
const digits = (v) => (Math.abs(v) >= 100 ? 0 : Math.abs(v) >= 10 ? 1 : 2);
const trimmed = (v) => v.toFixed(digits(v)).replace(/\.?0+$/, (m) => (m.startsWith(".") ? "" : m));

function scaled(v, base, units) {
  let i = 0;
  let x = Math.abs(v);
  while (x >= base && i < units.length - 1) (x /= base), i++;
  return `${v < 0 ? "−" : ""}${trimmed(x)} ${units[i]}`.trim();
}
export const bytes = (v) => (known(v) ? scaled(v, 1024, ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]) : NONE);
export const rate = (v) => (known(v) ? scaled(v, 1000, ["B/s", "kB/s", "MB/s", "GB/s", "TB/s"]) : NONE);
export const count = (v) => (known(v) ? scaled(v, 1000, ["", "k", "M", "G"]) : NONE);
export const perSecond = (v) => (known(v) ? `${scaled(v, 1000, ["", "k", "M", "G"])}/s` : NONE);
export const percent = (v) => (known(v) ? `${trimmed(v * 100)} %` : NONE);
export const watts = (v) => (known(v) ? scaled(v, 1000, ["W", "kW"]) : NONE);
export const celsius = (v) => (known(v) ? `${trimmed(v)} °C` : NONE);
export const cpus = (v) => (known(v) ? `${trimmed(v)} CPU` : NONE);

export function seconds(v) {
  if (!known(v)) return NONE;
  const a = Math.abs(v);
  if (a === 0) return "0 s";
  if (a < 1e-6) return `${trimmed(v * 1e9)} ns`;
  if (a < 1e-3) return `${trimmed(v * 1e6)} µs`;
  if (a < 1) return `${trimmed(v * 1e3)} ms`;
  return a < 120 ? `${trimmed(v)} s` : duration(v);
}
// Part of a second that is lost in each second: 0.25 is "250 ms/s".
export const stalled = (v) => (known(v) ? `${seconds(v)}/s` : NONE);

export function duration(s) {
  if (!known(s)) return NONE;
  s = Math.max(0, Math.round(s));
  const d = Math.floor(s / 86400);
  const h = Math.floor((s % 86400) / 3600);
  const m = Math.floor((s % 3600) / 60);
  if (d) return h ? `${d} d ${h} h` : `${d} d`;
  if (h) return m ? `${h} h ${m} min` : `${h} h`;
  if (m) return `${m} min`;
  return `${s} s`;
}
export function clock(epochSeconds) {
  return new Date(epochSeconds * 1000).toLocaleTimeString([], { hour12: false });
}
export function moment(text) {
  const d = new Date(text);
  if (Number.isNaN(d.getTime()) || d.getTime() < 0) return NONE;
  const today = new Date(hostNow() * 1000).toDateString() === d.toDateString();
  return today ? d.toLocaleTimeString([], { hour12: false }) : d.toLocaleString([], { hour12: false });
}
export const since = (text) => duration(hostNow() - new Date(text).getTime() / 1000);
// Any number, for values whose unit nobody told.
export function plain(v) {
  if (v === null || v === undefined) return NONE;
  if (Number.isNaN(v)) return "NaN";
  if (!Number.isFinite(v)) return v > 0 ? "+Inf" : "−Inf";
  const a = Math.abs(v);
  if (a !== 0 && (a < 1e-3 || a >= 1e15)) return v.toExponential(3);
  return v.toLocaleString("en", { maximumSignificantDigits: 6, useGrouping: a >= 10000 });
}
