// Short words about what a person has just done. They go away; what matters stays in the log.
import { h } from '../core/dom.js';

const STAY = 6000;
const shelf = h('div', { class: 'toasts', role: 'status', 'aria-live': 'polite' });

export const toasts = () => shelf;

/** @param {any} text @param {{ bad?: boolean }} [how] */
export function say(text, { bad = false } = {}) {
  const toast = h('p', { class: bad ? 'bad' : '' }, text);
  shelf.append(toast);
  while (shelf.childElementCount > 4) shelf.firstElementChild?.remove();
  setTimeout(() => toast.remove(), bad ? 2 * STAY : STAY);
}
