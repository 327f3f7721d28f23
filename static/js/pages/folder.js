// The folder page: puts the list, its actions, uploads and news together.

import { Actions, edit } from "../actions.js";
import { api, newId } from "../api.js";
import { offer } from "../bar.js";
import { announce, make } from "../dom.js";
import { openDialog } from "../dialogs.js";
import { dropTarget, draggableRows } from "../drag.js";
import { showDetails } from "../details.js";
import { isText, openEditor } from "../editor.js";
import { kindOf } from "../format.js";
import { readDrop, readInput } from "../drop.js";
import { addKeys, showKeys } from "../keys.js";
import { hrefOf, itemOf, List } from "../list.js";
import { follow } from "../live.js";
import { openMenu } from "../menu.js";
import { refreshStorage, startPage } from "../page.js";
import { openPanel } from "../panel.js";
import { openShare } from "../share.js";
import { askAboutTaken } from "../taken.js";
import { toast } from "../toast.js";
import { showUploads } from "../tray.js";
import { Uploads } from "../uploads.js";

startPage();

const list = new List(document.querySelector("#list"));
const actions = new Actions(list);
const uploads = new Uploads(new URL(list.element.dataset.worker, location.href), askAboutTaken);
const files = document.querySelector("#choose-files");
const folder = document.querySelector("#choose-folder");

// --- What can be done with items: one table for the menu, the bar, the keys and the help

const isOne = (items) => items.length === 1;
const isFile = ({ type }) => type === "file";
const areFiles = (items) => items.every(isFile);

const versions = (item) => openPanel(`/files/${item.id}/versions`);
const details = showDetails(list, { versions, share: openShare });

const keys = offer(list, [
  { label: "Download", icon: "download", key: "d", bar: true, run: (items) => actions.download(items) },
  { label: "Share by link…", icon: "share-2", key: "s", when: isOne, run: ([item]) => openShare(item) },
  null,
  {
    label: "Edit",
    icon: "file-pen",
    key: "e",
    when: (items) => isOne(items) && isText(items[0], kindOf(items[0]).kind),
    run: async ([item]) => openEditor(await api("GET", `/files/${item.id}`), uploads),
  },
  { label: "Rename", icon: "pencil", key: "F2", when: isOne, run: ([item]) => actions.rename(item) },
  { label: "Move…", icon: "folder-input", key: "m", bar: true, run: (items) => actions.choose(items, false) },
  { label: "Copy to…", icon: "copy", key: "c", bar: true, run: (items) => actions.choose(items, true) },
  {
    label: "Versions…",
    icon: "history",
    key: "v",
    when: (items) => isOne(items) && areFiles(items),
    run: ([item]) => versions(item),
  },
  { label: "Details", icon: "panel-right", key: "i", run: () => details() },
  null,
  { label: "Delete", icon: "trash-2", key: "Delete", bar: true, isDanger: true, run: (items) => actions.trash(items) },
]);

// --- A file opens over the list

list.addEventListener("activate", (event) => {
  const { item } = event.detail;
  if (!isFile(item)) return;
  event.preventDefault();
  const { sort, order } = list.element.dataset;
  openPanel(`${hrefOf(item)}?sort=${sort}&order=${order}`);
});

// --- New folder

/** A row with a field for the name; `save(name, id)` makes the thing and gives its state. */
function newItem({ name, label, save }) {
  const id = newId();
  const place = make("div");
  const row = make("div", { class: "row" }, make("div", { class: "name" }, place));
  list.element.hidden = false;
  document.querySelector("#empty").hidden = true;
  list.element.querySelector(".list-head").after(row);
  row.scrollIntoView({ block: "nearest" });
  let made = null;
  edit({
    place,
    name,
    label,
    save: async (chosen) => {
      made = itemOf(await save(chosen, id));
    },
    done: () => {
      row.remove();
      const isEmpty = made === null && list.length === 0;
      list.element.hidden = isEmpty;
      document.querySelector("#empty").hidden = !isEmpty;
      if (made === null) {
        document.querySelector("#new").focus();
        return;
      }
      if (made.type === "folder" && made.id !== id) toast(`There is a folder “${made.name}” already.`);
      list.upsert(made);
      list.focus(made.id);
      announce(`${made.name} created.`);
    },
  });
}

const newFolder = () =>
  newItem({
    name: "New folder",
    label: "Name of the new folder",
    save: (name, id) => api("POST", "/folders", { folder_id: id, parent_folder_id: list.folderId, name }),
  });

/** An empty file, and the editor for it. */
const newText = () =>
  newItem({
    name: "New text file.txt",
    label: "Name of the new text file",
    save: async (name) => {
      const target = { on_conflict: "fail" };
      const { file } = await uploads.save(new File([], name), list.folderId, target);
      setTimeout(() => openEditor(file, uploads));
      return file;
    },
  });

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

// --- The clipboard: items by their ids, also from one folder to another; files from outside

const CLIP = "clip";

/** What was copied or cut, as long as the system's clipboard still says so. */
function clip() {
  const kept = JSON.parse(localStorage.getItem(CLIP) ?? "null");
  return kept && { ...kept, items: kept.items.map((item) => ({ ...item, modifiedAt: new Date(item.modifiedAt) })) };
}

