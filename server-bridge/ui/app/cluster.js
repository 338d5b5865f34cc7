// One cluster: who its agent is and whether it is there, and its bundles with what they wait for.

import { get, maybe, quoted } from "./api.js";
import { expiry } from "./clusters.js";
import { h } from "./dom.js";
import { address, bundleLink, facts, labels, lasting, moment, number, pages, stamp, state, table, waits } from "./parts.js";
import { explained, whyAndNext } from "./story.js";
import { summary } from "./stuck.js";
import { count, some } from "./words.js";

const SIZE = 50;
const OLDEST = 10;
const FIELDS = "id,name,version,deleted_at,waiting_for,waiting_since,applied,available,status_at,updated_at";

export const title = ({ id }) => id;

export async function load({ id, query }, signal) {
  const path = `/consumers/${encodeURIComponent(id)}`;
  const of = `consumer_name = ${quoted(id)}`;
  const contains = query.contains ? ` and name ilike ${quoted(`%${escaped(query.contains)}%`)}` : "";
  const bundles = (parameters) => get("/resource-bundles", { fields: FIELDS, ...parameters }, signal);
  const [consumer, presence, story, waiting, all] = await Promise.all([
    get(path, {}, signal),
    maybe(`${path}/presence`, {}, signal),
    explained("consumers", id, signal),
    bundles({ search: `${of} and waiting_for in ('send','apply','available','deletion')`, orderBy: "waiting_since", size: OLDEST }),
    bundles({ search: of + contains, orderBy: query.orderBy ?? "name", page: query.page, size: SIZE }),
  ]);
  return { consumer, presence, story, waiting, all };
}

/** What a pattern takes for itself. */
function escaped(text) {
  return text.replace(/[\\%_]/g, "\\$&");
}

export function told({ waiting, presence }) {
  const where = presence?.state ? `${presence.state}, ` : "";
  return `${where}${some(waiting.total, "bundle")} waiting`;
}

export function view({ consumer, presence, story, waiting, all }, { id, query }) {
  const here = (changes) => address(`/clusters/${encodeURIComponent(id)}`, { ...query, page: null, ...changes });
  return [
    h("p", { class: "way" }, h("a", { href: "#/clusters" }, "Clusters")),
    h("h1", {}, consumer.name),
    labels(consumer.labels),
    about(consumer, presence),
    summary(story) && whyAndNext(summary(story)),
    refusals(presence?.refusals),
    waiting.total > 0 && [
      h("h2", {}, "Waiting", h("span", { class: "quiet" }, ` ${count(waiting.total)}`)),
      table("Bundles that wait, oldest first", columns(), waiting.items, (row) => row.id),
      waiting.total > OLDEST && h("p", { class: "quiet" }, `The ${OLDEST} that wait longest of ${count(waiting.total)}.`),
    ],
    h("h2", {}, "Bundles", h("span", { class: "quiet" }, ` ${count(all.total)}`)),
    h(
      "div",
      { class: "tools" },
      h("label", { for: "filter" }, "Filter"),
      h("input", { id: "filter", type: "search", value: query.contains ?? "", placeholder: "name", autocomplete: "off", spellcheck: "false", "aria-keyshortcuts": "/" }),
      h("kbd", { "aria-hidden": "true" }, "/"),
    ),
    all.items.length
      ? table("Bundles", columns(), all.items, (row) => row.id, query.orderBy ?? "name asc", (orderBy) => here({ orderBy }))
      : h("p", { class: "empty" }, query.contains ? "No bundle fits." : "It has no bundles."),
    pages("bundles", all.page, SIZE, all.total, (page) => here({ page })),
  ];
}

function about(consumer, known) {
  const agent = known?.agent;
  const heard = known?.lastSeenAt ?? consumer.last_seen_at;
  return facts([
    ["Agent is", known?.state && [state(known.state), known.since && [" since ", stamp(known.since)]]],
    ["Because of", known?.reason],
    ["Last heard", heard ? moment(heard) : state("never")],
    ["Reported", known?.lastReportAt && moment(known.lastReportAt)],
    ["Agent", agent?.version && `${agent.version}${agent.commit ? ` (${agent.commit.slice(0, 12)})` : ""}`],
    ["Runs since", agent?.startedAt && stamp(agent.startedAt)],
    ["Applies to", agent?.target && `${agent.target}${agent.kubernetesVersion ? ` ${agent.kubernetesVersion}` : ""}`],
    ["Certificate", known?.certificate && expiry(known.certificate.notAfter)],
    ["Works held", known?.works && number(known.works.count)],
    ["Extensions", agent?.extensions?.length > 0 && agent.extensions.join(", ")],
    ["Registered", stamp(consumer.created_at)],
  ]);
}

/** What the agent will not take. */
function refusals(list) {
  if (!list?.length) return null;
  const columnsOfRefusals = [
    { title: "Bundle", class: "name", cell: (item) => bundleLink({ id: item.resourceId }) },
    { title: "Version", class: "num", cell: (item) => number(item.resourceVersion) },
    { title: "For", class: "num", cell: (item) => lasting(item.at) },
    { title: "Reason", cell: (item) => item.reason },
    { title: "Its words", class: "wide", cell: (item) => item.message },
  ];
  return [
    h("h2", {}, "Refused by the agent", h("span", { class: "quiet" }, ` ${count(list.length)}`)),
    table("What the agent refuses", columnsOfRefusals, list, (row) => row.resourceId),
  ];
}

function columns() {
  return [
    { title: "Bundle", sort: "name", class: "name", cell: (item) => bundleLink(item) },
    { title: "Waits", sort: "waiting_for", first: "desc", cell: (item) => waits(item.waiting_for) },
    { title: "For", sort: "waiting_since", first: "desc", class: "num", cell: (item) => lasting(item.waiting_since) },
    { title: "Version", sort: "version", first: "desc", class: "num late", cell: (item) => number(item.version) },
    { title: "Applied", class: "late", cell: (item) => state(item.applied) },
    { title: "Available", class: "late", cell: (item) => state(item.available) },
    { title: "Reported", sort: "status_at", first: "desc", class: "num late", cell: (item) => moment(item.status_at) },
    { title: "Changed", sort: "updated_at", first: "desc", class: "num late", cell: (item) => moment(item.updated_at) },
  ];
}
