// The folder page: puts the list, its actions, uploads and news together.

import { Actions, edit } from "../actions.js";
import { api, newId } from "../api.js";
import { announce, make } from "../dom.js";
import { openDialog } from "../dialogs.js";
import { dropTarget, draggableRows } from "../drag.js";
import { readDrop, readInput } from "../drop.js";
import { itemOf, List } from "../list.js";
import { Live } from "../live.js";
import { openMenu } from "../menu.js";
import { refreshStorage, startPage } from "../page.js";
import { openShare } from "../share.js";
import { askAboutTaken } from "../taken.js";
import { toast } from "../toast.js";
import { showUploads } from "../tray.js";
import { Uploads } from "../uploads.js";
import { openVersions } from "../versions.js";

startPage();

const list = new List(document.querySelector("#list"));
const actions = new Actions(list);
const uploads = new Uploads(new URL(list.element.dataset.worker, location.href), askAboutTaken);
const files = document.querySelector("#choose-files");
const folder = document.querySelector("#choose-folder");

// --- What can be done with an item: one table for the menu, the keys and the help

const ACTIONS = [
  { name: "download", label: "Download", icon: "download", onlyFiles: true, run: (item) => actions.download(item) },
  { name: "share", label: "Share by link…", icon: "share-2", key: "S", run: openShare },
  null,
  { name: "rename", label: "Rename", icon: "pencil", key: "F2", run: (item) => actions.rename(item) },
  { name: "move", label: "Move…", icon: "folder-input", key: "M", run: (item) => actions.move(item) },
  {
    name: "versions",
    label: "Versions…",
    icon: "history",
    key: "V",
    onlyFiles: true,
    run: (item) => openVersions(item, (restored) => list.upsert(restored)),
  },
  null,
  { name: "trash", label: "Delete", icon: "trash-2", key: "Del", isDanger: true, run: (item) => actions.trash(item) },
];

const entriesFor = (item) =>
  ACTIONS.filter((action) => action === null || !action.onlyFiles || item.type === "file")
    .map((action) => action && { ...action, run: () => action.run(list.get(item.id) ?? item) })
    // No line on top, where all above it was left out.
    .filter((entry, index) => entry !== null || index > 0);

list.addEventListener("open", ({ detail: { item, at, row } }) => {
  openMenu(at, entriesFor(item), { returnTo: row });
});
list.addEventListener("act", ({ detail: { item, action } }) => {
  entriesFor(item)
    .find((entry) => entry?.name === action)
    ?.run();
});

// --- New folder

async function newFolder() {
  const folderId = newId();
  const place = make("div");
  const row = make("div", { class: "row" }, make("div", { class: "name" }, place));
  list.element.hidden = false;
  document.querySelector("#empty").hidden = true;
  list.element.querySelector(".list-head").after(row);
  row.scrollIntoView({ block: "nearest" });
  let made = null;
  edit({
    place,
    name: "New folder",
    label: "Name of the new folder",
    save: async (name) => {
      made = itemOf(
        await api("POST", "/folders", { folder_id: folderId, parent_folder_id: list.folderId, name }),
      );
    },
    done: () => {
      row.remove();
      const isEmpty = made === null && list.length === 0;
      list.element.hidden = isEmpty;
      document.querySelector("#empty").hidden = !isEmpty;
      if (made === null) {
        button.focus();
        return;
      }
      if (made.id !== folderId) toast(`There is a folder “${made.name}” already.`);
      list.upsert(made);
      list.focus(made.id);
      announce(`Folder ${made.name} created.`);
    },
  });
}

const button = document.querySelector("#new-folder");
button.addEventListener("click", newFolder);

// --- Uploads

showUploads(uploads);

async function take(found, folderId) {
  if (found.files.length + found.folders.length + found.unreadable.length === 0) {
    toast("There was nothing to upload in what you dropped.", { isError: true });
    return;
  }
  if (found.files.length === 0 && found.unreadable.length === 0) {
    announce("Creating the folders.");
  }
  await uploads.add(found, folderId);
  // The folders that were made, also where no signal comes through.
  live.pull();
}

