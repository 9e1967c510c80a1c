// Requests to our own origin; the cookie travels by itself.

/** An answer that is not what was asked for; `status` is HTTP's, 0 when nobody answered. */
export class ApiError extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

async function request(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new ApiError(0, "the service does not answer");
  }
  if (response.ok) return response.status === 204 ? null : response.json();
  const problem = await response.json().catch(() => ({}));
  throw new ApiError(response.status, problem.detail ?? response.statusText);
}

/** GET a path as JSON. Throws ApiError. */
export function get(path) {
  return request(path, { headers: { Accept: "application/json" } });
}

/** POST JSON to a path. Throws ApiError. */
export function post(path, body = {}) {
  const headers = { "Content-Type": "application/json" };
  return request(path, { method: "POST", headers, body: JSON.stringify(body) });
}

/** A query string of the values that are set. */
export function query(values) {
  const set = Object.entries(values).filter(([, value]) => value);
  return set.length ? `?${new URLSearchParams(set)}` : "";
}
