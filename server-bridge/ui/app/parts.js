// Pieces that several views are made of.

import { h } from "./dom.js";
import { STATES, WAITS, ago, count, duration, now, utc } from "./words.js";

/** A state as mark and word; the colour only repeats them. */
export function state(word) {
  if (word === null || word === undefined) return dash();
  const [mark, tone, text] = STATES[word] ?? ["?", "quiet", word];
  return h("span", { class: `state ${tone}` }, h("span", { class: "mark", "aria-hidden": "true" }, mark), text);
}

/** Nothing is known. */
export function dash() {
  return h("span", { class: "quiet" }, h("span", { "aria-hidden": "true" }, "–"), h("span", { class: "unseen" }, "none"));
}

/** How long ago, with the moment itself for whoever points at it. */
export function moment(time, text = null) {
  if (!time) return dash();
  return h("time", { datetime: time, title: `${utc(time)} UTC` }, text ?? ago(time));
}

/** How long something has lasted. */
export function lasting(since) {
  return moment(since, since ? duration(now() - Date.parse(since)) : null);
}

/** The moment itself. */
export function stamp(time) {
  return time ? h("time", { datetime: time, title: ago(time) }, utc(time)) : dash();
}

/** A number in a cell: nothing to see is quiet. */
export function number(value) {
  return h("span", { class: value ? null : "quiet" }, count(value ?? 0));
}

export function clusterLink(name) {
  return h("a", { href: `#/clusters/${encodeURIComponent(name)}` }, name);
}

export function bundleLink(bundle) {
  return h("a", { href: `#/bundles/${encodeURIComponent(bundle.id)}` }, bundle.name ?? bundle.id);
}

export function waits(word) {
  return word ? WAITS[word] ?? word : h("span", { class: "quiet" }, "nothing");
}

/**
 * A table. `columns` are `{title, cell(row), label?, sort?, first?, class?}`; `order` is `column asc|desc` as asked for, and `go(order)` the
 * address that asks for another one.
 */
export function table(caption, columns, rows, key, order = "", go = null) {
  const [by, direction = "asc"] = order.split(" ");
  const head = columns.map((column) => {
    const attributes = { scope: "col", class: column.class, "aria-label": column.label };
    if (!column.sort || !go) return h("th", attributes, column.title);
    const sorted = column.sort === by;
    attributes["aria-sort"] = sorted ? (direction === "desc" ? "descending" : "ascending") : "none";
    // The first press shows what one looks for: the worst of a number, the first of a name.
    const first = column.first ?? "asc";
    const other = direction === "asc" ? "desc" : "asc";
    const next = sorted ? other : first;
    const arrow = sorted ? (direction === "desc" ? "↓" : "↑") : "";
    return h(
      "th",
      attributes,
      h(
        "button",
        { type: "button", "data-go": go(`${column.sort} ${next}`) },
        h("span", {}, column.title),
        h("span", { class: "arrow", "aria-hidden": "true" }, arrow),
      ),
    );
  });
  const body = rows.map((row) =>
    h(
      "tr",
      { "data-key": key(row) },
      columns.map((column, index) =>
        index === 0
          ? h("th", { scope: "row", class: column.class }, column.cell(row))
          : h("td", { class: column.class }, column.cell(row)),
      ),
    ),
  );
  return h(
    "div",
    // Where it is wider than the window it can be moved, also by keys.
    { class: "frame", role: "region", "aria-label": caption, tabindex: "0" },
    h("table", {}, h("caption", { class: "unseen" }, caption), h("thead", {}, h("tr", {}, head)), h("tbody", {}, body)),
  );
}

/** Which page this is, and the way to the others. */
export function pages(what, page, size, total, go) {
  const last = Math.max(1, Math.ceil(total / size));
  const from = total === 0 ? 0 : (page - 1) * size + 1;
  const to = Math.min(total, page * size);
  const turn = (text, target, ok) =>
    h("button", { type: "button", class: "turn", disabled: !ok, "data-go": ok ? go(target) : null }, text);
  return h(
    "nav",
    { class: "pages", "aria-label": `Pages of ${what}` },
    h("p", {}, `${count(from)}–${count(to)} of ${count(total)}`),
    last > 1 && turn("Previous", page - 1, page > 1),
    last > 1 && turn("Next", page + 1, page < last),
  );
}

/** Names and values. */
export function facts(entries) {
  return h(
    "dl",
    { class: "facts" },
    entries
      .filter(([, value]) => value !== null && value !== undefined && value !== false)
      .map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
  );
}

export function labels(map) {
  const entries = Object.entries(map ?? {});
  if (!entries.length) return null;
  return h("ul", { class: "labels", "aria-label": "Labels" }, entries.map(([name, value]) => h("li", {}, `${name}=${value}`)));
}

/** Addresses within this page: empty parameters are left out. */
export function address(path, parameters = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== "" && value !== null && value !== undefined) query.set(name, value);
  }
  return `#${path}${query.size ? `?${query}` : ""}`;
}

/** Links of which one is chosen. */
export function choice(label, links, shown = null) {
  return h(
    "ul",
    { class: "choice", "aria-label": label },
    shown && h("li", { class: "quiet", "aria-hidden": "true" }, shown),
    links.map(({ href, chosen, content }) =>
      h("li", {}, h("a", { href, "aria-current": chosen ? "true" : null }, content)),
    ),
  );
}
