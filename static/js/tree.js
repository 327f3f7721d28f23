// The dialog that asks for a folder: a tree that opens by click and by arrow keys.

import { api, explain } from "./api.js";
import { icon, make } from "./dom.js";
import { openDialog } from "./dialogs.js";

const PAGE = 500;

/**
 * Ask for a folder. `without`: folders that cannot be chosen, nor what is below them. `from`:
 * the folder in which the things are now, which cannot be chosen either. Resolves to
 * `{ id, name }`, or null when the dialog was left.
 */
export function chooseFolder({ title, verb, without = [], from = null }) {
  return new Promise((resolve) => {
    let chosen = null;
    let answer = null;
    const confirm = make(
      "button",
      {
        class: "button primary",
        disabled: true,
        onclick: () => {
          answer = chosen;
          dialog.close();
        },
      },
      verb,
    );
    const tree = make("ul", { role: "tree", "aria-label": "Folders" });
    const select = (node) => {
      for (const other of tree.querySelectorAll('[aria-selected="true"]')) {
        other.setAttribute("aria-selected", "false");
      }
      node.setAttribute("aria-selected", "true");
      chosen = { id: node.dataset.id, name: node.dataset.name };
      confirm.disabled = node.dataset.id === from;
    };
    const choose = (node) => {
      select(node);
      if (!confirm.disabled) confirm.click();
    };
    new Tree(tree, { without, select, choose });
    const dialog = openDialog({
      title,
      body: [make("div", { class: "tree" }, tree)],
      buttons: [
        make("button", { class: "button", onclick: () => dialog.close() }, "Cancel"),
        confirm,
      ],
      onClose: () => resolve(answer),
    });
    tree.querySelector("[role=treeitem]").focus();
  });
}

class Tree {
  constructor(element, { without, select, choose }) {
    this.element = element;
    this.without = without;
    this.select = select;
    this.choose = choose;
    const root = this.#node({ id: "root", name: "My files" });
    root.tabIndex = 0;
    element.append(root);
    element.addEventListener("click", (event) => this.#onClick(event));
    element.addEventListener("dblclick", (event) => {
      const node = this.#nodeAt(event);
      if (node !== null && event.target.closest(".twist") === null) this.choose(node);
    });
    element.addEventListener("keydown", (event) => this.#onKey(event));
    this.#open(root);
  }

  #node({ id, name }) {
    const node = make(
      "li",
      { role: "treeitem", "aria-expanded": "false", "aria-selected": "false", tabindex: "-1" },
      make(
        "div",
        { class: "tree-label" },
        icon("chevron-right", "twist"),
        icon("folder", "kind-folder"),
        make("span", {}, name),
      ),
    );
    node.dataset.id = id;
    node.dataset.name = name;
    if (this.without.includes(id)) node.setAttribute("aria-disabled", "true");
    return node;
  }

  #nodeAt(event) {
    const node = event.target.closest("[role=treeitem]");
    return node === null || node.getAttribute("aria-disabled") === "true" ? null : node;
  }

  async #open(node) {
    node.setAttribute("aria-expanded", "true");
    if (node.querySelector("ul") !== null) return;
    const below = make("ul", { role: "group" });
    node.append(below);
    try {
      // The root is asked for by name; its own id comes with the answer.
      if (node.dataset.id === "root") {
        node.dataset.id = (await api("GET", "/folders/root")).folder_id;
      }
      let cursor = "";
      do {
        const query = new URLSearchParams({ limit: PAGE, cursor });
        const page = await api("GET", `/folders/${node.dataset.id}/children?${query}`);
        const folders = page.items.filter((item) => item.type === "folder");
        below.append(...folders.map((item) => this.#node({ id: item.folder_id, name: item.name })));
        // Folders come first: after the first file there are no more.
        cursor = folders.length === page.items.length ? page.next_cursor : null;
      } while (cursor);
      if (below.childElementCount === 0) node.removeAttribute("aria-expanded");
    } catch (error) {
      below.remove();
      node.setAttribute("aria-expanded", "false");
      node.append(make("p", { class: "field-error small", role: "alert" }, explain(error)));
    }
  }

  #close(node) {
    node.setAttribute("aria-expanded", "false");
    node.querySelector("ul")?.remove();
  }

  #onClick(event) {
    const node = this.#nodeAt(event);
    if (node === null) return;
    this.#focus(node);
    if (event.target.closest(".twist") !== null && node.getAttribute("aria-expanded") === "true") {
      this.#close(node);
      return;
    }
    this.select(node);
    this.#open(node);
  }

  #focus(node) {
    for (const other of this.element.querySelectorAll('[tabindex="0"]')) other.tabIndex = -1;
    node.tabIndex = 0;
    node.focus();
  }

  #onKey(event) {
    const nodes = [...this.element.querySelectorAll("[role=treeitem]:not([aria-disabled])")];
    const node = event.target.closest("[role=treeitem]");
    const at = nodes.indexOf(node);
    const isOpen = node.getAttribute("aria-expanded") === "true";
    if (event.key === "ArrowDown" && nodes[at + 1]) this.#focus(nodes[at + 1]);
    else if (event.key === "ArrowUp" && at > 0) this.#focus(nodes[at - 1]);
    else if (event.key === "ArrowRight" && !isOpen) this.#open(node);
    else if (event.key === "ArrowRight" && nodes[at + 1]) this.#focus(nodes[at + 1]);
    else if (event.key === "ArrowLeft" && isOpen) this.#close(node);
    else if (event.key === "ArrowLeft") {
      const above = node.parentElement.closest("[role=treeitem]");
      if (above !== null) this.#focus(above);
    } else if (event.key === " ") this.select(node);
    else if (event.key === "Enter") this.choose(node);
    else return;
    event.preventDefault();
  }
}
