// What the page is built of, and how it words numbers. Whatever comes from a text, a file or an answer goes into the
// page as text, never as HTML.

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
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** Of a select; `entries`: [value, words]. */
export const options = (entries) => entries.map(([value, textContent]) => element("option", { value, textContent }));

/** `entries`: [label, share, words at the bar's end]. */
export function bars(entries, answered) {
  return entries.map(([label, share, words]) => {
    const fill = element("span", { className: "fill" });
    fill.style.width = `${100 * share}%`;
    const name = element("span", { className: "name" }, label);
    const value = element("span", { className: "value" }, words);
    const track = element("span", { className: "track", ariaHidden: "true" }, fill);
    return element("li", { className: label === answered ? "answered" : "" }, name, value, track);
  });
}

/** Shows one part of the answer: nothing-yet, single or batch. */
export function show(part) {
  for (const id of ["nothing-yet", "single", "batch"]) byId(id).hidden = id !== part;
  byId("answer").ariaBusy = "false";
}
