// Why a bundle waits and what would move it: what `/explain` says where the bridge has it, else what its ledger tells.

import { get } from "./api.js";
import { h } from "./dom.js";
import { WAITS, ago } from "./words.js";

/** The entry of the present version, or of the deletion. */
export function present(bundle) {
  const entries = bundle.ledger ?? [];
  return entries.findLast((entry) => Boolean(entry.deletion) === Boolean(bundle.deleted_at) && entry.version === bundle.version) ?? entries.at(-1) ?? null;
}

/** `{why, next}` from the ledger, the conditions and when the agent was heard. */
export function told(bundle, heardAt = null) {
  const entry = present(bundle);
  const heard = heardAt ? `The agent was heard ${ago(heardAt)}.` : null;
  switch (bundle.waiting_for) {
    case "send":
      return entry?.failure
        ? { why: `It could not be sent: ${entry.failure}`, next: "Put right what the reason names; it is tried again by itself, and at once when the bundle is changed." }
        : { why: entry?.attempts ? "It was sent, and the broker has not acknowledged it." : "It was not sent yet.", next: "Look at `/readyz` of the bridge: the checks `broker` and `delivery` say what keeps it." };
    case "deletion":
      return { why: sentences("The agent has not confirmed that its objects are gone.", unmatched(entry), heard), next: "Look in the cluster for a finalizer that nobody removes: `metadata.finalizers` of the objects says whose it is." };
    case "apply":
      if (bundle.applied === "False" || bundle.applied === "Unknown") {
        return { why: sentences("The agent reports that it is not applied.", message(bundle, "Applied")), next: "Put right what the message names, in the manifest or in the agent's rights." };
      }
      return entry?.matched === false
        ? { why: sentences(unmatched(entry), heard), next: "See whether the agent runs: `kubectl logs` in the cluster, or `probe doctor` beside it." }
        : { why: sentences("The broker took it, and the agent has not reported on this version.", heard), next: "If the agent was heard since, it refuses this version: its log says why. Else see whether it runs: `probe doctor` beside it." };
    case "available":
      return { why: sentences("It is applied, and not available.", message(bundle, "Available")), next: "Look at the objects that are not available, in the cluster: `kubectl describe` shows them with their events." };
    default:
      return { why: "", next: "" };
  }
}

function unmatched(entry) {
  return entry?.matched === false ? "The broker took it and had nobody who subscribes: the agent is not connected." : null;
}

function sentences(...parts) {
  return parts.filter(Boolean).join(" ");
}

/** What the first condition of this type says that does not hold: of the work, and else of an object. */
function message(bundle, type) {
  const fails = (list) => (list ?? []).find((condition) => condition.type === type && condition.status !== "True" && condition.message);
  for (const object of bundle.status?.resourceStatus ?? []) {
    const found = fails(object.conditions);
    if (found) return `${objectName(object)}: ${found.message}`;
  }
  return fails(bundle.status?.conditions)?.message ?? null;
}

/** `Deployment web/nginx` */
export function objectName({ resourceMeta: meta = {} }) {
  const name = [meta.namespace, meta.name].filter(Boolean).join("/");
  return `${meta.kind || meta.resource || "object"} ${name || `number ${meta.ordinal ?? 0}`}`;
}

const KEPT_MS = 30_000;
const kept = new Map();
let absent = false;

/**
 * What the bridge itself explains, or `null` where it does not. A story that was told of the same `state` is told again for
 * half a minute: a list of what is stuck would ask for every one of them every few seconds.
 */
export async function explained(kind, id, signal, state = null) {
  if (absent) return null;
  const known = kept.get(id);
  if (state !== null && known?.state === state && Date.now() - known.at < KEPT_MS) return known.story;
  try {
    const story = await get(`/${kind}/${encodeURIComponent(id)}/explain`, {}, signal);
    if (kept.size > MOST_KEPT) kept.clear();
    if (state !== null) kept.set(id, { at: Date.now(), state, story });
    return story;
  } catch (error) {
    if (error.absent) absent = true;
    if (error.status === 404 || error.status === 403 || error.status === 503) return null;
    throw error;
  }
}

const MOST_KEPT = 500;

/** As a paragraph of each. */
export function whyAndNext({ why, next, code }) {
  return h(
    "div",
    { class: "why" },
    why && h("p", {}, code && h("span", { class: "code" }, code), prose(sentence(why))),
    next && h("p", { class: "next" }, h("b", {}, "Next: "), prose(sentence(next))),
  );
}

/** With a capital and an end, which messages for terminals do not have. */
export function sentence(text) {
  const trimmed = text.trim();
  const ended = /[.!?…:]$/.test(trimmed) ? trimmed : `${trimmed}.`;
  return ended.charAt(0).toUpperCase() + ended.slice(1);
}

/** Text in which what stands between backticks is code. */
export function prose(text) {
  return text.split("`").map((part, index) => (index % 2 ? h("code", {}, part) : part));
}

/** What a bundle waits for, as a heading says it. */
export function waitsFor(bundle) {
  return bundle.waiting_for ? `waits ${WAITS[bundle.waiting_for]}` : "waits for nothing";
}
