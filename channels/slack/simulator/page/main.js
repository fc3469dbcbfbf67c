// The page: where one is, who one is, and how the parts come together.

import { avatar, h, icon, link, reconcile, redraw } from "./dom.js";
import { renderActing } from "./acting.js";
import { composer } from "./composer.js";
import { confirmed, showView } from "./dialogs.js";
import { NARROW, drawer, framed, toast } from "./frame.js";
import { recall, remember } from "./memory.js";
import { renderRow, rows, signature } from "./messages.js";
import { rail } from "./rail.js";
import { markRead, renderPlaces } from "./sidebar.js";
import { act, connect, messagesOf, onChange, state } from "./store.js";

const EXAMPLES = ["@bot deploy v1.4.0 to production", "@bot what is on production?", "@bot what changed since production?"];
const $ = (id) => document.getElementById(id);

let me = null;
let here = { channel: "", thread: null };
// Messages that were written in this tab: the thread of the latest opens by itself when the bot answers in it.
const mine = new Set();

const main = composer($("foot"), { id: "composer", testid: "composer", sendTestid: "send", label: "Message" }, async (text) => {
  const problem = await act("say", { user: me.id, channel: here.channel, text });
  if (problem) toast(problem);
  return problem;
});
const reply = composer($("thread-foot"), { id: "thread-composer", testid: "thread-composer", sendTestid: "thread-send", label: "Reply" }, async (text) => {
  const problem = await act("say", { user: me.id, channel: here.channel, text, thread_ts: here.thread });
  if (problem) toast(problem);
  return problem;
});

function go(channel, thread = null) {
  const hash = `#${channel}${thread ? `/${thread}` : ""}`;
  if (location.hash === hash) arrive();
  else location.hash = hash;
}

function arrive() {
  const [channel, thread] = decodeURIComponent(location.hash.slice(1)).split("/");
  const open = state.channels.get(channel);
  const first = [...state.channels.values()].find((one) => one.members.includes(me.id));
  const allowed = open?.members.includes(me.id);
  const moved = here.channel !== (allowed ? channel : first.id);
  here = { channel: allowed ? channel : first.id, thread: (allowed && thread) || null };
  drawer(false);
  if (moved) $("messages").replaceChildren();
  $("replies").replaceChildren();
  // What one finds in another place is not news, and is not read out.
  for (const log of [$("messages"), $("replies")]) log.setAttribute("aria-live", "off");
  render();
  requestAnimationFrame(() => {
    for (const log of [$("messages"), $("replies")]) log.setAttribute("aria-live", "polite");
  });
  toEnd($("scroll"));
  toEnd($("thread-scroll"));
  if (here.thread && !NARROW.matches) reply.focus();
}

function become(id) {
  me = state.users.get(id);
  remember("me", id);
  const channel = state.channels.get(here.channel);
  // Everybody has their own conversation with the bot: go on in the one that is theirs.
  if (channel?.is_im) go([...state.channels.values()].find((one) => one.is_im && one.members.includes(id)).id);
  else render();
}

function render() {
  const channel = state.channels.get(here.channel);
  const bot = state.users.get(state.bot);
  const all = messagesOf(channel.id, me.id);
  const repliesOf = (message) => all.filter((one) => one.thread_ts === message.ts && one.ts !== message.ts && !one.ephemeral_to);
  const top = all.filter((message) => !message.thread_ts);
  $("team").textContent = state.team.name;
  $("notice").textContent = state.notice;
  $("notice").hidden = !state.notice;
  redraw($("links"), state.links, () => state.links.map(({ label, url }) => link(url, label)));
  renderActing($("acting"), people(), me, become);
  $("me").replaceChildren(avatar(me, "small"));
  $("title").textContent = channel.is_im ? bot.real_name : `# ${channel.name}`;
  $("about").textContent = channel.is_im ? "Between you and the bot" : `${channel.members.length - 1} people and the bot`;
  document.title = `${channel.is_im ? bot.real_name : `#${channel.name}`} · ${state.team.name}`;
  main.address(channel.is_im ? `Message ${bot.real_name}` : `Message #${channel.name}, or ask @bot`);
  hint(top.length === 0, channel);
  list($("messages"), $("scroll"), rows(top, repliesOf), (ts) => go(channel.id, ts));
  thread(all);
  markRead(channel.id, me.id);
  renderPlaces($("places"), me, channel.id, go);
  const views = [...state.views.values()].filter((view) => view.user === me.id);
  showView(views.at(-1), submit, (view) => act("close", { user: me.id, view: view.id }));
}

