// The address holds the state: the path selects the view, the query its filters.
import { batch, signal } from './signals.js';
import { past } from './past.js';
import { BASE, queryText } from '../model/api.js';

/** @typedef {{ path: string, query: Record<string, string> }} Route */

/** @returns {Route} */
const read = () => ({
  path: location.pathname.slice(BASE.length).replace(/\/+$/, '') || '/',
  query: Object.fromEntries(new URLSearchParams(location.search)),
});

export const route = signal(read());
past.value = route.peek().query.at ?? '';

/** Show what the address says: its view and its moment at once. */
function follow() {
  batch(() => {
    route.value = read();
    past.value = route.peek().query.at ?? '';
  });
}

/** An address of the page; it keeps the past moment that the page shows. @param {string} path @param {Record<string, any>} [query] */
export const address = (path, query = {}) => BASE + path + queryText({ at: past.peek(), ...query });

/** Navigate to another view and add it to the history. @param {string} path @param {Record<string, any>} [query] */
export function go(path, query = {}) {
  history.pushState(null, '', address(path, query));
  follow();
}

/**
 * Change some keys of the query; null removes a key. Typing in a field replaces the history entry, a choice adds one.
 * @param {Record<string, any>} changes @param {{ replace?: boolean }} [how]
 */
export function refine(changes, { replace = false } = {}) {
  const { path, query } = route.peek();
  const next = address(path, { ...query, ...changes });
  if (next === location.pathname + location.search) return;
  if (replace) history.replaceState(null, '', next);
  else history.pushState(null, '', next);
  follow();
}

/** Follow links within the page without reloading it. */
export function startRoutes() {
  addEventListener('popstate', follow);
  document.addEventListener('click', (event) => {
    const link = /** @type {Element} */ (event.target).closest('a[href]');
    const isPlain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
    if (!link || !isPlain || event.defaultPrevented) return;
    const written = /** @type {string} */ (link.getAttribute('href'));
    const target = new URL(written, location.href); // a link of a drawing has no properties for the parts of its address
    if (link.hasAttribute('target') || link.hasAttribute('download') || target.origin !== location.origin) return;
    if (!target.pathname.startsWith(BASE) || written.startsWith('#')) return;
    event.preventDefault();
    if (target.href === location.href) return;
    history.pushState(null, '', target.href);
    follow();
  });
}
