// What can be done with an item, each with its way back.

import { api, explain, Problem } from "./api.js";
import { make } from "./dom.js";
import { showFieldError } from "./dialogs.js";
import { hrefOf, itemOf } from "./list.js";
import { fail, toast } from "./toast.js";
import { chooseFolder } from "./tree.js";

const NAME_BYTES = 255;

function pathOf(item) {
  return item.type === "folder" ? `/folders/${item.id}` : `/files/${item.id}`;
}

/** Change an item if nobody has changed it since; the item as it is now. */
async function patch(item, change) {
  return itemOf(await api("PATCH", pathOf(item), change, { ifMatch: item.rev }));
}

/** Why a name cannot be used, or "". The server has the last word. */
export function nameProblem(name) {
  if (!name) return "A name cannot be empty.";
  if (name === "." || name === "..") return `“${name}” is not a name.`;
  if (name.includes("/")) return "A name cannot contain “/”.";
  const bytes = new TextEncoder().encode(name).length;
  if (bytes > NAME_BYTES) return `Too long: ${bytes} of ${NAME_BYTES} bytes.`;
  return "";
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
        const current = this.list.get(item.id) ?? item;
        const renamed = await patch(current, { name });
        this.list.upsert(renamed);
        toast(`Renamed to “${name}”.`, {
          undo: async () => this.list.upsert(await patch(renamed, { name: item.name })),
        });
      },
      done: () => this.list.focus(item.id),
    });
  }

  /** Move by the dialog with the tree of folders. */
  async move(item) {
    const target = await chooseFolder({
      title: `Move “${item.name}”`,
      verb: "Move here",
      without: item.type === "folder" ? item.id : null,
      from: item.parentId,
    });
    if (target !== null) await this.moveTo(item, target.id, target.name);
  }

  async moveTo(item, folderId, folderName) {
    if (folderId === item.parentId || folderId === item.id) return;
    try {
      const moved = await patch(item, { parent_folder_id: folderId });
      this.list.remove(item.id);
      toast(`“${item.name}” moved to ${folderName}.`, {
        undo: async () => this.#show(await patch(moved, { parent_folder_id: item.parentId })),
      });
    } catch (error) {
      fail(error, `“${item.name}” was not moved.`);
      this.#refresh(error);
    }
  }

  /** To the trash; no question, since it can be undone. */
  async trash(item) {
    const row = this.list.rowOf(item.id);
    row?.classList.add("is-busy");
    try {
      await api("DELETE", pathOf(item), undefined, { ifMatch: item.rev });
      this.list.remove(item.id);
      toast(`“${item.name}” moved to the trash.`, {
        undo: async () => this.#show(itemOf(await api("POST", `/trash/${item.id}/restore`, {}))),
      });
    } catch (error) {
      row?.classList.remove("is-busy");
      fail(error, `“${item.name}” was not deleted.`);
      this.#refresh(error);
    }
  }

  download(item) {
    const link = make("a", { href: hrefOf(item), download: "" });
    document.body.append(link);
    link.click();
    link.remove();
  }

  #show(item) {
    if (item.parentId === this.list.folderId) this.list.upsert(item);
  }

  /** A refusal that says how the item is now corrects what the page shows. */
  #refresh(error) {
    if (error instanceof Problem && error.code === "stale-precondition" && error.data.current) {
      const item = itemOf(error.data.current);
      if (item.parentId === this.list.folderId) this.list.upsert(item);
      else this.list.remove(item.id);
    }
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
