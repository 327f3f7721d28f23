// Dialogs: the browser's own element, so that focus, Escape and inertness are right.

import { icon, make } from "./dom.js";

/**
 * A modal dialog with a title, a body and buttons; it is gone once closed.
 *
 * `body`: elements. `buttons`: elements of the last row. Closing gives the focus back to
 * where it was. `mayClose()` is asked first, however the person wants to leave. Returns
 * the <dialog>.
 */
export function openDialog({ title, body, buttons = [], isSmall = false, mayClose = () => true, onClose = () => {} }) {
  const dialog = make(
    "dialog",
    { "aria-labelledby": "dialog-title", class: isSmall ? "small-dialog" : null },
    make(
      "div",
      { class: "dialog-head" },
      make("h2", { id: "dialog-title" }, title),
      make(
        "button",
        {
          class: "icon-button",
          "aria-label": "Close",
          onclick: () => mayClose() && dialog.close(),
        },
        icon("x"),
      ),
    ),
    make("div", { class: "dialog-body" }, ...body),
    ...(buttons.length > 0 ? [make("div", { class: "dialog-foot" }, ...buttons)] : []),
  );
  const before = document.activeElement;
  dialog.addEventListener("close", () => {
    dialog.remove();
    if (before?.isConnected) before.focus({ preventScroll: true });
    onClose();
  });
  dialog.addEventListener("cancel", (event) => {
    if (!mayClose()) event.preventDefault();
  });
  // A press on the ground around it closes it, like Escape.
  dialog.addEventListener("pointerdown", (event) => {
    if (event.target !== dialog) return;
    const box = dialog.getBoundingClientRect();
    const isInside =
      event.clientX >= box.left &&
      event.clientX <= box.right &&
      event.clientY >= box.top &&
      event.clientY <= box.bottom;
    if (!isInside && mayClose()) dialog.close();
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/** A line under a field that says why it was refused; empty it with "". */
export function showFieldError(field, line, text) {
  field.setAttribute("aria-invalid", text ? "true" : "false");
  line.replaceChildren(...(text ? [icon("circle-alert"), text] : []));
  line.hidden = !text;
}

/** Put text on the clipboard; on plain http by way of a selection. Says whether it worked. */
export async function copyText(text, field) {
  if (navigator.clipboard !== undefined) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // Not allowed here: the older way below asks for no permission.
    }
  }
  field.focus();
  field.select();
  return document.execCommand("copy");
}
