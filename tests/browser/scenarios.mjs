// What is promised of the status page, one scenario for each test of `tests/tests/ui.rs`.

import { readFileSync } from "node:fs";

/** How soon the page is there, each time in a browser context that has seen nothing of it: `FIRST PAINT`, `ROWS` in ms. */
export async function paint(visit, rounds) {
  for (let round = 0; round < Number(rounds); round += 1) {
    const page = await visit.open();
    await page.addInitScript(() => {
      const look = () => {
        if (document.querySelector("tbody tr")) globalThis.rowsAt ??= performance.now();
        else requestAnimationFrame(look);
      };
      requestAnimationFrame(look);
    });
    await visit.go("", "Clusters");
    await visit.until("rows", async () => (await page.evaluate(() => globalThis.rowsAt)) > 0);
    const [first, rowsAt] = await page.evaluate(() => [performance.getEntriesByName("first-contentful-paint")[0].startTime, globalThis.rowsAt]);
    console.log(`${first} ${rowsAt}`);
    await page.context().close();
  }
}

/** Every view over a region of many clusters, of which `cluster1` has an agent. */
export async function views(visit, total, canary) {
  const { page } = visit;
  const bodies = [];
  page.on("response", async (response) => {
    if (response.url().includes("/api/")) bodies.push(await response.text().catch(() => ""));
  });
  await visit.go("", "Clusters");
  await clusters(visit, total);
  await cluster(visit);
  await bundle(visit, canary);
  await stuck(visit);
  await hostile(visit);
  const html = await page.content();
  visit.ensure(!html.includes(canary) && !bodies.join().includes(canary), "the content of a Secret came to the browser");
  visit.ensure(bodies.length > 10, "no answers were looked at");
}

const rows = (page) => page.locator("tbody tr th[scope=row] a").allTextContents();
const spaced = (number) => String(number).replace(/\B(?=(\d{3})+$)/g, "\u202f");

async function clusters(visit, total) {
  const { page } = visit;
  const all = page.getByRole("link", { name: `${spaced(total)} in all` });
  await visit.until("the summary", async () => (await all.count()) === 1);
  await visit.until("the pages", async () => (await page.getByText(`1–50 of ${spaced(total)}`).count()) === 1);
  // Sorted by the bridge, said in words and not only by an arrow.
  const head = page.getByRole("columnheader", { name: "Cluster" });
  await head.getByRole("button").click();
  await visit.until("the first by name", async () => (await rows(page))[0] === "cluster1" && (await head.getAttribute("aria-sort")) === "ascending");
  await head.getByRole("button").click();
  await visit.until("the last by name", async () => (await rows(page))[0] === `edge-${String(total - 1).padStart(5, "0")}` && (await head.getAttribute("aria-sort")) === "descending");
  await page.getByRole("button", { name: "Next" }).click();
  await visit.until("the second page", async () => (await page.getByText(`51–100 of ${spaced(total)}`).count()) === 1);
  // The address can be shared.
  const again = page.url();
  await page.goto("about:blank");
  await page.goto(again);
  await visit.until("the same page", async () => (await page.getByText(`51–100 of ${spaced(total)}`).count()) === 1);
  await page.getByRole("link", { name: /never heard/ }).click();
  await visit.until("those never heard", async () => !(await rows(page)).includes("cluster1"));
  await visit.go("#/clusters", "Clusters");
  await visit.until("all of them", async () => (await page.getByText(`1–50 of ${spaced(total)}`).count()) === 1);
  const idle = page.getByRole("list", { name: "Clusters by agent" }).getByRole("link", { name: /idle/ });
  await idle.click();
  await visit.until("those with nothing to do", async () => (await rows(page)).join() === "cluster1");
  await idle.click();
  await visit.until("all of them again", async () => (await rows(page)).length === 50);
  await visit.pictures("clusters");
  await keys(visit);
}

