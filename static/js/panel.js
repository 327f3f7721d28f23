// A page of the server in a dialog over the list, under its own address: Back closes it.

import { request } from "./api.js";
import { openDialog } from "./dialogs.js";
import { make } from "./dom.js";
import { fail } from "./toast.js";

let dialog = null;
// The answer that is still wanted: who steps on quickly wants the last one.
let latest = 0;

const isPanel = () => history.state?.panel === true;

/** Show the part `#panel` of a page; its links and forms lead on within the dialog. */
export function openPanel(url) {
  if (!isPanel()) history.pushState({ panel: true }, "", url);
  if (dialog === null) {
    dialog = openDialog({ title: "…", body: [make("p", { class: "muted" }, "Loading…")], onClose: closed });
    dialog.classList.add("wide");
    dialog.addEventListener("click", onClick);
    dialog.addEventListener("submit", onSubmit);
    dialog.addEventListener("keydown", onKey);
  }
  return load(url);
}

function closed() {
  dialog = null;
  latest++;
  if (isPanel()) history.back();
}

async function load(url, options = {}) {
  const mine = ++latest;
  try {
    const answer = await request(url, options);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (mine !== latest) return;
    const panel = page.querySelector("#panel");
    if (panel === null) {
      // Signed out, or gone meanwhile: the server says it better.
      location.assign(url);
      return;
    }
    // The answer to a form that was refused has no address of its own.
    if (!options.method || answer.redirected) history.replaceState({ panel: true }, "", answer.url);
    // What had the focus is replaced; what does the same takes it.
    const rel = dialog.contains(document.activeElement) ? document.activeElement.rel : "";
    dialog.querySelector("#dialog-title").textContent = panel.dataset.title;
    dialog.querySelector(".dialog-body").replaceChildren(document.adoptNode(panel));
    (dialog.querySelector(rel ? `[rel="${rel}"]` : "none") ?? dialog.querySelector(".dialog-head button")).focus();
  } catch (error) {
    if (mine !== latest) return;
    dialog.close();
    fail(error, "This could not be shown.");
  }
}

function onClick(event) {
  const link = event.target.closest("#panel a");
  if (link === null || link.dataset.leave !== undefined || link.target || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  load(link.href);
}

function onSubmit(event) {
  event.preventDefault();
  load(event.target.action, { method: "POST", body: new FormData(event.target, event.submitter) });
}

function onKey(event) {
  const rel = { ArrowLeft: "prev", ArrowRight: "next" }[event.key];
  if (!rel || event.altKey || event.target.closest("audio, video, pre, table, input")) return;
  dialog.querySelector(`a[rel="${rel}"]`)?.click();
}

window.addEventListener("popstate", () => {
  if (isPanel()) openPanel(location.href);
  else dialog?.close();
});
