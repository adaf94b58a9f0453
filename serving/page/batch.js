// Many texts, from lines or a CSV file: classified in several requests, shown as a table, downloaded as CSV.

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
  showSection,
} from "./dom.js";
import { UserError, fetchWithRetry, showError } from "./api.js";

const REQUEST_TEXTS = 256;
const REQUEST_CHARACTERS = 500_000;
const REQUEST_PROBABILITIES = 50_000;
const MAX_TEXTS = 10_000;
const MAX_FILE_MB = 64;
const ROWS_SHOWN = 100;

let file = null; // last opened CSV file: {name, header, records}
let table = null; // table that is classified: {name, header, rows, model}
let classified = []; // its classified rows: {number, fields, text, label, score, truncated, top, version}
let rowsShown = ROWS_SHOWN;

// Input

export async function openFile(picked) {
  byId("error").textContent = "";
  byId("chosen").hidden = true;
  file = null;
  try {
    if (picked.size > MAX_FILE_MB * 1e6)
      throw new UserError(`The file ${picked.name} has more than ${MAX_FILE_MB} MB: split it.`);
    const [header = [], ...records] = csv.parse(await csv.readText(picked), picked.name);
    if (!records.length) throw new UserError(`The file ${picked.name} has no rows below its header.`);
    file = { name: picked.name.replace(/\.\w+$/, ""), header, records };
    byId("file-name").textContent = picked.name;
    const columns = header.map((name, index) => [index, name.trim() || `column ${index + 1}`]);
    byId("column").replaceChildren(...options(columns));
    byId("column").value = textColumn(header, records);
    byId("chosen").hidden = false;
    showPreview();
  } catch (error) {
    showError(error);
  }
}

/** Returns the index of the column named text, else of the one with most characters. */
function textColumn(header, records) {
  const index = header.findIndex((name) => name.trim().toLowerCase() === "text");
  const sizes = header.map((_, column) =>
    records.slice(0, 100).reduce((sum, fields) => sum + (fields[column] ?? "").length, 0),
  );
  return index >= 0 ? index : sizes.indexOf(Math.max(...sizes));
}

function showPreview() {
  byId("error").textContent = byId("preview").textContent = "";
  try {
    const { rows, skipped } = textsOfFile();
    byId("preview").textContent =
      `${count(rows.length, "text")}. The first: “${shortened(rows[0].text, 120)}” ${skipped}`;
  } catch (error) {
    showError(error);
  }
}

/** Returns {name, header, rows, skipped}: rows are {number, fields, text}; skipped is a sentence about skipped rows. */
export function textsOfFile() {
  if (!file) throw new UserError("Choose a CSV file first.");
  const column = Number(byId("column").value);
  const all = file.records.map((fields, index) => ({ number: index + 1, fields, text: fields[column] ?? "" }));
  const isComplete = (row) => row.fields.length === file.header.length;
  const reasons = [
    [all.filter((row) => !isComplete(row)), "with more or fewer fields than the header"],
    [all.filter((row) => isComplete(row) && !row.text.trim()), "without text"],
  ];
  const sentences = reasons
    .filter(([rows]) => rows.length)
    .map(([rows, why]) => `${count(rows.length, "row")} ${why} (the first is row ${rows[0].number})`);
  const skipped = sentences.length ? `Skipped: ${sentences.join(", ")}.` : "";
  const rows = all.filter((row) => isComplete(row) && row.text.trim());
  if (!rows.length) throw new UserError(`The file has no text in this column. ${skipped}`.trim());
  return checkSize({ name: file.name, header: file.header, rows, skipped });
}

export function textsOfLines(lines) {
  const rows = lines.split("\n").map((text, index) => ({ number: index + 1, fields: [text], text }));
  const filled = rows.filter((row) => row.text.trim());
  if (!filled.length) throw new UserError("Type or paste texts first, one per line.");
  return checkSize({ name: "texts", header: ["text"], rows: filled });
}

function checkSize(input) {
  if (input.rows.length <= MAX_TEXTS) return input;
  throw new UserError(
    `${count(input.rows.length, "text")} are more than this page accepts (${grouped(MAX_TEXTS)}): split them.`,
  );
}

// Classification

