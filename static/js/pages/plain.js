// Pages with nothing of their own to do.

import { startPage } from "../page.js";

startPage();
