// What can be done with the selection: a bar in the place of the list's head.

import { icon, make } from "./dom.js";
import { sentence } from "./format.js";
import { openMenu } from "./menu.js";
import { keyName } from "./keys.js";

/**
 * Actions of a list, as menu, bar and keys: `{ label, icon, key?, bar?, isDanger?, when?, run }`
 * or null for a line. `when(items)`, `run(items)`: of the selection, else of the current row.
 */
export function offer(list, actions) {
  const fit = (items) => actions.filter((action) => action === null || (action.when?.(items) ?? true));
  const bar = document.querySelector("#selection");
  list.addEventListener("menu", ({ detail: { at, row } }) => {
    const items = list.chosen;
    const entries = fit(items)
      .map((action) => action && { ...action, key: action.key && keyName(action.key), run: () => action.run(items) })
      // No line on top or after another one, where all between them was left out.
      .filter((entry, index, all) => entry !== null || (index > 0 && all[index - 1] !== null));
    openMenu(at, entries, { returnTo: row });
  });
  list.addEventListener("select", () => {
    const items = list.selected;
    bar.hidden = items.length === 0;
    if (bar.hidden) return;
    const buttons = fit(items)
      .filter((action) => action?.bar)
      .map(({ label, icon: picture, run }) =>
        make("button", { class: "button quiet", onclick: () => run(list.selected) }, icon(picture), make("span", {}, label)),
      );
    const clear = make(
      "button",
      { class: "icon-button", "aria-label": "Select nothing", onclick: () => list.select([]) },
      icon("x"),
    );
    bar.replaceChildren(
      clear,
      make("span", { role: "status" }, sentence(items.length, "{count} selected", "{count} selected")),
      ...buttons,
    );
  });
  return actions
    .filter((action) => action?.key)
    .map(({ key, label, when, run }) => ({
      keys: key,
      label: label.replace("…", ""),
      run: () => {
        const items = list.chosen;
        if (items.length === 0 || !(when?.(items) ?? true)) return false;
        run(items);
        return true;
      },
    }));
}
