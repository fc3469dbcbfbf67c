// Texts as bubbles: mine at the right, the bot's at the left, with what became of each.

import { h, link } from "./dom.js";

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const URL_IN_TEXT = /https?:\/\/[^\s<>"]+[^\s<>".,;:!?)\]]/g;
const STATES = {
  queued: "on its way", accepted: "on its way", sending: "on its way", sent: "on its way", delivered: "delivered",
  received: "sent", undelivered: "not delivered", failed: "not sent",
};

/** The texts with the day above the first of each. */
export function rows(texts) {
  let last = "";
  return texts.map((text) => {
    const date = new Date(text.at * 1000);
    const day = date.toDateString() === new Date().toDateString() ? "Today" : DAY.format(date);
    const row = { text, day: day === last ? "" : day };
    last = day;
    return row;
  });
}

/** What a row depends on. */
export function signature(row) {
  return JSON.stringify(row);
}

/** One text, as it is on a phone. */
export function bubble({ text, day }) {
  const when = new Date(text.at * 1000);
  const lost = text.mine ? text.error && "the bot did not take it" : text.error && STATES[text.status];
  const word = lost ? `${lost} (${text.error})` : STATES[text.status];
  const classes = ["bubble", text.mine ? "mine" : "theirs", lost && "lost", !text.mine && text.status !== "delivered" && "pending"].filter(Boolean).join(" ");
  return h(
    "li",
    { class: "row" },
    day && h("p", { class: "day" }, h("span", {}, day)),
    h(
      "article",
      { class: classes, "data-testid": text.mine ? "mine" : "theirs" },
      h("p", { class: "sr" }, text.mine ? "You" : "Switchboard"),
      h("p", { class: "bubble-text", dir: "auto" }, linked(text.body)),
      h(
        "p",
        { class: "bubble-foot" },
        h("time", { dateTime: when.toISOString(), title: when.toLocaleString() }, CLOCK.format(when)),
        h("span", { "data-testid": "state" }, word),
        h("span", { title: "What a carrier charges for" }, text.segments === 1 ? "1 segment" : `${text.segments} segments`),
      ),
    ),
  );
}

function linked(body) {
  const parts = [];
  let at = 0;
  for (const found of body.matchAll(URL_IN_TEXT)) {
    parts.push(body.slice(at, found.index), link(found[0], found[0]));
    at = found.index + found[0].length;
  }
  return [...parts, body.slice(at)];
}
