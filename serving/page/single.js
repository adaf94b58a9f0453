// One text: label, probabilities, word contributions and feedback.

import { BARS_SHOWN, bars, byId, count, duration, element, options, percent, shortened, showSection } from "./dom.js";
import { UserError, fetchJson, showError } from "./api.js";

const WORDS_LISTED = 100;
const WORDS_NAMED = 3;
const NEGLIGIBLE = 0.05; // words below this share of the strongest contribution are not highlighted
const NO_EFFECT = 0.01; // log-odds that change no prediction

let shown = null; // prediction that feedback refers to: {model, request_id, label}

export async function classifyText(text, model, signal) {
  const route = `v1/models/${encodeURIComponent(model.name)}`;
  const started = performance.now();
  const answer = await fetchJson(`${route}:classify`, { texts: [text], top_k: model.labels.length }, signal);
  showAnswer(answer, model, performance.now() - started);
  try {
    const body = { text, label: answer.predictions[0].label };
    showWords(text, answer.version, await fetchJson(`${route}:explain`, body, signal, answer.request_id));
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    throw new UserError(`The word contributions could not be computed: ${error.message}`);
  } finally {
    if (!signal.aborted) byId("explaining").hidden = true;
  }
}

function showAnswer(answer, model, milliseconds) {
  const { label, score, truncated, top } = answer.predictions[0];
  byId("label").textContent = label;
  byId("score").textContent = percent(score);
  const likeliest = top.reduce((best, entry) => (entry.score > best.score ? entry : best));
  byId("threshold-note").hidden = likeliest.score === score;
  byId("threshold-note").textContent =
    `${likeliest.label} is more probable, but the model's decision threshold selects ${label}.`;
  const tokens = model.max_tokens ? ` (${count(model.max_tokens, "token")})` : "";
  byId("truncated-note").hidden = !truncated;
  byId("truncated-note").textContent = `The text is longer than the model's maximum${tokens}: its end was ignored.`;

  const rows = bars(
    top.map((entry) => [entry.label, entry.score, percent(entry.score)]),
    label,
  );
  byId("bars").replaceChildren(...rows.slice(0, BARS_SHOWN));
  byId("more-bars").hidden = rows.length <= BARS_SHOWN;
  byId("more-bars").querySelector("summary").textContent = count(rows.length - BARS_SHOWN, "more label");
  byId("more-bars")
    .querySelector("ol")
    .replaceChildren(...rows.slice(BARS_SHOWN));

  byId("explaining").hidden = false;
  byId("explained").hidden = true;
  byId("by-model").textContent = answer.model;
  byId("by-version").textContent = answer.version;
  byId("latency").textContent = duration(milliseconds);

  shown = { model: answer.model, request_id: answer.request_id, label };
  byId("feedback-label").textContent = label;
  const others = top.filter((entry) => entry.label !== label).map((entry) => [entry.label, entry.label]);
  byId("correct-label").replaceChildren(...options(others));
  byId("feedback").hidden = false;
  byId("thanks").hidden = true;
  showSection("single");
  byId("label").scrollIntoView({ block: "nearest" }); // on a narrow screen the result is below the text
  byId("status").textContent = `${label}, ${percent(score)}, in ${duration(milliseconds)}.`;
}

const signed = (value) => {
  const size = Math.abs(value).toFixed(2);
  return `${Number(size) ? (value < 0 ? "−" : "+") : ""}${size}`;
};
const side = (word) => (word.contribution > 0 ? "for" : "against");

function showWords(text, version, explanation) {
  const { label, words } = explanation;
  const strongestFirst = words.toSorted((a, b) => Math.abs(b.contribution) - Math.abs(a.contribution));
  const strongest = Math.abs(strongestFirst[0]?.contribution ?? 0);
  const isRelevant = (word) => strongest >= NO_EFFECT && Math.abs(word.contribution) >= NEGLIGIBLE * strongest;
  byId("words").replaceChildren(...highlight(text, words.filter(isRelevant), strongest));
  byId("legend-for").textContent = `evidence for ${label}`;
  byId("legend-against").textContent = `evidence against ${label}`;

  const sentences = ["for", "against"].map((which) => {
    const listed = strongestFirst.filter((word) => isRelevant(word) && side(word) === which).slice(0, WORDS_NAMED);
    const list = listed.map((word) => `“${shortened(word.text, 40)}” (${signed(word.contribution)})`).join(", ");
    return list && `Strongest evidence ${which} ${label}: ${list}.`;
  });
  byId("words-summary").textContent = sentences.filter(Boolean).join(" ") || "No single word changes this prediction.";

  const otherVersion = explanation.version === version ? "" : `, by version ${explanation.version}`;
  const method = `${explanation.method}${otherVersion}`;
  byId("method").textContent = `Decrease in the log-odds of ${label} when the word is left out (${method})`;
  const rows = strongestFirst.slice(0, WORDS_LISTED).map((word) => {
    const contribution = element("td", { className: "number" }, signed(word.contribution));
    return element(
      "tr",
      {},
      element("td", {}, shortened(word.text, 80)),
      contribution,
      element("td", {}, isRelevant(word) ? side(word) : "negligible"),
    );
  });
  byId("words-table")
    .querySelector("tbody")
    .replaceChildren(...rows);
  byId("explained").hidden = false;
}

/** Splits a text into nodes; `words` are in marks whose strength shows the contribution. */
function highlight(text, words, strongest) {
  const characters = Array.from(text); // offsets count code points, String.slice counts UTF-16 units
  const pieces = [];
  let end = 0;
  for (const word of words) {
    const mark = element("mark", { className: side(word), title: signed(word.contribution) });
    mark.textContent = characters.slice(word.start, word.end).join("");
    mark.style.setProperty("--strength", Math.abs(word.contribution) / strongest);
    pieces.push(characters.slice(end, word.start).join(""), mark);
    end = word.end;
  }
  return [...pieces, characters.slice(end).join("")];
}

async function sendFeedback(label) {
  const { model, request_id } = shown;
  byId("error").textContent = "";
  try {
    await fetchJson("v1/feedback", { model, request_id, index: 0, label });
    if (shown.request_id !== request_id) return;
    byId("feedback").hidden = true;
    byId("thanks").textContent = `Thank you. Recorded: the correct label is ${label}.`;
    byId("thanks").hidden = false;
    byId("thanks").focus();
  } catch (error) {
    showError(error instanceof UserError ? new UserError(`The feedback was not recorded: ${error.message}`) : error);
  }
}

byId("feedback-yes").addEventListener("click", () => sendFeedback(shown.label));
byId("feedback-send").addEventListener("click", () => sendFeedback(byId("correct-label").value));
