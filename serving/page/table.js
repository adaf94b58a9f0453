// Many texts, from lines or a CSV file: asked in several requests, shown as a table, downloaded as CSV.

import * as csv from "./csv.js";
import {
  BARS_SHOWN,
  bars,
  byId,
  count,
  duration,
  element,
  grouped,
  options,
  percent,
  shortened,
  show,
} from "./elements.js";
import { Refusal, askPatiently, say } from "./endpoint.js";

const REQUEST_TEXTS = 256;
const REQUEST_CHARACTERS = 500_000;
const MAX_TEXTS = 10_000;
const MAX_FILE_MB = 64;
const ROWS_SHOWN = 100;

let file = null; // the CSV opened last: {name, header, records}
let asked = null; // what the table shows: {name, header, rows, model}
let answered = []; // its rows that have an answer: {number, fields, text, label, score, truncated, version}
let rowsShown = ROWS_SHOWN;

// From where the texts come

export async function openFile(picked) {
  byId("error").textContent = "";
  byId("chosen").hidden = true;
  file = null;
  try {
    if (picked.size > MAX_FILE_MB * 1e6)
      throw new Refusal(`The file ${picked.name} has more than ${MAX_FILE_MB} MB: split it.`);
    const [header = [], ...records] = csv.parse(await csv.readText(picked), picked.name);
    if (!records.length) throw new Refusal(`The file ${picked.name} has no rows below its header.`);
    file = { name: picked.name.replace(/\.\w+$/, ""), header, records };
    byId("file-name").textContent = picked.name;
    const columns = header.map((name, index) => [index, name.trim() || `column ${index + 1}`]);
    byId("column").replaceChildren(...options(columns));
    byId("column").value = textColumn(header, records);
    byId("chosen").hidden = false;
    showPreview();
  } catch (error) {
    say(error);
  }
}

/** The column named text, else the one with most characters. */
function textColumn(header, records) {
  const named = header.findIndex((name) => name.trim().toLowerCase() === "text");
  const sizes = header.map((_, index) =>
    records.slice(0, 100).reduce((sum, fields) => sum + (fields[index] ?? "").length, 0),
  );
  return named >= 0 ? named : sizes.indexOf(Math.max(...sizes));
}

function showPreview() {
  byId("error").textContent = byId("preview").textContent = "";
  try {
    const { rows, leftOut } = textsOfFile();
    byId("preview").textContent =
      `${count(rows.length, "text")}. The first: “${shortened(rows[0].text, 120)}” ${leftOut}`;
  } catch (error) {
    say(error);
  }
}

/** {name, header, rows, leftOut}: rows are {number, fields, text}; leftOut says which rows have nothing to ask. */
export function textsOfFile() {
  if (!file) throw new Refusal("Choose a CSV file first.");
  const column = Number(byId("column").value);
  const all = file.records.map((fields, index) => ({ number: index + 1, fields, text: fields[column] ?? "" }));
  const fits = (row) => row.fields.length === file.header.length;
  const kinds = [
    [all.filter((row) => !fits(row)), "with more or fewer fields than the header"],
    [all.filter((row) => fits(row) && !row.text.trim()), "without text"],
  ];
  const said = kinds
    .filter(([rows]) => rows.length)
    .map(([rows, why]) => `${count(rows.length, "row")} ${why} (the first is row ${rows[0].number})`);
  const leftOut = said.length ? `Left out: ${said.join(", ")}.` : "";
  const rows = all.filter((row) => fits(row) && row.text.trim());
  if (!rows.length) throw new Refusal(`The file has no text in this column. ${leftOut}`.trim());
  return limited({ name: file.name, header: file.header, rows, leftOut });
}

export function textsOfLines(lines) {
  const rows = lines.split("\n").map((text, index) => ({ number: index + 1, fields: [text], text }));
  const filled = rows.filter((row) => row.text.trim());
  if (!filled.length) throw new Refusal("Type or paste texts first, one a line.");
  return limited({ name: "texts", header: ["text"], rows: filled });
}

function limited(table) {
  if (table.rows.length <= MAX_TEXTS) return table;
  throw new Refusal(
    `These are ${count(table.rows.length, "text")}, and this page takes at most ${grouped(MAX_TEXTS)}: split them.`,
  );
}

// Asking

