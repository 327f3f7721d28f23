// The tray at the lower edge: what is being uploaded, how far, and what went wrong.

import { announce, icon, make } from "./dom.js";
import { count, remaining, size } from "./format.js";

const SHOWN = 100;
const SPEED_WINDOW_MS = 5000;
const ICONS = {
  waiting: "clock",
  asking: "circle-question-mark",
  hashing: "search",
  sending: "arrow-up",
  finishing: "arrow-up",
  done: "circle-check",
  failed: "circle-alert",
  cancelled: "x",
};
// What matters most comes first: trouble, then what moves, then what waits, then the rest.
const ORDER = ["asking", "failed", "sending", "finishing", "hashing", "waiting", "cancelled", "done"];

/** Show `uploads` in the tray, in the title of the page, and before the page is left. */
export function showUploads(uploads) {
  const tray = make("section", { class: "tray", "aria-labelledby": "tray-title", hidden: true });
  const title = make("h2", { id: "tray-title" });
  const line = make("p");
  const bar = make("progress", { max: "1", "aria-labelledby": "tray-title" });
  const list = make("ul", { class: "tray-list", role: "list" });
  const fold = make(
    "button",
    {
      class: "icon-button",
      "aria-expanded": "true",
      "aria-label": "Details of the uploads",
      onclick: () => {
        const isFolded = tray.classList.toggle("is-folded");
        fold.setAttribute("aria-expanded", String(!isFolded));
        fold.replaceChildren(icon(isFolded ? "chevron-up" : "chevron-down"));
      },
    },
    icon("chevron-down"),
  );
  const close = make(
    "button",
    {
      class: "icon-button",
      onclick: () => (uploads.isBusy ? uploads.cancelAll() : uploads.clear()),
    },
    icon("x"),
  );
  const hold = make("button", {
    type: "button",
    class: "icon-button",
    onclick: () => (uploads.isPaused ? uploads.resume() : uploads.pause()),
  });
  const again = make(
    "button",
    { type: "button", class: "button quiet", onclick: () => uploads.retryFailed() },
    icon("rotate-ccw"),
    "Try all again",
  );
  tray.append(make("div", { class: "tray-head" }, title, hold, fold, close, line, bar, again), list);
  document.body.append(tray);

  const pageTitle = document.title;
  const speed = new Speed();
  let wasBusy = false;
  let isScheduled = false;

  const draw = () => {
    isScheduled = false;
    const { tasks } = uploads;
    tray.hidden = tasks.length === 0;
    if (tray.hidden) return;
    const isBusy = uploads.isBusy;
    const facts = summary(tasks);
    speed.note(facts.sentBytes);
    title.textContent = isBusy
      ? `Uploading ${facts.over + 1 > tasks.length ? tasks.length : facts.over + 1} of ${tasks.length} · ${facts.percent} %`
      : ending(facts);
    const parts = [];
    if (isBusy && uploads.isPaused) parts.push("Paused. What was sent is kept.");
    else if (isBusy && uploads.stalled) parts.push(uploads.stalled);
    else if (isBusy && speed.perSecond > 0) {
      parts.push(`${size(speed.perSecond)}/s`, remaining(facts.leftBytes / speed.perSecond));
    }
    if (facts.savedBytes > 0) parts.push(`${size(facts.savedBytes)} already here, not sent`);
    line.textContent = parts.join(" · ");
    line.hidden = parts.length === 0;
    bar.hidden = !isBusy;
    bar.value = facts.progress;
    hold.hidden = !isBusy;
    again.hidden = isBusy || !tasks.some((task) => task.state === "failed" && task.canRetry);
    name(hold, uploads.isPaused ? "Go on with the uploads" : "Pause the uploads");
    if (hold.dataset.shown !== String(uploads.isPaused)) {
      hold.dataset.shown = String(uploads.isPaused);
      hold.replaceChildren(icon(uploads.isPaused ? "play" : "pause"));
    }
    name(close, isBusy ? "Cancel all uploads" : "Close");
    drawList(list, tasks, uploads);
    document.title = isBusy ? `${facts.percent} % – ${pageTitle}` : pageTitle;
    if (wasBusy && !isBusy) announce(title.textContent);
    if (!wasBusy && isBusy) announce(`Uploading ${count(tasks.length, "file", "files")}.`);
    wasBusy = isBusy;
  };
  uploads.addEventListener("change", () => {
    if (isScheduled) return;
    isScheduled = true;
    // Not requestAnimationFrame: a hidden tab would never show its percentage in the title.
    setTimeout(draw, 60);
  });
  window.addEventListener("beforeunload", (event) => {
    if (uploads.isBusy) event.preventDefault();
  });
}

