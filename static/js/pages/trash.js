// The trash: bring things back, or delete them for ever, which alone is asked twice.

import { api, explain } from "../api.js";
import { announce, icon, make } from "../dom.js";
import { openDialog } from "../dialogs.js";
import { count } from "../format.js";
import { startPage } from "../page.js";
import { fail, toast } from "../toast.js";

startPage();

const list = document.querySelector("#list");
const emptyButton = document.querySelector("#empty-trash");
if (emptyButton !== null) {
  emptyButton.hidden = false;
  emptyButton.addEventListener("click", () => askAll());
}

list.addEventListener("click", (event) => {
  const row = event.target.closest(".row");
  if (row === null) return;
  if (event.target.closest(".restore") !== null) restore(row);
  else if (event.target.closest(".purge") !== null) askOne(row);
});

async function restore(row) {
  const { id, name } = row.dataset;
  row.classList.add("is-busy");
  try {
    const item = await api("POST", `/trash/${id}/restore`, {});
    take(row);
    const path = item.type === "folder" ? `/folders/${id}` : `/files/${id}`;
    toast(item.name === name ? `“${name}” is back.` : `“${name}” is back as “${item.name}”.`, {
      undo: async () => {
        await api("DELETE", path, undefined, { ifMatch: item.rev });
        location.reload();
      },
    });
  } catch (error) {
    row.classList.remove("is-busy");
    fail(error, `“${name}” was not restored.`);
  }
}

/** A row goes; the focus goes to the next one. */
function take(row) {
  const next = row.nextElementSibling ?? row.previousElementSibling;
  row.remove();
  const isEmpty = list.querySelector(".row") === null;
  if (isEmpty && list.querySelector(".more") !== null) {
    location.reload();
    return;
  }
  list.hidden = isEmpty;
  document.querySelector("#empty").hidden = !isEmpty;
  if (isEmpty) emptyButton.hidden = true;
  (next?.querySelector("button") ?? document.querySelector("#main")).focus();
}

function askOne(row) {
  const { id, name, type } = row.dataset;
  ask({
    title: `Delete “${name}” for ever?`,
    text:
      type === "folder"
        ? "The folder, everything in it and all versions are deleted here and cannot be brought back."
        : "The file and all of its versions are deleted here and cannot be brought back.",
    word: "delete",
    verb: "Delete for ever",
    act: async () => {
      await api("DELETE", `/trash/${id}`);
      take(row);
      announce(`${name} was deleted for ever.`);
    },
  });
}

function askAll() {
  const rows = list.querySelectorAll(".row").length;
  const hasMore = list.querySelector(".more") !== null;
  const what = hasMore ? `more than ${rows} items` : count(rows, "item", "items");
  ask({
    title: "Empty the trash?",
    text: `All that is in the trash (${what}) is deleted with all versions and cannot be brought back.`,
    word: "empty",
    verb: "Empty trash",
    act: async () => {
      await api("DELETE", "/trash");
      location.reload();
    },
  });
}

/** The only question of these pages: what follows cannot be undone, so a word is typed. */
function ask({ title, text, word, verb, act }) {
  const field = make("input", { class: "input", id: "confirm", autocomplete: "off", autocapitalize: "none" });
  const problem = make("p", { class: "form-error", role: "alert", hidden: true });
  const confirm = make("button", { type: "submit", class: "button danger solid", disabled: true, form: "ask" }, verb);
  const isRight = () => field.value.trim().toLowerCase() === word;
  const form = make(
    "form",
    { id: "ask", class: "form" },
    make("p", {}, text),
    make(
      "div",
      { class: "field" },
      make("label", { for: "confirm" }, "To confirm, type ", make("strong", {}, word)),
      field,
    ),
    problem,
  );
  field.addEventListener("input", () => (confirm.disabled = !isRight()));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!isRight()) return;
    confirm.disabled = true;
    try {
      await act();
      dialog.close();
    } catch (error) {
      problem.replaceChildren(icon("circle-alert"), explain(error));
      problem.hidden = false;
      confirm.disabled = false;
    }
  });
  const dialog = openDialog({
    title,
    isSmall: true,
    body: [form],
    buttons: [
      make("button", { type: "button", class: "button", onclick: () => dialog.close() }, "Keep"),
      confirm,
    ],
  });
  field.focus();
}
