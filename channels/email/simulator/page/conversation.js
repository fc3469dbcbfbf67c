// One conversation: its mails below one another, one of them unfolded, and an answer to it.

import { answering, forget } from "./compose.js";
import { h, icon, redraw } from "./dom.js";
import { read } from "./live.js";
import { when } from "./letters.js";
import { recall, remember } from "./memory.js";

const VIEWS = [["html", "Mail"], ["text", "Plain text"], ["source", "Source"]];

export class Conversation {
  #place;
  #use;
  #bodies = new Map();
  #now = null;
  #answers = "";

  constructor(place, use) {
    this.#place = place;
    this.#use = use;
  }

  /** Show a thread with the mail `open` unfolded. What is being written stays as it is. */
  show(thread, now) {
    this.#now = { thread, ...now };
    if (this.#answers && this.#answers !== now.open) this.#answers = "";
    this.#draw();
  }

  /** Whether an answer is being written. */
  get isAnswering() {
    return Boolean(this.#answers);
  }

  /** Show nothing. */
  clear() {
    this.leave();
    redraw(this.#place, "", () => []);
  }

  /** Somebody else has the place now. */
  leave() {
    this.#now = null;
    this.#answers = "";
  }

  #draw() {
    const { thread, open, waiting, me } = this.#now;
    const body = this.#bodies.get(open);
    const view = body && !body.html && recall("mail:view") !== "source" ? "text" : (recall("mail:view") ?? "html");
    const signature = [thread, open, waiting, me.id, Boolean(body), view, this.#answers];
    const typing = this.#place.contains(document.activeElement) && document.activeElement.matches("textarea") && document.activeElement.selectionEnd;
    redraw(this.#place, signature, () => [
      h(
        "header",
        { class: "subject" },
        h("button", { type: "button", class: "icon", "aria-label": "Back to the list", "data-testid": "back", onClick: this.#use.back }, icon("back")),
        h("h2", { "data-testid": "subject" }, thread.mails[0].subject || "(no subject)"),
      ),
      h("ol", { class: "mails" }, thread.mails.map((mail) => this.#mail(mail, body, view))),
    ]);
    const box = this.#place.querySelector("textarea");
    if (box && typing !== false) box.setSelectionRange(typing, typing);
    if (!body) this.#load(open);
  }

  #mail(mail, body, view) {
    const { open, waiting } = this.#now;
    const unfolded = mail.key === open;
    const name = mail.sent ? "Me" : mail.from.name;
    const state = mail.sent && (waiting.includes(mail.id) ? "on its way to the bot" : "");
    const head = h(
      "button",
      { type: "button", class: "mail-head", "aria-expanded": String(unfolded), "data-testid": "mail-head", onClick: () => this.#unfold(mail.key) },
      h("strong", {}, name),
      h("span", { class: "quiet mail-line" }, unfolded ? `${mail.from.address} to ${mail.to}` : mail.preview),
      state && h("span", { class: "badge guest" }, state),
      h("time", { dateTime: mail.at, title: new Date(mail.at).toLocaleString() }, when(mail)),
    );
    return h("li", { class: `mail ${unfolded ? "unfolded" : ""}`, "data-testid": "mail" }, head, unfolded && body && this.#open(mail, body, view));
  }

  #open(mail, body, view) {
    const views = VIEWS.filter(([key]) => key !== "html" || body.html);
    const tabs = h(
      "div",
      { class: "views", role: "group", "aria-label": "Show as" },
      views.map(([key, label]) =>
        h("button", { type: "button", class: "view", "aria-pressed": String(key === view), "data-testid": `view-${key}`, onClick: () => this.#choose(key) }, label)),
    );
    const answer = h("button", { type: "button", class: "button reply", "data-testid": "reply", onClick: () => this.#answer(mail.key) }, icon("reply"), "Reply");
    return [
      h("div", { class: "mail-tools" }, tabs, !this.#answers && answer),
      this.#answers && answering({ mail, text: body.text, me: this.#now.me, sent: (problem) => this.#sent(problem, mail), cancel: () => this.#answer("") }),
      shown(mail, body, view),
    ];
  }

  #unfold(key) {
    const [who] = location.hash.slice(1).split("/");
    location.hash = `#${who}/${key}`;
  }

  #choose(view) {
    remember("mail:view", view);
    this.#draw();
  }

  #answer(key) {
    this.#answers = key;
    this.#draw();
    this.#place.querySelector(key ? "textarea" : "[data-testid=reply]")?.focus();
  }

  #sent(problem, mail) {
    if (!problem) {
      this.#answers = "";
      forget(mail);
    }
    this.#use.sent(problem);
  }

  async #load(key) {
    const body = await read(`/mail/mails/${key}`);
    if (!body) return;
    this.#bodies.set(key, body);
    if (this.#now?.open === key) this.#draw();
  }
}

function shown(mail, body, view) {
  if (view === "text") return h("pre", { class: "sheet", tabIndex: 0, "data-testid": "text" }, body.text);
  if (view === "source") return h("pre", { class: "sheet source", tabIndex: 0, "data-testid": "source" }, body.source);
  // The mail's own document has a policy of its own; it runs no script and reaches nothing but a new tab.
  return h("iframe", { class: "sheet", src: `/mail/mails/${mail.key}/html`, sandbox: "allow-popups allow-popups-to-escape-sandbox", title: mail.subject || "The mail", "data-testid": "html" });
}
