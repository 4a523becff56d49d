// The data of a chart as a table, for screen readers and for exact values.
import { h } from '../core/dom.js';
import { signal } from '../core/signals.js';
import { number } from '../i18n/format.js';
import { t } from '../i18n/index.js';

/** Built when opened. @param {string} caption @param {string[]} columns @param {() => any[][]} rows the first cell names the row */
export function asTable(caption, columns, rows) {
  const open = signal(false);
  const line = (/** @type {any[]} */ [name, ...cells]) => h('tr', null, h('th', { scope: 'row' }, name), cells.map((cell) => h('td', { class: 'num' }, cell)));
  return h('details', { class: 'as-table', ontoggle: (/** @type {any} */ event) => (open.value = event.target.open) }, [
    h('summary', null, t('table.show')),
    h('div', { class: 'scroll tall', tabindex: 0, role: 'group', 'aria-label': caption }, () => open.value && h('table', null, [
      h('caption', { class: 'sr' }, caption),
      h('thead', null, h('tr', null, columns.map((column) => h('th', { scope: 'col' }, column)))),
      h('tbody', null, rows().map(line)),
    ])),
  ]);
}

/** A note that the chart does not show all runs. @param {import('../model/finished_runs.js').FinishedRuns} past */
export const cutNote = ({ runs, total, complete, loading }) =>
  !loading && !complete && runs.length < total && h('p', { class: 'quiet-line' }, t('table.cut', { n: number(runs.length), m: number(total) }));
