// The phones: whose is shown, the texts on it, and writing one.

import { renderActing } from "./acting.js";
import { composer } from "./composer.js";
import { avatar, h, icon, link, reconcile, redraw } from "./dom.js";
import { drawer, framed, toast } from "./frame.js";
import { post, watch } from "./live.js";
import { recall, remember } from "./memory.js";
import { rail } from "./rail.js";
import { bubble, rows, signature } from "./texts.js";

const COLOURS = ["c2563f", "2f7d6b", "4a63b8", "8a5a9e", "7a6a2f"];
const EXAMPLES = ["deploy v1.4.0 to production", "what is on production?", "HELP"];
const $ = (id) => document.getElementById(id);

let state = null;
let people = [];
let me = null;

const main = composer($("foot"), { id: "composer", testid: "composer", sendTestid: "send", label: "Text" }, async (text) => {
  const problem = await post("/phone/send", { from: me.id, text });
  if (problem) toast(problem);
  return problem;
});

function arrive() {
  const number = decodeURIComponent(location.hash.slice(1));
  const before = me;
  me = people.find((one) => one.id === number) ?? me ?? people.find((one) => one.id === recall("phone:me")) ?? people[0];
  me = people.find((one) => one.id === me.id);
  remember("phone:me", me.id);
  if (before?.id !== me.id) {
    drawer(false);
    // What one finds on another phone is not news, and is not read out.
    $("texts").replaceChildren();
    $("texts").setAttribute("aria-live", "off");
    requestAnimationFrame(() => $("texts").setAttribute("aria-live", "polite"));
  }
  render(before?.id !== me.id);
}

function show(fresh) {
  state = fresh;
  people = state.people.map((one, at) => ({ ...one, name: one.name.split(" ")[0].toLowerCase(), real_name: one.name, title: one.id, color: COLOURS[at % COLOURS.length] }));
  arrive();
  document.body.classList.add("ready");
}

function render(toEnd) {
  const texts = state.texts.filter((text) => text.phone === me.id);
  const scroll = $("scroll");
  const atEnd = toEnd || scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 80;
  redraw($("notice"), state.notice, () => state.notice);
  $("notice").hidden = !state.notice;
  redraw($("links"), state.links, () => state.links.map(({ label, url }) => link(url, label)));
  renderActing($("acting"), people, me, choose, { faces: false });
  phones(texts);
  redraw($("me"), me, () => avatar(me, "small"));
  $("title").textContent = "Switchboard";
  $("about").textContent = state.bot;
  document.title = `${me.real_name} · Phone · Switchboard`;
  $("left").hidden = !state.left.includes(me.id);
  main.address("Text message");
  hint(texts.length === 0);
  reconcile($("texts"), rows(texts), (row) => row.text.key, signature, bubble);
  if (atEnd) scroll.scrollTop = scroll.scrollHeight;
}

function phones(shown) {
  remember(`phone:seen:${me.id}`, String(arrived(shown)));
  const list = people.map((one) => {
    const count = arrived(state.texts.filter((text) => text.phone === one.id));
    return { one, count: Math.max(0, count - Number(recall(`phone:seen:${one.id}`) ?? 0)), current: one.id === me.id };
  });
  redraw($("places"), list, () => [
    h("h3", { class: "eyebrow" }, "Phones"),
    h("ul", {}, list.map(({ one, count, current }) =>
      h("li", {}, h(
        "button",
        { type: "button", class: `place ${count ? "unread" : ""}`, "aria-current": current ? "page" : undefined, "data-testid": `phone-${one.name}`, onClick: () => choose(one.id) },
        icon("phone"),
        h("span", { class: "place-name" }, one.real_name),
        count > 0 && h("span", { class: "count" }, count, h("span", { class: "sr" }, " unread")),
      )))),
  ]);
}

function arrived(texts) {
  return texts.filter((text) => !text.mine && text.status === "delivered").length;
}

function choose(number) {
  const hash = `#${encodeURIComponent(number)}`;
  if (location.hash === hash) drawer(false);
  else location.hash = hash;
}

function hint(empty) {
  $("hint").hidden = !empty;
  if (!empty) return;
  redraw($("hint"), [me.id], () => [
    h("img", { src: "/phone/files/mark.svg", alt: "", width: 44, height: 44 }),
    h("h3", {}, "No texts yet"),
    h("p", {}, "Text the bot. It answers here, and asks a person before it changes anything: their phones get a code to answer with."),
    h("ul", {}, EXAMPLES.map((text) => h("li", {}, h("button", { type: "button", class: "example", onClick: () => main.fill(text) }, text)))),
  ]);
}

$("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
framed(() => {});
rail($("rail"), "phone");
window.addEventListener("hashchange", () => state && arrive());
watch("/phone", show);
