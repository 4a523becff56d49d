// Keyboard shortcuts: single keys, and two in a row that begin with `g`. They can be switched off (WCAG 2.1.4).
import { signal } from './signals.js';
import { recall, remember } from './memory.js';

/** @type {Map<string, () => void>} */
const keys = new Map();
let prefix = '';
let forget = 0;

export const shortcutsAreOn = signal(recall('shortcuts', 'on') === 'on');

/** @param {boolean} on */
export function switchShortcuts(on) {
  remember('shortcuts', on ? 'on' : 'off');
  shortcutsAreOn.value = on;
}

/** Offer shortcuts; returns how to take them back. @param {Record<string, () => void>} offered @returns {() => void} */
export function offer(offered) {
  for (const [key, act] of Object.entries(offered)) keys.set(key, act);
  return () => {
    for (const [key, act] of Object.entries(offered)) if (keys.get(key) === act) keys.delete(key);
  };
}

export function startKeys() {
  document.addEventListener('keydown', (event) => {
    const target = /** @type {Element} */ (event.target);
    if (!shortcutsAreOn.peek() || event.ctrlKey || event.metaKey || event.altKey) return;
    if (target.closest('input:not([type=checkbox]), select, textarea, dialog') && event.key !== 'Escape') return;
    const act = keys.get(prefix + event.key);
    clearTimeout(forget);
    prefix = prefix === '' && event.key === 'g' ? 'g ' : '';
    if (prefix) forget = setTimeout(() => (prefix = ''), 1000);
    if (!act) return;
    event.preventDefault();
    act();
  });
}

/** Move the focus among the rows of the page. @param {number} by */
export function stepRow(by) {
  const rows = /** @type {HTMLElement[]} */ ([...document.querySelectorAll('main [data-row] a[data-open], main a[data-row]')]);
  if (rows.length === 0) return;
  const at = rows.findIndex((row) => row === document.activeElement || row.closest('[data-row]')?.contains(document.activeElement));
  const next = at < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(Math.max(at + by, 0), rows.length - 1);
  rows[next].focus();
}

/** Select the row in focus, or take it back, in lists where many can be acted upon. */
export const selectRow = () => /** @type {HTMLElement | null | undefined} */ (document.activeElement?.closest('[data-row]')?.querySelector('[data-select]'))?.click();