function thread(all) {
  const parent = here.thread && all.find((message) => message.ts === here.thread);
  $("thread").hidden = !parent;
  $("frame").classList.toggle("with-thread", Boolean(parent));
  if (!parent) return;
  const replies = all.filter((message) => message.thread_ts === parent.ts);
  const channel = state.channels.get(parent.channel);
  $("thread-about").textContent = channel.is_im ? "Direct message" : `# ${channel.name}`;
  reply.address("Reply in this thread");
  list($("replies"), $("thread-scroll"), rows([parent, ...replies], () => []), null);
}

function list(place, scroll, items, openThread) {
  const atEnd = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 80;
  reconcile(place, items, (row) => row.message.ts, signature, (row) => renderRow(row, use, openThread));
  if (atEnd) toEnd(scroll);
}

function toEnd(scroll) {
  scroll.scrollTop = scroll.scrollHeight;
}

function hint(empty, channel) {
  $("hint").hidden = !empty;
  if (!empty || $("hint").dataset.channel === channel.id) return;
  $("hint").dataset.channel = channel.id;
  $("hint").replaceChildren(
    h("img", { src: "/page/files/mark.svg", alt: "", width: 44, height: 44 }),
    h("h3", {}, channel.is_im ? "Just you and the bot" : `This is #${channel.name}`),
    h("p", {}, "Ask the bot for something. It answers in a thread, and asks a person before it changes anything."),
    h("ul", {}, EXAMPLES.map((text) => h("li", {}, h("button", { type: "button", class: "example", onClick: () => main.fill(text) }, text)))),
  );
}

async function use(message, block, element, value, control) {
  if (element.confirm && !(await confirmed(element.confirm, element.style === "danger"))) {
    if (control.tagName === "SELECT") control.value = element.initial_option?.value ?? "";
    return;
  }
  if (element.url) window.open(element.url, "_blank", "noopener,noreferrer");
  // Not disabled: that would throw the focus away.
  if (control.classList.contains("busy")) return;
  control.classList.add("busy");
  const name = control.tagName === "BUTTON" ? "click" : "select";
  const problem = await act(name, {
    user: me.id, channel: message.channel, ts: message.ts, block_id: block.block_id, action_id: element.action_id, value,
  });
  control.classList.remove("busy");
  if (problem) toast(problem);
}

async function submit(view, values) {
  const problem = await act("submit", { user: me.id, view: view.id, values });
  // What an input lacks is shown beside it.
  if (problem && !problem.startsWith("not submitted")) toast(problem);
}

function arrived({ kind, data }) {
  if (kind === "trouble" && data.user === me.id) toast(data.text);
  if (kind !== "message" || data.channel !== here.channel) return;
  if (!data.thread_ts && data.user === me.id) mine.add(data.ts);
  const answered = data.user === state.bot && mine.delete(data.thread_ts);
  // Follow one's newest question to its answer, unless a reply is being written elsewhere.
  const writing = here.thread && $("thread-composer")?.value;
  if (answered && !writing && !NARROW.matches) go(here.channel, data.thread_ts);
}

function people() {
  return [...state.users.values()].filter((user) => !user.is_bot);
}

$("thread-close").append(icon("close"));
$("thread-close").addEventListener("click", () => {
  go(here.channel);
  main.focus();
});
framed(() => here.thread && go(here.channel));
rail($("rail"), "chat");
window.addEventListener("hashchange", arrive);
window.addEventListener("focus", () => me && render());

onChange((change) => {
  me = state.users.get(me?.id ?? recall("me")) ?? people()[0];
  if (change === null) {
    arrive();
    document.body.classList.add("ready");
    return;
  }
  render();
  arrived(change);
});
connect();
