// Text files, changed in the browser: saved on the version that was opened, never over another.

import { explain, Problem, request } from "./api.js";
import { make } from "./dom.js";
import { openDialog } from "./dialogs.js";
import { fail, toast } from "./toast.js";

const MAX_BYTES = 1024 * 1024;
const KINDS = new Set(["text", "code", "table", "other"]);

/** Whether a file may be text: not too large, and of no other kind by its name. */
export function isText({ type, sizeBytes }, kind) {
  return type === "file" && sizeBytes <= MAX_BYTES && KINDS.has(kind);
}

/** The editor for a file, `state` in the API's words; `uploads` sends what is saved. */
export async function openEditor(state, uploads) {
  let text;
  try {
    const answer = await request(`/api/v1/files/${state.file_id}/content`, { credentials: "same-origin" });
    if (!answer.ok) throw new Problem(answer.status, { detail: "The file cannot be read at the moment." });
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(await answer.arrayBuffer());
  } catch (error) {
    if (error instanceof TypeError) toast("This is no text in UTF-8, so it is not changed here.", { isError: true });
    else fail(error);
    return;
  }
  // A field knows one kind of line end: what has both would not come out as it went in.
  const end = text.includes("\r\n") ? "\r\n" : "\n";
  if (text.includes("\0") || text.replaceAll(end, "").includes("\r") || (end === "\r\n" && /[^\r]\n|^\n/.test(text))) {
    toast("This file has several kinds of line ends, so it is not changed here.", { isError: true });
    return;
  }
  let file = state;
  let saved = text.replaceAll("\r\n", "\n");
  const field = make("textarea", { class: "input mono editor", "aria-label": `Content of ${state.name}`, spellcheck: "false" });
  field.value = saved;
  const line = make("p", { class: "muted small", role: "status" }, "Nothing changed.");
  const isChanged = () => field.value !== saved;

  const save = async () => {
    if (!isChanged() || button.disabled) return;
    const value = field.value;
    button.disabled = true;
    line.textContent = "Saving…";
    try {
      const result = await uploads.save(new File([value.replaceAll("\n", end)], file.name), file.parent_folder_id, {
        file_id: file.file_id,
        base_version_id: file.current_version_id,
        on_conflict: "conflict_copy",
      });
      saved = value;
      line.textContent = isChanged() ? "Saved; changed since." : "Saved.";
      if (result.is_conflict_copy) {
        const other = file.name;
        toast(`Somebody else changed “${other}” meanwhile. Both are kept: yours is “${result.file.name}”, and you go on in that.`);
        line.textContent = `Saved as “${result.file.name}”; “${other}” is as somebody else has left it.`;
      }
      file = result.file;
    } catch (error) {
      line.textContent = `Not saved. ${explain(error)} What you wrote is still here.`;
    } finally {
      button.disabled = false;
    }
  };
  const button = make("button", { class: "button primary", onclick: save }, "Save");
  const guard = (event) => isChanged() && event.preventDefault();
  // Asked once: who wants to leave twice leaves.
  const mayClose = () => {
    if (!isChanged() || line.classList.contains("is-asking")) return true;
    line.classList.add("is-asking");
    line.textContent = "Not saved yet. Close once more to throw your changes away.";
    field.focus();
    return false;
  };
  const dialog = openDialog({
    title: state.name,
    body: [field],
    buttons: [line, make("button", { class: "button", onclick: () => mayClose() && dialog.close() }, "Close"), button],
    mayClose,
    onClose: () => window.removeEventListener("beforeunload", guard),
  });
  dialog.classList.add("editor-dialog");
  window.addEventListener("beforeunload", guard);
  field.addEventListener("input", () => {
    line.classList.remove("is-asking");
    line.textContent = isChanged() ? "Changed, not saved yet." : "Nothing changed.";
  });
  dialog.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key === "s") {
      event.preventDefault();
      save();
    }
  });
  field.focus();
  field.setSelectionRange(0, 0);
}
