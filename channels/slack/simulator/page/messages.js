// Messages in a list: who, when, what, how many replies.

import { avatar, h, icon } from "./dom.js";
import { renderBlocks } from "./blocks.js";
import { emoji } from "./emoji.js";
import { mrkdwn } from "./mrkdwn.js";
import { names, state } from "./store.js";

const GROUP_SECONDS = 300;
const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });

/** The rows of a list: messages, each knowing whether it follows its author's last one and whether a day begins. */
export function rows(messages, repliesOf) {
  return messages.map((message, index) => {
    const before = messages[index - 1];
    const day = dayOf(message);
    const newDay = !before || dayOf(before) !== day;
    const close = before && Number(message.ts) - Number(before.ts) < GROUP_SECONDS;
    const grouped = !newDay && close && before.user === message.user && before.ephemeral_to === message.ephemeral_to && !repliesOf(before).length;
    return { message, day: newDay ? day : null, grouped, replies: repliesOf(message) };
  });
}

/** What a row's look depends on. */
export function signature(row) {
  return JSON.stringify([row.message, row.day, row.grouped, row.replies.map((reply) => reply.ts)]);
}

/** One row. `use` as in `renderBlocks`, with the message first; `openThread` is null inside a thread. */
export function renderRow(row, use, openThread) {
  const { message } = row;
  const author = state.users.get(message.user);
  const when = new Date(Number(message.ts) * 1000);
  const time = h("time", { dateTime: when.toISOString(), title: when.toLocaleString() }, CLOCK.format(when));
  const body = h("div", { class: "message-body" });
  if (message.ephemeral_to) body.append(h("p", { class: "private" }, icon("eye"), "Only visible to you"));
  if (!row.grouped) {
    body.append(
      h("p", { class: "byline" }, h("strong", {}, author.real_name), author.is_bot && h("span", { class: "badge" }, "app"), foreign(author), time),
    );
  }
  body.append(
    h(
      "div",
      { class: "content" },
      message.blocks.length ? h("div", { class: "blocks" }, renderBlocks(message.blocks, (...used) => use(message, ...used))) : mrkdwn(message.text, names),
      message.edited && h("span", { class: "edited" }, "(edited)"),
    ),
  );
  for (const id of message.files) body.append(fileNode(state.files.get(id)));
  const reactions = Object.entries(message.reactions);
  if (reactions.length) {
    body.append(h("ul", { class: "reactions" }, reactions.map(([name, users]) => h("li", { title: users.map(names.user).join(", ") }, emoji(name), " ", users.length))));
  }
  if (openThread && row.replies.length) body.append(replyCount(row, openThread));
  const tools = openThread && !message.ephemeral_to && h(
    "div",
    { class: "tools" },
    h("button", { type: "button", class: "icon", "aria-label": "Reply in thread", title: "Reply in thread", "data-testid": "reply", onClick: () => openThread(message.ts) }, icon("reply")),
  );
  const classes = ["message", row.grouped && "grouped", message.ephemeral_to && "ephemeral"].filter(Boolean).join(" ");
  return h(
    "li",
    { class: "row" },
    row.day && h("p", { class: "day" }, h("span", {}, row.day)),
    h("article", { class: classes, "data-testid": "message", "data-ts": message.ts }, h("div", { class: "gutter" }, row.grouped ? time : avatar(author)), body, tools),
  );
}

function replyCount(row, openThread) {
  const { length } = row.replies;
  const people = [...new Set(row.replies.map((reply) => reply.user))].slice(0, 3).map((id) => avatar(state.users.get(id), "tiny"));
  const last = CLOCK.format(new Date(Number(row.replies.at(-1).ts) * 1000));
  return h(
    "button",
    { type: "button", class: "replies", "data-testid": "replies", onClick: () => openThread(row.message.ts) },
    h("span", { class: "faces" }, people),
    h("span", {}, length === 1 ? "1 reply" : `${length} replies`),
    h("span", { class: "quiet" }, `last at ${last}`),
  );
}

function foreign(author) {
  return author.team_id !== state.team.id && h("span", { class: "badge guest" }, "guest");
}

function fileNode(file) {
  if (!file) return "";
  return h(
    "details",
    { class: "file" },
    h("summary", {}, icon("file"), h("span", {}, file.title), h("span", { class: "quiet" }, `${file.size.toLocaleString()} bytes`)),
    h("pre", {}, h("code", {}, file.text)),
  );
}

function dayOf(message) {
  const date = new Date(Number(message.ts) * 1000);
  return date.toDateString() === new Date().toDateString() ? "Today" : DAY.format(date);
}
