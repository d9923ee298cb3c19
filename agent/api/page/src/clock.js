// What time it is on the host: its numbers have its time, with which the browser's clock need not agree.
let ahead = null; // of the host's clock before ours, in seconds

export const ours = () => Date.now() / 1000;
export const hostNow = () => ours() + (ahead ?? 0);
// The host's clock said `time` some time between `asked`, by our clock, and now.
export function hostSaid(time, asked) {
  ahead = time - (asked + ours()) / 2;
}
// There are numbers of `time`: the host's clock is not before that.
export function hostHas(time) {
  ahead = Math.max(ahead ?? -Infinity, time - ours());
}