export async function classifyTable(input, model, signal) {
  table = { ...input, model };
  classified = [];
  rowsShown = ROWS_SHOWN;
  byId("rows").tBodies[0].replaceChildren();
  byId("batch-results").hidden = true;
  byId("running").hidden = false;
  byId("progress").max = input.rows.length;
  const latencies = [];
  showTable(latencies);
  showSection("batch");
  const route = `v1/models/${encodeURIComponent(model.name)}:classify`;
  for (const rows of splitRows(input.rows, model.labels.length)) {
    const started = performance.now();
    const body = { texts: rows.map((row) => row.text), top_k: model.labels.length };
    const answer = await fetchWithRetry(route, body, signal, showWaiting).catch((error) => {
      if (!(error instanceof UserError)) throw error;
      throw new UserError(`Rows ${rows[0].number} to ${rows.at(-1).number} were not classified: ${error.message}`);
    });
    latencies.push(performance.now() - started);
    rows.forEach((row, index) => classified.push({ ...row, ...answer.predictions[index], version: answer.version }));
    showTable(latencies);
  }
}

function showWaiting(seconds) {
  byId("waiting").textContent = seconds ? `The endpoint is busy: trying again in ${seconds} s.` : "";
}

/** Yields the rows of each request, which is limited in texts, in characters and in probabilities of the answer. */
function* splitRows(rows, labels) {
  const texts = Math.max(1, Math.min(REQUEST_TEXTS, Math.floor(REQUEST_PROBABILITIES / labels)));
  let part = [];
  let characters = 0;
  for (const row of rows) {
    if (part.length === texts || (part.length && characters + row.text.length > REQUEST_CHARACTERS)) {
      yield part;
      part = [];
      characters = 0;
    }
    part.push(row);
    characters += row.text.length;
  }
  yield part;
}

/** Ends a classification that is complete, failed or cancelled; the results so far stay. */
export function endTable() {
  if (byId("batch").hidden || byId("running").hidden) return;
  if (byId("running").contains(document.activeElement)) byId("classify").focus();
  byId("running").hidden = true;
  showWaiting(0);
  byId("status").textContent = `${byId("batch-title").textContent} classified.`;
}

// Output

function showTable(latencies) {
  const total = table.rows.length;
  byId("progress").value = classified.length;
  const part = classified.length < total ? `${grouped(classified.length)} of ` : "";
  byId("batch-title").textContent = part + count(total, "text");
  if (!classified.length) return;
  const counts = new Map();
  for (const row of classified) counts.set(row.label, (counts.get(row.label) ?? 0) + 1);
  const commonest = [...counts].sort((a, b) => b[1] - a[1]).slice(0, BARS_SHOWN);
  const entries = commonest.map(([label, n]) => [
    label,
    n / classified.length,
    `${grouped(n)} · ${percent(n / classified.length)}`,
  ]);
  byId("shares").replaceChildren(...bars(entries));
  byId("batch-model").textContent = table.model.name;
  byId("batch-version").textContent = [...new Set(classified.map((row) => row.version))].join(", ");
  const milliseconds = latencies.reduce((sum, each) => sum + each, 0);
  byId("batch-latency").textContent = `${duration(milliseconds)} for ${count(latencies.length, "request")}`;
  byId("batch-truncated").textContent = count(classified.filter((row) => row.truncated).length, "text");
  byId("batch-results").hidden = false;
  showRows();
}

function showRows() {
  const body = byId("rows").tBodies[0];
  for (const row of classified.slice(body.rows.length, rowsShown)) {
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
  const left = classified.length - body.rows.length;
  byId("rows-left").hidden = left === 0;
  byId("more-rows").textContent = `Show ${Math.min(left, ROWS_SHOWN)} of ${count(left, "more row")}`;
}

function download() {
  // A new version may have other labels.
  const labels = [...new Set([...table.model.labels, ...classified.flatMap((row) => row.top.map((top) => top.label))])];
  const probabilities = labels.map((label) => `probability_${label}`);
  const columns = ["predicted", "predicted_score", ...probabilities, "truncated", "model_version"];
  const added = columns.map((name) => (table.header.includes(name) ? `textgate_${name}` : name));
  const rows = classified.map((row) => {
    const scores = new Map(row.top.map((top) => [top.label, top.score]));
    const cells = labels.map((label) => scores.get(label) ?? "");
    return [...row.fields, row.label, row.score, ...cells, row.truncated, row.version];
  });
  const lines = [[...table.header, ...added], ...rows].map(csv.line);
  const content = new Blob(["\ufeff", ...lines], { type: "text/csv" }); // \ufeff marks UTF-8 for spreadsheets
  const link = element("a", { href: URL.createObjectURL(content), download: `${table.name}-${table.model.name}.csv` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

byId("column").addEventListener("change", showPreview);
byId("download").addEventListener("click", download);
byId("more-rows").addEventListener("click", () => {
  rowsShown += ROWS_SHOWN;
  showRows();
});
