// The list of a folder: rows that the server rendered, rows of later pages, and rows that
// come, change and go while somebody looks. One row at a time can be reached by Tab; the
// arrows do the rest.

import { api } from "./api.js";
import { announce, isTyping, setIcon } from "./dom.js";
import { ago, exact, exactSize, kindOf, showTime, size } from "./format.js";

const PAGE_ROWS = 500;

/** The state of a folder or file in the API's words, as the list keeps it. */
export function itemOf(state) {
  return {
    id: state.type === "folder" ? state.folder_id : state.file_id,
    type: state.type,
    name: state.name,
    rev: state.rev,
    parentId: state.parent_folder_id,
    modifiedAt: new Date(state.modified_at),
    sizeBytes: state.type === "folder" ? null : state.size_bytes,
    isDamaged: state.is_damaged === true,
  };
}

/** Where an item opens: a folder its page, a file its content. */
export function hrefOf(item) {
  return item.type === "folder" ? `/folders/${item.id}` : `/api/v1/files/${item.id}/content`;
}

/** What must be unique in a folder: NFC, and characters folded that fold to a single one. */
function nameKey(name) {
  return Array.from(name.normalize("NFC"), (character) => {
    const folded = character.toLowerCase();
    return [...folded].length === 1 ? folded : character;
  }).join("");
}

/** The order in which the server lists names: by what must be unique, by code point. */
export function compareNames(one, other) {
  return compareText(nameKey(one), nameKey(other));
}

function compareText(one, other) {
  const left = [...one];
  const right = [...other];
  for (let at = 0; at < Math.min(left.length, right.length); at++) {
    const difference = left[at].codePointAt(0) - right[at].codePointAt(0);
    if (difference !== 0) return difference;
  }
  return left.length - right.length;
}

/**
 * The list on the page. Fires "open" (an item's menu is wanted: `{ item, at, row }`), "act"
 * (a key was pressed: `{ item, action }`) and "emptied" or "filled".
 */
export class List extends EventTarget {
  #items = new Map();
  #rows = new Map();
  #isLoading = false;
  #nearEnd = null;

  constructor(element) {
    super();
    this.element = element;
    this.folderId = element.dataset.folder;
    this.template = document.querySelector("#row");
    this.more = document.querySelector("#more");
    for (const row of this.#all()) this.#adopt(row);
    this.#rove(element.querySelector(".row"));
    this.#listen();
    if (this.more !== null) {
      this.more.querySelector("button").addEventListener("click", () => this.loadMore());
      this.#nearEnd = new IntersectionObserver(
        (seen) => {
          if (seen.some((entry) => entry.isIntersecting)) this.loadMore();
        },
        { root: document.querySelector("#main"), rootMargin: "1200px" },
      );
      this.#nearEnd.observe(this.more);
    }
  }

  get(id) {
    return this.#items.get(id);
  }

  rowOf(id) {
    return this.#rows.get(id);
  }

  get length() {
    return this.#items.size;
  }

  /** The item whose row has the focus, or had it last. */
  get current() {
    const row = this.element.querySelector('.row[tabindex="0"]');
    return row === null ? undefined : this.#items.get(row.dataset.id);
  }

  focus(id) {
    const row = this.#rows.get(id);
    if (row === undefined) return;
    this.#rove(row);
    row.focus();
  }

  // --- What the server says