function name(button, label) {
  button.setAttribute("aria-label", label);
  button.title = label;
}

function summary(tasks) {
  const facts = { over: 0, done: 0, failed: 0, cancelled: 0, sentBytes: 0, savedBytes: 0, leftBytes: 0 };
  let weight = 0;
  let finished = 0;
  for (const task of tasks) {
    if (task.isOver) facts.over += 1;
    else facts.leftBytes += task.file.size - task.sentBytes - task.savedBytes;
    if (task.state in facts) facts[task.state] += 1;
    facts.sentBytes += task.sentBytes;
    facts.savedBytes += task.savedBytes;
    // Every file costs something, an empty one too.
    const own = task.file.size + 10_000;
    weight += own;
    finished += own * task.progress;
  }
  facts.progress = weight === 0 ? 0 : finished / weight;
  facts.percent = Math.floor(100 * facts.progress);
  return facts;
}

function ending(facts) {
  const parts = [];
  if (facts.done > 0) parts.push(`${count(facts.done, "file", "files")} uploaded`);
  if (facts.failed > 0) parts.push(`${facts.failed} failed`);
  if (facts.cancelled > 0) parts.push(`${facts.cancelled} cancelled`);
  return parts.join(" · ");
}

function drawList(list, tasks, uploads) {
  const shown = [...tasks]
    .sort((one, other) => ORDER.indexOf(one.state) - ORDER.indexOf(other.state))
    .slice(0, SHOWN);
  const kept = new Map([...list.children].map((row) => [row.dataset.id, row]));
  const rows = shown.map((task) => {
    const row = kept.get(task.id) ?? make("li", { class: "tray-item", "data-id": task.id });
    const text = stateText(task);
    // Drawn again only when it says something else: a button under the pointer stays.
    if (row.dataset.state === task.state && row.dataset.text === text) return row;
    row.dataset.state = task.state;
    row.dataset.text = text;
    const hadFocus = row.contains(document.activeElement);
    row.replaceChildren(
      icon(ICONS[task.state]),
      make(
        "div",
        {},
        make("div", { class: "tray-name", title: task.name }, task.name),
        make("div", { class: "tray-state" }, text),
      ),
      make("div", { class: "tray-buttons" }, ...buttons(task, uploads)),
    );
    if (hadFocus) row.querySelector("button")?.focus();
    return row;
  });
  if (tasks.length > SHOWN) {
    const more = list.querySelector("[data-id=more]") ?? make("li", { class: "tray-item", "data-id": "more" });
    more.replaceChildren(icon("ellipsis"), `and ${tasks.length - SHOWN} more`);
    rows.push(more);
  }
  const isSame = rows.length === list.children.length && rows.every((row, at) => row === list.children[at]);
  if (!isSame) list.replaceChildren(...rows);
}

function buttons(task, uploads) {
  if (!task.isOver) {
    const label = `Cancel ${task.file.name}`;
    const onclick = () => uploads.cancel(task);
    return [make("button", { class: "icon-button", "aria-label": label, onclick }, icon("x"))];
  }
  if (task.state === "done" || !task.canRetry) return [];
  const label = `Try ${task.file.name} again`;
  const onclick = () => uploads.retry(task);
  return [
    make("button", { class: "icon-button", "aria-label": label, onclick }, icon("rotate-ccw")),
  ];
}

function stateText(task) {
  switch (task.state) {
    case "waiting":
      return `Waiting · ${size(task.file.size)}`;
    case "asking":
      return "Waiting for your answer";
    case "hashing":
      return `Checking what is new · ${size(task.file.size)}`;
    case "sending":
      return `${size(task.sentBytes + task.savedBytes)} of ${size(task.file.size)}`;
    case "finishing":
      return "Finishing";
    default:
      return task.detail;
  }
}

/** Bytes a second over the last few seconds. */
class Speed {
  #notes = [];
  perSecond = 0;

  note(bytes) {
    const now = performance.now();
    this.#notes.push([now, bytes]);
    while (this.#notes.length > 2 && now - this.#notes[0][0] > SPEED_WINDOW_MS) this.#notes.shift();
    const [since, before] = this.#notes[0];
    this.perSecond = now - since > 500 ? Math.max(0, (1000 * (bytes - before)) / (now - since)) : 0;
  }
}
