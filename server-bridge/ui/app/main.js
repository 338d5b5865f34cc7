// Which view is shown, keys, what is said aloud, and what is done when the bridge refuses.

import { hasToken, setToken } from "./api.js";
import * as bundle from "./bundle.js";
import * as cluster from "./cluster.js";
import * as clusters from "./clusters.js";
import { h, show } from "./dom.js";
import { Live } from "./live.js";
import { address } from "./parts.js";
import { prose, sentence } from "./story.js";
import * as stuck from "./stuck.js";

const ROUTES = [
  [/^\/clusters$/, clusters],
  [/^\/clusters\/([^/]+)$/, cluster],
  [/^\/bundles\/([^/]+)$/, bundle],
  [/^\/stuck$/, stuck],
];
const FILTER_MS = 150;

const main = document.getElementById("main");
const notice = document.getElementById("notice");
const announcer = document.getElementById("announce");
const heard = document.getElementById("heard");
const heardText = document.getElementById("heard-text");

let route = null;
let data = null;
let said = "";
let freshness = "waiting";
let arrived = false;
let typing = null;

const live = new Live(took, failed, tell);

/** The view that the address names; the clusters without one. */
function parse() {
  const [path, search = ""] = location.hash.slice(1).split("?");
  const query = Object.fromEntries(new URLSearchParams(search));
  for (const [pattern, view] of ROUTES) {
    const found = pattern.exec(path);
    if (found) return { view, path, query, id: found[1] === undefined ? null : decode(found[1]) };
  }
  return { view: clusters, path: "/clusters", query: {}, id: null };
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function go() {
  const next = parse();
  const first = route === null;
  const same = !first && next.path === route.path;
  route = next;
  if (!same) {
    // What was typed last was meant for the view before.
    clearTimeout(typing);
    data = null;
    said = "";
    arrived = !first;
    show(main, h("p", { class: "empty" }, "Asking the bridge."));
  }
  for (const [id, paths] of [["nav-clusters", /^\/(clusters|bundles)/], ["nav-stuck", /^\/stuck/]]) {
    const link = document.getElementById(id);
    if (paths.test(route.path)) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  live.ask((signal) => route.view.load(route, signal));
}

function took(fresh) {
  data = fresh;
  show(notice, []);
  draw();
  const now = route.view.told(data);
  if (said && said !== now) announce(now);
  said = now;
  if (arrived) {
    arrived = false;
    scrollTo(0, 0);
    // What had the focus is gone with its view.
    if (document.activeElement === document.body) main.focus({ preventScroll: true });
  }
}

function draw() {
  document.title = `${route.view.title(route, data)} · Bridge`;
  show(main, [...[route.view.view(data, route)].flat(Infinity).filter(Boolean), keys()]);
}

function keys() {
  return h("footer", {}, h("kbd", {}, "/"), " filters, ", h("kbd", {}, "Esc"), " goes back. Times are UTC.");
}

function failed(error) {
  if (error.status === 401) {
    data = null;
    show(notice, []);
    show(main, identify(error));
    document.title = "Who calls? · Bridge";
    return;
  }
  const [words, next] = advice(error);
  show(notice, h("div", { class: "notice", role: "alert" }, h("p", {}, h("b", {}, words), " ", reason(error)), h("p", {}, next)));
  // What was there before stays, and says that it is old.
  if (!data || error.status === 403 || error.status === 404) {
    data = null;
    show(main, h("p", { class: "empty" }, error.status === 404 ? [h("a", { href: "#/clusters" }, "All clusters")] : "Nothing to show."));
  }
  if (!error.status && !("code" in error)) console.error(error);
}

function reason(error) {
  return prose(sentence(error.message));
}

function advice(error) {
  switch (error.status) {
    case 0:
      return ["The bridge does not answer.", "It is asked again by itself. See whether its pod runs, or the port is still forwarded."];
    case 403:
      return ["You may not see this.", "Whoever runs the bridge can give the rule or the role that is missing: docs/CALLERS.md."];
    case 404:
      return ["It is not there.", "It may have been deleted, or you may not see it."];
    case 503:
      return ["The bridge cannot tell now.", "It is asked again by itself. Its /readyz says what is wrong."];
    default:
      return [`The bridge answered ${error.status ?? "something unexpected"}.`, "It is asked again by itself. The bridge's log has the reason."];
  }
}

/** Asks for a token. */
function identify(error) {
  return [
    h("h1", {}, hasToken() ? "The bridge does not take this token" : "The bridge wants to know who calls"),
    h("p", { class: "failure", role: "alert" }, reason(error)),
    h(
      "form",
      { class: "identify", id: "identify" },
      h("label", { for: "token" }, "Bearer token"),
      h("input", { id: "token", type: "password", autocomplete: "off", spellcheck: "false", required: true, "aria-describedby": "token-note" }),
      h("button", { type: "submit" }, "Use it"),
      h("p", { id: "token-note", class: "quiet" }, "It is kept in the memory of this page alone, and gone when the page is closed or loaded anew."),
    ),
    h("h2", {}, "Where to get one"),
    h(
      "ul",
      {},
      h("li", {}, "With tokens of a cluster: ", h("code", {}, "kubectl create token NAME --audience AUDIENCE"), ", as the bridge's --token-review or --token-audience names it."),
      h("li", {}, "With client certificates: none is needed. Import the certificate into the browser, load this page over https, and choose it when asked."),
    ),
  ];
}

function tell(state, text) {
  heardText.textContent = text;
  heard.dataset.state = state;
  if (state !== freshness) {
    if (state === "stale") announce("The bridge was not heard; what is shown may be old.");
    if (freshness === "stale" && state === "fresh") announce("The bridge is heard again.");
    freshness = state;
  }
  // Ages go on between two answers.
  if (data) draw();
}

function announce(text) {
  announcer.textContent = text;
}

/** The address with other parameters, in place of the one before. */
function filter(text) {
  const query = { ...route.query, contains: text, page: null };
  history.replaceState(null, "", address(route.path, query));
  go();
}

function back() {
  const parent = { "/stuck": "#/clusters" }[route.path] ?? (route.path.startsWith("/bundles/") && data?.bundle ? `#/clusters/${encodeURIComponent(data.bundle.consumer_name)}` : "#/clusters");
  if (location.hash !== parent) location.hash = parent;
}

main.addEventListener("input", (event) => {
  if (event.target.id !== "filter") return;
  clearTimeout(typing);
  typing = setTimeout(() => filter(event.target.value), FILTER_MS);
});

main.addEventListener("click", (event) => {
  const target = event.target.closest("[data-go]");
  if (target) location.hash = target.dataset.go;
});

main.addEventListener("submit", (event) => {
  event.preventDefault();
  const field = document.getElementById("token");
  // A pasted token often brings a line end with it.
  setToken(field.value.trim());
  field.value = "";
  live.now();
});

document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const field = event.target.closest?.("input, textarea, select");
  const filterField = document.getElementById("filter");
  if (event.key === "/" && !field && filterField) {
    event.preventDefault();
    filterField.focus();
    filterField.select();
  } else if (event.key === "Escape") {
    if (field?.id === "filter" && field.value) {
      event.preventDefault();
      field.value = "";
      filter("");
    } else if (field) {
      field.blur();
    } else {
      back();
    }
  }
});

window.addEventListener("hashchange", go);
go();
