// What waits for longer than a bound, oldest first, each with why and what to do.

import { get, quoted } from "./api.js";
import { h } from "./dom.js";
import { address, bundleLink, choice, clusterLink, lasting, pages, waits } from "./parts.js";
import { explained, told as tell, whyAndNext } from "./story.js";
import { count, now, some } from "./words.js";

const SIZE = 25;
const BOUNDS = [
  ["60", "1 min"],
  ["300", "5 min"],
  ["900", "15 min"],
  ["3600", "1 h"],
  ["86400", "1 d"],
];
const FIELDS = "id,name,consumer_name,version,deleted_at,waiting_for,waiting_since,applied,available,ledger";

export const title = () => "Stuck now";

/** The bound in seconds, as it stands in the address; the usual one in place of what is none. */
function boundOf(query) {
  return /^\d{1,9}$/.test(query.for ?? "") ? query.for : "300";
}

export async function load({ query }, signal) {
  // Whole seconds, so that the same page is asked for while it is turned.
  const since = new Date(now() - 1000 * Number(boundOf(query))).toISOString().slice(0, 19);
  const page = await get(
    "/resource-bundles",
    {
      search: `waiting_since < '${since}Z'`,
      orderBy: "waiting_since",
      fields: FIELDS,
      page: query.page,
      size: SIZE,
    },
    signal,
  );
  const clusters = [...new Set(page.items.map((item) => item.consumer_name))];
  const names = clusters.map(quoted).join(",");
  const [heard, stories] = await Promise.all([
    clusters.length
      ? get("/consumers", { search: `name in (${names})`, fields: "name,last_seen_at", size: SIZE }, signal)
      : { items: [] },
    Promise.all(
      page.items.map((item) => {
        const state = [item.version, item.waiting_for, item.waiting_since, item.ledger?.at(-1)?.attempts].join();
        return explained("resource-bundles", item.id, signal, state);
      }),
    ),
  ]);
  const heardAt = new Map(heard.items.map((item) => [item.name, item.last_seen_at]));
  return { page, heardAt, stories: new Map(page.items.map((item, index) => [item.id, stories[index]])) };
}

export function told({ page }) {
  return `${some(page.total, "bundle")} stuck`;
}

export function view({ page, heardAt, stories }, { query }) {
  const bound = boundOf(query);
  const here = (changes) => address("/stuck", { ...query, page: null, ...changes });
  const words = BOUNDS.find(([seconds]) => seconds === bound)?.[1] ?? `${bound} s`;
  return [
    h("h1", {}, "Stuck now"),
    h("p", { class: "lead" }, h("b", {}, count(page.total)), page.total === 1 ? " bundle waits" : " bundles wait", ` for longer than ${words}.`),
    choice("Waiting for longer than", BOUNDS.map(([seconds, text]) => ({ href: here({ for: seconds }), chosen: seconds === bound, content: text }))),
    page.items.length
      ? h("ol", { class: "cases", "aria-label": "Stuck bundles, oldest first" }, page.items.map((item) => stuckCase(item, heardAt, stories)))
      : h("p", { class: "empty" }, "Nothing is stuck."),
    pages("stuck bundles", page.page, SIZE, page.total, (number) => here({ page: number })),
  ];
}

function stuckCase(item, heardAt, stories) {
  return h(
    "li",
    { "data-key": item.id },
    h("p", {}, h("span", { class: "lasting" }, lasting(item.waiting_since)), h("br"), waits(item.waiting_for)),
    h("div", {}, h("h2", {}, bundleLink(item)), h("p", {}, "on ", clusterLink(item.consumer_name))),
    whyAndNext(summary(stories.get(item.id)) ?? tell(item, heardAt.get(item.consumer_name))),
  );
}

/** Of a story that the bridge tells, why the bundle waits and what would move it. */
export function summary(story) {
  const waiting = story?.waiting;
  return waiting ? { code: waiting.code, why: waiting.why, next: waiting.next } : null;
}