export async function classifyTable(table, model, signal) {
  asked = { ...table, model };
  answered = [];
  rowsShown = ROWS_SHOWN;
  byId("rows").tBodies[0].replaceChildren();
  byId("batch-results").hidden = true;
  byId("under-way").hidden = false;
  byId("progress").max = table.rows.length;
  const latencies = [];
  showTable(latencies);
  show("batch");
  const route = `v1/models/${encodeURIComponent(model.name)}:classify`;
  for (const rows of requests(table.rows)) {
    const started = performance.now();
    const body = { texts: rows.map((row) => row.text) };
    const answer = await askPatiently(route, body, signal, showWaiting).catch((error) => {
      if (!(error instanceof Refusal)) throw error;
      throw new Refusal(`Rows ${rows[0].number} to ${rows.at(-1).number} were not classified: ${error.message}`);
    });
    latencies.push(performance.now() - started);
    rows.forEach((row, index) => answered.push({ ...row, ...answer.predictions[index], version: answer.version }));
    showTable(latencies);
  }
}

function showWaiting(seconds) {
  byId("waiting").textContent = seconds ? `The endpoint is busy: trying again in ${seconds} s.` : "";
}

/** The rows a request at a time: so many texts, and not too many characters. */
function* requests(rows) {
  let part = [];
  let characters = 0;
  for (const row of rows) {
    if (part.length === REQUEST_TEXTS || (part.length && characters + row.text.length > REQUEST_CHARACTERS)) {
      yield part;
      part = [];
      characters = 0;
    }
    part.push(row);
    characters += row.text.length;
  }
  yield part;
}

/** After the last answer, a refusal or a cancellation: what there is stays. */
export function endTable() {
  if (byId("batch").hidden || byId("under-way").hidden) return;
  if (byId("under-way").contains(document.activeElement)) byId("classify").focus();
  byId("under-way").hidden = true;
  showWaiting(0);
  byId("status").textContent = `${byId("batch-title").textContent} classified.`;
}

// Showing

function showTable(latencies) {
  const total = asked.rows.length;
  byId("progress").value = answered.length;
  const part = answered.length < total ? `${grouped(answered.length)} of ` : "";
  byId("batch-title").textContent = part + count(total, "text");
  if (!answered.length) return;
  const times = new Map();
  for (const row of answered) times.set(row.label, (times.get(row.label) ?? 0) + 1);
  const commonest = [...times].sort((a, b) => b[1] - a[1]).slice(0, BARS_SHOWN);
  const entries = commonest.map(([label, n]) => [
    label,
    n / answered.length,
    `${grouped(n)} · ${percent(n / answered.length)}`,
  ]);
  byId("shares").replaceChildren(...bars(entries));
  byId("batch-model").textContent = asked.model.name;
  byId("batch-version").textContent = [...new Set(answered.map((row) => row.version))].join(", ");
  const together = latencies.reduce((sum, each) => sum + each, 0);
  byId("batch-latency").textContent = `${duration(together)} for ${count(latencies.length, "request")}`;
  byId("batch-truncated").textContent = count(answered.filter((row) => row.truncated).length, "text");
  byId("batch-results").hidden = false;
  showRows();
}

function showRows() {
  const body = byId("rows").tBodies[0];
  for (const row of answered.slice(body.rows.length, rowsShown)) {
    const line = body.insertRow();
    line.append(element("td", { className: "number" }, grouped(row.number)));
    line.append(
      element(
        "td",
        {},
        shortened(row.text, 300),
        row.truncated ? element("span", { className: "quiet" }, " (truncated)") : "",
      ),
    );
    line.append(element("td", {}, row.label), element("td", { className: "number" }, percent(row.score)));
  }
  const left = answered.length - body.rows.length;
  byId("rows-left").hidden = left === 0;
  byId("more-rows").textContent = `Show ${Math.min(left, ROWS_SHOWN)} of ${count(left, "more row")}`;
}

function download() {
  const columns = ["predicted", "predicted_score", "truncated", "model_version"];
  const added = columns.map((name) => (asked.header.includes(name) ? `textgate_${name}` : name));
  const rows = answered.map((row) => [...row.fields, row.label, row.score, row.truncated, row.version]);
  const lines = [[...asked.header, ...added], ...rows].map(csv.line);
  const content = new Blob(["\ufeff", ...lines], { type: "text/csv" }); // \ufeff tells a spreadsheet: UTF-8
  const link = element("a", { href: URL.createObjectURL(content), download: `${asked.name}-${asked.model.name}.csv` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

byId("column").addEventListener("change", showPreview);
byId("download").addEventListener("click", download);
byId("more-rows").addEventListener("click", () => {
  rowsShown += ROWS_SHOWN;
  showRows();
});
