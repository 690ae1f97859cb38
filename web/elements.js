/** Creates elements for the rating widget and the sidebar tab. */

/** A thumb up, as an SVG path in a box of 24 by 24. */
export const THUMB =
  "M3.5 10.5h3a.5.5 0 0 1 .5.5v8.5a.5.5 0 0 1-.5.5h-3a.5.5 0 0 1-.5-.5V11a.5.5 0 0 1 .5-.5Z" +
  "M9 20V10.6l3.2-7c.2-.4.6-.6 1-.6 1.2 0 2 1 1.8 2.2L14.3 9h4.9c1.3 0 2.2 1.2 1.9 2.4l-1.6 7c-.2.9-1 1.6-2 1.6Z";

export function element(tag, className, properties = {}) {
  return Object.assign(document.createElement(tag), { className }, properties);
}

export function button(className, text, onClick) {
  const created = element("button", className, { type: "button", textContent: text });
  created.addEventListener("click", onClick);
  return created;
}

/** Creates a button with an icon: an SVG path in a box of 24 by 24. */
export function iconButton(className, icon, onClick) {
  const created = button(`prefgen-drawn ${className}`, "", onClick);
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", icon);
  svg.append(path);
  created.append(svg);
  return created;
}

/** Adds a style sheet to the page. */
export function addStyle(url) {
  document.head.append(element("link", "", { rel: "stylesheet", href: url.href }));
}

addStyle(new URL("./elements.css", import.meta.url));
