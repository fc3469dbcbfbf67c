// The conversations, and who one is at the moment.

import { avatar, h, redraw } from "./dom.js";
import { messagesOf, state } from "./store.js";

/** The people one can act as, and who is acting. */
export function renderActing(place, me, choose) {
  const people = [...state.users.values()].filter((user) => !user.is_bot);
  redraw(place, [me, people], () => acting(people, me, choose));
}

function acting(people, me, choose) {
  const chooser = h(
    "select",
    { class: "acting-select", "data-testid": "acting-as", "aria-label": "Acting as", onChange: (event) => choose(event.currentTarget.value) },
    people.map((user) => h("option", { value: user.id }, user.real_name)),
  );
  chooser.value = me.id;
  const others = people.map((user) =>
    h(
      "button",
      { type: "button", class: "face", title: `Act as ${user.real_name}`, "aria-label": `Act as ${user.real_name}`, "aria-pressed": String(user.id === me.id), "data-testid": `act-as-${user.name}`, onClick: () => choose(user.id) },
      avatar(user, "small"),
    ),
  );
  const who = h("div", { class: "acting-who" }, avatar(me), h("div", {}, h("span", { class: "eyebrow" }, "Acting as"), chooser, h("span", { class: "quiet" }, me.title)));
  return [who, h("div", { class: "faces-row" }, others)];
}

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

// A browser may forbid storage; then nothing is remembered over a reload, and that is all.
const memory = new Map();

/** Keep a small string for the next visit. */
export function remember(key, value) {
  memory.set(key, value);
  try {
    localStorage.setItem(`switchboard:${key}`, value);
  } catch {
    // See above.
  }
}

/** What `remember` kept, or null. */
export function recall(key) {
  if (memory.has(key)) return memory.get(key);
  try {
    return localStorage.getItem(`switchboard:${key}`);
  } catch {
    return null;
  }
}
