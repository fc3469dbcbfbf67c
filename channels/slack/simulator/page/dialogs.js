// The dialogs: a confirmation before a button acts, and the modals that the bot opens.

import { h } from "./dom.js";
import { choices, optionNodes, renderBlocks, textOf } from "./blocks.js";
import { plain } from "./mrkdwn.js";

/** Ask as a `confirm` object words it; resolves to whether the person agreed. */
export function confirmed(confirm, danger) {
  return new Promise((resolve) => {
    const style = (confirm.style ?? (danger ? "danger" : "primary")) === "danger" ? "danger" : "primary";
    const dialog = h(
      "dialog",
      { class: "dialog confirm", "aria-labelledby": "confirm-title", "data-testid": "confirm" },
      h("h2", { id: "confirm-title" }, textOf(confirm.title)),
      h("div", { class: "dialog-body" }, textOf(confirm.text)),
      h(
        "div",
        { class: "dialog-foot" },
        h("button", { type: "button", class: "button", "data-testid": "confirm-cancel", onClick: () => dialog.close() }, plain(confirm.deny?.text ?? "Cancel")),
        h("button", { type: "button", class: `button ${style}`, "data-testid": "confirm-ok", onClick: () => dialog.close("ok") }, plain(confirm.confirm?.text ?? "Yes")),
      ),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "ok");
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

let shown = null;

/** Show the newest of a person's open views, or none. `submit(view, values)` and `close(view)` act. */
export function showView(view, submit, close) {
  if (shown && shown.view.id === view?.id && shown.view.hash === view.hash) {
    // The same modal with other errors: what was typed stays.
    shown.view = view;
    showErrors(shown.dialog, view.errors);
    return;
  }
  if (shown) {
    const old = shown.dialog;
    shown = null;
    old.close();
    old.remove();
  }
  if (view) shown = { view, dialog: open(view, submit, close) };
}

function open(view, submit, close) {
  const { payload } = view;
  const form = h(
    "form",
    {
      method: "dialog",
      noValidate: true,
      onSubmit: async (event) => {
        event.preventDefault();
        const sender = form.querySelector("[type=submit]");
        if (sender.disabled) return;
        sender.disabled = true;
        await submit(shown?.view ?? view, valuesOf(form, payload));
        sender.disabled = false;
      },
    },
    h("h2", { id: "view-title" }, textOf(payload.title)),
    h("div", { class: "dialog-body" }, payload.blocks.map((block) => (block.type === "input" ? input(block) : renderBlocks([block], () => {})))),
    h(
      "div",
      { class: "dialog-foot" },
      h("button", { type: "button", class: "button", "data-testid": "modal-close", onClick: () => close(view) }, plain(payload.close?.text ?? "Cancel")),
      payload.submit && h("button", { type: "submit", class: "button primary", "data-testid": "modal-submit" }, plain(payload.submit.text)),
    ),
  );
  const dialog = h("dialog", { class: "dialog view", "aria-labelledby": "view-title", "data-testid": "modal" }, form);
  dialog.addEventListener("cancel", (event) => {
    event.preventDefault();
    close(view);
  });
  document.body.append(dialog);
  dialog.showModal();
  dialog.querySelector("input, textarea, select")?.focus();
  showErrors(dialog, view.errors);
  return dialog;
}

const TYPES = { number_input: "number", email_text_input: "email", url_text_input: "url", datepicker: "date", timepicker: "time" };

function input(block) {
  const item = block.element;
  const id = `input-${block.block_id}`;
  const props = {
    id,
    "data-testid": `input-${item.action_id}`,
    "aria-describedby": `${id}-error`,
    placeholder: item.placeholder ? plain(item.placeholder.text) : undefined,
    maxLength: item.max_length,
  };
  let control;
  if (item.type === "static_select") {
    const nothing = item.placeholder ? plain(item.placeholder.text) : "Choose…";
    control = h("select", { ...props, placeholder: undefined, class: "select" }, h("option", { value: "" }, nothing), optionNodes(item));
    control.value = item.initial_option?.value ?? "";
  } else if (item.type === "radio_buttons") control = choices(item, id, "radio");
  else if (item.type === "checkboxes") control = choices(item, id, "checkbox");
  else if (item.type === "plain_text_input" && item.multiline) control = h("textarea", { ...props, rows: 4, value: item.initial_value ?? "" });
  else control = h("input", { ...props, type: TYPES[item.type] ?? "text", value: item.initial_value ?? item.initial_date ?? item.initial_time ?? "" });
  return h(
    "div",
    { class: "input", "data-block": block.block_id },
    h("label", { for: id }, textOf(block.label), block.optional && h("span", { class: "quiet" }, " (optional)")),
    control,
    block.hint && h("p", { class: "quiet" }, textOf(block.hint)),
    h("p", { class: "input-error", id: `${id}-error`, role: "alert", "data-testid": `error-${block.block_id}` }),
  );
}

function valuesOf(form, payload) {
  const values = {};
  for (const block of payload.blocks.filter((one) => one.type === "input")) {
    const place = form.querySelector(`[data-block="${CSS.escape(block.block_id)}"]`);
    const checked = [...place.querySelectorAll("input:checked")].map((one) => one.value);
    const control = place.querySelector("input, textarea, select");
    const value = { checkboxes: checked, radio_buttons: checked[0] ?? null }[block.element.type];
    values[block.block_id] = { [block.element.action_id]: value === undefined ? control.value : value };
  }
  return values;
}

function showErrors(dialog, errors) {
  for (const place of dialog.querySelectorAll("[data-block]")) {
    const words = errors[place.dataset.block] ?? "";
    place.classList.toggle("wrong", Boolean(words));
    place.querySelector(".input-error").textContent = words;
    place.querySelector("input, textarea, select")?.setAttribute("aria-invalid", String(Boolean(words)));
  }
  dialog.querySelector(".wrong :is(input, textarea, select)")?.focus();
}
