// All clusters: how many are well, and a table of them that is filtered, sorted and cut into pages by the bridge.

import { get } from "./api.js";
import { h } from "./dom.js";
import { address, choice, clusterLink, dash, labels, lasting, moment, number, pages, state, table } from "./parts.js";
import { ago, count, duration, now, some } from "./words.js";

const SIZE = 50;
const ORDER = "health asc";

export const title = () => "Clusters";

export function load({ query }, signal) {
  return get(
    "/overview",
    {
      contains: query.contains,
      health: query.health,
      presence: query.presence,
      orderBy: query.orderBy ?? ORDER,
      page: query.page,
      size: SIZE,
      stuck_after: query.for,
    },
    signal,
  );
}

/** What is worth saying aloud when it changes. */
export function told(data) {
  const { stuck, away } = data.summary;
  return `${some(stuck, "cluster")} stuck, ${count(away)} away`;
}

export function view(data, { query }) {
  const order = query.orderBy ?? ORDER;
  const here = (changes) => address("/clusters", { ...query, page: null, ...changes });
  return [
    h("h1", {}, "Clusters"),
    summary(data, query, here),
    h(
      "div",
      { class: "tools" },
      h("label", { for: "filter" }, "Filter"),
      h("input", {
        id: "filter",
        type: "search",
        value: query.contains ?? "",
        placeholder: "name or label=value",
        autocomplete: "off",
        spellcheck: "false",
        "aria-keyshortcuts": "/",
      }),
      h("kbd", { "aria-hidden": "true" }, "/"),
    ),
    data.items.length
      ? table("Clusters", columns(data.items), data.items, (row) => row.id, order, (orderBy) => here({ orderBy }))
      : h("p", { class: "empty" }, data.summary.consumers ? "No cluster fits." : NOBODY),
    pages("clusters", data.page, SIZE, data.total, (page) => here({ page })),
  ];
}

const NOBODY =
  "No cluster is registered yet. Register one with POST /api/maestro/v1/consumers, or with a list that the bridge is started with (--consumers).";

function summary({ summary: all }, query, here) {
  const of = (health, shown) => ({
    href: here({ health }),
    chosen: (query.health ?? "") === (health ?? ""),
    content: [h("b", {}, count(shown)), " ", health ? state(health) : "in all", health === "never" && h("span", { class: "quiet" }, " heard")],
  });
  const waiting = all.waiting_to_send + all.waiting_to_apply + all.waiting_for_available + all.waiting_for_deletion;
  const oldest = all.oldest_waiting_since;
  return h(
    "section",
    { class: "summary", "aria-label": "Summary" },
    choice("Clusters by health", [
      of(null, all.consumers),
      of("well", all.well),
      of("stuck", all.stuck),
      of("away", all.away),
      of("never", all.never),
    ], "Clusters"),
    all.presence && choice("Clusters by agent", AGENTS.map((word) => ({
      // Chosen again it is given up.
      href: here({ presence: query.presence === word ? null : word }),
      chosen: query.presence === word,
      content: [h("b", {}, count(all.presence[word])), " ", state(word)],
    })), "Agents"),
    h(
      "p",
      {},
      `${some(all.bundles, "bundle")}, ${count(waiting)} waiting`,
      oldest ? [", the oldest for ", lasting(oldest)] : null,
      all.left_out ? `; ${some(all.left_out, "cluster")} beyond what can be counted` : null,
    ),
  );
}

function columns(items) {
  const knows = (member) => items.some((item) => member(item) !== undefined && member(item) !== null);
  return [
    { title: "Cluster", sort: "name", class: "name", cell: (item) => [clusterLink(item.name), labels(item.labels)] },
    { title: "Health", sort: "health", cell: (item) => state(item.health) },
    knows((item) => item.presence?.state) && { title: "Agent is", sort: "presence", class: "late", cell: (item) => presence(item.presence) },
    {
      title: "Lag",
      sort: "oldest_waiting_since",
      class: "num",
      cell: (item) => (item.oldest_waiting_since ? lasting(item.oldest_waiting_since) : dash()),
    },
    { title: "Bundles", sort: "bundles", first: "desc", class: "num late", cell: (item) => number(item.bundles) },
    { title: "Waiting", sort: "waiting", first: "desc", class: "num", cell: (item) => number(waitingOf(item)) },
    { title: "send", label: "waiting to send", class: "num part", cell: (item) => number(item.waiting_to_send) },
    { title: "apply", label: "waiting to apply", class: "num part", cell: (item) => number(item.waiting_to_apply) },
    { title: "available", label: "waiting to be available", class: "num part", cell: (item) => number(item.waiting_for_available) },
    { title: "delete", label: "waiting to delete", class: "num part", cell: (item) => number(item.waiting_for_deletion) },
    { title: "Last heard", sort: "last_seen_at", first: "desc", class: "num late", cell: (item) => moment(item.last_seen_at) },
    knows((item) => item.agent_version) && { title: "Agent", class: "late", cell: (item) => item.agent_version ?? dash() },
    knows((item) => item.certificate_expires_at) && {
      title: "Certificate",
      sort: "certificate_expires_at",
      class: "num late",
      cell: (item) => expiry(item.certificate_expires_at),
    },
  ].filter(Boolean);
}

export function waitingOf(item) {
  return item.waiting_to_send + item.waiting_to_apply + item.waiting_for_available + item.waiting_for_deletion;
}

export function presence(known) {
  if (!known?.state) return dash();
  const since = known.since ? h("span", { class: "quiet" }, ` ${ago(known.since).replace(/ ago$/, "")}`) : null;
  return [state(known.state), since];
}

/** How long a certificate is good for; the last fortnight is no time to be quiet. */
export function expiry(time) {
  if (!time) return dash();
  const left = Date.parse(time) - now();
  if (left <= 0) return h("span", { class: "state bad" }, h("span", { class: "mark", "aria-hidden": "true" }, "✕"), "expired ", moment(time));
  const text = `${duration(left)} left`;
  if (left > FORTNIGHT_MS) return moment(time, text);
  return h("span", { class: "state warn" }, h("span", { class: "mark", "aria-hidden": "true" }, "!"), moment(time, text));
}

// Those that somebody has to look after first.
const AGENTS = ["away", "never", "unknown", "connected", "idle"];

const FORTNIGHT_MS = 14 * 24 * 3600 * 1000;