  /** Put an item where it belongs. Older news than what is shown change nothing. */
  upsert(item, { isNews = false } = {}) {
    const known = this.#items.get(item.id);
    if (known !== undefined && known.rev >= item.rev) return;
    let row = this.#rows.get(item.id);
    if (row === undefined) {
      if (!this.#fits(item)) return;
      row = this.template.content.firstElementChild.cloneNode(true);
      this.#rows.set(item.id, row);
      this.#prepare(row);
      if (isNews) {
        row.classList.add("is-new");
        row.addEventListener("animationend", () => row.classList.remove("is-new"), { once: true });
      }
    }
    this.#items.set(item.id, item);
    this.#fill(row, item);
    this.#place(row, item);
    if (this.element.querySelector('.row[tabindex="0"]') === null) this.#rove(row);
    this.#tell();
  }

  remove(id) {
    const row = this.#rows.get(id);
    if (row === undefined) return;
    const hadFocus = row.contains(document.activeElement);
    const next = this.#neighbour(row, 1) ?? this.#neighbour(row, -1);
    const wasCurrent = row.tabIndex === 0;
    row.remove();
    this.#rows.delete(id);
    this.#items.delete(id);
    if (wasCurrent && next !== null) this.#rove(next);
    if (hadFocus) (next ?? document.querySelector("#main")).focus();
    this.#tell();
  }

  /** The next page from the API, at the end of the list. */
  async loadMore() {
    const cursor = this.element.dataset.next;
    if (!cursor || this.#isLoading) return;
    this.#isLoading = true;
    const { sort, order } = this.element.dataset;
    const button = this.more.querySelector("button");
    button.textContent = "Loading…";
    try {
      const query = new URLSearchParams({ sort, order, cursor, limit: PAGE_ROWS });
      const page = await api("GET", `/folders/${this.folderId}/children?${query}`);
      this.element.dataset.next = page.next_cursor ?? "";
      this.more.hidden = page.next_cursor === null;
      const fragment = document.createDocumentFragment();
      for (const state of page.items) {
        const item = itemOf(state);
        if (this.#items.has(item.id)) continue;
        const row = this.template.content.firstElementChild.cloneNode(true);
        this.#items.set(item.id, item);
        this.#rows.set(item.id, row);
        this.#prepare(row);
        this.#fill(row, item);
        fragment.append(row);
      }
      this.more.before(fragment);
      button.textContent = "Show more";
      // It tells of changes only: who scrolls fast is at the end all the time.
      this.#nearEnd.unobserve(this.more);
      this.#nearEnd.observe(this.more);
    } catch (error) {
      // The button stays: the rest of the list is asked for again by hand.
      button.textContent = `The rest could not be loaded. ${error.message} Try again`;
    } finally {
      this.#isLoading = false;
    }
  }

  // --- Rows

  #adopt(row) {
    const { id, type, name, rev, modified, size } = row.dataset;
    this.#items.set(id, {
      id,
      type,
      name,
      rev: Number(rev),
      parentId: this.folderId,
      modifiedAt: new Date(modified),
      sizeBytes: type === "folder" ? null : Number(size),
      isDamaged: !row.querySelector(".damaged").hidden,
    });
    this.#rows.set(id, row);
    this.#prepare(row);
  }

