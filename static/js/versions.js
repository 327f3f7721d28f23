// The versions of a file: who, when, how large; fetch an old one or bring it back.

import { api, explain } from "./api.js";
import { icon, make } from "./dom.js";
import { openDialog } from "./dialogs.js";
import { ago, exact, size } from "./format.js";
import { itemOf } from "./list.js";
import { fail, toast } from "./toast.js";

/** The dialog with all versions of a file. `onRestored(item)` gets the file afterwards. */
export function openVersions(item, onRestored) {
  const place = make("div", {}, make("p", { class: "muted" }, "Loading…"));
  const dialog = openDialog({
    title: `Versions of “${item.name}”`,
    body: [
      place,
      make(
        "p",
        { class: "muted small" },
        "Restoring makes a new version of the old content. Nothing is deleted.",
      ),
    ],
  });
  const restore = async (version) => {
    try {
      await api("POST", `/files/${item.id}/versions/${version.file_version_id}/restore`, {});
      dialog.close();
      toast(`“${item.name}” is again as it was ${ago(new Date(version.committed_at))}.`);
      onRestored(itemOf(await api("GET", `/files/${item.id}`)));
    } catch (error) {
      fail(error, "The version was not restored.");
    }
  };
  show(place, item, restore);
}

async function show(place, item, restore) {
  try {
    const versions = [];
    let cursor = "";
    do {
      const query = cursor ? `?cursor=${encodeURIComponent(cursor)}` : "";
      const page = await api("GET", `/files/${item.id}/versions${query}`);
      versions.push(...page.items);
      cursor = page.next_cursor;
    } while (cursor);
    const rows = versions.map((version) => versionRow(item, version, restore));
    place.replaceChildren(make("ul", { class: "rows", role: "list" }, ...rows));
  } catch (error) {
    place.replaceChildren(make("p", { class: "form-error", role: "alert" }, explain(error)));
  }
}

function versionRow(item, version, restore) {
  const moment = new Date(version.committed_at);
  const facts = [version.device ?? "the server", version.author, size(version.size_bytes)];
  const buttons = [
    make(
      "a",
      {
        class: "icon-button",
        href: `/api/v1/files/${item.id}/content?version=${version.file_version_id}`,
        download: "",
        "aria-label": `Download the version of ${exact(moment)}`,
        title: "Download",
      },
      icon("download"),
    ),
  ];
  if (!version.is_current) {
    buttons.push(
      make(
        "button",
        { type: "button", class: "button", onclick: () => restore(version) },
        "Restore",
      ),
    );
  }
  const damage = version.is_damaged
    ? [make("span", { class: "status danger damaged" }, icon("triangle-alert"), "Damaged")]
    : [];
  return make(
    "li",
    {},
    icon("history"),
    make(
      "div",
      { class: "grow" },
      make(
        "div",
        { title: exact(moment) },
        version.is_current ? make("strong", {}, `Current · ${ago(moment)}`) : ago(moment),
        " ",
        ...damage,
      ),
      make("div", { class: "muted small" }, facts.filter(Boolean).join(" · ")),
    ),
    ...buttons,
  );
}
