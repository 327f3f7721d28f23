// The list of a folder or of the trash: rows that the server rendered, rows of later pages,
// and rows that come, change and go while somebody looks. One row at a time can be reached by
// Tab; any number can be selected, in the order in which they are shown.

import { api } from "./api.js";
import { announce, inlineIcons, setIcon } from "./dom.js";
import { ago, exact, exactSize, kindOf, sentence, showTime, size } from "./format.js";

const PAGE_ROWS = 500;
const LONG_PRESS_MS = 500;

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

/** Where an item opens: the page of the folder or the file. */
export function hrefOf(item) {
  return `/${item.type}s/${item.id}`;
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
  // Without surrogates, UTF-16 has the order of the code points.
  if (!/[\ud800-\udfff]/.test(one + other)) return one < other ? -1 : Number(one > other);
  const left = [...one];
  const right = [...other];
  for (let at = 0; at < Math.min(left.length, right.length); at++) {
    const difference = left[at].codePointAt(0) - right[at].codePointAt(0);
    if (difference !== 0) return difference;
  }
  return left.length - right.length;
}

/**
 * The list on the page. Fires "menu" (`{ at, row }`), "activate" (an item is to be opened:
 * `{ item }`; cancel it to do so otherwise than by its link) and "select" (the selection, or
 * the row with the focus, is another one) and "change" (a row says something else).
 *
 * The trash has its own `load` (a cursor → a page), `read` (a state → an item), `fill` (what
 * its rows show beside) and `compare`.
 */
export class List extends EventTarget {
  #items = new Map();
  #rows = new Map();
  // The rows in the order in which they are shown: asking the page would be slow for thousands.
  #order = [];
  #selected = new Set();
  #filter = "";
  #anchor = null;
  // The row that can be reached by Tab.
  #current = null;
  #loading = null;
  #nearEnd = null;
  #pointer = "";

  constructor(element, { load, read = itemOf, fill = () => {}, compare } = {}) {
    super();
    this.element = element;
    this.folderId = element.dataset.folder;
    this.template = document.querySelector("#row");
    this.more = document.querySelector("#more");
    this.main = document.querySelector("#main");
    this.load = load ?? ((query) => api("GET", `/folders/${this.folderId}/children?${query}`));
    this.read = read;
    this.fill = fill;
    this.compare = compare ?? ((one, other) => this.#compare(one, other));
    for (const row of element.querySelectorAll(".row[data-id]")) this.#adopt(row);
    this.#rove(element.querySelector(".row[data-id]"));
    this.#listen();
    // Where it cannot be had, the icons come from outside as before.
    inlineIcons().catch(() => {});
    this.more.querySelector("button").addEventListener("click", () => this.loadMore());
    this.#nearEnd = new IntersectionObserver(
      (seen) => {
        if (seen.some((entry) => entry.isIntersecting)) this.loadMore();
      },
      { root: this.main, rootMargin: "1200px" },
    );
    this.#nearEnd.observe(this.more);
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
    return this.#items.get(this.#current?.dataset.id);
  }

