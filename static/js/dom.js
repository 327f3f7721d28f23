// Building elements, and saying things to people who listen instead of look.

/**
 * An element: `make("button", { class: "button", onclick: … }, icon("x"), "Close")`.
 *
 * Attributes that are null or false are left out; names starting with "on" are listeners.
 * Text is always text: nothing here parses HTML.
 */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  // None of them sends a form unless it says so.
  if (tag === "button") element.type = "button";
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/** An icon of the sprite. Decoration only: what it means stands beside it in words. */
export function icon(name, extra = "") {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", `icon ${extra}`.trim());
  svg.setAttribute("aria-hidden", "true");
  svg.append(document.createElementNS(SVG, "use"));
  setIcon(svg, name);
  return svg;
}

/** Make an icon show another picture. */
export function setIcon(svg, name) {
  svg.firstElementChild.setAttribute("href", `${document.body.dataset.icons}#i-${name}`);
}

/** Put the sprite into the page: thousands of icons cost a request each when it lies outside. */
export async function inlineIcons() {
  const answer = await fetch(document.body.dataset.icons);
  if (!answer.ok) return;
  const sprite = new DOMParser().parseFromString(await answer.text(), "image/svg+xml").documentElement;
  sprite.classList.add("visually-hidden");
  sprite.setAttribute("aria-hidden", "true");
  document.body.append(document.importNode(sprite, true));
  document.body.dataset.icons = "";
  for (const { content } of document.querySelectorAll("template")) {
    for (const use of content.querySelectorAll("use")) use.setAttribute("href", use.getAttribute("href").replace(/.*#/, "#"));
  }
}

/** Say something to a screen reader without moving the focus. */
export function announce(text) {
  const region = document.querySelector("#announcements");
  // The same words twice are two announcements only if the text changes in between.
  region.textContent = "";
  setTimeout(() => (region.textContent = text), 50);
}

/** Whether keys that the person presses now belong to a field. */
export function isTyping(event) {
  return event.target.closest("input, textarea, select, [contenteditable]") !== null;
}
