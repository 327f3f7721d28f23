// The trash: bring things back, or delete them for ever, which alone is asked twice.

import { Actions } from "../actions.js";
import { api, explain } from "../api.js";
import { offer } from "../bar.js";
import { announce, icon, make } from "../dom.js";
import { openDialog } from "../dialogs.js";
import { ahead, count, exact, sentence } from "../format.js";
import { addKeys, showKeys } from "../keys.js";
import { itemOf, List } from "../list.js";
import { follow } from "../live.js";
import { refreshStorage, startPage } from "../page.js";
import { chooseFolder } from "../tree.js";

startPage();

const list = new List(document.querySelector("#list"), {
  load: (query) => api("GET", `/trash?${query}`),
  read: (state) => ({
    ...itemOf(state),
    deleted: state.deleted_at,
    home: state.is_parent_live ? "1" : undefined,
    from: state.original_path.slice(0, -state.name.length - 1) || "/",
    expires: new Date(state.expires_at),
  }),
  fill: (row, { name, from, expires }) => {
    const left = make("time", { datetime: expires.toISOString(), title: exact(expires), "data-ahead": "" });
    left.textContent = ahead(expires);
    row.querySelector(".left").replaceChildren(left);
    row.querySelector(".from").textContent = from;
    row.querySelector(".from").title = from;
    row.querySelector(".small-facts").textContent = `${from} · ${ahead(expires)}`;
    row.querySelector(".restore").setAttribute("aria-label", `Restore ${name}`);
  },
  // The latest first.
  compare: (one, other) => new Date(other.deleted) - new Date(one.deleted) || (one.id < other.id ? 1 : -1),
});
const actions = new Actions(list);
const emptyButton = document.querySelector("#empty-trash");
const showButton = () => (emptyButton.hidden = list.element.hidden);
new MutationObserver(showButton).observe(list.element, { attributeFilter: ["hidden"] });
showButton();
emptyButton.addEventListener("click", askAll);
// What is deleted for ever has left the journal long ago: the other tabs hear of it here.
const others = new BroadcastChannel("drive-trash");
others.addEventListener("message", ({ data }) => {
  for (const id of data) list.remove(id);
});

/** To where they were; where that is gone, the person says where to. */
async function restore(items) {
  const homeless = items.filter(({ home }) => !home);
  const rest = items.filter(({ home }) => home);
  if (rest.length > 0) await actions.restore(rest);
  if (homeless.length > 0) {
    const said = ["The folder of “{name}” is gone. Restore to", "The folders of {count} items are gone. Restore to"];
    await restoreTo(homeless, ...said);
  }
}

async function restoreTo(items, one = "Restore “{name}” to", many = "Restore {count} items to") {
  const target = await chooseFolder({ title: sentence(items.length, one, many, items[0]), verb: "Restore here" });
  if (target !== null) await actions.restore(items, target.id);
}

addKeys([
  ...list.keys,
  ...offer(list, [
    { label: "Restore", icon: "undo-2", key: "r", bar: true, run: restore },
    { label: "Restore to…", icon: "folder-input", key: "m", bar: true, run: (items) => restoreTo(items) },
    null,
    { label: "Delete for ever…", icon: "trash-2", key: "Delete", bar: true, isDanger: true, run: askSome },
  ]),
  { keys: "?", label: "This list", run: showKeys },
]);
list.element.addEventListener("click", (event) => {
  const row = event.target.closest(".row");
  if (event.target.closest(".restore") !== null) restore([list.get(row.dataset.id)]);
});

// --- News: what is deleted anywhere comes, what is restored goes

const live = follow(list.element.dataset.cursor);
let isAsking = false;
live.addEventListener("entry", async ({ detail: { action, item: state } }) => {
  if (action === "upsert") list.remove(state.folder_id ?? state.file_id);
  if (action !== "delete" || isAsking) return;
  isAsking = true;
  // After the entries of this page; where it was and for how long stands in the trash alone.
  await new Promise((resolve) => setTimeout(resolve, 50));
  isAsking = false;
  try {
    const page = await api("GET", "/trash?limit=200");
    for (const each of page.items) list.upsert(list.read(each), { isNews: true });
  } catch (error) {
    // The server is away: the next deletion asks again, and so does a reload.
    if (!error.isTransient) throw error;
  }
});

// --- For ever

function askSome(items) {
  ask({
    title: sentence(items.length, "Delete “{name}” for ever?", "Delete {count} items for ever?", items[0]),
    text: sentence(
      items.length,
      items[0].type === "folder"
        ? "The folder, everything in it and all versions are deleted here and cannot be brought back."
        : "The file and all of its versions are deleted here and cannot be brought back.",
      "All of them, what is in the folders among them and all versions are deleted here and cannot be brought back.",
    ),
    // Of many it is the number that people get wrong.
    word: items.length === 1 ? "delete" : String(items.length),
    verb: "Delete for ever",
    act: async () => {
      await actions.purge(items);
      others.postMessage(items.map(({ id }) => id));
      announce(sentence(items.length, "“{name}” was deleted for ever.", "{count} items were deleted for ever.", items[0]));
    },
  });
}

function askAll() {
  const more = Boolean(list.element.dataset.next);
  const what = more ? `more than ${list.length} items` : count(list.length, "item", "items");
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
      refreshStorage().catch((error) => error.isTransient || console.error(error));
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
      make("button", { class: "button", onclick: () => dialog.close() }, "Keep"),
      confirm,
    ],
  });
  field.focus();
}
