// The side of the folder page: what is known of one item. The server writes it.

import { explain, request } from "./api.js";
import { make } from "./dom.js";

const SHOWN = "details";
const QUIET_MS = 200;

/** Follow the list; `acts` are carried out by name for the buttons. Returns what turns it on and off. */
export function showDetails(list, acts) {
  const panel = document.querySelector("#details");
  const place = panel.querySelector(".details-body");
  let timer;
  let shown = "";

  const draw = async () => {
    const item = list.chosen.at(-1);
    if (panel.hidden) return;
    if (item === undefined) {
      place.replaceChildren(make("p", { class: "muted" }, "Choose a file or a folder."));
      return;
    }
    const version = `${item.id} ${item.rev}`;
    if (version === shown) return;
    shown = version;
    try {
      const answer = await request(`/details/${item.id}`, { credentials: "same-origin" });
      if (!answer.ok) throw new Error("The item was moved or deleted meanwhile.");
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      // Another one was chosen while this came.
      if (shown === version) place.replaceChildren(...page.body.childNodes);
    } catch (error) {
      shown = "";
      place.replaceChildren(make("p", { class: "muted", role: "status" }, explain(error)));
    }
  };
  const plan = () => {
    clearTimeout(timer);
    timer = setTimeout(draw, QUIET_MS);
  };
  const toggle = (isShown = panel.hidden) => {
    panel.hidden = !isShown;
    document.querySelector("#show-details").setAttribute("aria-expanded", String(isShown));
    if (isShown) localStorage.setItem(SHOWN, "1");
    else localStorage.removeItem(SHOWN);
    draw();
  };
  place.addEventListener("click", (event) => {
    const button = event.target.closest("[data-act]");
    const item = list.chosen.at(-1);
    if (button !== null && item !== undefined) acts[button.dataset.act](item);
  });
  for (const kind of ["select", "change"]) list.addEventListener(kind, plan);
  for (const button of [panel.querySelector("button"), document.querySelector("#show-details")]) {
    button.hidden = false;
    button.addEventListener("click", () => toggle());
  }
  if (localStorage.getItem(SHOWN) !== null && innerWidth >= 900) toggle(true);
  return toggle;
}
