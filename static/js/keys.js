// Keys: one table, of which both the handlers and the page of help are made.

import { icon, isTyping, make } from "./dom.js";
import { openDialog } from "./dialogs.js";

const OFF = "letters-off";
const NAMES = {
  ArrowUp: "↑",
  ArrowDown: "↓",
  ArrowLeft: "←",
  ArrowRight: "→",
  PageUp: "Page ↑",
  PageDown: "Page ↓",
  Delete: "Del",
  ContextMenu: "Menu",
  Escape: "Esc",
};
const table = [];

/**
 * Add keys: `{ keys: "F2 Ctrl+e", label, shown?, run?, inList? }`, where spaces part
 * alternatives; `shown` stands for them in the help.
 *
 * `run(event)` returns false for what it leaves to the browser. inList: only while nothing
 * else than a row has the focus. Without `run` the entry is for the help alone.
 */
export function addKeys(entries) {
  if (table.length === 0) document.addEventListener("keydown", onKey);
  table.push(...entries);
}

/** "Ctrl+A" and "Del", as keys are called in menus. */
export function keyName(keys) {
  const parts = keys.split(" ")[0].split("+");
  return parts.map((part) => NAMES[part] ?? (part.length === 1 ? part.toUpperCase() : part)).join("+");
}

function onKey(event) {
  if (event.defaultPrevented || event.isComposing || isTyping(event)) return;
  if (event.target.closest("dialog, .menu") !== null) return;
  let name = event.key === " " ? "Space" : event.key;
  if (name.length === 1) name = name.toLowerCase();
  // Of a character, Shift may be a part: "?".
  else if (event.shiftKey) name = `Shift+${name}`;
  if (event.altKey) name = `Alt+${name}`;
  if (event.ctrlKey || event.metaKey) name = `Ctrl+${name}`;
  // Single letters can be switched off: who speaks to the computer types them by accident.
  if (name.length === 1 && localStorage.getItem(OFF) !== null) return;
  const entry = table.find(({ keys, run }) => run && keys.split(" ").includes(name));
  if (entry === undefined) return;
  if (entry.inList && !event.target.matches("body, main, .row")) return;
  if (entry.run(event) !== false) event.preventDefault();
}

/** The page of help. */
export function showKeys() {
  const lines = table.flatMap(({ keys, shown = keys, label }) => [
    make("dt", {}, ...shown.split(" ").flatMap((key) => [make("kbd", {}, keyName(key)), " "])),
    make("dd", {}, label),
  ]);
  const letters = make("input", {
    type: "checkbox",
    checked: localStorage.getItem(OFF) === null,
    onchange: () => {
      if (letters.checked) localStorage.removeItem(OFF);
      else localStorage.setItem(OFF, "1");
    },
  });
  openDialog({
    title: "Keyboard shortcuts",
    body: [
      make("dl", { class: "keys" }, ...lines),
      make("label", { class: "check" }, letters, "Shortcuts of a single letter work"),
      make("p", { class: "muted small" }, icon("info"), " While you type in a field, no shortcut works."),
    ],
  });
}