  /** The selected items as they are shown, else the current one alone. */
  get chosen() {
    if (this.#selected.size === 0) return this.current ? [this.current] : [];
    return this.selected;
  }

  get selected() {
    return this.#shown
      .filter((row) => this.#selected.has(row.dataset.id))
      .map((row) => this.#items.get(row.dataset.id));
  }

  focus(id) {
    const row = this.#rows.get(id);
    if (row === undefined) return;
    this.#rove(row);
    row.focus();
  }

  // --- Selection

  /** Exactly these; `anchor` is where a range begins that is made next. */
  select(ids, anchor = this.#anchor) {
    this.#anchor = anchor;
    const before = this.#selected;
    this.#selected = new Set(ids);
    for (const id of new Set([...before, ...this.#selected])) {
      this.#rows.get(id)?.setAttribute("aria-selected", String(this.#selected.has(id)));
    }
    this.element.classList.toggle("has-selection", this.#selected.size > 0);
    this.dispatchEvent(new Event("select"));
  }

  toggle(id) {
    const ids = new Set(this.#selected);
    if (!ids.delete(id)) ids.add(id);
    this.select(ids, id);
  }

  /** From the anchor to a row, in the order in which they are shown. */
  selectTo(id) {
    const ids = this.#shown.map((row) => row.dataset.id);
    const anchor = ids.includes(this.#anchor) ? this.#anchor : (this.current?.id ?? id);
    const [from, to] = [ids.indexOf(anchor), ids.indexOf(id)].sort((one, other) => one - other);
    this.select(ids.slice(from, to + 1), anchor);
  }

  /** Everything, also what has not been shown yet. */
  async selectAll() {
    await this.loadAll();
    this.select(this.#shown.map((row) => row.dataset.id));
    const count = this.#selected.size;
    announce(sentence(count, "{count} item selected.", "{count} items selected."));
  }

  // --- What is shown

  /** Only what has the text in its name; "" shows everything. */
  async filter(text) {
    if (text) await this.loadAll();
    this.#filter = nameKey(text);
    this.select([]);
    for (const row of this.#order) this.#sift(row);
  }

  get #shown() {
    return this.#filter ? this.#order.filter((row) => !row.hidden) : this.#order;
  }

  #sift(row) {
    const item = this.#items.get(row.dataset.id);
    row.hidden = !(item.key ??= nameKey(item.name)).includes(this.#filter);
  }

  // --- What the server says

  /** Put an item where it belongs. Older news than what is shown change nothing. */
  upsert(item, { isNews = false } = {}) {
    const known = this.#items.get(item.id);
    if (known !== undefined && known.rev >= item.rev) return;
    let row = this.#rows.get(item.id);
    if (row === undefined) {
      if (!this.#fits(item)) return;
      row = this.#make(item);
      if (isNews) {
        row.classList.add("is-new");
        row.addEventListener("animationend", () => row.classList.remove("is-new"), { once: true });
      }
    } else {
      this.#items.set(item.id, item);
      this.#fill(row, item);
      this.dispatchEvent(new Event("change"));
    }
    this.#place(row, item);
    this.#sift(row);
    if (!this.#current) this.#rove(row);
    this.#tell();
  }

  remove(id) {
    const row = this.#rows.get(id);
    if (row === undefined) return;
    const hadFocus = row.contains(document.activeElement);
    const at = this.#order.indexOf(row);
    const next = this.#order[at + 1] ?? this.#order[at - 1] ?? null;
    const wasCurrent = row === this.#current;
    row.remove();
    this.#order.splice(at, 1);
    this.#rows.delete(id);
    this.#items.delete(id);
    if (wasCurrent) this.#rove(next);
    if (hadFocus) (next ?? this.main).focus();
    if (this.#selected.has(id)) this.toggle(id);
    this.#tell();
  }

  /** The next page from the API, at the end of the list. */
  loadMore() {
    this.#loading ??= this.#load().finally(() => (this.#loading = null));
    return this.#loading;
  }

  async loadAll() {
    let before = null;
    while (this.element.dataset.next && this.element.dataset.next !== before) {
      before = this.element.dataset.next;
      await this.loadMore();
    }
  }

  async #load() {
    const { sort, order, next: cursor } = this.element.dataset;
    if (!cursor) return;
    const button = this.more.querySelector("button");
    button.textContent = "Loading…";
    try {
      const query = new URLSearchParams({ cursor, limit: PAGE_ROWS });
      if (sort) query.set("sort", sort);
      if (order) query.set("order", order);
      const page = await this.load(query);
      this.element.dataset.next = page.next_cursor ?? "";
      this.more.hidden = page.next_cursor === null;
      const fragment = document.createDocumentFragment();
      for (const state of page.items) {
        const item = this.read(state);
        if (this.#items.has(item.id)) continue;
        const row = this.#make(item);
        fragment.append(row);
        this.#order.push(row);
      }
      this.more.before(fragment);
      button.textContent = "Show more";
      // It tells of changes only: who scrolls fast is at the end all the time.
      this.#nearEnd.unobserve(this.more);
      this.#nearEnd.observe(this.more);
    } catch (error) {
      // The button stays: the rest of the list is asked for again by hand.
      button.textContent = `The rest could not be loaded. ${error.message} Try again`;
    }
  }

  // --- Rows

  #adopt(row) {
    const { id, type, name, rev, modified, size: bytes, ...more } = row.dataset;
    this.#items.set(id, {
      ...more,
      id,
      type,
      name,
      rev: Number(rev),
      parentId: more.parent ?? this.folderId,
      modifiedAt: new Date(modified),
      sizeBytes: type === "folder" ? null : Number(bytes),
      isDamaged: row.querySelector(".damaged")?.hidden === false,
    });
    this.#rows.set(id, row);
    this.#order.push(row);
    this.#prepare(row);
  }

  #make(item) {
    const row = this.template.content.firstElementChild.cloneNode(true);
    this.#items.set(item.id, item);
    this.#rows.set(item.id, row);
    this.#prepare(row);
    this.#fill(row, item);
    return row;
  }

  #prepare(row) {
    row.tabIndex = -1;
    row.setAttribute("aria-selected", "false");
    // One stop for the Tab key is the row; the link and the button have keys of their own.
    for (const inner of row.querySelectorAll("a, button")) inner.tabIndex = -1;
  }

  #fill(row, item) {
    row.dataset.id = item.id;
    row.dataset.type = item.type;
    const { icon, kind } = kindOf(item);
    const svg = row.querySelector(".name > svg");
    svg.setAttribute("class", `icon kind-${kind}`);
    setIcon(svg, icon);
    const link = row.querySelector(".name-link");
    link.textContent = item.name;
    const facts = [ago(item.modifiedAt)];
    if (link.href !== undefined) {
      link.href = hrefOf(item);
      row.querySelector(".damaged").hidden = !item.isDamaged;
      let time = row.querySelector(".modified time");
      if (time === null) {
        time = document.createElement("time");
        row.querySelector(".modified").replaceChildren(time);
      }
      showTime(time, item.modifiedAt);
    }
    const cell = row.querySelector(".cell.size");
    const isFile = item.type === "file";
    cell.textContent = isFile ? size(item.sizeBytes) : "–";
    cell.title = isFile ? exactSize(item.sizeBytes) : "";
    if (isFile) facts.push(size(item.sizeBytes));
    const small = row.querySelector(".small-facts");
    small.textContent = facts.join(" · ");
    small.title = exact(item.modifiedAt);
    row.querySelector(".row-menu").setAttribute("aria-label", `Actions for ${item.name}`);
    this.fill(row, item);
  }

  /** Folders first; then by the order that the page was asked for. */
  #compare(one, other) {
    if (one.type !== other.type) return one.type === "folder" ? -1 : 1;
    const { sort, order } = this.element.dataset;
    let difference;
    if (sort === "modified") difference = one.modifiedAt - other.modifiedAt;
    else if (sort === "size" && one.type === "file") difference = one.sizeBytes - other.sizeBytes;
    else difference = compareText((one.key ??= nameKey(one.name)), (other.key ??= nameKey(other.name)));
    if (difference === 0) difference = compareText(one.id, other.id);
    return order === "desc" ? -difference : difference;
  }

  /** Whether a new item lies within what is loaded; else it comes with a later page. */
  #fits(item) {
    if (!this.element.dataset.next) return true;
    const last = this.#items.get(this.#order.at(-1)?.dataset.id);
    return last === undefined || this.compare(item, last) < 0;
  }

  #place(row, item) {
    const rows = this.#order;
    const was = row.isConnected ? rows.indexOf(row) : -1;
    if (was !== -1) rows.splice(was, 1);
    let low = 0;
    let high = rows.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const other = this.#items.get(rows[middle].dataset.id);
      if (this.compare(other, item) < 0) low = middle + 1;
      else high = middle;
    }
    const before = rows[low] ?? this.more;
    rows.splice(low, 0, row);
    // A row that is moved loses the focus, so it stays where it is when that is right.
    if (row.isConnected && row.nextElementSibling === before) return;
    const hadFocus = row.contains(document.activeElement) ? document.activeElement : null;
    before.before(row);
    hadFocus?.focus({ preventScroll: true });
  }

  #tell() {
    const isEmpty = this.#items.size === 0 && !this.element.dataset.next;
    this.element.hidden = isEmpty;
    document.querySelector("#empty").hidden = !isEmpty;
  }

  // --- Focus, pointer and keys

  #rove(row) {
    if (this.#current) this.#current.tabIndex = -1;
    this.#current = row;
    if (row) row.tabIndex = 0;
  }

  #listen() {
    const { element } = this;
    const rowAt = (event) => event.target.closest(".row[data-id]");
    element.addEventListener("focusin", (event) => {
      const row = rowAt(event);
      if (row === null || row.tabIndex === 0) return;
      this.#rove(row);
      this.dispatchEvent(new Event("select"));
    });
    let pressed = null;
    let isLong = false;
    element.addEventListener("pointerdown", (event) => {
      this.#pointer = event.pointerType;
      const row = rowAt(event);
      if (row === null) return;
      isLong = false;
      clearTimeout(pressed);
      row.draggable = event.pointerType !== "touch";
      if (event.pointerType !== "touch") return;
      pressed = setTimeout(() => {
        isLong = true;
        this.toggle(row.dataset.id);
      }, LONG_PRESS_MS);
    });
    for (const end of ["pointerup", "pointercancel", "pointermove"]) {
      element.addEventListener(end, (event) => {
        if (end !== "pointermove" || Math.hypot(event.movementX, event.movementY) > 4) clearTimeout(pressed);
      });
    }
    element.addEventListener("click", (event) => {
      const row = rowAt(event);
      if (row === null) return;
      if (isLong) {
        isLong = false;
        event.preventDefault();
      } else {
        this.#onClick(event, row);
      }
    });
    element.addEventListener("dblclick", (event) => {
      const row = rowAt(event);
      // Two taps on a row select it and take that back.
      if (this.#pointer === "touch" || event.target.closest("a, button, input, .tick") !== null) return;
      if (row !== null) this.open(row);
    });
    element.addEventListener("contextmenu", (event) => {
      const row = rowAt(event);
      if (row === null || event.target.closest("input") !== null) return;
      event.preventDefault();
      // A long press has selected it; the menu would be in the way.
      if (this.#pointer === "touch") return;
      row.focus({ preventScroll: true });
      this.openMenu(row, { x: event.clientX, y: event.clientY });
    });
    this.main.addEventListener("click", (event) => {
      if (event.target === this.main || event.target === element) this.select([]);
    });
  }

  #onClick(event, row) {
    const { id } = row.dataset;
    const button = event.target.closest(".row-menu");
    if (button !== null) {
      this.openMenu(row, button);
      return;
    }
    if (event.target.closest("button, input") !== null) return;
    const isTouch = this.#pointer === "touch" && event.detail > 0;
    const isToggle = event.ctrlKey || event.metaKey || event.target.closest(".tick") !== null;
    if (event.shiftKey) {
      this.selectTo(id);
    } else if (isToggle || (isTouch && this.#selected.size > 0)) {
      this.toggle(id);
    } else if (event.target.closest("a") !== null) {
      const detail = { item: this.#items.get(id) };
      if (this.dispatchEvent(new CustomEvent("activate", { detail, cancelable: true }))) return;
    } else if (isTouch) {
      this.open(row);
      return;
    } else {
      this.select([id], id);
    }
    event.preventDefault();
    getSelection().removeAllRanges();
    row.focus({ preventScroll: true });
  }

  open(row) {
    row.querySelector("a.name-link")?.click();
  }

  /** The menu of a row: of the whole selection where it belongs to that. */
  openMenu(row, at) {
    if (!this.#selected.has(row.dataset.id)) this.select([]);
    this.#rove(row);
    this.dispatchEvent(new CustomEvent("menu", { detail: { at, row } }));
  }

  /** Move the focus by a key; with `isRange` the selection too. */
  async go(key, isRange = false) {
    if (key === "End") await this.loadAll();
    const rows = this.#shown;
    if (rows.length === 0) return;
    const row = rows.includes(this.#current) ? this.#current : rows[0];
    const at = document.activeElement === row ? rows.indexOf(row) : -1;
    const top = rows[0].offsetTop;
    const columns = Math.max(1, rows.slice(0, 40).filter((each) => each.offsetTop === top).length);
    const aPage = Math.max(1, Math.floor(this.main.clientHeight / rows[0].offsetHeight) - 1) * columns;
    const isRtl = document.dir === "rtl" ? -1 : 1;
    const step = {
      ArrowDown: columns,
      ArrowUp: -columns,
      ArrowRight: isRtl,
      ArrowLeft: -isRtl,
      PageDown: aPage,
      PageUp: -aPage,
      Home: -rows.length,
      End: rows.length,
    }[key];
    // From elsewhere an arrow first comes back to where the focus was.
    let next = at === -1 && key.startsWith("Arrow") ? rows.indexOf(row) : at + step;
    // From the last line but one an arrow goes nowhere; a page goes to the end.
    if (key.startsWith("Arrow") && (next < 0 || next >= rows.length)) next = at;
    next = rows[Math.max(0, Math.min(rows.length - 1, next))];
    if (isRange) {
      if (this.#selected.size === 0) this.#anchor = row.dataset.id;
      this.selectTo(next.dataset.id);
    }
    next.focus();
  }

  /** The keys of every list, for `addKeys`. */
  get keys() {
    const withRow = (act) => () => {
      const row = this.#rows.get(this.current?.id);
      if (row === undefined) return false;
      act(row);
      return true;
    };
    const moves = "ArrowDown ArrowUp ArrowLeft ArrowRight Home End PageDown PageUp".split(" ");
    const isGrid = () => this.element.classList.contains("is-grid");
    const go = (event) => {
      if (/Left|Right/.test(event.key) && !isGrid()) return false;
      this.go(event.key, event.shiftKey);
      return true;
    };
    const entries = [
      [moves.join(" "), "Go through the list", go],
      [moves.map((key) => `Shift+${key}`).join(" "), "Select on the way", go, "Shift+↑ Shift+↓"],
      ["Space Ctrl+Space", "Select, or take out of the selection", withRow((row) => this.toggle(row.dataset.id))],
      ["Ctrl+a", "Select all", () => void this.selectAll()],
      ["Escape", "Select nothing", () => this.select([])],
      ["Enter", "Open", withRow((row) => this.open(row))],
      [
        "Shift+F10 ContextMenu",
        "All actions",
        withRow((row) => this.openMenu(row, row.querySelector(".row-menu"))),
      ],
    ];
    return entries.map(([keys, label, run, shown]) => ({ keys, label, run, shown, inList: true }));
  }
}
