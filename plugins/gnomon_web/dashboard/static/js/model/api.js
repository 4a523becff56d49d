// Commands and lists over REST, as of the moment that the page shows. Every failure becomes a Problem with the server's own message.
import { asOf } from '../core/past.js';
import { t } from '../i18n/index.js';

export const BASE = document.querySelector('meta[name=gnomon-base]')?.getAttribute('content') ?? '';
export const VERSION = document.querySelector('meta[name=gnomon-version]')?.getAttribute('content') ?? '';

/** An error response (RFC 9457); status 0 means that there was no response. */
export class Problem extends Error {
  /** @param {number} status @param {string} title @param {string} [detail] @param {{ name: string, detail: string }[]} [errors] */
  constructor(status, title, detail = '', errors = []) {
    super(detail || title);
    this.status = status;
    this.title = title;
    this.errors = errors;
  }
}

/** @param {Record<string, any>} query */
export const queryText = (query) => {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== '');
  const text = new URLSearchParams(given.map(([key, value]) => [key, String(value)])).toString();
  return text && `?${text}`;
};

/** @param {string} path @param {Record<string, any>} [query] @param {AbortSignal} [signal] @returns {Promise<any>} */
export async function get(path, query = {}, signal) {
  const asked = asOf(path + queryText(query));
  if (asked === null) throw new Problem(404, t('past.unknown'));
  return call('GET', asked, undefined, { signal });
}

/** @param {string} path @param {object} [body] @param {Record<string, string>} [headers] @returns {Promise<any>} */
export const post = (path, body, headers) => call('POST', path, body, { headers });

/** @param {string} path @param {object} body @param {Record<string, string>} [headers] @returns {Promise<any>} */
export const put = (path, body, headers) => call('PUT', path, body, { headers });

/** @param {string} path @param {Record<string, string>} [headers] @returns {Promise<any>} */
export const del = (path, headers) => call('DELETE', path, undefined, { headers });

/**
 * @param {string} method @param {string} path @param {object | undefined} body
 * @param {{ headers?: Record<string, string>, signal?: AbortSignal }} more
 */
async function call(method, path, body, { headers = {}, signal }) {
  const init = /** @type {RequestInit} */ ({ method, signal, credentials: 'same-origin', headers: { Accept: 'application/vnd.gnomon+json, application/json', ...headers } });
  if (method !== 'GET') Object.assign(/** @type {any} */ (init.headers), { 'X-Requested-With': 'gnomon' });
  if (body !== undefined) {
    Object.assign(/** @type {any} */ (init.headers), { 'Content-Type': 'application/json' });
    init.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(BASE + path, init);
  } catch (error) {
    if (/** @type {Error} */ (error).name === 'AbortError') throw error;
    throw new Problem(0, 'unreachable');
  }
  const text = await response.text();
  const content = unwrap(text && response.headers.get('Content-Type')?.includes('json') ? JSON.parse(text) : null);
  if (response.ok) return content;
  throw new Problem(response.status, content?.title ?? response.statusText, content?.detail ?? content?.message, content?.errors);
}

/** Remove the envelope that `envelope = true` adds to each response. @param {any} body */
function unwrap(body) {
  const isEnvelope = body !== null && typeof body === 'object' && 'success' in body && 'data' in body && 'timestamp' in body;
  if (!isEnvelope) return body;
  return body.success ? body.data : { ...body.data, detail: body.data?.detail ?? body.message, title: body.data?.title };
}
