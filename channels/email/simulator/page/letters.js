// The list of conversations, newest first, and which mails were read.

import { h } from "./dom.js";
import { recall, remember } from "./memory.js";

const KEPT = 1000;
const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });

/** Mails by conversation: those that answer one another. Newest conversation first, its mails oldest first. */
export function threadsOf(mails) {
  const threads = new Map();
  const root = new Map();
  for (const mail of [...mails].sort(byTime)) {
    // A mail that came to two of us, or a parent that lies elsewhere, still joins what answers the same one.
    const known = [...mail.parents, mail.id].map((id) => root.get(id)).find(Boolean) ?? mail.key;
    for (const id of [...mail.parents, mail.id]) if (!root.has(id)) root.set(id, known);
    if (!threads.has(known)) threads.set(known, { key: known, mails: [] });
    threads.get(known).mails.push(mail);
  }
  return [...threads.values()].sort((one, other) => (one.mails.at(-1).at < other.mails.at(-1).at ? 1 : -1));
}

// What was written in the same moment has a number nevertheless.
function byTime(one, other) {
  if (one.at !== other.at) return one.at < other.at ? -1 : 1;
  return one.number - other.number;
}

/** Whether somebody has had this mail open. */
export function isRead(mail) {
  return read().has(mail.key);
}

/** Remember that these were open. */
export function markRead(mails) {
  const keys = read();
  if (mails.every((mail) => keys.has(mail.key))) return;
  for (const mail of mails) keys.add(mail.key);
  remember("mail:read", JSON.stringify([...keys].slice(-KEPT)));
}

function read() {
  return new Set(JSON.parse(recall("mail:read") ?? "[]"));
}

/** A time of today, or a day. */
export function when(mail) {
  const date = new Date(mail.at);
  return date.toDateString() === new Date().toDateString() ? CLOCK.format(date) : DAY.format(date);
}

/** Draw the list; `select(thread)` opens one. */
export function letters(place, threads, shown, { reconcile, select }) {
  const rows = threads.map((thread) => ({ thread, unread: thread.mails.some((mail) => !mail.sent && !isRead(mail)), current: thread === shown }));
  reconcile(place, rows, (row) => row.thread.key, (row) => JSON.stringify(row), (row) => entry(row, select));
}

function entry({ thread, unread, current }, select) {
  const last = thread.mails.at(-1);
  const names = [...new Set(thread.mails.map((mail) => (mail.sent ? "me" : mail.from.name)))];
  return h(
    "li",
    {},
    h(
      "button",
      { type: "button", class: `letter ${unread ? "unread" : ""}`, "aria-current": current ? "true" : undefined, "data-testid": "letter", onClick: () => select(thread) },
      h("span", { class: "letter-from" }, names.join(", "), thread.mails.length > 1 && h("span", { class: "letter-many" }, thread.mails.length)),
      h("time", { dateTime: last.at, title: new Date(last.at).toLocaleString() }, when(last)),
      h("span", { class: "letter-subject" }, unread && h("span", { class: "sr" }, "unread: "), last.subject || "(no subject)"),
      h("span", { class: "letter-preview" }, last.preview),
    ),
  );
}
