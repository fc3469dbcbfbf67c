// The box one writes in. Enter sends, Shift+Enter breaks the line.

import { h, icon } from "./dom.js";

/** A composer in `place`; `send(text)` resolves to "" or to what went wrong, and then the text comes back. */
export function composer(place, { id, testid, sendTestid, label }, send) {
  const box = h("textarea", { id, rows: 1, "data-testid": testid, "aria-label": label, autocomplete: "off", spellcheck: true });
  const button = h("button", { type: "submit", class: "send", "data-testid": sendTestid, "aria-label": "Send", disabled: true }, icon("send"));
  const fit = () => {
    box.style.height = "auto";
    box.style.height = `${Math.min(box.scrollHeight, 180)}px`;
    button.disabled = !box.value.trim();
  };
  const submit = async (event) => {
    event.preventDefault();
    const text = box.value.trim();
    if (!text) return;
    box.value = "";
    fit();
    box.focus();
    if (await send(text)) {
      box.value ||= text;
      fit();
    }
  };
  box.addEventListener("input", fit);
  box.addEventListener("keydown", (event) => {
    // While an input method composes a character, Enter belongs to it.
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) submit(event);
  });
  place.replaceChildren(h("form", { class: "composer", onSubmit: submit }, box, button));
  return {
    /** Put a text in and the cursor after it. */
    fill(text) {
      box.value = text;
      fit();
      box.focus();
      box.setSelectionRange(text.length, text.length);
    },
    /** Name the place that is written to. */
    address(where) {
      box.placeholder = where;
      box.setAttribute("aria-label", where);
    },
    focus: () => box.focus(),
  };
}
