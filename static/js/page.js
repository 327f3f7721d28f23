// What every signed-in page does: its times, and the menu of the account.

import { api } from "./api.js";
import { exactSize, keepTimesFresh, size } from "./format.js";
import { showKeys } from "./keys.js";
import { openMenu } from "./menu.js";
import { make } from "./dom.js";

const THEMES = { system: "sun-moon", light: "sun", dark: "moon" };

/** Remember a theme on this browser and show it at once. */
export function setTheme(theme) {
  const year = 365 * 24 * 3600;
  const secure = location.protocol === "https:" ? "; Secure" : "";
  const age = theme === "system" ? 0 : year;
  document.cookie = `theme=${theme}; Path=/; Max-Age=${age}; SameSite=Lax${secure}`;
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

export function currentTheme() {
  return document.documentElement.dataset.theme ?? "system";
}

/** Call once, from the module of the page. */
export function startPage() {
  keepTimesFresh();
  const me = document.querySelector("#me");
  me.hidden = false;
  me.addEventListener("click", () => {
    const themes = Object.keys(THEMES);
    const next = themes[(themes.indexOf(currentTheme()) + 1) % themes.length];
    openMenu(
      me,
      [
        { label: "Account", icon: "user", href: "/account" },
        { label: `Theme: ${currentTheme()}`, icon: THEMES[currentTheme()], run: () => setTheme(next) },
        { label: "Keyboard shortcuts", icon: "keyboard", key: "?", run: showKeys },
        null,
        {
          label: "Sign out",
          icon: "log-out",
          run: () => document.querySelector("#sign-out").submit(),
        },
      ],
      { head: make("div", { class: "who small muted" }, me.dataset.email) },
    );
  });
}

/** Show what is used now, after something was added or removed. */
export async function refreshStorage() {
  const { used_bytes: used, quota_bytes: quota } = await api("GET", "/account");
  for (const meter of document.querySelectorAll(".storage-meter")) meter.value = used;
  for (const text of document.querySelectorAll(".storage-text")) {
    text.textContent = quota === null ? `${size(used)} used` : `${size(used)} of ${size(quota)} used`;
    text.title = exactSize(used);
  }
}