/** Without a mouse, from the top to a cluster. */
async function keys(visit) {
  const { page } = visit;
  await page.goto("about:blank");
  await visit.go("#/clusters", "Clusters");
  const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.textContent);
  await page.keyboard.press("Tab");
  visit.ensure((await focused()) === "skip", "the first thing is the way to skip the rest");
  const box = await page.locator("#skip").boundingBox();
  visit.ensure(box.y >= 0, "the way to skip is seen when it has the focus");
  await page.keyboard.press("Enter");
  visit.ensure((await focused()) === "main", "it leads to the content");
  await page.keyboard.press("/");
  visit.ensure((await focused()) === "filter", "`/` leads to the filter");
  await page.keyboard.type("cluster1");
  await visit.until("one cluster", async () => (await rows(page)).join() === "cluster1");
  visit.ensure((await focused()) === "filter", "what is typed into keeps the focus");
  await page.keyboard.press("Escape");
  await visit.until("all clusters again", async () => (await rows(page)).length === 50);
  await page.keyboard.type("CLUSTER1");
  await visit.until("one cluster in whatever case", async () => (await rows(page)).join() === "cluster1");
  for (let presses = 0; (await focused()) !== "cluster1"; presses += 1) {
    visit.ensure(presses < 15, "Tab leads to the cluster");
    await page.keyboard.press("Tab");
    const ring = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
    visit.ensure(ring !== "none", `the focus on ${await focused()} is seen`);
  }
  await page.keyboard.press("Enter");
  await visit.heading("cluster1");
}

async function cluster(visit) {
  const { page } = visit;
  const link = page.getByRole("link", { name: "web", exact: true });
  await visit.until("its bundle", async () => (await link.count()) >= 1);
  // What happens meanwhile is seen without loading anew, and said.
  await page.evaluate(() => { globalThis.kept = true; });
  await visit.call("POST", "/resource-bundles", { name: "late", consumer_name: "cluster1", manifests: [configMap("late")] });
  await visit.until("the new bundle", async () => (await page.getByRole("link", { name: "late", exact: true }).count()) >= 1);
  visit.ensure(await page.evaluate(() => globalThis.kept), "the page was loaded anew");
  await visit.until("a sign of life", async () => /heard \d+ s ago/.test(await page.locator("#heard-text").textContent()));
  await visit.pictures("cluster");
}

async function bundle(visit, canary) {
  const { page } = visit;
  await page.getByRole("link", { name: "web", exact: true }).first().click();
  await visit.heading("web");
  const version = page.getByRole("region", { name: "Version 1" });
  await visit.until("all its hops", async () => {
    const text = await version.innerText();
    return ["Stored", "Published", "Taken by the broker", "Applied", "Reported"].every((hop) => text.includes(hop)) || text;
  });
  await visit.until("its conditions", async () => (await page.getByRole("table", { name: "Conditions" }).innerText()).includes("Applied"));
  visit.ensure(!(await page.locator("body").innerText()).includes(canary), "a Secret is shown");
  await visit.pictures("bundle");
  await page.keyboard.press("Escape");
  await visit.heading("cluster1");
  await page.keyboard.press("Escape");
  await visit.heading("Clusters");
}

async function stuck(visit) {
  const { page } = visit;
  await visit.go("#/stuck?for=1", "Stuck now");
  const one = page.getByRole("listitem").filter({ hasText: "to-nobody" });
  await visit.until("what is stuck, with why and what to do", async () => {
    const text = await one.first().innerText();
    return (/edge-00001/.test(text) && /Next: /.test(text)) || text;
  });
  await visit.pictures("stuck");
  // An address that somebody typed wrong is the usual bound.
  await visit.go("#/stuck?for=abc", "Stuck now");
  await visit.until("the usual bound", async () => (await page.locator("p.lead").innerText()).includes("5 min"));
}

