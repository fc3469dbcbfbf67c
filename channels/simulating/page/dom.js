// Building the page's elements. Data only ever becomes text nodes and checked attributes, never markup.

/** An element with properties, listeners (`onClick`), `data-…`/`aria-…` attributes and children. */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2).toLowerCase(), value);
    else if (name === "class") element.className = value;
    else if (name.includes("-") || name === "role" || name === "for" || name === "list") element.setAttribute(name, value);
    else element[name] = value;
  }
  append(element, children);
  return element;
}

/** Append nodes and texts, however deeply they are listed. */
export function append(parent, children) {
  for (const child of [children].flat(Infinity)) {
    if (child === undefined || child === null || child === false || child === "") continue;
    parent.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return parent;
}

/** A link that can only lead to the web or to a mail program; anything else stays text. */
export function link(url, ...children) {
  let protocol = "";
  try {
    protocol = new URL(url).protocol;
  } catch {
    // Not an address at all.
  }
  if (!["http:", "https:", "mailto:"].includes(protocol)) return h("span", {}, ...children);
  return h("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, ...children);
}

const PATHS = {
  menu: "M4 7h16M4 12h16M4 17h10",
  close: "M6 6l12 12M18 6L6 18",
  send: "M5 12h13M12 5.5l6.5 6.5L12 18.5",
  reply: "M5 5h14v10h-7l-4 4v-4H5z",
  mail: "M3 6h18v12H3zM3.5 6.5l8.5 7 8.5-7",
  phone: "M8 3h8a1 1 0 011 1v16a1 1 0 01-1 1H8a1 1 0 01-1-1V4a1 1 0 011-1zM11 18h2",
  back: "M19 12H6M11 6l-6 6 6 6",
  write: "M4 20l1-4L16 5l3 3L8 19zM14 7l3 3",
  chat: "M4 5h16v11h-8l-5 4v-4H4z",
  eye: "M3 12c4-7 14-7 18 0-4 7-14 7-18 0zM12 14.5a2.5 2.5 0 100-5 2.5 2.5 0 000 5z",
  file: "M7 3h7l4 4v14H7zM14 3v4h4",
};

/** A line icon, hidden from assistive technology: the control around it has the name. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.classList.add("glyph");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}

/** A person's initials on their colour. */
export function avatar(user, size = "") {
  const initials = user.real_name.split(/\s+/).map((word) => word[0]).slice(0, 2).join("");
  const element = h("span", { class: `avatar ${size} ${user.is_bot ? "bot" : ""}`, "aria-hidden": "true" }, initials);
  if (/^[0-9a-f]{6}$/i.test(user.color)) element.style.setProperty("--person", `#${user.color}`);
  return element;
}

/** Build the children of `place` anew, but only when what they depend on changed. */
export function redraw(place, signature, build) {
  const signed = JSON.stringify(signature);
  if (place.signature === signed) return;
  place.signature = signed;
  const focused = place.contains(document.activeElement) && document.activeElement.dataset.testid;
  place.replaceChildren();
  append(place, [build()]);
  // Whoever uses a keyboard stays where they were.
  if (focused) place.querySelector(`[data-testid="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}

/**
 * Make `parent` show `items` in order, touching only what changed, so that focus, selections and screen readers are
 * left in peace. `sign` says what a row depends on; `render` builds it.
 */
export function reconcile(parent, items, key, sign, render) {
  const old = new Map([...parent.children].map((node) => [node.dataset.key, node]));
  let at = parent.firstElementChild;
  for (const item of items) {
    const id = key(item);
    const signature = sign(item);
    let node = old.get(id);
    old.delete(id);
    const focused = node?.contains(document.activeElement);
    const changed = !node || node.signature !== signature;
    if (changed) {
      const fresh = render(item);
      fresh.dataset.key = id;
      fresh.signature = signature;
      if (node === at && node) at = node.nextElementSibling;
      node?.remove();
      node = fresh;
    }
    if (node === at) at = at.nextElementSibling;
    else parent.insertBefore(node, at);
    if (changed && focused) {
      // The button that was pressed is gone; whoever uses a keyboard stays at the message.
      node.tabIndex = -1;
      node.focus({ preventScroll: true });
    }
  }
  for (const gone of old.values()) gone.remove();
}
