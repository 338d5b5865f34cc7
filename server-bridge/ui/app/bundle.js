// One bundle: what it waits for and why, its versions hop by hop, and the conditions of its objects. Manifests are not asked
// for at all, so that nothing of a Secret reaches the browser.

import { ApiError, get, quoted } from "./api.js";
import { h } from "./dom.js";
import { clusterLink, facts, lasting, number, stamp, state, table } from "./parts.js";
import { explained, objectName, prose, sentence, told as tell, waitsFor, whyAndNext } from "./story.js";
import { summary } from "./stuck.js";
import { step } from "./words.js";

const FIELDS =
  "id,name,consumer_name,source,version,created_at,updated_at,deleted_at,status,ledger,applied,available,status_version,status_at,waiting_for,waiting_since";

/** The hops of the ledger in the order of the way. */
const HOPS = [
  ["stored_at", "Stored"],
  ["published_at", "Published"],
  ["broker_acked_at", "Taken by the broker"],
  ["received_at", "Received by the agent"],
  ["applied_at", "Applied"],
  ["reported_at", "Reported"],
];

export const title = ({ id }, data) => data?.bundle.name ?? id;

export async function load({ id }, signal) {
  const [page, story] = await Promise.all([
    get("/resource-bundles", { search: `id = ${quoted(id)}`, fields: FIELDS }, signal),
    explained("resource-bundles", id, signal),
  ]);
  const bundle = page.items[0];
  if (!bundle) throw new ApiError(404, "maestro-7", `ResourceBundle with id='${id}' not found`);
  const consumer = await get("/consumers", { search: `name = ${quoted(bundle.consumer_name)}`, fields: "name,last_seen_at" }, signal);
  return { bundle, story, heardAt: consumer.items[0]?.last_seen_at };
}

export function told({ bundle }) {
  return `version ${bundle.version} ${waitsFor(bundle)}`;
}

export function view({ bundle, story, heardAt }) {
  const versions = (bundle.ledger ?? []).toReversed();
  return [
    h("p", { class: "way" }, h("a", { href: "#/clusters" }, "Clusters"), h("span", { "aria-hidden": "true" }, "/"), clusterLink(bundle.consumer_name)),
    h("h1", {}, bundle.name),
    bundle.waiting_for
      ? h(
          "section",
          { class: "verdict waiting", "aria-label": "What it waits for" },
          h("p", { class: "lead" }, `Version ${bundle.version} `, h("b", {}, waitsFor(bundle)), " for ", lasting(bundle.waiting_since)),
          whyAndNext(summary(story) ?? tell(bundle, heardAt)),
        )
      : h("section", { class: "verdict", "aria-label": "What it waits for" }, h("p", { class: "lead" }, `Version ${bundle.version} `, h("b", {}, "waits for nothing"), ".")),
    story?.notes?.map((note) => h("p", { class: "quiet" }, prose(sentence(note)))),
    facts([
      ["Applied", state(bundle.applied)],
      ["Available", state(bundle.available)],
      ["Id", bundle.id],
      ["Source", bundle.source],
      ["Created", stamp(bundle.created_at)],
      ["Changed", stamp(bundle.updated_at)],
      ["Deleted", bundle.deleted_at && stamp(bundle.deleted_at)],
      ["Reported", bundle.status_at && [stamp(bundle.status_at), ` of version ${bundle.status_version}`]],
    ]),
    h("h2", {}, "Versions"),
    versions.map((entry, index) => version(entry, index === 0)),
    conditions(bundle.status),
  ];
}

/** One version on its way. */
function version(entry, newest) {
  const reached = HOPS.map(([member]) => entry[member]).map((time) => (time ? Date.parse(time) : null));
  const last = reached.findLastIndex((time) => time !== null);
  const heading = entry.deletion ? "Deletion" : `Version ${entry.version}`;
  return h(
    "section",
    { class: "version", "data-key": `${entry.version}-${Boolean(entry.deletion)}`, "aria-label": heading },
    h("h3", {}, heading, entry.attempts > 1 && h("span", { class: "quiet" }, ` sent ${entry.attempts} times`)),
    h(
      "ol",
      { class: "line" },
      HOPS.map(([member, words], index) => hop(entry, member, words, index, reached, last, newest)),
    ),
    entry.failure && h("p", { class: "failure" }, state("False"), " ", h("b", {}, "Failed "), entry.failed_at && stamp(entry.failed_at), ": ", entry.failure),
    entry.note && h("p", { class: "quiet" }, entry.note),
  );
}

function hop(entry, member, words, index, reached, last, newest) {
  const time = reached[index];
  const before = reached.slice(0, index).findLast((other) => other !== null);
  // What an agent of Go does not say is skipped, when a later hop is there.
  const outcome = time !== null ? "done" : index < last ? "skipped" : index === last + 1 && newest ? "next" : "open";
  const said = { done: null, skipped: "not told", next: "waits here", open: "not yet" }[outcome];
  return h(
    "li",
    { class: outcome },
    h("span", { class: "mark", "aria-hidden": "true" }, { done: "●", skipped: "○", next: "▲", open: "○" }[outcome]),
    h("span", { class: "hop" }, words),
    time !== null ? stamp(entry[member]) : h("span", { class: "quiet" }, said),
    time !== null && before !== undefined && h("span", { class: "took" }, `+${step(time - before)}`),
    member === "broker_acked_at" && entry.matched === false && h("span", { class: "took" }, "nobody subscribes"),
  );
}

function conditions(status) {
  const rows = [];
  const add = (object, list) => {
    for (const condition of list ?? []) rows.push({ object, ...condition });
  };
  add("the bundle", status?.conditions);
  for (const object of status?.resourceStatus ?? []) add(objectName(object), object.conditions);
  const heading = h("h2", {}, "Conditions");
  if (!rows.length) return [heading, h("p", { class: "empty" }, "Its agent has not reported any.")];
  // What does not hold is what one looks for.
  rows.sort((a, b) => Number(a.status === "True") - Number(b.status === "True"));
  const columns = [
    { title: "Object", class: "name", cell: (row) => row.object },
    { title: "Condition", cell: (row) => row.type },
    { title: "Holds", cell: (row) => state(row.status) },
    { title: "Generation", class: "num late", cell: (row) => number(row.observedGeneration) },
    { title: "Since", class: "num late", cell: (row) => stamp(row.lastTransitionTime) },
    { title: "Reason", class: "late", cell: (row) => row.reason },
    { title: "Message", class: "wide", cell: (row) => row.message },
  ];
  return [heading, table("Conditions", columns, rows, (row) => `${row.object} ${row.type}`)];
}
