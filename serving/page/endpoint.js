// Asking this endpoint's routes, and saying what went wrong.

import { byId } from "./elements.js";

const TRIES_WHEN_BUSY = 5;
const LONGEST_WAIT = 30; // seconds

/** A sentence for the person at the page; `status` is HTTP's, `retryAfter` in seconds. */
export class Refusal extends Error {
  constructor(sentence, status = 0, retryAfter = 0) {
    super(sentence);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

/**
 * The JSON that a route answers. Throws a Refusal, or an AbortError when `signal` says so. Requests of one `requestId`
 * are answered by one version, where some share of them goes to a challenger.
 */
export async function ask(path, body = null, signal = null, requestId = null) {
  const key = byId("key").value.trim();
  if (/[^\x21-\x7e]/.test(key))
    throw new Refusal("An API key has only printable ASCII characters: check what was pasted.");
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  if (requestId) headers["X-Request-Id"] = requestId;
  const request = { headers, signal, cache: "no-store" };
  if (body)
    Object.assign(request, {
      method: "POST",
      body: JSON.stringify(body),
      headers: { ...headers, "Content-Type": "application/json" },
    });
  let response;
  let answer;
  try {
    response = await fetch(path, request);
    answer = await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    if (!response) throw new Refusal("The endpoint cannot be reached: check the network, then try again.");
    if (response.ok) throw new Refusal("The endpoint's answer was cut off: try again.");
  }
  if (response.ok) return answer;
  if (response.status === 401) askForKey();
  const busy = Number(response.headers.get("Retry-After")) || 0;
  throw new Refusal(sentence(response.status, answer?.error, key, busy), response.status, busy);
}

function sentence(status, said, key, busy) {
  if (status === 401)
    return key ? "This API key is not accepted." : "This endpoint asks for an API key: enter it, then classify.";
  if (status === 429) return `The endpoint is busy: try again ${busy ? `in ${busy} s` : "in a moment"}.`;
  return said || `The endpoint refused the request with HTTP status ${status}.`;
}

function askForKey() {
  byId("key-part").hidden = false;
  byId("key").focus();
}

/** Asks again while the endpoint is full, as late as it says. `waiting` is told the seconds, then 0. */
export async function askPatiently(path, body, signal, waiting) {
  for (let tries = 1; ; tries++) {
    try {
      return await ask(path, body, signal);
    } catch (error) {
      if (![429, 503].includes(error.status) || tries === TRIES_WHEN_BUSY) throw error;
      const seconds = Math.min(error.retryAfter || 1, LONGEST_WAIT);
      waiting(seconds);
      await new Promise((resolve) => {
        setTimeout(resolve, 1000 * seconds);
        signal.addEventListener("abort", resolve, { once: true });
      });
      waiting(0);
    }
  }
}

/** Says in one sentence what went wrong. */
export function say(error) {
  const words = error instanceof Refusal ? error.message : `This page failed: ${error.message}`;
  byId("error").textContent = words[0].toUpperCase() + words.slice(1) + (/[.!?]$/.test(words) ? "" : ".");
  if (!(error instanceof Refusal)) console.error(error);
}
