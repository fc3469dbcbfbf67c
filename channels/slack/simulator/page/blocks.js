// Block Kit as elements, for messages and modals. What a person uses is handed to `use`; nothing is sent from here.

import { h, link } from "./dom.js";
import { markdown } from "./markdown.js";
import { mrkdwn, plain } from "./mrkdwn.js";
import { names } from "./store.js";
import { emoji } from "./emoji.js";

/** The nodes of `blocks`. `use(block, element, value, control)` is called when a person uses something. */
export function renderBlocks(blocks, use) {
  return blocks.map((block) => h("div", { class: `block ${block.type}` }, (KINDS[block.type] ?? unknown)(block, use)));
}

/** A text object: formatted, or plain with emoji. */
export function textOf(text) {
  if (!text) return [];
  return text.type === "mrkdwn" ? mrkdwn(text.text, names) : [plain(text.text)];
}

const KINDS = {
  header: (block) => h("h3", {}, textOf(block.text)),
  divider: () => h("hr"),
  markdown: (block) => markdown(block.text, names),
  section: (block, use) => [
    h(
      "div",
      { class: "section-body" },
      h("div", { class: "section-text" }, textOf(block.text)),
      block.accessory && h("div", { class: "accessory" }, element(block, block.accessory, use)),
    ),
    block.fields && h("dl", { class: "fields" }, block.fields.map(field)),
  ],
  context: (block) => block.elements.map((item) => h("span", { class: "context-item" }, item.type === "image" ? item.alt_text : textOf(item))),
  actions: (block, use) => block.elements.map((item) => element(block, item, use)),
  image: (block) => h("figure", {}, h("figcaption", {}, textOf(block.title), " ", block.alt_text)),
  rich_text: (block) => block.elements.map(rich),
  input: (block) => h("p", {}, textOf(block.label)),
};

function unknown(block) {
  return h("p", { class: "quiet" }, `(${block.type} is not shown here)`);
}

// Bots write a field as "*Label*\nvalue", or the label and the value as two. The label reads as one.
function field(text) {
  const label = text.type === "mrkdwn" && text.text.match(/^\*([^*\n]+?):?\*$/);
  if (label) return h("dt", {}, plain(label[1]));
  const parts = text.type === "mrkdwn" && text.text.match(/^\*([^*\n]+?):?\*:?\n([\s\S]+)$/);
  if (!parts) return h("div", {}, h("dd", {}, textOf(text)));
  return h("div", {}, h("dt", {}, plain(parts[1])), h("dd", {}, mrkdwn(parts[2], names)));
}

function element(block, item, use) {
  if (item.type === "button") return button(block, item, use);
  if (item.type === "static_select" || item.type === "overflow") return select(block, item, use);
  if (item.type === "radio_buttons") {
    return choices(item, `${block.block_id}-${item.action_id}`, "radio", (option, control) => use(block, item, option.value, control));
  }
  if (item.type === "image") return h("span", { class: "quiet" }, item.alt_text);
  return h("span", { class: "quiet" }, `(${item.type} is not shown here)`);
}

function button(block, item, use) {
  const label = plain(item.text.text);
  const props = {
    type: "button",
    class: `button ${item.style ?? ""}`,
    "data-testid": `button-${item.action_id}`,
    "aria-label": item.accessibility_label,
    onClick: (event) => use(block, item, item.value ?? null, event.currentTarget),
  };
  return h("button", props, label);
}

function select(block, item, use) {
  const placeholder = item.type === "overflow" ? "⋯" : plain(item.placeholder?.text ?? "Choose…");
  const control = h(
    "select",
    {
      class: "select",
      "data-testid": `select-${item.action_id}`,
      "aria-label": placeholder === "⋯" ? "More" : placeholder,
      onChange: (event) => use(block, item, event.currentTarget.value, event.currentTarget),
    },
    h("option", { value: "", disabled: true, selected: true }, placeholder),
    optionNodes(item),
  );
  control.value = item.initial_option?.value ?? "";
  return control;
}

/** The options of a select, groups included. */
export function optionNodes(item) {
  const one = (option) => h("option", { value: option.value }, plain(option.text.text));
  if (!item.option_groups) return item.options.map(one);
  return item.option_groups.map((group) => h("optgroup", { label: plain(group.label.text) }, group.options.map(one)));
}

/** Radio buttons or checkboxes; `chosen(option, control)` is called on each change. */
export function choices(item, name, type, chosen) {
  const initial = new Set([item.initial_option, ...(item.initial_options ?? [])].filter(Boolean).map((one) => one.value));
  return h(
    "div",
    { class: "choices" },
    item.options.map((option) =>
      h(
        "label",
        {},
        h("input", {
          type,
          name,
          value: option.value,
          checked: initial.has(option.value),
          onChange: (event) => chosen?.(option, event.currentTarget),
        }),
        h("span", {}, textOf(option.text), option.description && h("small", {}, textOf(option.description))),
      ),
    ),
  );
}

function rich(part) {
  const content = (part.elements ?? []).map(richInline);
  if (part.type === "rich_text_list") {
    return h(part.style === "ordered" ? "ol" : "ul", {}, (part.elements ?? []).map((item) => h("li", {}, rich(item))));
  }
  if (part.type === "rich_text_preformatted") return h("pre", {}, h("code", {}, content));
  if (part.type === "rich_text_quote") return h("blockquote", {}, content);
  return h("p", {}, content);
}

function richInline(item) {
  if (item.type === "link") return link(item.url, item.text ?? item.url);
  if (item.type === "emoji") return emoji(item.name);
  if (item.type === "user") return h("span", { class: "mention" }, `@${names.user(item.user_id) ?? item.user_id}`);
  if (item.type === "channel") return h("span", { class: "mention" }, `#${names.channel(item.channel_id) ?? item.channel_id}`);
  if (item.type === "broadcast") return h("span", { class: "mention" }, `@${item.range}`);
  let node = document.createTextNode(item.text ?? "");
  for (const [style, tag] of [["code", "code"], ["bold", "strong"], ["italic", "em"], ["strike", "s"]]) {
    if (item.style?.[style]) node = h(tag, {}, node);
  }
  return node;
}
