// One menu for every place that has one: a list of actions at a button or at the pointer.

import { icon, make } from "./dom.js";

let open = null;

/**
 * Show a menu. `entries`: `{ label, icon, key?, isDanger?, href?, run? }`, or null for a line.
 *
 * `at`: an element to hang below, or `{ x, y }`. `head`: an element on top. The focus goes
 * back to `returnTo` (or to the element) when the menu closes.
 */
export function openMenu(at, entries, { head = null, returnTo = null } = {}) {
  closeMenu();
  const anchor = at instanceof Element ? at : null;
  const items = entries.map((entry) => {
    if (entry === null) return make("hr");
    const attributes = {
      role: "menuitem",
      tabindex: "-1",
      class: entry.isDanger ? "is-danger" : null,
    };
    const inside = [
      icon(entry.icon),
      entry.label,
      ...(entry.key ? [make("span", { class: "key", "aria-hidden": "true" }, entry.key)] : []),
    ];
    const onclick = () => {
      closeMenu();
      entry.run?.();
    };
    return entry.href
      ? make("a", { ...attributes, href: entry.href, onclick }, ...inside)
      : make("button", { ...attributes, onclick }, ...inside);
  });
  const menu = make("div", { class: "menu", role: "menu" }, ...(head ? [head] : []), ...items);
  menu.addEventListener("keydown", onKey);
  // Inside an open dialog, only what lies in the dialog can be reached.
  const around = anchor?.closest("dialog, main, header") ?? document.querySelector("#main");
  around.append(menu);
  place(menu, anchor?.getBoundingClientRect() ?? new DOMRect(at.x, at.y, 0, 0));
  anchor?.setAttribute("aria-expanded", "true");
  open = { menu, anchor, returnTo: returnTo ?? anchor };
  menu.querySelector("[role=menuitem]").focus();
  document.addEventListener("pointerdown", onPointer, true);
  window.addEventListener("resize", closeMenu);
}

export function closeMenu() {
  if (open === null) return;
  const { menu, anchor, returnTo } = open;
  open = null;
  const hadFocus = menu.contains(document.activeElement);
  menu.remove();
  anchor?.setAttribute("aria-expanded", "false");
  document.removeEventListener("pointerdown", onPointer, true);
  window.removeEventListener("resize", closeMenu);
  if (hadFocus) returnTo?.focus({ preventScroll: true });
}

function place(menu, around) {
  const { width, height } = menu.getBoundingClientRect();
  const margin = 8;
  const isBelow = around.bottom + height + margin <= innerHeight;
  const top = isBelow ? around.bottom + 4 : Math.max(margin, around.top - height - 4);
  const wished = around.width > 0 ? around.right - width : around.left;
  const left = Math.max(margin, Math.min(wished, innerWidth - width - margin));
  menu.style.top = `${top}px`;
  menu.style.left = `${left}px`;
}

function onPointer(event) {
  if (!open.menu.contains(event.target)) closeMenu();
}

function onKey(event) {
  const items = [...open.menu.querySelectorAll("[role=menuitem]")];
  const at = items.indexOf(document.activeElement);
  const next = {
    ArrowDown: (at + 1) % items.length,
    ArrowUp: (at - 1 + items.length) % items.length,
    Home: 0,
    End: items.length - 1,
  }[event.key];
  if (next !== undefined) items[next].focus();
  else if (event.key === "Escape" || event.key === "Tab") closeMenu();
  else return;
  event.preventDefault();
  event.stopPropagation();
}
