// DOM elements and number formats. Texts, files and responses are inserted into the page as text, never as HTML.

export const BARS_SHOWN = 10;

export const byId = (id) => document.getElementById(id);
export const grouped = (number) => number.toLocaleString("en");
export const count = (number, noun) => `${grouped(number)} ${noun}${number === 1 ? "" : "s"}`;
export const shortened = (text, length) => (text.length > length ? `${text.slice(0, length)}…` : text);

export function percent(share) {
  if (share > 0.9995 && share < 1) return "> 99.9\u00a0%";
  if (share < 0.0005 && share > 0) return "< 0.1\u00a0%";
  return `${(100 * share).toFixed(1)}\u00a0%`;
}

export function duration(milliseconds) {
  if (milliseconds < 10) return `${milliseconds.toFixed(1)}\u00a0ms`;
  return milliseconds < 10_000
    ? `${grouped(Math.round(milliseconds))}\u00a0ms`
    : `${(milliseconds / 1000).toFixed(1)}\u00a0s`;
}

export function element(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

/** Creates the options of a select; `entries`: [value, text]. */
export const options = (entries) => entries.map(([value, textContent]) => element("option", { value, textContent }));

/** Creates a bar chart; `entries`: [label, share, text at the end of the bar]. */
export function bars(entries, predicted) {
  return entries.map(([label, share, text]) => {
    const fill = element("span", { className: "fill" });
    fill.style.width = `${100 * share}%`;
    const name = element("span", { className: "name" }, label);
    const value = element("span", { className: "value" }, text);
    const track = element("span", { className: "track", ariaHidden: "true" }, fill);
    return element("li", { className: label === predicted ? "predicted" : "" }, name, value, track);
  });
}

/** Shows one section of the result: nothing-yet, single or batch. */
export function showSection(section) {
  for (const id of ["nothing-yet", "single", "batch"]) byId(id).hidden = id !== section;
  byId("answer").ariaBusy = "false";
}