/** Whatever the bridge answers is text: names, labels, words that the page does not know, messages of agents. */
async function hostile(visit) {
  const { page } = visit;
  // Ids with something behind them are nobody's.
  visit.expected.push("404");
  await visit.poison(HOSTILE);
  for (const [hash, heading] of [
    ["#/clusters", "Clusters"],
    ["#/clusters/cluster1", `cluster1${HOSTILE}`],
    ["#/stuck?for=1", "Stuck now"],
  ]) {
    await page.goto("about:blank");
    await visit.go(hash, heading);
    const link = page.locator("main").getByRole("link", { name: HOSTILE });
    await visit.until(`names as they are in ${hash}`, async () => (await link.count()) > 0);
    visit.ensure((await page.locator("main img, main script, main iframe").count()) === 0, `a text became markup in ${hash}`);
  }
  const bundle = await page.evaluate(() => document.querySelector("main h2 a").getAttribute("href"));
  await page.unrouteAll({ behavior: "wait" });
  // Its id is what it is, or it would not be found.
  await visit.poison(HOSTILE);
  await page.goto("about:blank");
  await page.goto(`${visit.url}/ui${bundle.split("%3C")[0]}`);
  await visit.until("the name in the title", async () => (await page.title()).includes(HOSTILE));
  visit.ensure((await page.locator("main img").count()) === 0, "a text became markup in a bundle");
  await page.unrouteAll({ behavior: "wait" });
  // What somebody puts into a link.
  await page.goto("about:blank");
  await page.goto(`${visit.url}/ui#/clusters/${encodeURIComponent(HOSTILE)}`);
  await visit.until("that it is not there", async () => (await page.getByRole("alert").innerText()).includes("It is not there"));
  visit.ensure((await page.locator("img").count()) === 0, "the address became markup");
}

/** A bridge that stands still, and goes on. */
export async function stale(visit, bridge) {
  const { page } = visit;
  await visit.go("", "Clusters");
  const heard = page.locator("#heard");
  await visit.until("a sign of life", async () => (await heard.getAttribute("data-state")) === "fresh");
  process.kill(Number(bridge), "SIGSTOP");
  try {
    await visit.until("that it is stale", async () => (await heard.innerText()).startsWith("stale"));
    visit.ensure((await page.locator("tbody tr").count()) > 0, "what was shown stays");
    await visit.until("that it is said", async () => (await page.locator("#announce").textContent()).includes("not heard"));
    await visit.until("why", async () => (await page.getByRole("alert").innerText()).includes("did not answer"));
    await visit.pictures("stale");
  } finally {
    process.kill(Number(bridge), "SIGCONT");
  }
  await visit.until("that it is heard again", async () => (await heard.getAttribute("data-state")) === "fresh");
  await visit.until("that the notice is gone", async () => (await page.getByRole("alert").count()) === 0);
}

/** Tokens: none, one of somebody else's key, one of somebody who may do nothing, a good one. */
export async function token(visit, good, foreign, unknown) {
  const { page } = visit;
  visit.expected = ["401", "403"];
  const read = (file) => readFileSync(file, "utf8");
  await visit.go("", "The bridge wants to know who calls");
  await visit.pictures("token");
  const use = async (text) => {
    await page.getByLabel("Bearer token").fill(text);
    await page.keyboard.press("Enter");
  };
  await use(read(foreign));
  await visit.heading("The bridge does not take this token");
  await use(`${read(good)}\n`);
  await visit.heading("Clusters");
  await visit.until("rows", async () => (await rows(page)).includes("cluster1"));
  const kept = await page.evaluate(() => [document.documentElement.outerHTML, location.href, JSON.stringify({ ...localStorage, ...sessionStorage }), document.cookie].join());
  visit.ensure(!kept.includes(read(good)), "the token is kept where it can be read");
  await page.reload();
  await visit.heading("The bridge wants to know who calls");
  await use(read(unknown));
  await visit.until("that nothing may be seen", async () => {
    const text = await page.getByRole("alert").innerText();
    return (text.includes("You may not see this") && text.includes("docs/CALLERS.md")) || text;
  });
}

/** A client certificate, which the browser sends by itself: nobody is asked anything. */
export async function certificate(visit, certPath, keyPath) {
  await visit.page.context().close();
  const clientCertificates = [{ origin: visit.url, certPath, keyPath }];
  const page = await visit.open({ ignoreHTTPSErrors: true, clientCertificates });
  await visit.go("", "Clusters");
  await visit.until("rows", async () => (await rows(page)).includes("cluster1"));
}

const HOSTILE = "<img src=x onerror=alert(document.domain)>";

function configMap(name) {
  return { apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace: "default" }, data: { k: "v" } };
}
