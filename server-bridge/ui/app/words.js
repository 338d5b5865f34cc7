// Times, counts and states in words. Pure, apart from the clock.

let ahead = 0;

/** The bridge's clock counts, not this machine's: `date` is the header of its answer. */
export function setClock(date) {
  const theirs = Date.parse(date ?? "");
  // The header has whole seconds; a smaller difference means nothing.
  if (!Number.isNaN(theirs)) ahead = Math.abs(theirs - Date.now()) < 2000 ? 0 : theirs - Date.now();
}

/** Now, by the bridge's clock, in milliseconds. */
export function now() {
  return Date.now() + ahead;
}

/** `14 min`, `2 h 5 min`; two units at most. */
export function duration(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return two(hours, "h", minutes % 60, "min");
  return two(Math.floor(hours / 24), "d", hours % 24, "h");
}

function two(first, unit, second, smaller) {
  return second ? `${first} ${unit} ${second} ${smaller}` : `${first} ${unit}`;
}

/** Between two hops, where a second is long. */
export function step(milliseconds) {
  if (milliseconds < 0) return "0 ms";
  if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`;
  if (milliseconds < 60_000) return `${(milliseconds / 1000).toFixed(1)} s`;
  return duration(milliseconds);
}

/** How long ago. */
export function ago(time) {
  return `${duration(now() - Date.parse(time))} ago`;
}

/** `2026-08-01 10:00:05` in UTC. */
export function utc(time) {
  const parsed = new Date(time);
  if (Number.isNaN(parsed.getTime())) return String(time);
  return parsed.toISOString().slice(0, 19).replace("T", " ");
}

/** Digits in groups of three, as ISO writes them. */
export function count(number) {
  return String(number).replace(/\B(?=(\d{3})+$)/g, "\u202f");
}

/** `1 bundle`, `2 bundles`. */
export function some(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

/** What a bundle waits for, behind "waits". */
export const WAITS = {
  send: "to be sent",
  apply: "to be applied",
  available: "to be available",
  deletion: "to be deleted",
};

/** How a state looks: a mark that differs in shape, so that nobody needs the colour; a tone; a word. */
export const STATES = {
  well: ["✓", "good", "well"],
  stuck: ["▲", "bad", "stuck"],
  away: ["○", "warn", "away"],
  never: ["–", "quiet", "never"],
  connected: ["●", "good", "connected"],
  idle: ["◐", "good", "idle"],
  unknown: ["?", "quiet", "unknown"],
  True: ["✓", "good", "yes"],
  False: ["✕", "bad", "no"],
  Unknown: ["?", "warn", "unknown"],
};
