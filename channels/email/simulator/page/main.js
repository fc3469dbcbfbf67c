// The mailbox: whose it is, what is open, and how the parts come together. The address bar holds both.

import { renderActing } from "./acting.js";
import { writing } from "./compose.js";
import { h, icon, link, reconcile, redraw } from "./dom.js";
import { NARROW, drawer, framed, toast } from "./frame.js";
import { watch } from "./live.js";
import { isRead, letters, markRead, threadsOf } from "./letters.js";
import { recall, remember } from "./memory.js";
import { Conversation } from "./conversation.js";
import { rail } from "./rail.js";

const COLOURS = ["c2563f", "2f7d6b", "4a63b8", "8a5a9e", "7a6a2f"];
const EXAMPLES = ["deploy v1.4.0 to production", "what is on production?", "what changed since production?"];
const $ = (id) => document.getElementById(id);

let state = null;
let people = [];
let me = null;
let open = "";
// How many mails were there when the page was last drawn; what comes later is read out.
let known = new Set();
// While a mail that one wrote is on its way into the list: what was there before.
let before = null;

const conversation = new Conversation($("reading"), { sent, back: () => go("") });

/** Open a conversation by its key, "new" for writing one, or "" for the list alone. */
function go(what, who = me.id) {
  const hash = `#${encodeURIComponent(who)}${what ? `/${what}` : ""}`;
  if (location.hash === hash) arrive();
  else location.hash = hash;
}

function arrive() {
  const [who, what] = location.hash.slice(1).split("/");
  const place = `${me?.id}/${open}`;
  me = people.find((one) => one.id === decodeURIComponent(who)) ?? me ?? people.find((one) => one.id === recall("mail:me")) ?? people[0];
  open = what ?? "";
  remember("mail:me", me.id);
  const moved = place !== `${me.id}/${open}`;
  if (moved) drawer(false);
  render();
  // Where the list gives way to what was opened in it, the focus goes there too.
  if (moved && open && open !== "new" && !$("letters").checkVisibility()) $("reading").focus();
}

function show(fresh) {
  state = fresh;
  people = state.people.map((one, at) => ({ ...one, name: one.id.split("@")[0], real_name: one.name, title: one.id, color: COLOURS[at % COLOURS.length] }));
  announce();
  arrive();
  follow();
  document.body.classList.add("ready");
}

function announce() {
  const fresh = state.mails.filter((mail) => !mail.sent && !known.has(mail.key));
  const mine = fresh.filter((mail) => mail.owner === me?.id);
  if (known.size && mine.length) $("news").textContent = mine.map((mail) => `New mail from ${mail.from.name}: ${mail.subject}`).join(". ");
  known = new Set(state.mails.map((mail) => mail.key));
}

function render() {
  const mails = state.mails.filter((mail) => mail.owner === me.id);
  const threads = threadsOf(mails);
  const shown = threads.find((thread) => thread.mails.some((mail) => mail.key === open));
  if (shown) markRead(shown.mails);
  redraw($("notice"), state.notice, () => state.notice);
  $("notice").hidden = !state.notice;
  redraw($("links"), state.links, () => state.links.map(({ label, url }) => link(url, label)));
  redraw($("ports"), state.ports, () => ports(state.ports));
  renderActing($("acting"), people, me, (id) => go("", id), { faces: false });
  boxes();
  $("title").textContent = me.real_name;
  $("about").textContent = me.id;
  document.title = `${me.real_name} · Mail · Switchboard`;
  letters($("list"), threads, shown, { reconcile, select: (thread) => go(thread.mails.at(-1).key) });
  hint(threads.length === 0);
  const writes = open === "new";
  $("post").classList.toggle("is-open", Boolean(shown) || writes);
  $("post").classList.toggle("is-empty", threads.length === 0);
  $("reading").hidden = !shown && !writes;
  if (writes) {
    conversation.leave();
    writing($("reading"), { me, bot: state.bot, sent, back: () => go("") });
  }
  else if (shown) conversation.show(shown, { me, bot: state.bot, open, waiting: state.waiting });
  else conversation.clear();
}

function boxes() {
  const unread = (box) => state.mails.filter((mail) => mail.owner === box.id && !mail.sent && !isRead(mail)).length;
  const rows = people.map((box) => ({ box, count: unread(box), current: box.id === me.id }));
  redraw($("places"), rows, () => [
    h("h3", { class: "eyebrow" }, "Mailboxes"),
    h("ul", {}, rows.map(({ box, count, current }) =>
      h("li", {}, h(
        "button",
        { type: "button", class: `place ${count ? "unread" : ""}`, "aria-current": current ? "page" : undefined, "data-testid": `box-${box.name}`, onClick: () => go("", box.id) },
        icon("mail"),
        h("span", { class: "place-name" }, box.real_name),
        count > 0 && h("span", { class: "count" }, count, h("span", { class: "sr" }, " unread")),
      )))),
  ]);
}

function ports({ host, smtp, pop3 }) {
  return [
    h("h3", { class: "eyebrow" }, "For a mail program"),
    h("p", {}, "SMTP ", h("code", {}, `${host}:${smtp}`)),
    h("p", {}, "POP3 ", h("code", {}, `${host}:${pop3}`)),
    h("p", {}, "No encryption; user: the address, any password."),
  ];
}

function hint(empty) {
  $("hint").hidden = !empty;
  if (!empty) return;
  redraw($("hint"), [me.id], () => [
    h("img", { src: "/mail/files/mark.svg", alt: "", width: 44, height: 44 }),
    h("h3", {}, "No mail yet"),
    h("p", {}, `Write to ${state.bot}. It answers by mail, and asks a person before it changes anything.`),
    h("ul", {}, EXAMPLES.map((text) => h("li", {}, h("button", { type: "button", class: "example", onClick: () => { remember("mail:draft", text); go("new"); } }, text)))),
  ]);
}

function sent(problem) {
  if (problem) {
    toast(problem);
    return;
  }
  before = new Set(state.mails.map((mail) => mail.key));
  renew();
}

// A mail that was sent opens once it is in the list, and its answer after it.
function follow() {
  const mine = state.mails.filter((mail) => mail.owner === me.id);
  const written = before && mine.find((mail) => mail.sent && !before.has(mail.key));
  if (written) {
    before = null;
    go(written.key);
    return;
  }
  const shown = mine.find((mail) => mail.key === open);
  const ids = shown?.sent && !conversation.isAnswering ? [shown.id, ...shown.parents] : [];
  const answer = mine.findLast((mail) => !mail.sent && mail.number > shown?.number && mail.parents.some((id) => ids.includes(id)));
  if (answer) go(answer.key);
}

$("new").prepend(icon("write"));
$("new").addEventListener("click", () => go("new"));
$("skip").addEventListener("click", (event) => {
  event.preventDefault();
  $("list").querySelector("button")?.focus();
});
framed(() => open && go(""));
rail($("rail"), "mail");
window.addEventListener("hashchange", arrive);
NARROW.addEventListener("change", () => state && render());
const renew = watch("/mail", show);
