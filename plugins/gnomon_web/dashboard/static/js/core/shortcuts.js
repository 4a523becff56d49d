// Keyboard shortcuts: single keys, and sequences of two that start with `g`. They can be turned off (WCAG 2.1.4).
import { signal } from './signals.js';
import { readPreference, savePreference } from './preferences.js';

/** @type {Map<string, () => void>} */
const keys = new Map();
let prefix = '';
let prefixTimer = 0;

export const shortcutsAreOn = signal(readPreference('shortcuts', 'on') === 'on');

/** @param {boolean} on */
export function switchShortcuts(on) {
  savePreference('shortcuts', on ? 'on' : 'off');
  shortcutsAreOn.value = on;
}

/** Bind shortcuts; the function returned unbinds them. @param {Record<string, () => void>} bindings @returns {() => void} */
export function bindShortcuts(bindings) {
  for (const [key, act] of Object.entries(bindings)) keys.set(key, act);
  return () => {
    for (const [key, act] of Object.entries(bindings)) if (keys.get(key) === act) keys.delete(key);
  };
}

export function startKeys() {
  document.addEventListener('keydown', (event) => {
    const target = /** @type {Element} */ (event.target);
    if (!shortcutsAreOn.peek() || event.ctrlKey || event.metaKey || event.altKey) return;
    if (target.closest('input:not([type=checkbox]), select, textarea, dialog') && event.key !== 'Escape') return;
    const act = keys.get(prefix + event.key);
    clearTimeout(prefixTimer);
    prefix = prefix === '' && event.key === 'g' ? 'g ' : '';
    if (prefix) prefixTimer = setTimeout(() => (prefix = ''), 1000);
    if (!act) return;
    event.preventDefault();
    act();
  });
}

/** Move the focus to another row of the page. @param {number} by */
export function stepRow(by) {
  const rows = /** @type {HTMLElement[]} */ ([...document.querySelectorAll('main [data-row] a[data-open], main a[data-row]')]);
  if (rows.length === 0) return;
  const at = rows.findIndex((row) => row === document.activeElement || row.closest('[data-row]')?.contains(document.activeElement));
  const next = at < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(Math.max(at + by, 0), rows.length - 1);
  rows[next].focus();
}

/** Toggle the selection of the focused row, in lists with bulk actions. */
export const selectRow = () => /** @type {HTMLElement | null | undefined} */ (document.activeElement?.closest('[data-row]')?.querySelector('[data-select]'))?.click();
