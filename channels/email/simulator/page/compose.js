// Writing: an answer above the quoted mail, as mail programs do it, and a new mail to the bot.

import { h, icon, redraw } from "./dom.js";
import { post } from "./live.js";
import { recall, remember } from "./memory.js";

// What is being written outlives a redraw of the conversation.
const drafts = new Map();

/** The box for an answer to `mail`. `sent(problem)` is told how it went, "" for well; `cancel()` puts it away. */
export function answering({ mail, text, me, sent, cancel }) {
  const box = h("textarea", { class: "write-text", rows: 4, "aria-label": `Answer to ${mail.from.name}`, placeholder: asked(text), value: drafts.get(mail.key) ?? "", "data-testid": "reply-text" });
  box.addEventListener("input", () => drafts.set(mail.key, box.value));
  const submit = async () => {
    const body = { from: me.id, text: box.value, answers: mail.key };
    // An answer to what one wrote oneself goes where that went.
    if (mail.sent) body.to = mail.to;
    return sent(await post("/mail/send", body));
  };
  const line = h("p", { class: "quiet" }, `To ${mail.sent ? mail.to : mail.from.name}. The mail is quoted below what you write.`);
  return form(box, [line, box], submit, cancel);
}

/** An answer was sent. */
export function forget(mail) {
  drafts.delete(mail.key);
}

/** A new mail, in `place`. */
export function writing(place, { me, bot, sent, back }) {
  redraw(place, ["new", me.id], () => {
    const draft = recall("mail:draft") ?? "";
    remember("mail:draft", "");
    const to = h("input", { id: "to", type: "email", required: true, value: bot, autocomplete: "off", "data-testid": "new-to" });
    const subject = h("input", { id: "subject", value: draft, maxLength: 500, autocomplete: "off", "data-testid": "new-subject" });
    const box = h("textarea", { id: "text", class: "write-text", rows: 10, value: draft, "data-testid": "new-text" });
    const submit = async () => {
      const problem = await post("/mail/send", { from: me.id, to: to.value, subject: subject.value, text: box.value });
      sent(problem);
    };
    requestAnimationFrame(() => (draft ? box : subject).focus());
    const field = (control, label) => h("div", { class: "field" }, h("label", { for: control.id }, label), control);
    return [
      h(
        "header",
        { class: "subject" },
        h("button", { type: "button", class: "icon", "aria-label": "Back to the list", "data-testid": "back", onClick: back }, icon("back")),
        h("h2", {}, "New mail"),
      ),
      form(box, [field(to, "To"), field(subject, "Subject"), field(box, "Text")], submit, back),
    ];
  });
}

function form(box, parts, submit, cancel) {
  const button = h("button", { type: "submit", class: "button primary", "data-testid": "send-mail" }, icon("send"), "Send");
  const send = async (event) => {
    event.preventDefault();
    if (button.disabled) return;
    button.disabled = true;
    await submit();
    button.disabled = false;
  };
  box.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) box.form.requestSubmit();
  });
  const foot = h("div", { class: "write-foot" }, button, h("button", { type: "button", class: "button", onClick: cancel }, "Cancel"), h("span", { class: "quiet keys" }, "Ctrl + Enter sends"));
  return h("form", { class: "write", onSubmit: send }, parts, foot);
}

// The words are those that the mail itself asks for.
function asked(text) {
  const words = ["APPROVE", "DENY"].filter((word) => new RegExp(`\\b${word}\\b`).test(text));
  return words.length === 2 ? "As the mail asks: APPROVE or DENY in the first line, a reason below it" : "Your answer";
}
