// What the page knows: the state it read once, kept current by the server's stream of changes.

import { connect as live, post } from "./live.js";

const listeners = new Set();

export const state = {
  team: { name: "" }, bot: "", notice: "", links: [],
  users: new Map(), channels: new Map(), messages: new Map(), views: new Map(), files: new Map(),
};

/** Call `listener(change)` after each change; `change` is null when everything was read anew. */
export function onChange(listener) {
  listeners.add(listener);
}

/** Names for ids, as the text renderers need them. */
export const names = {
  user: (id) => {
    const user = state.users.get(id);
    return user && (user.is_bot ? user.name : user.real_name);
  },
  channel: (id) => state.channels.get(id)?.name,
};

/** Read everything, then follow the changes for as long as the page is open. */
export function connect() {
  return live(
    "/page",
    (raw) => {
      Object.assign(state, { team: raw.team, bot: raw.bot, notice: raw.notice, links: raw.links });
      for (const kind of ["users", "channels", "views", "files"]) state[kind] = byId(raw[kind]);
      state.messages = new Map(raw.messages.map((message) => [keyOf(message), message]));
      tell(null);
    },
    (change) => {
      apply(change);
      tell(change);
    },
  );
}

/** Messages of a channel that `person` may see: everybody's, and what is shown to them alone. */
export function messagesOf(channel, person) {
  return [...state.messages.values()]
    .filter((message) => message.channel === channel && [null, person].includes(message.ephemeral_to))
    .sort((one, other) => (one.ts < other.ts ? -1 : 1));
}

/** Do something as a person; resolves to an error's words, or to "" when it was taken. */
export function act(name, body) {
  return post(`/page/${name}`, body);
}

function apply({ kind, data }) {
  if (kind === "message") state.messages.set(keyOf(data), data);
  else if (kind === "deleted") state.messages.delete(keyOf(data));
  else if (kind === "view") state.views.set(data.id, data);
  else if (kind === "view_closed") state.views.delete(data.id);
  else if (kind === "file") state.files.set(data.id, data);
}

function tell(change) {
  for (const listener of listeners) listener(change);
}

function keyOf(message) {
  return `${message.channel}/${message.ts}`;
}

function byId(items) {
  return new Map(items.map((item) => [item.id, item]));
}
