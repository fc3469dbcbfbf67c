// The frame around a panel: the drawer that a narrow window hides, and short notes.

import { h, icon } from "./dom.js";

export const NARROW = matchMedia("(max-width: 760px)");
const SHOWN_MS = 8000;
const $ = (id) => document.getElementById(id);

/** Open or close the drawer; only a narrow window has one. */
export function drawer(open) {
  $("frame").classList.toggle("with-drawer", open);
  $("menu").setAttribute("aria-expanded", String(open));
  $("drawer").inert = NARROW.matches && !open;
}

/** Say something that goes away by itself. */
export function toast(text) {
  const note = h("p", { class: "toast" }, text, h("button", { type: "button", class: "icon", "aria-label": "Dismiss", onClick: () => note.remove() }, icon("close")));
  // A dialog covers everything outside it: what must be read then goes inside.
  const place = document.querySelector("dialog[open]") ?? document.body;
  place.append($("toasts"));
  $("toasts").append(note);
  setTimeout(() => {
    note.remove();
    document.body.append($("toasts"));
  }, SHOWN_MS);
}

/** Make the drawer work. `escape` is what the Escape key does when no drawer and no dialog is open. */
export function framed(escape) {
  $("menu").append(icon("menu"));
  $("menu").addEventListener("click", () => drawer(!$("frame").classList.contains("with-drawer")));
  $("scrim").addEventListener("click", () => drawer(false));
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || document.querySelector("dialog[open]")) return;
    if ($("frame").classList.contains("with-drawer")) drawer(false);
    else escape();
  });
  NARROW.addEventListener("change", () => drawer(false));
  drawer(false);
}
