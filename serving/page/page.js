// The page at /: it calls the routes of this endpoint and shows the results. It stores nothing.

import { byId, count, options, shortened } from "./dom.js";
import { UserError, fetchJson, showError } from "./api.js";
import { classifyText } from "./single.js";
import { classifyTable, endTable, openFile, textsOfFile, textsOfLines } from "./batch.js";

let models = [];
let current = null; // AbortController of the running submission

const mode = () => byId("classify-form").elements.mode.value;
const selectedModel = () => models.find((model) => model.name === byId("model").value);

/** Updates the list of models; called before every classification, because models may change at any time. */
async function loadModels(signal) {
  const served = (await fetchJson("v1/models", null, signal)).models;
  if (!served.length) throw new UserError("This endpoint serves no model yet.");
  models = served;
  const select = byId("model");
  const previous = select.value;
  const names = [...new Set(models.map((model) => model.name))];
  select.replaceChildren(...options(names.map((name) => [name, name])));
  if (names.includes(previous)) select.value = previous;
  select.hidden = byId("model-label").hidden = names.length === 1;
  byId("only-model").textContent = names.length === 1 ? names[0] : "";
  byId("serving").hidden = false;
  showModel();
  if (previous && select.value !== previous)
    throw new UserError(`The model ${previous} is no longer served; ${select.value} is selected now.`);
}

function showModel() {
  const { version, labels, max_tokens, test_f1 } = selectedModel();
  const facts = [`version ${shortened(version, 12)}`, count(labels.length, "label")];
  if (max_tokens) facts.push(`at most ${count(max_tokens, "token")}`);
  if (typeof test_f1 === "number") facts.push(`F1 ${test_f1.toFixed(3)} on the test texts`);
  byId("about-model").textContent = facts.join(", ");
}

function showMode() {
  byId("typed").hidden = mode() === "csv";
  byId("from-file").hidden = mode() !== "csv";
  byId("text-label").textContent = mode() === "lines" ? "Texts, one per line" : "Text";
  byId("text").placeholder = mode() === "lines" ? "Type or paste texts, one per line" : "Type or paste a text";
}

/** Classifies the text, lines or file; a running submission is cancelled. */
async function submit() {
  current?.abort();
  const controller = (current = new AbortController());
  byId("error").textContent = byId("status").textContent = "";
  byId("answer").ariaBusy = "true";
  try {
    await loadModels(controller.signal);
    await classify(byId("text").value, controller.signal);
  } catch (error) {
    if (current === controller && error.name !== "AbortError") showError(error);
  } finally {
    if (current === controller) {
      current = null;
      byId("answer").ariaBusy = "false";
      endTable();
    }
  }
}

async function classify(typed, signal) {
  if (mode() === "csv") return classifyTable(textsOfFile(), selectedModel(), signal);
  if (mode() === "lines") return classifyTable(textsOfLines(typed), selectedModel(), signal);
  if (!typed.trim()) throw new UserError("Type or paste a text first.");
  return classifyText(typed, selectedModel(), signal);
}

function classifyExample(text) {
  byId("classify-form").elements.mode.value = "one";
  showMode();
  byId("text").value = text;
  submit();
}

function open(file) {
  byId("classify-form").elements.mode.value = "csv";
  showMode();
  openFile(file);
}

byId("classify-form").addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  submit();
});
byId("cancel").addEventListener("click", () => current?.abort());
byId("model").addEventListener("change", showModel);
for (const radio of byId("classify-form").elements.mode) radio.addEventListener("change", showMode);
for (const example of byId("examples").querySelectorAll("button"))
  example.addEventListener("click", () => classifyExample(example.textContent));

byId("file").addEventListener("change", () => {
  if (byId("file").files.length) open(byId("file").files[0]);
  byId("file").value = ""; // so that the same file can be chosen again after a change
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
loadModels().catch(showError);
