// Who one is at the moment.

import { avatar, h, redraw } from "./dom.js";

/** The people one can act as, and who is acting; `faces` are a shorter way, where no list of theirs is below. */
export function renderActing(place, people, me, choose, { faces = true } = {}) {
  redraw(place, [me, people], () => acting(people, me, choose, faces));
}

function acting(people, me, choose, faces) {
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
  const who = h("div", { class: "acting-who" }, avatar(me), h("div", {}, h("span", { class: "eyebrow" }, "Acting as"), chooser, h("span", { class: "quiet acting-title" }, me.title)));
  return [who, faces && h("div", { class: "faces-row" }, others)];
}