const upload = document.querySelector("#upload");
upload.addEventListener("click", () => {
  openMenu(upload, [
    { label: "Files…", icon: "file-up", key: "U", run: () => files.click() },
    { label: "A folder…", icon: "folder-up", run: () => folder.click() },
  ]);
});
for (const input of [files, folder]) {
  input.addEventListener("change", () => {
    take(readInput(input.files), list.folderId);
    // The same choice again is a choice, too.
    input.value = "";
  });
}
for (const choose of document.querySelectorAll("[data-choose]")) {
  choose.addEventListener("click", () => (choose.dataset.choose === "folder" ? folder : files).click());
}
uploads.addEventListener("committed", ({ detail: file }) => {
  const item = itemOf(file);
  if (item.parentId === list.folderId) list.upsert(item, { isNews: true });
});
let wasBusy = false;
uploads.addEventListener("change", () => {
  if (wasBusy && !uploads.isBusy) {
    // Only a number at the edge: where it cannot be had, the old one stays.
    refreshStorage().catch((error) => error.isTransient || console.error(error));
  }
  wasBusy = uploads.isBusy;
});
document.addEventListener("paste", (event) => {
  if (event.target.closest("input") !== null || event.clipboardData.files.length === 0) return;
  event.preventDefault();
  readDrop(event.clipboardData).then((found) => take(found, list.folderId));
});

for (const hidden of [upload, button]) hidden.hidden = false;

// --- Dragging: files from outside, items within

draggableRows(list);
dropTarget(document.body, {
  list,
  onFiles: async (dataTransfer, folderId) => await take(await readDrop(dataTransfer), folderId),
  onItem: (id, folderId, folderName) => {
    const item = list.get(id);
    if (item !== undefined) actions.moveTo(item, folderId, folderName);
  },
});

// --- News from elsewhere

const live = new Live(list.element.dataset.cursor);
const sign = document.querySelector("#live");
const bar = document.querySelector("#offline");
live.addEventListener("state", ({ detail: state }) => {
  sign.dataset.state = state;
  const words = { live: "Live", connecting: "Connecting", offline: "Offline" }[state];
  sign.lastElementChild.textContent = words;
  sign.title = state === "live" ? "Changes of other devices appear here at once" : words;
  bar.hidden = state !== "offline";
  bar.lastElementChild.textContent =
    "The server cannot be reached. What you see is the last known state; trying again.";
});
live.addEventListener("entry", ({ detail: { action, item: state } }) => {
  if (state.type === "mount") return;
  const item = itemOf(state);
  if (action === "upsert" && item.parentId === list.folderId) {
    list.upsert(item, { isNews: true });
  } else {
    const known = list.get(item.id);
    if (known !== undefined && known.rev < item.rev) list.remove(item.id);
  }
  const crumb = document.querySelector(`.crumbs [data-folder="${item.id}"]`);
  if (crumb === null) return;
  if (action === "delete") gone(item.name);
  else if (item.parentId !== null) crumb.textContent = item.name;
});
live.addEventListener("reset", () => {
  // The list no longer follows from what is shown: read it anew, unless that costs an upload.
  if (!uploads.isBusy) location.reload();
});
live.start();

function gone(name) {
  if (document.querySelector("dialog[open]") !== null) return;
  openDialog({
    title: "This folder was deleted",
    isSmall: true,
    body: [
      make(
        "p",
        {},
        `“${name}” was moved to the trash from another device. Everything in it can be restored there.`,
      ),
    ],
    buttons: [
      make("a", { class: "button", href: "/trash" }, "Open the trash"),
      make("a", { class: "button primary", href: "/" }, "Go to my files"),
    ],
  });
}

// --- Keys of the page

const PAGE_KEYS = [
  ["↑ ↓ Home End", "Go through the list"],
  ["Enter", "Open a folder, download a file"],
  ["Shift F10", "All actions of an item"],
  ...ACTIONS.filter((action) => action?.key).map(({ key, label }) => [key, label.replace("…", "")]),
  ["N", "New folder"],
  ["U", "Upload files"],
  ["Backspace", "To the folder above"],
  ["?", "This list"],
];

document.addEventListener("keydown", (event) => {
  const isElsewhere = event.target.closest("input, select, textarea, dialog, .menu") !== null;
  if (isElsewhere || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (event.key === "n") newFolder();
  else if (event.key === "u") files.click();
  else if (event.key === "Backspace") {
    const above = document.querySelectorAll(".crumbs a");
    if (above.length > 0) above[above.length - 1].click();
  } else if (event.key === "?") showKeys();
  else if (event.key === "ArrowDown" && event.target === document.body && list.current) {
    list.focus(list.current.id);
  } else return;
  event.preventDefault();
});

function showKeys() {
  const lines = PAGE_KEYS.flatMap(([keys, meaning]) => [
    make("dt", {}, ...keys.split(" ").flatMap((key) => [make("kbd", {}, key), " "])),
    make("dd", {}, meaning),
  ]);
  openDialog({ title: "Keys", isSmall: true, body: [make("dl", { class: "keys" }, ...lines)] });
}
