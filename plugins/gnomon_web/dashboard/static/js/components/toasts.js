// Short messages about the last command. They disappear; the log keeps what matters.
import { h } from '../core/dom.js';

const SHOW_MS = 6000;
const shelf = h('div', { class: 'toasts', role: 'status', 'aria-live': 'polite' });

export const toasts = () => shelf;

/** @param {any} text @param {{ bad?: boolean, lasts?: boolean }} [how] */
export function toast(text, { bad = false, lasts = false } = {}) {
  const line = h('p', { class: bad ? 'bad' : '' }, text);
  shelf.append(line);
  while (shelf.childElementCount > 4) shelf.firstElementChild?.remove();
  setTimeout(() => line.remove(), bad || lasts ? 2 * SHOW_MS : SHOW_MS);
}
