// What can be done with items, each with its way back. Many at once are one request.

import { api, explain, Problem } from "./api.js";
import { make } from "./dom.js";
import { showFieldError } from "./dialogs.js";
import { sentence } from "./format.js";
import { itemOf } from "./list.js";
import { fail, toast } from "./toast.js";
import { chooseFolder } from "./tree.js";

const NAME_BYTES = 255;
const OPERATIONS_AT_ONCE = 1000;

/** Why a name cannot be used, or "". The server has the last word. */
export function nameProblem(name) {
  if (!name) return "A name cannot be empty.";
  if (name === "." || name === "..") return `“${name}” is not a name.`;
  if (name.includes("/")) return "A name cannot contain “/”.";
  const bytes = new TextEncoder().encode(name).length;
  if (bytes > NAME_BYTES) return `Too long: ${bytes} of ${NAME_BYTES} bytes.`;
  return "";
}

const change = (item, fields) => ({
  op: `update_${item.type}`,
  [`${item.type}_id`]: item.id,
  if_match: item.rev,
  ...fields,
});
const erase = (item) => ({ op: `delete_${item.type}`, [`${item.type}_id`]: item.id, if_match: item.rev });

/** Carry out operations on the tree, in order; of each its result, or its Problem. */
async function batch(operations) {
  const results = [];
  for (let at = 0; at < operations.length; at += OPERATIONS_AT_ONCE) {
    const items = operations.slice(at, at + OPERATIONS_AT_ONCE);
    results.push(...(await api("POST", "/batch", { items })).items);
  }
  return results.map((result) => (result.problem ? new Problem(result.status, result.problem) : result));
}

/** Carries out actions on the items of one list. */
export class Actions {
  constructor(list) {
    this.list = list;
  }

  /** Edit the name in its row; Enter keeps it, Escape leaves it as it was. */
  rename(item) {
    const row = this.list.rowOf(item.id);
    const place = row.querySelector(".name-and-facts");
    if (place.hidden) return;
    edit({
      place,
      name: item.name,
      label: `New name of ${item.name}`,
      save: async (name) => {
        if (name === item.name) return;
        const [renamed] = await this.#do([change(this.list.get(item.id) ?? item, { name })]);
        this.list.upsert(renamed);
        toast(`Renamed to “${name}”.`, {
          undo: async () => this.#show(await this.#do([change(renamed, { name: item.name })])),
        });
      },
      done: () => this.list.focus(item.id),
    });
  }

  /** Ask for a folder in the tree, then move or copy there. */
  async choose(items, isCopy) {
    const verb = isCopy ? "Copy" : "Move";
    const target = await chooseFolder({
      title: sentence(items.length, `${verb} “{name}”`, `${verb} {count} items`, items[0]),
      verb: `${verb} here`,
      without: items.filter(({ type }) => type === "folder").map(({ id }) => id),
      from: isCopy ? null : items[0].parentId,
    });
    if (target === null) return;
    await (isCopy ? this.copyTo(items, target.id, target.name) : this.moveTo(items, target.id, target.name));
  }

