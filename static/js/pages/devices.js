// The devices: give one another name, sign one out.

import { api, explain } from "../api.js";
import { announce, icon, make } from "../dom.js";
import { openDialog } from "../dialogs.js";
import { startPage } from "../page.js";

const NAME_LENGTH = 100;

startPage();

const list = document.querySelector("#devices");
for (const button of list.querySelectorAll("button")) button.hidden = false;

list.addEventListener("click", (event) => {
  const row = event.target.closest("li");
  if (event.target.closest(".rename") !== null) rename(row);
  else if (event.target.closest(".revoke") !== null) revoke(row);
});

function rename(row) {
  const field = make("input", { class: "input", id: "device-name", maxlength: NAME_LENGTH, required: true });
  field.value = row.dataset.name;
  ask({
    title: "Rename device",
    body: [
      make(
        "div",
        { class: "field" },
        make("label", { for: "device-name" }, "Name"),
        field,
        make("div", { class: "hint" }, "Conflicted copies that the device makes carry its name."),
      ),
    ],
    verb: "Rename",
    act: async () => {
      const device = await api("PATCH", `/devices/${row.dataset.id}`, { name: field.value });
      row.dataset.name = device.name;
      row.querySelector(".device-name bdi").textContent = device.name;
      row.querySelector(".rename").setAttribute("aria-label", `Rename ${device.name}`);
      row.querySelector(".revoke").setAttribute("aria-label", `Sign ${device.name} out`);
      announce(`Renamed to ${device.name}.`);
    },
  });
  field.select();
}

function revoke(row) {
  const { id, name } = row.dataset;
  const isThis = row.dataset.this !== undefined;
  ask({
    title: isThis ? "Sign this browser out?" : `Sign “${name}” out?`,
    body: [
      make(
        "p",
        {},
        "Its connection is closed at once and its next request is refused. Files that it holds stay on it; " +
          "to use it again, sign in there.",
      ),
    ],
    verb: "Sign out",
    isDanger: true,
    act: async () => {
      await api("DELETE", `/devices/${id}`);
      if (isThis) {
        location.assign("/accounts/login/");
        return;
      }
      row.remove();
      announce(`${name} is signed out.`);
    },
  });
}

function ask({ title, body, verb, isDanger = false, act }) {
  const problem = make("p", { class: "form-error", role: "alert", hidden: true });
  const form = make("form", { id: "ask", class: "form" }, ...body, problem);
  const confirm = make(
    "button",
    { type: "submit", form: "ask", class: isDanger ? "button danger solid" : "button primary" },
    verb,
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    confirm.disabled = true;
    try {
      await act();
      dialog.close();
    } catch (error) {
      problem.replaceChildren(icon("circle-alert"), explain(error));
      problem.hidden = false;
      confirm.disabled = false;
    }
  });
  const dialog = openDialog({
    title,
    isSmall: true,
    body: [form],
    buttons: [
      make("button", { class: "button", onclick: () => dialog.close() }, "Cancel"),
      confirm,
    ],
  });
}
