// Ordinary Markdown, for the `markdown` block: the parts that a model tends to write.

import { h, link } from "./dom.js";
import { emoji } from "./emoji.js";

const INLINE =
  /`([^`]+)`|\[([^\]]+)\]\(([^()\s]+)\)|\*\*(.+?)\*\*|~~(.+?)~~|(?<![\w*])\*([^*\s][^*]*)\*|(?<![\w_])_([^_\s][^_]*)_(?!\w)|<([@#!][^<>]+)>|<?(https?:\/\/[^\s<>]+)>?|:([a-z0-9_+-]+):/g;

/** The blocks of a Markdown text; `names` resolves ids of mentions. */
export function markdown(text, names) {
  const nodes = [];
  const rows = text.split("\n");
  while (rows.length) {
    const row = rows[0];
    const heading = row.match(/^(#{1,6})\s+(.*)$/);
    if (row.startsWith("```")) nodes.push(fence(rows));
    else if (heading) {
      nodes.push(h(`h${Math.min(6, heading[1].length + 2)}`, {}, inline(heading[2], names)));
      rows.shift();
    } else if (/^\s*([-*_])(\s*\1){2,}\s*$/.test(row)) {
      nodes.push(h("hr"));
      rows.shift();
    } else if (/^\s*\|.*\|\s*$/.test(row) && /^\s*\|[\s:|-]+\|\s*$/.test(rows[1] ?? "")) nodes.push(table(rows, names));
    else if (/^>/.test(row)) nodes.push(h("blockquote", {}, markdown(taken(rows, /^> ?/).join("\n"), names)));
    else if (/^\s*[-*+]\s+/.test(row)) nodes.push(list("ul", taken(rows, /^\s*[-*+]\s+/), names));
    else if (/^\s*\d+[.)]\s+/.test(row)) nodes.push(list("ol", taken(rows, /^\s*\d+[.)]\s+/), names));
    else if (row.trim()) nodes.push(paragraph(rows, names));
    else rows.shift();
  }
  return nodes;
}

function taken(rows, mark) {
  const own = [];
  while (rows.length && mark.test(rows[0])) own.push(rows.shift().replace(mark, ""));
  return own;
}

function fence(rows) {
  rows.shift();
  const own = [];
  while (rows.length && !rows[0].startsWith("```")) own.push(rows.shift());
  rows.shift();
  return h("pre", {}, h("code", {}, own.join("\n")));
}

function list(tag, items, names) {
  return h(tag, {}, items.map((item) => h("li", {}, inline(item, names))));
}

function table(rows, names) {
  const cells = (row) => row.trim().replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim());
  const head = cells(rows.shift());
  rows.shift();
  const body = [];
  while (rows.length && /^\s*\|.*\|\s*$/.test(rows[0])) body.push(cells(rows.shift()));
  return h(
    "div",
    { class: "wide" },
    h(
      "table",
      {},
      h("thead", {}, h("tr", {}, head.map((cell) => h("th", {}, inline(cell, names))))),
      h("tbody", {}, body.map((row) => h("tr", {}, row.map((cell) => h("td", {}, inline(cell, names)))))),
    ),
  );
}

function paragraph(rows, names) {
  const own = [];
  while (rows.length && rows[0].trim() && !/^(#{1,6}\s|```|>|\s*[-*+]\s|\s*\d+[.)]\s)/.test(rows[0])) own.push(rows.shift());
  // A row that starts like something else but is nothing else: it is text after all.
  if (!own.length) own.push(rows.shift());
  return h("p", {}, own.flatMap((row, index) => (index ? [h("br"), ...inline(row, names)] : inline(row, names))));
}

function inline(text, names) {
  const nodes = [];
  let end = 0;
  for (const match of text.matchAll(INLINE)) {
    const [whole, code, label, target, bold, strike, italic, slanted, entity, url, name] = match;
    nodes.push(text.slice(end, match.index));
    end = match.index + whole.length;
    if (code !== undefined) nodes.push(h("code", {}, code));
    else if (label !== undefined) nodes.push(link(target, inline(label, names)));
    else if (bold !== undefined) nodes.push(h("strong", {}, inline(bold, names)));
    else if (strike !== undefined) nodes.push(h("s", {}, inline(strike, names)));
    else if (italic ?? slanted) nodes.push(h("em", {}, inline(italic ?? slanted, names)));
    else if (entity !== undefined) nodes.push(h("span", { class: "mention" }, `@${names.user(entity.slice(1)) ?? entity.slice(1)}`));
    else if (url !== undefined) nodes.push(link(url, url));
    else nodes.push(emoji(name));
  }
  nodes.push(text.slice(end));
  return nodes;
}
