// Files to be uploaded whose names are taken: the person says once what becomes of them.

import { make } from "./dom.js";
import { openDialog } from "./dialogs.js";
import { ago, size } from "./format.js";

const CHOICES = [
  ["new_version", "New version", "The file here gets the new content; what it holds now stays among its versions."],
  ["keep_both", "Keep both", "The uploaded one gets a number behind its name."],
  ["skip", "Skip", "It is not uploaded."],
];
// More are decided together only.
const SHOWN = 200;

/**
 * Ask about `taken`, a list of `{ task, item }`: a file to be uploaded and who has its name.
 *
 * Resolves to a list of choices, "new_version", "keep_both" or "skip", in that order; to null
 * where the dialog was closed.
 */
export function askAboutTaken(taken) {
  return new Promise((resolve) => {
    let answer = null;
    const selects = taken.slice(0, SHOWN).map(({ task, item }) => {
      const choices = CHOICES.filter(([value]) => value !== "new_version" || item.type === "file");
      return make(
        "select",
        { class: "input", "aria-label": `What becomes of ${task.name}` },
        ...choices.map(([value, label]) => make("option", { value }, label)),
      );
    });
    const forAll = make(
      "fieldset",
      { class: "choices" },
      make("legend", { class: "visually-hidden" }, "What shall become of them?"),
      ...CHOICES.map(([value, label, meaning], index) =>
        make(
          "label",
          {},
          make("input", { type: "radio", name: "taken", value, checked: index === 0 }),
          make("span", {}, make("b", {}, label), make("span", { class: "muted" }, meaning)),
        ),
      ),
    );
    const chosen = () => forAll.querySelector(":checked").value;
    // A file cannot become a version of a folder.
    const fitting = (value, item) =>
      value === "new_version" && item.type === "folder" ? "keep_both" : value;
    forAll.addEventListener("change", () => {
      selects.forEach((select, index) => (select.value = fitting(chosen(), taken[index].item)));
    });
    const lines = taken.slice(0, SHOWN).map(({ task, item }, index) =>
      make(
        "li",
        {},
        make(
          "div",
          {},
          make("div", { class: "tray-name", title: task.name }, make("bdi", {}, task.name)),
          make("div", { class: "tray-state" }, facts(task.file, item)),
        ),
        selects[index],
      ),
    );
    const isOne = taken.length === 1;
    const dialog = openDialog({
      title: isOne ? `“${taken[0].task.name}” is here already` : `${taken.length} files are here already`,
      body: [
        make(
          "p",
          { class: "muted" },
          isOne ? facts(taken[0].task.file, taken[0].item) : "Files with these names are in their folders. Everything else is being uploaded.",
        ),
        forAll,
        ...(isOne
          ? []
          : [
              make(
                "details",
                {},
                make("summary", {}, "Decide for each file"),
                make("ul", { class: "taken-list", role: "list" }, ...lines),
              ),
            ]),
      ],
      buttons: [
        make("button", { type: "button", class: "button", onclick: () => dialog.close() }, "Cancel"),
        make(
          "button",
          {
            type: "button",
            class: "button primary",
            onclick: () => {
              answer = taken.map(({ item }, index) => selects[index]?.value ?? fitting(chosen(), item));
              dialog.close();
            },
          },
          "Go on",
        ),
      ],
      onClose: () => resolve(answer),
    });
  });
}

function facts(file, item) {
  if (item.type === "folder") return "A folder has this name.";
  const here = `${size(item.size_bytes)}, changed ${ago(new Date(item.modified_at))}`;
  const yours = `${size(file.size)}, changed ${ago(new Date(file.lastModified))}`;
  return `Here: ${here}. Yours: ${yours}.`;
}
