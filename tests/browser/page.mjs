// A browser on the status page, which notes whatever a page must not do: errors on the console, requests to other hosts,
// breaches of the policy. What a scenario expects of a page is asked with `until`, which waits.

import { mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const tools = createRequire(join(process.env.BROWSER_TOOLS, "package.json"));
const { chromium } = tools("playwright-core");
const axe = tools("axe-core");

const PATIENCE_MS = 20_000 * Number(process.env.TEST_PATIENCE ?? 1);

/** What a scenario runs with. */
export class Visit {
  constructor({ url, artifacts }) {
    this.url = url;
    this.artifacts = artifacts;
    this.breaches = [];
    /** Console errors that a scenario provokes, as parts of their text. */
    this.expected = [];
    mkdirSync(artifacts, { recursive: true });
  }

  async start() {
    // Whoever runs as root has no sandbox of user namespaces.
    const args = process.getuid() === 0 ? ["--no-sandbox"] : [];
    this.browser = await chromium.launch({ executablePath: process.env.BROWSER, args });
    return this.open();
  }

  /** A page in a context of its own. */
  async open(options = {}) {
    const context = await this.browser.newContext({ viewport: { width: 1280, height: 860 }, ...options });
    const page = await context.newPage();
    page.setDefaultTimeout(PATIENCE_MS);
    page.on("console", (message) => {
      const text = message.text();
      if (["error", "warning"].includes(message.type()) && !this.expected.some((part) => text.includes(part))) {
        this.breaches.push(`console: ${text} (${message.location().url})`);
      }
    });
    page.on("pageerror", (error) => this.breaches.push(`error: ${error.stack}`));
    page.on("dialog", (dialog) => {
      this.breaches.push(`a dialog: ${dialog.message()}`);
      dialog.dismiss();
    });
    page.on("request", (request) => {
      if (new URL(request.url()).host !== new URL(this.url).host) this.breaches.push(`a request to ${request.url()}`);
    });
    await page.addInitScript(() => {
      addEventListener("securitypolicyviolation", (event) => console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`));
    });
    this.page = page;
    return page;
  }

  /** Opens a view and waits for its heading. */
  async go(hash, heading) {
    await this.page.goto(`${this.url}/ui${hash}`);
    await this.heading(heading);
  }

  async heading(text) {
    await this.until(`the heading ${text}`, async () => (await this.page.locator("h1").allTextContents()).includes(text));
  }

  /** Waits until this holds, with the last answer in the error. */
  async until(what, holds) {
    const end = Date.now() + PATIENCE_MS;
    let last;
    for (;;) {
      try {
        last = await holds();
        if (last === true) return;
      } catch (error) {
        last = error.message;
      }
      if (Date.now() > end) {
        const text = await this.page.locator("body").innerText();
        throw new Error(`waited for ${what}: ${JSON.stringify(last)}\n${text.slice(0, 2000)}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  ensure(holds, what) {
    if (!holds) throw new Error(what);
  }

  /** What is wrong for somebody who does not see or use a mouse, by axe's rules for WCAG 2.2 AA, contrast among them. */
  async accessible(what) {
    await this.page.evaluate(axe.source);
    const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
    const found = await this.page.evaluate((values) => globalThis.axe.run({ runOnly: { type: "tag", values } }), tags);
    const told = found.violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map((node) => `${node.target} ${node.failureSummary}`).join("; ")}`);
    this.ensure(!told.length, `${what}: ${told.join("\n")}`);
    this.ensure(found.passes.length > 10, `${what}: axe looked at next to nothing`);
  }

  /** Screenshots at two widths in light and dark, each without anything that does not fit. */
  async pictures(name) {
    const page = this.page;
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      for (const width of [1280, 390]) {
        await page.setViewportSize({ width, height: 860 });
        const wide = await page.evaluate(() => document.documentElement.scrollWidth);
        this.ensure(wide <= width, `${name} is ${wide} px wide in a window of ${width}`);
        await page.screenshot({ path: join(this.artifacts, `${name}-${width}-${colorScheme}.png`) });
        await this.accessible(`${name} ${width} ${colorScheme}`);
      }
    }
    await page.emulateMedia({ colorScheme: "light" });
    await page.setViewportSize({ width: 1280, height: 860 });
  }

  /** From now on every text that the bridge answers has this at its end, times apart. */
  async poison(text) {
    const poisoned = (value) => {
      if (typeof value === "string") return /^\d{4}-\d\d-\d\dT/.test(value) ? value : value + text;
      if (Array.isArray(value)) return value.map(poisoned);
      if (value === null || typeof value !== "object") return value;
      return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, poisoned(member)]));
    };
    await this.page.route("**/api/**", async (route) => {
      const response = await route.fetch();
      await route.fulfill({ response, json: poisoned(await response.json()) });
    });
  }

  /** Nothing happened that must not. */
  async end() {
    await this.browser.close();
    this.ensure(!this.breaches.length, this.breaches.join("\n"));
  }

  /** Calls the API as another client would. */
  async call(method, path, body = undefined, headers = {}) {
    const answer = await fetch(`${this.url}/api/maestro/v1${path}`, {
      method,
      headers: { "Content-Type": "application/json", ...headers },
      body: body && JSON.stringify(body),
    });
    const text = await answer.text();
    this.ensure(answer.ok, `${method} ${path}: ${answer.status} ${text}`);
    return text ? JSON.parse(text) : null;
  }
}
