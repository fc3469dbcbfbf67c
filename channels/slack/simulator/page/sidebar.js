// The conversations.

import { avatar, h, redraw } from "./dom.js";
import { recall, remember } from "./memory.js";
import { messagesOf, state } from "./store.js";

/** Channels, then this person's conversation with the bot. */
export function renderPlaces(place, me, current, go) {
  const mine = [...state.channels.values()].filter((channel) => channel.members.includes(me.id));
  const unread = new Set(mine.filter((one) => one.id !== current && isUnread(one.id, me.id)).map((one) => one.id));
  redraw(place, [mine, current, [...unread]], () => listing(mine, current, unread, go));
}

function listing(mine, current, unread, go) {
  const entry = (channel) => {
    const isNew = unread.has(channel.id);
    const bot = state.users.get(state.bot);
    const name = channel.is_im ? bot.real_name : channel.name;
    return h(
      "li",
      {},
      h(
        "button",
        { type: "button", class: `place ${isNew ? "unread" : ""}`, "aria-current": channel.id === current ? "page" : undefined, "data-testid": `channel-${channel.is_im ? "bot" : channel.name}`, onClick: () => go(channel.id) },
        channel.is_im ? avatar(bot, "tiny") : h("span", { class: "hash", "aria-hidden": "true" }, "#"),
        h("span", { class: "place-name" }, name),
        isNew && h("span", { class: "dot" }, h("span", { class: "sr" }, "unread")),
      ),
    );
  };
  const list = (title, channels) => [h("h3", { class: "eyebrow" }, title), h("ul", {}, channels.map(entry))];
  return [list("Channels", mine.filter((one) => !one.is_im)), list("Direct messages", mine.filter((one) => one.is_im))];
}

/** Remember that this person has seen everything in a channel. */
export function markRead(channel, me) {
  const last = messagesOf(channel, me).at(-1);
  if (last) remember(`seen:${me}:${channel}`, last.ts);
}

function isUnread(channel, me) {
  const seen = recall(`seen:${me}:${channel}`) ?? "";
  return messagesOf(channel, me).some((message) => message.ts > seen && message.user !== me);
}
