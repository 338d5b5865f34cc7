// Makes and updates elements. Text is only ever text: there is no way here to make markup of it.

/** An element with attributes and children; `null` and `false` are left out, everything else that is no node is text. */
export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(key, value === true ? "" : String(value));
    }
  }
  element.append(...nodes(children));
  return element;
}

function nodes(children) {
  return children
    .flat(Infinity)
    .filter((child) => child !== null && child !== undefined && child !== false)
    .map((child) => (child instanceof Node ? child : document.createTextNode(String(child))));
}

/**
 * Makes the children of `parent` be like `fresh`, and keeps the elements that are the same, so that focus, selection and
 * what is typed stay where they are. `data-key` says which rows are the same when rows come and go.
 */
export function show(parent, fresh) {
  const focused = document.activeElement;
  children(parent, nodes([fresh]));
  // Moving an element takes its focus.
  if (focused && focused !== document.activeElement && focused.isConnected && parent.contains(focused)) {
    focused.focus({ preventScroll: true });
  }
}

function children(parent, fresh) {
  const keyed = new Map();
  for (const child of parent.childNodes) {
    if (keyOf(child)) keyed.set(keyOf(child), child);
  }
  let at = parent.firstChild;
  for (const next of fresh) {
    const key = keyOf(next);
    const match = key ? keyed.get(key) : at && !keyOf(at) ? at : null;
    if (!match || match.nodeName !== next.nodeName) {
      parent.insertBefore(next, at);
      continue;
    }
    if (match === at) {
      at = at.nextSibling;
    } else {
      parent.insertBefore(match, at);
    }
    keyed.delete(key);
    update(match, next);
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

function update(old, fresh) {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  for (const { name } of [...old.attributes]) {
    // Whether details are open is the reader's affair.
    if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  }
  for (const { name, value } of [...fresh.attributes]) {
    if (old.getAttribute(name) !== value && name !== "open") old.setAttribute(name, value);
  }
  if (old.nodeName === "INPUT" && old !== document.activeElement && fresh.hasAttribute("value")) {
    old.value = fresh.getAttribute("value");
  }
  children(old, [...fresh.childNodes]);
}

function keyOf(node) {
  return node.nodeType === Node.ELEMENT_NODE ? node.getAttribute("data-key") : null;
}
