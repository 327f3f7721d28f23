// Download links: make one, copy it, see which there are, withdraw them.

import { api, explain } from "./api.js";
import { announce, icon, make } from "./dom.js";
import { copyText, openDialog } from "./dialogs.js";
import { ahead, ago, count, exact } from "./format.js";
import { fail } from "./toast.js";

const EXPIRIES = [
  ["7", "After 7 days"],
  ["30", "After 30 days"],
  ["1", "After a day"],
  ["", "Never"],
];

/** The dialog for one item: a new link, and those that lead to it already. */
export function openShare(item) {
  const expiry = make(
    "select",
    { class: "input", id: "link-expiry" },
    ...EXPIRIES.map(([days, label]) => make("option", { value: days }, label)),
  );
  const problem = make("p", { class: "form-error", role: "alert", hidden: true });
  const made = make("div", { hidden: true });
  const known = make("div");
  const refresh = () => showLinks(known, (link) => (link.file_id ?? link.folder_id) === item.id);
  const create = make(
    "button",
    {
      class: "button primary",
      onclick: async () => {
        create.disabled = true;
        problem.hidden = true;
        try {
          const body = item.type === "folder" ? { folder_id: item.id } : { file_id: item.id };
          if (expiry.value) {
            const end = new Date(Date.now() + Number(expiry.value) * 86_400_000);
            body.expires_at = end.toISOString();
          }
          showMade(made, await api("POST", "/links", body));
          refresh();
        } catch (error) {
          problem.replaceChildren(icon("circle-alert"), explain(error));
          problem.hidden = false;
        } finally {
          create.disabled = false;
        }
      },
    },
    icon("link"),
    "Create link",
  );
  openDialog({
    title: `Share “${item.name}”`,
    body: [
      make(
        "p",
        { class: "muted" },
        item.type === "folder"
          ? "Anyone with the link can see this folder and download what is in it, without an account."
          : "Anyone with the link can download this file, without an account.",
      ),
      make(
        "div",
        { class: "field" },
        make("label", { for: "link-expiry" }, "The link ends"),
        expiry,
      ),
      make("div", { class: "actions" }, create),
      problem,
      made,
      known,
    ],
  });
  refresh();
}

function showMade(place, link) {
  const field = make("input", {
    class: "input mono",
    readonly: true,
    value: link.url,
    "aria-label": "The new link",
  });
  field.addEventListener("focus", () => field.select());
  const copy = make(
    "button",
    {
      class: "button",
      onclick: async () => {
        const isCopied = await copyText(link.url, field);
        copy.replaceChildren(icon(isCopied ? "check" : "copy"), isCopied ? "Copied" : "Copy link");
        announce(isCopied ? "Link copied." : "The link is selected; copy it with the keyboard.");
      },
    },
    icon("copy"),
    "Copy link",
  );
  place.replaceChildren(
    make("div", { class: "link-made" }, field, copy),
    make("p", { class: "muted small" }, "Copy it now: it is shown this once."),
  );
  place.hidden = false;
  copy.focus();
}

/** The person's links, those that `isWanted` lets through, each with a button to withdraw it. */
export async function showLinks(place, isWanted = () => true, emptyText = "") {
  try {
    const links = [];
    let cursor = "";
    do {
      const query = cursor ? `?cursor=${encodeURIComponent(cursor)}` : "";
      const page = await api("GET", `/links${query}`);
      links.push(...page.items.filter(isWanted));
      cursor = page.next_cursor;
    } while (cursor);
    if (links.length === 0) {
      place.replaceChildren(...(emptyText ? [make("p", { class: "muted" }, emptyText)] : []));
      return;
    }
    const refresh = () => showLinks(place, isWanted, emptyText);
    const rows = links.map((link) => linkRow(link, refresh));
    place.replaceChildren(make("ul", { class: "rows", role: "list", "aria-label": "Links" }, ...rows));
  } catch (error) {
    place.replaceChildren(make("p", { class: "form-error", role: "alert" }, explain(error)));
  }
}

function linkRow(link, refresh) {
  const createdAt = new Date(link.created_at);
  const facts = [`made ${ago(createdAt)}`];
  facts.push(link.expires_at ? `ends ${ahead(new Date(link.expires_at))}` : "does not end");
  facts.push(count(link.download_count, "download", "downloads"));
  const name = link.name || "My files";
  const revoke = make(
    "button",
    {
      class: "button danger",
      "aria-label": `Withdraw the link to ${name}, made ${ago(createdAt)}`,
      onclick: async () => {
        revoke.disabled = true;
        try {
          await api("DELETE", `/links/${link.link_id}`);
          announce("The link does not work any more.");
          await refresh();
        } catch (error) {
          revoke.disabled = false;
          fail(error, "The link was not withdrawn.");
        }
      },
    },
    "Withdraw",
  );
  return make(
    "li",
    {},
    icon("link"),
    make(
      "div",
      { class: "grow" },
      make("div", {}, make("bdi", {}, name)),
      make("div", { class: "muted small", title: exact(createdAt) }, facts.join(" · ")),
    ),
    revoke,
  );
}
