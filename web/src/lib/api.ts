// Requests to our own origin; the cookie travels by itself.

/** An answer that is not what was asked for; `status` is HTTP's, 0 when nobody answered. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    detail: string,
  ) {
    super(detail);
  }
}

async function answer(path: string, options: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(0, "the service does not answer");
  }
  if (response.ok) return response;
  const problem = (await response.json().catch(() => ({}))) as { detail?: unknown };
  const detail = typeof problem.detail === "string" ? problem.detail : response.statusText;
  throw new ApiError(response.status, detail);
}

/** GET a path as JSON. Throws ApiError. */
export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  const options: RequestInit = { headers: { Accept: "application/json" } };
  const response = await answer(path, signal ? { ...options, signal } : options);
  return (await response.json()) as T;
}

/** GET a path as bytes. Throws ApiError. */
export async function getBytes(path: string): Promise<ArrayBuffer> {
  return (await answer(path, {})).arrayBuffer();
}

/** POST JSON to a path. Throws ApiError. */
export async function post<T>(path: string, body: unknown = {}): Promise<T> {
  const headers = { "Content-Type": "application/json" };
  const response = await answer(path, { method: "POST", headers, body: JSON.stringify(body) });
  return (response.status === 204 ? null : await response.json()) as T;
}

/** A query string of the values that are set. */
export function query(values: Record<string, string | number | null | undefined>): string {
  const set = Object.entries(values).filter(([, v]) => v !== "" && v !== null && v !== undefined);
  return set.length ? `?${new URLSearchParams(set.map(([k, v]) => [k, String(v)]))}` : "";
}

/** An id as one part of a path. */
export const part = (id: string): string => encodeURIComponent(id);
