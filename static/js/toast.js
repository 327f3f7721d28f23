// Short messages at the edge of the page, with a way back where there is one.

import { announce, icon, make } from "./dom.js";
import { explain } from "./api.js";

const UNDO_SECONDS = 10;

/**
 * Say what was done. With `undo`, a button that takes it back; it throws what goes wrong.
 *
 * The message stays while the pointer or the focus is on it.
 */
export function toast(text, { undo = null, isError = false } = {}) {
  const box = make("div", { class: isError ? "toast is-error" : "toast" }, make("p", {}, text));
  let timer;
  const close = () => {
    clearTimeout(timer);
    box.remove();
  };
  const arm = () => {
    clearTimeout(timer);
    timer = setTimeout(close, (isError ? 2 : 1) * UNDO_SECONDS * 1000);
  };
  if (undo !== null) {
    box.append(
      make(
        "button",
        {
          onclick: async () => {
            close();
            try {
              await undo();
              announce("Undone.");
            } catch (error) {
              fail(error);
            }
          },
        },
        "Undo",
      ),
    );
  }
  box.append(
    make("button", { "aria-label": "Close this message", onclick: close }, icon("x")),
  );
  for (const event of ["pointerenter", "focusin"]) {
    box.addEventListener(event, () => clearTimeout(timer));
  }
  for (const event of ["pointerleave", "focusout"]) box.addEventListener(event, arm);
  const shelf = document.querySelector("#toasts");
  while (shelf.childElementCount >= 3) shelf.firstElementChild.remove();
  shelf.append(box);
  arm();
  announce(undo === null ? text : `${text} Undo is available.`);
}

/** Say what went wrong, what was kept and what to do. */
export function fail(error, what = "") {
  if (error.name === "AbortError") return;
  if (!("isTransient" in error)) console.error(error);
  toast(what ? `${what} ${explain(error)}` : explain(error), { isError: true });
}
