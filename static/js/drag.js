// Drag and drop: files from outside onto the page or a folder, items onto folders and onto
// the path. The dialog "Move…" does the same without a pointer.

const ITEM = "application/x-drive-item";

/** Rows of the list can be picked up. */
export function draggableRows(list) {
  list.element.addEventListener("dragstart", (event) => {
    const row = event.target.closest(".row");
    if (row === null || !row.dataset.id) return;
    // A row of the selection takes all of it along.
    const isSelected = row.getAttribute("aria-selected") === "true";
    const ids = isSelected ? list.selected.map(({ id }) => id) : [row.dataset.id];
    event.dataTransfer.setData(ITEM, JSON.stringify(ids));
    event.dataTransfer.effectAllowed = "move";
    for (const id of ids) list.rowOf(id).classList.add("is-dragged");
  });
  list.element.addEventListener("dragend", () => {
    for (const row of list.element.querySelectorAll(".is-dragged")) row.classList.remove("is-dragged");
  });
}

/**
 * Everything below `element` takes drops. `onFiles(dataTransfer, folderId)` and
 * `onItems(ids, folderId, folderName)` are told where: the folder under the pointer, else the
 * folder of the page.
 */
export function dropTarget(element, { list, onFiles, onItems }) {
  let target = null;

  const mark = (next) => {
    if (target === next) return;
    target?.classList.remove("is-target");
    target = next;
    target?.classList.add("is-target");
  };

  const folderAt = (event) => {
    const row = event.target.closest?.('.row[data-type="folder"]');
    if (row) return { element: row, id: row.dataset.id, name: `“${list.get(row.dataset.id).name}”` };
    const crumb = event.target.closest?.(".crumbs a[data-folder]");
    if (crumb) return { element: crumb, id: crumb.dataset.folder, name: `“${crumb.textContent.trim()}”` };
    return null;
  };

  const leave = () => {
    mark(null);
    element.classList.remove("is-dropping");
  };

  element.addEventListener("dragover", (event) => {
    const { types } = event.dataTransfer;
    const under = folderAt(event);
    if (types.includes(ITEM)) {
      const isItself = under?.element.classList.contains("is-dragged") ?? true;
      mark(isItself ? null : under.element);
      if (isItself) return;
      event.dataTransfer.dropEffect = "move";
    } else if (types.includes("Files")) {
      mark(under?.element ?? null);
      element.classList.toggle("is-dropping", under === null);
      event.dataTransfer.dropEffect = "copy";
    } else {
      return;
    }
    event.preventDefault();
  });
  element.addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null || !element.contains(event.relatedTarget)) leave();
  });
  element.addEventListener("drop", (event) => {
    const { dataTransfer } = event;
    const under = folderAt(event);
    leave();
    if (dataTransfer.types.includes(ITEM)) {
      event.preventDefault();
      const ids = JSON.parse(dataTransfer.getData(ITEM));
      if (under !== null && !ids.includes(under.id)) onItems(ids, under.id, under.name);
    } else if (dataTransfer.types.includes("Files")) {
      event.preventDefault();
      onFiles(dataTransfer, under?.id ?? list.folderId);
    }
  });
}
