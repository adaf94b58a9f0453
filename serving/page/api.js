// Requests to this endpoint, and error messages.

import { byId } from "./dom.js";

const MAX_TRIES = 5;
const MAX_WAIT = 30; // seconds

/** Error shown to the user; `status` is the HTTP status, `retryAfter` is in seconds. */
export class UserError extends Error {
  constructor(message, status = 0, retryAfter = 0) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

/**
 * Sends a request and returns its JSON. Throws a UserError, or an AbortError if `signal` is aborted. Requests with the
 * same `requestId` are answered by the same version, even if a share of the traffic goes to a challenger.
 */
export async function fetchJson(path, body = null, signal = null, requestId = null) {
  const key = byId("key").value.trim();
  if (/[^\x21-\x7e]/.test(key))
    throw new UserError("An API key contains only printable ASCII characters: check the key.");
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
  let json;
  try {
    response = await fetch(path, request);
    json = await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    if (!response) throw new UserError("The endpoint cannot be reached: check the network, then try again.");
    if (response.ok) throw new UserError("The response was cut off: try again.");
  }
  if (response.ok) return json;
  if (response.status === 401) showKeyField();
  const retryAfter = Number(response.headers.get("Retry-After")) || 0;
  throw new UserError(errorMessage(response.status, json?.error, key, retryAfter), response.status, retryAfter);
}

function errorMessage(status, error, key, retryAfter) {
  if (status === 401)
    return key ? "This API key is not accepted." : "This endpoint requires an API key: enter it, then classify.";
  if (status === 429) return `The endpoint is busy: try again ${retryAfter ? `in ${retryAfter} s` : "in a moment"}.`;
  return error || `The endpoint refused the request with HTTP status ${status}.`;
}

function showKeyField() {
  byId("key-part").hidden = false;
  byId("key").focus();
}

/** Repeats a request while the endpoint is overloaded. `onWait` is called with the seconds to wait, then with 0. */
export async function fetchWithRetry(path, body, signal, onWait) {
  for (let tries = 1; ; tries++) {
    try {
      return await fetchJson(path, body, signal);
    } catch (error) {
      if (![429, 503].includes(error.status) || tries === MAX_TRIES) throw error;
      const seconds = Math.min(error.retryAfter || 1, MAX_WAIT);
      onWait(seconds);
      await new Promise((resolve) => {
        setTimeout(resolve, 1000 * seconds);
        signal.addEventListener("abort", resolve, { once: true });
      });
      onWait(0);
    }
  }
}

/** Shows an error in one sentence. */
export function showError(error) {
  const message = error instanceof UserError ? error.message : `This page failed: ${error.message}`;
  byId("error").textContent = message[0].toUpperCase() + message.slice(1) + (/[.!?]$/.test(message) ? "" : ".");
  if (!(error instanceof UserError)) console.error(error);
}
