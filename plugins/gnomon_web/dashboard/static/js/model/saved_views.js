// Views of lists with a name: an address, kept in this browser, and brought to another one by a link.
import { signal } from '../core/signals.js';
import { readPreference, savePreference } from '../core/preferences.js';

/** @typedef {{ name: string, path: string, query: Record<string, string> }} SavedView */

const MOST = 50;
export const LONGEST_NAME = 60;

/** @returns {SavedView[]} */
function read() {
  try {
    const found = JSON.parse(readPreference('views', '[]'));
    return Array.isArray(found) ? found.filter((one) => typeof one?.name === 'string' && typeof one.path === 'string' && one.query && typeof one.query === 'object') : [];
  } catch {
    return [];
  }
}

export const savedViews = signal(read());

/** @param {SavedView[]} views */
function keep(views) {
  savedViews.value = views.slice(0, MOST);
  savePreference('views', JSON.stringify(savedViews.value));
}

/** Save a view; one of the same list with the same name is replaced. @param {SavedView} view */
export function saveView(view) {
  keep([...savedViews.peek().filter((one) => one.name !== view.name || one.path !== view.path), view].sort((a, b) => (a.name < b.name ? -1 : 1)));
}

/** @param {SavedView} view */
export const forgetView = (view) => keep(savedViews.peek().filter((one) => one !== view));
