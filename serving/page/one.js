// One text: its label, the probabilities, the words that spoke for and against it, and what a person says to that.

import { BARS_SHOWN, bars, byId, count, duration, element, options, percent, shortened, show } from "./elements.js";
import { Refusal, ask, say } from "./endpoint.js";

const WORDS_LISTED = 100;
const WORDS_NAMED = 3;
const HARDLY = 0.05; // words with less of the strongest one's contribution are not marked
const NOTHING = 0.01; // log-odds that change no answer

let shown = null; // what feedback is about: {model, request_id, label}

export async function classifyText(text, model, signal) {
  const route = `v1/models/${encodeURIComponent(model.name)}`;
  const started = performance.now();
  const answer = await ask(`${route}:classify`, { texts: [text], top_k: model.labels.length }, signal);
  showAnswer(answer, model, performance.now() - started);
  try {
    const about = { text, label: answer.predictions[0].label };
    showWords(text, answer.version, await ask(`${route}:explain`, about, signal, answer.request_id));
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    throw new Refusal(`The words could not be weighed: ${error.message}`);
  } finally {
    if (!signal.aborted) byId("weighing").hidden = true;
  }
}

function showAnswer(answer, model, milliseconds) {
  const { label, score, truncated, top } = answer.predictions[0];
  byId("label").textContent = label;
  byId("score").textContent = percent(score);
  byId("threshold-note").hidden = top[0].label === label;
  byId("threshold-note").textContent =
    `${top[0].label} is more probable, but the model's decision threshold answers ${label}.`;
  const tokens = model.max_tokens ? ` (${count(model.max_tokens, "token")})` : "";
  byId("truncated-note").hidden = !truncated;
  byId("truncated-note").textContent = `The text is longer than the model reads${tokens}: its end was left out.`;

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

  byId("weighing").hidden = false;
  byId("explained").hidden = true;
  byId("by-model").textContent = answer.model;
  byId("by-version").textContent = answer.version;
  byId("latency").textContent = duration(milliseconds);

  shown = { model: answer.model, request_id: answer.request_id, label };
  byId("right-label").textContent = label;
  const others = top.filter((entry) => entry.label !== label).map((entry) => [entry.label, entry.label]);
  byId("right-one").replaceChildren(...options(others));
  byId("feedback").hidden = false;
  byId("thanks").hidden = true;
  show("single");
  byId("label").scrollIntoView({ block: "nearest" }); // on a narrow screen the answer is below the text
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
  const speaks = (word) => strongest >= NOTHING && Math.abs(word.contribution) >= HARDLY * strongest;
  byId("words").replaceChildren(...marked(text, words.filter(speaks), strongest));
  byId("legend-for").textContent = `speaks for ${label}`;
  byId("legend-against").textContent = `speaks against ${label}`;

  const named = ["for", "against"].map((which) => {
    const some = strongestFirst.filter((word) => speaks(word) && side(word) === which).slice(0, WORDS_NAMED);
    const list = some.map((word) => `“${shortened(word.text, 40)}” (${signed(word.contribution)})`).join(", ");
    return list && `Spoke most ${which} ${label}: ${list}.`;
  });
  byId("words-summary").textContent = named.filter(Boolean).join(" ") || "No word alone changes this answer.";

  const other = explanation.version === version ? "" : `, by version ${explanation.version}`;
  byId("method").textContent = `What the log-odds of ${label} lose without the word (${explanation.method}${other})`;
  const rows = strongestFirst.slice(0, WORDS_LISTED).map((word) => {
    const contribution = element("td", { className: "number" }, signed(word.contribution));
    return element(
      "tr",
      {},
      element("td", {}, shortened(word.text, 80)),
      contribution,
      element("td", {}, speaks(word) ? side(word) : "hardly"),
    );
  });
  byId("words-table")
    .querySelector("tbody")
    .replaceChildren(...rows);
  byId("explained").hidden = false;
}

/** The whole text in pieces, the words that speak each in a mark as strong as its contribution. */
function marked(text, words, strongest) {
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
    await ask("v1/feedback", { model, request_id, index: 0, label });
    if (shown.request_id !== request_id) return;
    byId("feedback").hidden = true;
    byId("thanks").textContent = `Thank you. Recorded: the right label is ${label}.`;
    byId("thanks").hidden = false;
    byId("thanks").focus();
  } catch (error) {
    say(error instanceof Refusal ? new Refusal(`The feedback was not recorded: ${error.message}`) : error);
  }
}

byId("right").addEventListener("click", () => sendFeedback(shown.label));
byId("wrong").addEventListener("click", () => sendFeedback(byId("right-one").value));
