// Slack's mrkdwn as elements. It reads the wire format: entities in angle brackets, `& < >` escaped.

import { h, link } from "./dom.js";
import { emoji } from "./emoji.js";

const INLINE =
  /`([^`\n]+)`|<([^<>\n]+)>|(?<![\w*])\*(?=\S)([^*\n]*?\S)\*(?![\w*])|(?<![\w_])_(?=\S)([^_\n]*?\S)_(?![\w_])|(?<![\w~])~(?=\S)([^~\n]*?\S)~(?![\w~])|:([a-z0-9_+-]+):/g;

/** Undo Slack's three escapes. */
export function unescaped(text) {
  return text.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");
}

/** `text` with its formatting; `names` resolves ids: `user(id)`, `channel(id)`. */
export function mrkdwn(text, names) {
  const parts = text.split(/```\n?([\s\S]*?)\n?```/);
  return parts.flatMap((part, index) =>
    index % 2 ? h("pre", {}, h("code", {}, unescaped(part.replace(/<([^|>]+)(?:\|[^>]*)?>/g, "$1")))) : lines(part, names),
  );
}

/** One line of formatted text. */
export function inline(text, names) {
  const nodes = [];
  let end = 0;
  for (const match of text.matchAll(INLINE)) {
    const [whole, code, entity, bold, italic, strike, name] = match;
    nodes.push(unescaped(text.slice(end, match.index)));
    end = match.index + whole.length;
    if (code !== undefined) nodes.push(h("code", {}, unescaped(code.replace(/<([^|>]+)(?:\|[^>]*)?>/g, "$1"))));
    else if (entity !== undefined) nodes.push(named(entity, names));
    else if (bold !== undefined) nodes.push(h("strong", {}, inline(bold, names)));
    else if (italic !== undefined) nodes.push(h("em", {}, inline(italic, names)));
    else if (strike !== undefined) nodes.push(h("s", {}, inline(strike, names)));
    else nodes.push(emoji(name));
  }
  nodes.push(unescaped(text.slice(end)));
  return nodes;
}

/** A plain text with emoji, as headers and buttons show it. */
export function plain(text) {
  return unescaped(text).replace(/:([a-z0-9_+-]+):/g, (_, name) => emoji(name));
}

function named(entity, names) {
  const [target, label] = entity.split("|", 2);
  if (target.startsWith("@")) return h("span", { class: "mention" }, `@${names.user(target.slice(1)) ?? label ?? target}`);
  if (target.startsWith("#")) return h("span", { class: "mention" }, `#${names.channel(target.slice(1)) ?? label ?? target}`);
  if (target.startsWith("!date^")) return label ?? target;
  if (target.startsWith("!")) return h("span", { class: "mention" }, `@${label ?? target.slice(1)}`);
  const url = unescaped(target);
  return link(url, unescaped(label ?? url.replace(/^mailto:/, "")));
}

const BULLET = /^\s*(?:[•◦▪]|[-*](?=\s))\s*/;
const NUMBER = /^\s*\d{1,3}[.)]\s+/;
const QUOTE = /^(?:&gt;|>) ?/;

// Neighbouring lines of one kind belong together: a quote, a list, or a paragraph that keeps its line breaks.
function lines(text, names) {
  const groups = [];
  for (const line of text.replace(/^\n|\n$/g, "").split("\n")) {
    const kind = QUOTE.test(line) ? "quote" : BULLET.test(line) ? "ul" : NUMBER.test(line) ? "ol" : "p";
    if (groups.at(-1)?.kind === kind) groups.at(-1).lines.push(line);
    else groups.push({ kind, lines: [line] });
  }
  return groups
    .filter((group) => group.kind !== "p" || group.lines.some((line) => line.trim()))
    .map(({ kind, lines: own }) => {
      if (kind === "quote") return h("blockquote", {}, broken(own.map((line) => line.replace(QUOTE, "")), names));
      if (kind === "ul") return h("ul", {}, own.map((line) => h("li", {}, inline(line.replace(BULLET, ""), names))));
      if (kind === "ol") {
        const start = parseInt(own[0], 10) || 1;
        return h("ol", { start }, own.map((line) => h("li", {}, inline(line.replace(NUMBER, ""), names))));
      }
      return h("p", {}, broken(own, names));
    });
}

function broken(own, names) {
  return own.flatMap((line, index) => (index ? [h("br"), ...inline(line, names)] : inline(line, names)));
}