  #prepare(row) {
    row.tabIndex = -1;
    row.draggable = true;
    // One stop for the Tab key is the row; the link and the button have keys of their own.
    for (const inner of row.querySelectorAll("a, button")) inner.tabIndex = -1;
  }

  #fill(row, item) {
    row.dataset.id = item.id;
    row.dataset.type = item.type;
    const { icon, kind } = kindOf(item);
    const svg = row.querySelector(".name svg");
    svg.setAttribute("class", `icon kind-${kind}`);
    setIcon(svg, icon);
    const link = row.querySelector(".name-link");
    link.textContent = item.name;
    link.href = hrefOf(item);
    row.querySelector(".damaged").hidden = !item.isDamaged;
    let time = row.querySelector(".modified time");
    if (time === null) {
      time = document.createElement("time");
      row.querySelector(".modified").replaceChildren(time);
    }
    showTime(time, item.modifiedAt);
    const cell = row.querySelector(".cell.size");
    const facts = [ago(item.modifiedAt)];
    if (item.type === "file") {
      cell.textContent = size(item.sizeBytes);
      cell.title = exactSize(item.sizeBytes);
      facts.push(size(item.sizeBytes));
    } else {
      cell.textContent = "–";
      cell.title = "";
    }
    const small = row.querySelector(".small-facts");
    small.textContent = facts.join(" · ");
    small.title = exact(item.modifiedAt);
    row.querySelector(".row-menu").setAttribute("aria-label", `Actions for ${item.name}`);
  }

  /** Folders first; then by the order that the page was asked for. */
  #compare(one, other) {
    if (one.type !== other.type) return one.type === "folder" ? -1 : 1;
    const { sort, order } = this.element.dataset;
    let difference;
    if (sort === "modified") difference = one.modifiedAt - other.modifiedAt;
    else if (sort === "size" && one.type === "file") difference = one.sizeBytes - other.sizeBytes;
    else difference = compareNames(one.name, other.name);
    if (difference === 0) difference = compareText(one.id, other.id);
    return order === "desc" ? -difference : difference;
  }

  /** Whether a new item lies within what is loaded; else it comes with a later page. */
  #fits(item) {
    if (!this.element.dataset.next) return true;
    const rows = this.#all();
    const last = rows.length > 0 ? this.#items.get(rows.at(-1).dataset.id) : undefined;
    return last === undefined || this.#compare(item, last) < 0;
  }

  #place(row, item) {
    const rows = this.#all().filter((other) => other !== row);
    let low = 0;
    let high = rows.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const other = this.#items.get(rows[middle].dataset.id);
      if (this.#compare(other, item) < 0) low = middle + 1;
      else high = middle;
    }
    const before = rows[low] ?? this.more;
    // A row that is moved loses the focus, so it stays where it is when that is right.
    if (row.isConnected && row.nextElementSibling === before) return;
    const hadFocus = row.contains(document.activeElement) ? document.activeElement : null;
    before.before(row);
    hadFocus?.focus({ preventScroll: true });
  }

  #all() {
    // The row in which a new folder is being named is none of them.
    return [...this.element.querySelectorAll(".row[data-id]")];
  }

  #tell() {
    const isEmpty = this.#items.size === 0 && !this.element.dataset.next;
    this.element.hidden = isEmpty;
    document.querySelector("#empty").hidden = !isEmpty;
  }

  // --- Focus and keys

  #rove(row) {
    for (const other of this.element.querySelectorAll('.row[tabindex="0"]')) other.tabIndex = -1;
    if (row) row.tabIndex = 0;
  }

  #neighbour(row, step) {
    let next = row;
    do {
      next = step > 0 ? next.nextElementSibling : next.previousElementSibling;
    } while (next !== null && !next.matches(".row[data-id]"));
    return next;
  }

  #listen() {
    const { element } = this;
    element.addEventListener("focusin", (event) => {
      const row = event.target.closest(".row");
      if (row !== null) this.#rove(row);
    });
    element.addEventListener("keydown", (event) => this.#onKey(event));
    element.addEventListener("click", (event) => {
      const row = event.target.closest(".row");
      if (row === null) return;
      const button = event.target.closest(".row-menu");
      if (button !== null) this.#openMenu(row, button);
    });
    element.addEventListener("dblclick", (event) => {
      const row = event.target.closest(".row");
      if (row === null || event.target.closest("a, button, input") !== null) return;
      row.querySelector(".name-link").click();
    });
    element.addEventListener("contextmenu", (event) => {
      const row = event.target.closest(".row");
      if (row === null || event.target.closest("input") !== null) return;
      event.preventDefault();
      row.focus({ preventScroll: true });
      this.#openMenu(row, { x: event.clientX, y: event.clientY });
    });
  }

  #openMenu(row, at) {
    const item = this.#items.get(row.dataset.id);
    this.dispatchEvent(new CustomEvent("open", { detail: { item, at, row } }));
  }

  #onKey(event) {
    const row = event.target.closest(".row");
    if (row === null || isTyping(event)) return;
    const item = this.#items.get(row.dataset.id);
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const rows = step === undefined ? this.#all() : [];
    if (event.key === "ContextMenu" || (event.shiftKey && event.key === "F10")) {
      this.#openMenu(row, row.querySelector(".row-menu"));
    } else if (event.ctrlKey || event.metaKey || event.altKey) {
      return;
    } else if (step !== undefined) {
      this.#neighbour(row, step)?.focus();
    } else if (event.key === "Home") {
      rows[0].focus();
    } else if (event.key === "End") {
      rows.at(-1).focus();
    } else if (event.key === "Enter") {
      if (event.target !== row) return;
      row.querySelector(".name-link").click();
    } else {
      const action = { F2: "rename", Delete: "trash", m: "move", s: "share", v: "versions" }[event.key];
      if (action === undefined) return;
      this.dispatchEvent(new CustomEvent("act", { detail: { item, action } }));
    }
    event.preventDefault();
  }

  /** Say how many items there are, for whoever does not see the list. */
  announceLength() {
    announce(`${this.length} ${this.length === 1 ? "item" : "items"}.`);
  }
}
