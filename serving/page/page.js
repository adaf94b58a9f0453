// The page at /: asks this endpoint's own routes and shows what they answer. It stores nothing.

import { byId, count, options, shortened } from "./elements.js";
import { Refusal, ask, say } from "./endpoint.js";
import { classifyText } from "./one.js";
import { classifyTable, endTable, openFile, textsOfFile, textsOfLines } from "./table.js";

let models = [];
let running = null; // the AbortController of the submission under way

const mode = () => byId("ask").elements.mode.value;
const chosenModel = () => models.find((model) => model.name === byId("model").value);

/** Asked before every classification too, so that a model loaded, swapped or taken away since is noticed. */
async function loadModels(signal) {
  const served = (await ask("v1/models", null, signal)).models;
  if (!served.length) throw new Refusal("This endpoint serves no model yet.");
  models = served;
  const select = byId("model");
  const before = select.value;
  const names = [...new Set(models.map((model) => model.name))];
  select.replaceChildren(...options(names.map((name) => [name, name])));
  if (names.includes(before)) select.value = before;
  select.hidden = byId("model-label").hidden = names.length === 1;
  byId("only-model").textContent = names.length === 1 ? names[0] : "";
  byId("serving").hidden = false;
  showModel();
  if (before && select.value !== before)
    throw new Refusal(`The model ${before} is not served any more; ${select.value} is chosen now.`);
}

function showModel() {
  const { version, labels, max_tokens } = chosenModel();
  const reads = max_tokens ? `, reads ${count(max_tokens, "token")}` : "";
  byId("about-model").textContent = `version ${shortened(version, 12)}, ${count(labels.length, "label")}${reads}`;
}

function showMode() {
  byId("typed").hidden = mode() === "csv";
  byId("from-file").hidden = mode() !== "csv";
  byId("text-label").textContent = mode() === "lines" ? "Texts, one a line" : "Text";
  byId("text").placeholder = mode() === "lines" ? "Type or paste texts, one a line" : "Type or paste a text";
}

/** Classifies what was typed or chosen; a submission still under way gives way to this one. */
async function submit() {
  running?.abort();
  const mine = (running = new AbortController());
  byId("error").textContent = byId("status").textContent = "";
  byId("answer").ariaBusy = "true";
  try {
    await loadModels(mine.signal);
    await classify(byId("text").value, mine.signal);
  } catch (error) {
    if (running === mine && error.name !== "AbortError") say(error);
  } finally {
    if (running === mine) {
      running = null;
      byId("answer").ariaBusy = "false";
      endTable();
    }
  }
}

async function classify(typed, signal) {
  if (mode() === "csv") return classifyTable(textsOfFile(), chosenModel(), signal);
  if (mode() === "lines") return classifyTable(textsOfLines(typed), chosenModel(), signal);
  if (!typed.trim()) throw new Refusal("Type or paste a text first.");
  return classifyText(typed, chosenModel(), signal);
}

function open(file) {
  byId("ask").elements.mode.value = "csv";
  showMode();
  openFile(file);
}

byId("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  submit();
});
byId("cancel").addEventListener("click", () => running?.abort());
byId("model").addEventListener("change", showModel);
for (const radio of byId("ask").elements.mode) radio.addEventListener("change", showMode);

byId("file").addEventListener("change", () => {
  if (byId("file").files.length) open(byId("file").files[0]);
  byId("file").value = ""; // so that the same file, changed, can be chosen again
});
const carriesFiles = (event) => event.dataTransfer.types.includes("Files");
addEventListener("dragover", (event) => {
  if (!carriesFiles(event)) return;
  event.preventDefault();
  document.body.classList.add("dragging");
});
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dragging");
});
addEventListener("drop", (event) => {
  if (!carriesFiles(event)) return;
  event.preventDefault();
  document.body.classList.remove("dragging");
  open(event.dataTransfer.files[0]);
});

showMode();
loadModels().catch(say);