  async moveTo(items, folderId, folder) {
    const moving = items.filter(({ id, parentId }) => parentId !== folderId && id !== folderId);
    await this.#each(moving, (item) => change(item, { parent_folder_id: folderId }), {
      values: { folder },
      done: ["“{name}” moved to {folder}.", "{count} items moved to {folder}."],
      failed: ["“{name}” was not moved.", "{count} items were not moved, “{name}” among them."],
      after: (item, moved) => this.#put(moved),
      undo: (moved, items) =>
        this.#do(moved.map((item, at) => change(item, { parent_folder_id: items[at].parentId }))),
    });
  }

  /** Copy on the server: no block moves. */
  async copyTo(items, folderId, folder) {
    try {
      const body = { item_ids: items.map(({ id }) => id), parent_folder_id: folderId };
      const copies = (await api("POST", "/nodes/copy", body)).items.map(itemOf);
      for (const copy of copies) this.#put(copy);
      const said = ["“{name}” copied to {folder}.", "{count} items copied to {folder}."];
      toast(sentence(copies.length, ...said, { ...items[0], folder }), {
        undo: async () => {
          await this.#do(copies.map(erase));
          for (const { id } of copies) this.list.remove(id);
        },
      });
    } catch (error) {
      fail(error, "Nothing was copied.");
    }
  }

  /** To the trash; no question, since it can be undone. */
  async trash(items) {
    await this.#each(items, erase, {
      done: ["“{name}” moved to the trash.", "{count} items moved to the trash."],
      failed: ["“{name}” was not deleted.", "{count} items were not deleted, “{name}” among them."],
      after: (item) => this.list.remove(item.id),
      undo: (gone) => this.#do(gone.map(({ id }) => ({ op: "restore", item_id: id }))),
    });
  }

  /** Out of the trash: to where they were, or to a folder. */
  async restore(items, folderId = undefined) {
    const operation = ({ id }) => ({ op: "restore", item_id: id, parent_folder_id: folderId });
    await this.#each(items, operation, {
      done: ["“{name}” is back.", "{count} items are back."],
      failed: ["“{name}” was not restored.", "{count} items were not restored, “{name}” among them."],
      after: (item, back) => {
        this.list.remove(item.id);
        if (back.name !== item.name) toast(`“${item.name}” is back as “${back.name}”.`);
      },
      undo: (back) => this.#do(back.map(erase)),
    });
  }

  /** For ever. Throws where not all of them went. */
  async purge(items) {
    const results = await batch(items.map(({ id }) => ({ op: "delete_for_ever", item_id: id })));
    const failed = results.filter((result, at) => {
      // What is not there any more is what was wanted.
      const isThere = result instanceof Problem && result.code !== "not-found";
      if (!isThere) this.list.remove(items[at].id);
      return isThere;
    });
    if (failed.length > 0) throw failed[0];
  }

  /** A file as it is; a folder, or several items, as one ZIP. */
  download(items) {
    if (items.length === 1 && items[0].type === "file") {
      make("a", { href: `/api/v1/files/${items[0].id}/content`, download: "" }).click();
      return;
    }
    const fields = {
      csrfmiddlewaretoken: document.querySelector("meta[name=csrf-token]").content,
      ids: items.map(({ id }) => id).join(),
    };
    const inputs = Object.entries(fields).map(([name, value]) => make("input", { type: "hidden", name, value }));
    const form = make("form", { method: "post", action: "/zip" }, ...inputs);
    document.body.append(form);
    form.submit();
    form.remove();
  }

  /** One operation for each item; says what was done, with a way back, and what was refused. */
  async #each(items, operation, { done, failed, after, undo, values }) {
    if (items.length === 0) return;
    const busy = items.map(({ id }) => this.list.rowOf(id)).filter(Boolean);
    for (const row of busy) row.classList.add("is-busy");
    const words = (forms, some) => sentence(some.length, ...forms, { ...some[0], ...values });
    try {
      const results = await batch(items.map(operation));
      const good = items.filter((_, at) => !(results[at] instanceof Problem));
      const bad = items.filter((_, at) => results[at] instanceof Problem);
      const states = results.filter(({ item }) => item).map(({ item }) => itemOf(item));
      good.forEach((item, at) => after(item, states[at]));
      if (good.length > 0) {
        toast(words(done, good), { undo: async () => this.#show(await undo(states, good)) });
      }
      if (bad.length > 0) {
        const refused = results.filter((result) => result instanceof Problem);
        fail(refused[0], words(failed, bad));
        for (const problem of refused) this.#correct(problem);
      }
    } catch (error) {
      fail(error, words(failed, items));
    } finally {
      for (const row of busy) row.classList.remove("is-busy");
    }
  }

  /** Operations of which all must succeed; the items as they are then. */
  async #do(operations) {
    const results = await batch(operations);
    const problem = results.find((result) => result instanceof Problem);
    if (problem) {
      this.#correct(problem);
      throw problem;
    }
    return results.map(({ item }) => itemOf(item));
  }

  #show(items) {
    for (const item of items) this.#put(item);
  }

  #put(item) {
    // The trash hears of it by the journal.
    if (this.list.folderId === undefined) return;
    if (item.parentId === this.list.folderId) this.list.upsert(item);
    else this.list.remove(item.id);
  }

  /** A refusal that says how the item is now corrects what the page shows. */
  #correct(problem) {
    if (problem.code === "stale-precondition" && problem.data.current) this.#put(itemOf(problem.data.current));
  }
}

/** A field in place of an element, until a name is saved or given up. */
export function edit({ place, name, label, save, done }) {
  const field = make("input", {
    class: "input",
    "aria-label": label,
    "aria-describedby": "name-problem",
    autocomplete: "off",
    spellcheck: "false",
  });
  const line = make("p", { class: "field-error small", id: "name-problem", role: "alert", hidden: true });
  const form = make("form", { class: "name-editor" }, field, line);
  field.value = name;
  place.hidden = true;
  place.after(form);
  field.focus();
  // The part before the extension is what people change.
  const dot = name.lastIndexOf(".");
  field.setSelectionRange(0, dot > 0 ? dot : name.length);

  let isOver = false;
  const finish = () => {
    if (isOver) return;
    isOver = true;
    form.remove();
    place.hidden = false;
    done();
  };
  const submit = async () => {
    if (isOver || field.disabled) return;
    const wanted = field.value;
    const problem = nameProblem(wanted);
    if (problem) {
      showFieldError(field, line, problem);
      return;
    }
    field.disabled = true;
    try {
      await save(wanted);
      finish();
    } catch (error) {
      field.disabled = false;
      showFieldError(field, line, explain(error));
      field.focus();
    }
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  form.addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (event.key === "Escape") finish();
  });
  field.addEventListener("input", () => showFieldError(field, line, ""));
  field.addEventListener("blur", () => {
    // Leaving the field keeps what was typed, like in the file managers people know.
    if (!isOver && !field.disabled && !nameProblem(field.value)) submit();
    else if (!field.disabled) finish();
  });
}
