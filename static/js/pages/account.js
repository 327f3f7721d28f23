// The account: how the pages look, and the links that lead to the person's files.

import { currentTheme, setTheme, startPage } from "../page.js";
import { showLinks } from "../share.js";

startPage();

const theme = document.querySelector("#theme");
theme.hidden = false;
theme.querySelector(`[value="${currentTheme()}"]`).checked = true;
theme.addEventListener("change", (event) => setTheme(event.target.value));

showLinks(document.querySelector("#links"), () => true, "You share nothing by link.");