for (const kind of ["copy", "cut"]) {
  document.addEventListener(kind, (event) => {
    const items = list.chosen;
    const isText = !getSelection().isCollapsed || event.target.closest?.("input, textarea, dialog");
    if (isText || items.length === 0) return;
    event.preventDefault();
    const text = items.map(({ name }) => name).join("\n");
    event.clipboardData.setData("text/plain", text);
    localStorage.setItem(CLIP, JSON.stringify({ kind, items, text }));
    for (const row of list.element.querySelectorAll(".is-cut")) row.classList.remove("is-cut");
    if (kind === "cut") for (const { id } of items) list.rowOf(id).classList.add("is-cut");
    toast("Open a folder and paste to put it there.");
  });
}

async function paste(kept) {
  const here = document.querySelector("h1[data-folder]").textContent;
  if (kept.kind === "copy") {
    await actions.copyTo(kept.items, list.folderId, here);
  } else {
    localStorage.removeItem(CLIP);
    await actions.moveTo(kept.items, list.folderId, here);
  }
}

document.addEventListener("paste", (event) => {
  if (event.target.closest("input, textarea, dialog") !== null) return;
  const { clipboardData } = event;
  const kept = clip();
  if (clipboardData.files.length > 0) {
    readDrop(clipboardData).then((found) => take(found, list.folderId));
  } else if (kept && clipboardData.getData("text/plain") === kept.text) {
    paste(kept);
  } else {
    return;
  }
  event.preventDefault();
});

// --- Menus of the folder itself

const PLACE = [
  { label: "New folder", icon: "folder-plus", key: "N", run: newFolder },
  { label: "New text file", icon: "file-plus", key: "T", run: newText },
  { label: "Upload files…", icon: "file-up", key: "U", run: () => files.click() },
  { label: "Upload a folder…", icon: "folder-up", run: () => folder.click() },
];

for (const [id, entries] of [
  ["#new", PLACE.slice(0, 2)],
  ["#upload", PLACE.slice(2)],
]) {
  const button = document.querySelector(id);
  button.hidden = false;
  button.addEventListener("click", () => openMenu(button, entries));
}
list.main.addEventListener("contextmenu", (event) => {
  if (event.defaultPrevented || event.target.closest("a, button, input, .row, [role=row]") !== null) return;
  event.preventDefault();
  const kept = clip();
  const more = kept ? [null, { label: "Paste", icon: "clipboard-paste", key: "Ctrl+V", run: () => paste(kept) }] : [];
  const all = { label: "Select all", icon: "list-checks", key: "Ctrl+A", run: () => list.selectAll() };
  openMenu({ x: event.clientX, y: event.clientY }, [...PLACE, ...more, null, all], { returnTo: list.main });
});

// --- Dragging: files from outside, items within

draggableRows(list);
dropTarget(document.body, {
  list,
  onFiles: async (dataTransfer, folderId) => await take(await readDrop(dataTransfer), folderId),
  onItems: (ids, folderId, folderName) => {
    actions.moveTo(ids.map((id) => list.get(id)).filter(Boolean), folderId, folderName);
  },
});

// --- List or grid

const views = document.querySelector("#view");

function show(view) {
  list.element.classList.toggle("is-grid", view === "grid");
  for (const link of views.children) link.setAttribute("aria-current", String(link.dataset.view === view));
}

views.addEventListener("click", (event) => {
  const link = event.target.closest("a");
  if (link === null || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const { view } = link.dataset;
  document.cookie = `view=${view}; Path=/; Max-Age=31536000; SameSite=Lax`;
  const url = new URL(location.href);
  if (url.searchParams.get("view") !== view) {
    url.searchParams.set("view", view);
    history.pushState(null, "", url);
  }
  show(view);
});
window.addEventListener("popstate", () => {
  const view = new URL(location.href).searchParams.get("view") ?? views.dataset.first;
  show(view);
});

// --- Finding a name in this folder

const find = document.querySelector("#find");
find.hidden = false;
find.addEventListener("input", () => list.filter(find.value));
find.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && find.value) {
    find.value = "";
    list.filter("");
  } else if (!["Enter", "ArrowDown", "Escape"].includes(event.key)) {
    return;
  }
  event.preventDefault();
  list.go("Home");
});

// --- News from elsewhere

const live = follow(list.element.dataset.cursor, { isBusy: () => uploads.isBusy });
live.addEventListener("entry", ({ detail: { action, item: state, isNews } }) => {
  if (state.type === "mount") return;
  const item = itemOf(state);
  if (action === "upsert" && item.parentId === list.folderId) {
    list.upsert(item, { isNews });
  } else {
    const known = list.get(item.id);
    if (known !== undefined && known.rev < item.rev) list.remove(item.id);
  }
  const crumb = document.querySelector(`.crumbs [data-folder="${item.id}"]`);
  if (crumb === null) return;
  if (action === "delete") gone(item.name);
  else if (item.parentId !== null) crumb.textContent = item.name;
});

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

const up = () => {
  const above = [...document.querySelectorAll(".crumbs a")].at(-1);
  above?.click();
  return above !== undefined;
};

addKeys([
  ...list.keys,
  ...keys,
  { keys: "Ctrl+c", label: "Copy" },
  { keys: "Ctrl+x", label: "Cut" },
  { keys: "Ctrl+v", label: "Paste here, also files from elsewhere" },
  { keys: "Backspace Alt+ArrowUp", label: "To the folder above", run: up },
  { keys: "n", label: "New folder", run: newFolder },
  { keys: "t", label: "New text file", run: newText },
  { keys: "u", label: "Upload files", run: () => files.click() },
  { keys: "/", label: "Find a name in this folder", run: () => find.focus() },
  { keys: "g", label: "List or grid", run: () => views.querySelector('[aria-current="false"]').click() },
  { keys: "?", label: "This list", run: showKeys },
]);
