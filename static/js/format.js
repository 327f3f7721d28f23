// Sizes, times and kinds as people read them. `files/web/words.py` writes the same words.

const UNITS = ["B", "KB", "MB", "GB", "TB", "PB"];

/** "84 KB", "2.1 MB": powers of 1,000, one decimal below ten. */
export function size(bytes) {
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const tenths = Math.floor(value * 10 + 0.5) / 10;
  const shown = unit === 0 || tenths >= 10 ? String(Math.floor(value + 0.5)) : tenths.toFixed(1);
  return `${shown} ${UNITS[unit]}`;
}

/** "1,234,567 bytes", for where the exact number is wanted. */
export function exactSize(bytes) {
  return `${new Intl.NumberFormat("en").format(bytes)} ${bytes === 1 ? "byte" : "bytes"}`;
}

export function count(number, one, many) {
  return `${new Intl.NumberFormat("en").format(number)} ${number === 1 ? one : many}`;
}

/**
 * A sentence about one thing or many: `{count}` is the number, `{name}` and the like come
 * from `values`. Whole sentences, so that they can be translated.
 */
export function sentence(number, one, many, values = {}) {
  const all = { count: new Intl.NumberFormat("en").format(number), ...values };
  return (number === 1 ? one : many).replace(/\{(\w+)\}/g, (_, name) => all[name]);
}

const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });
const EXACT = new Intl.DateTimeFormat("en-GB", { dateStyle: "full", timeStyle: "medium" });

/** "now", "5 min ago", "3 days ago", or the date for what is older than a week. */
export function ago(moment, now = new Date()) {
  const seconds = (now - moment) / 1000;
  if (seconds < -60) return DAY.format(moment);
  if (seconds < 60) return "now";
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  const days = Math.floor(seconds / 86400);
  if (days === 1) return "yesterday";
  return days < 7 ? `${days} days ago` : DAY.format(moment);
}

/** "in 3 days", "in 2 h": how long something still lasts. */
export function ahead(moment, now = new Date()) {
  const seconds = (moment - now) / 1000;
  if (seconds <= 0) return "now";
  if (seconds < 3600) return `in ${Math.ceil(seconds / 60)} min`;
  if (seconds < 86400) return `in ${Math.ceil(seconds / 3600)} h`;
  const days = Math.round(seconds / 86400);
  return days === 1 ? "in a day" : `in ${days} days`;
}

/** "less than a minute left", "about 3 min left": what nobody can know exactly. */
export function remaining(seconds) {
  if (seconds < 60) return "less than a minute left";
  if (seconds < 3600) return `about ${Math.ceil(seconds / 60)} min left`;
  return `about ${Math.ceil(seconds / 3600)} h left`;
}

export function exact(moment) {
  return EXACT.format(moment);
}

/** Put a moment into a <time>: relative in the text, exact in the title. */
export function showTime(element, moment) {
  element.dateTime = moment.toISOString();
  element.title = exact(moment);
  element.textContent = ago(moment);
}

/** Write all times of the page in the person's own time zone, and again every half minute. */
export function keepTimesFresh() {
  const refresh = () => {
    const now = new Date();
    for (const element of document.querySelectorAll("time[datetime]")) {
      const moment = new Date(element.dateTime);
      const text = "ahead" in element.dataset ? ahead(moment, now) : ago(moment, now);
      // Thousands of rows, few of which say something new.
      if (element.textContent !== text) element.textContent = text;
    }
  };
  for (const element of document.querySelectorAll("time[datetime]")) {
    element.title = exact(new Date(element.dateTime));
  }
  refresh();
  setInterval(refresh, 30_000);
}

let kinds;

/** How a file is shown, by its extension: `{ icon, kind }`. The table comes with the page. */
export function kindOf(item) {
  if (item.type === "folder") return { icon: "folder", kind: "folder" };
  kinds ??= JSON.parse(document.querySelector("#kinds").textContent);
  const dot = item.name.lastIndexOf(".");
  const extension = dot > 0 ? item.name.slice(dot + 1).toLowerCase() : "";
  const [icon, kind] = Object.hasOwn(kinds, extension) ? kinds[extension] : ["file", "other"];
  return { icon, kind };
}
