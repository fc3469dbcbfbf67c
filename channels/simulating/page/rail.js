// The rail at the left: one tile for each panel, with what came since one last looked.

import { h, icon, redraw } from "./dom.js";
import { read } from "./live.js";
import { recall, remember } from "./memory.js";

// Asked now and then, not streamed: a browser opens six connections to a server, and each page has one open already.
const EVERY_MS = 3000;

/** Keep the tiles in `place` current; `here` is the panel that is shown. */
export function rail(place, here) {
  const list = h("div", { class: "rail-tiles" });
  place.append(list);
  const renew = async () => {
    const found = document.hidden ? null : await read("/panels");
    if (!found) return;
    const tiles = found.panels.map((panel) => ({ ...panel, unread: panel.arrived - seen(panel, panel.key === here) }));
    redraw(list, tiles, () => tiles.map((panel) => tile(panel, panel.key === here)));
  };
  setInterval(renew, EVERY_MS);
  document.addEventListener("visibilitychange", renew);
  return renew();
}

function seen({ key, arrived }, shown) {
  const before = Number(recall(`panel:${key}`) ?? 0);
  // Fewer than one has seen: the simulator began anew.
  if (shown || before > arrived) remember(`panel:${key}`, String(arrived));
  return shown ? arrived : Math.min(before, arrived);
}

function tile({ key, label, path, unread }, shown) {
  return h(
    "a",
    {
      class: "rail-tile", href: path, "aria-current": shown ? "page" : undefined, "data-panel": key, "data-testid": `panel-${key}`,
      onClick: (event) => shown && event.preventDefault(),
    },
    icon(key),
    h("span", {}, label),
    unread > 0 && h("span", { class: "count", "data-testid": `panel-${key}-unread` }, unread > 99 ? "99+" : unread, h("span", { class: "sr" }, " unread")),
  );
}
