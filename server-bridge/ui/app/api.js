// Calls of the REST API, as whoever opened the page: a certificate is sent by the browser, a token is kept here and nowhere
// else, and gone with the page.

import { setClock } from "./words.js";

const PREFIX = "/api/maestro/v1";
const PATIENCE_MS = 15_000;

let token = null;

/** What the bridge answered instead of what was asked for; `status` 0 when it did not answer. */
export class ApiError extends Error {
  constructor(status, code, reason) {
    super(reason);
    this.status = status;
    this.code = code;
  }

  /** Whether this bridge has no such endpoint. */
  get absent() {
    return this.code === "maestro-404";
  }
}

/** Uses this token from now on; `null` for none. */
export function setToken(text) {
  token = text;
}

export function hasToken() {
  return token !== null;
}

/** What is at `path`, with query parameters; those that are empty are left out. */
export async function get(path, parameters = {}, signal = undefined) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== "" && value !== null && value !== undefined) query.set(name, value);
  }
  const url = `${PREFIX}${path}${query.size ? `?${query}` : ""}`;
  const headers = { Accept: "application/json" };
  if (token !== null) headers.Authorization = `Bearer ${token}`;
  const limits = [AbortSignal.timeout(PATIENCE_MS), ...(signal ? [signal] : [])];
  let response;
  let body;
  try {
    response = await fetch(url, {
      headers,
      cache: "no-store",
      credentials: "same-origin",
      redirect: "error",
      signal: AbortSignal.any(limits),
    });
    setClock(response.headers.get("Date"));
    body = await response.json();
  } catch (error) {
    if (signal?.aborted) throw error;
    if (response && !(error instanceof SyntaxError)) throw new ApiError(0, "", "the answer broke off");
    if (response) throw new ApiError(response.status, "", "what answers is no bridge; a proxy between, perhaps");
    const late = error.name === "TimeoutError";
    throw new ApiError(0, "", late ? "the bridge did not answer in 15 s" : "the bridge cannot be reached");
  }
  if (!response.ok) {
    throw new ApiError(response.status, String(body?.code ?? ""), String(body?.reason ?? response.statusText));
  }
  return body;
}

/** The same, and `null` where there is none or this bridge does not have it. */
export async function maybe(path, parameters, signal) {
  try {
    return await get(path, parameters, signal);
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return null;
    throw error;
  }
}

/** A text as the search language writes it. */
export function quoted(text) {
  return `'${String(text).replaceAll("'", "''")}'`;
}
