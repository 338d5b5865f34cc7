// Asks again and again, less often while it fails, and not at all while nobody looks.

import { duration } from "./words.js";

const EVERY_MS = 5_000;
const LONGEST_MS = 60_000;
/** Three answers are missing: what is shown may not be so any more. */
const STALE_MS = 3 * EVERY_MS;

export class Live {
  /** `took(data)` and `failed(error)` are called with the outcome; `told(state, text)` says when the bridge was last heard. */
  constructor(took, failed, told) {
    this.took = took;
    this.failed = failed;
    this.told = told;
    this.heard = null;
    this.wait = EVERY_MS;
    this.error = null;
    this.calls = null;
    this.timer = null;
    this.load = null;
    document.addEventListener("visibilitychange", () => this.looked());
    window.addEventListener("online", () => this.now());
    setInterval(() => this.tell(), 1_000);
  }

  /** Asks for something else from now on. */
  ask(load) {
    this.load = load;
    this.wait = EVERY_MS;
    return this.now();
  }

  /** Asks at once; what was under way is dropped. */
  async now() {
    clearTimeout(this.timer);
    this.calls?.abort();
    const calls = new AbortController();
    this.calls = calls;
    try {
      const data = await this.load(calls.signal);
      if (calls.signal.aborted) return;
      this.heard = Date.now();
      this.error = null;
      this.wait = EVERY_MS;
      this.took(data);
    } catch (error) {
      if (calls.signal.aborted) return;
      this.error = error;
      this.wait = Math.min(LONGEST_MS, this.wait * 2);
      // An answer is a sign of life, whatever it says.
      if (error.status) this.heard = Date.now();
      this.failed(error);
    }
    this.tell();
    // Who was not let in comes no further by asking again.
    if (!document.hidden && this.error?.status !== 401) this.timer = setTimeout(() => this.now(), this.wait);
  }

  looked() {
    if (document.hidden) {
      clearTimeout(this.timer);
    } else if (this.load) {
      this.wait = EVERY_MS;
      this.now();
    }
  }

  tell() {
    if (this.heard === null) {
      this.told(this.error ? "stale" : "waiting", this.error ? "never heard" : "asking the bridge");
      return;
    }
    const age = Date.now() - this.heard;
    const stale = age > STALE_MS || (this.error && !this.error.status);
    this.told(stale ? "stale" : "fresh", `${stale ? "stale, " : ""}heard ${duration(age)} ago`);
  }
}
