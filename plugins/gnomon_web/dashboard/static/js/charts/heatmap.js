// A heat map of weekdays by hours: when a job is slow, and when it fails.
import { h } from '../core/dom.js';
import { clockOf, duration, number, weekday } from '../i18n/format.js';
import { t } from '../i18n/index.js';
import { median } from '../model/event_groups.js';
import { asTable } from '../components/table.js';

/** @typedef {import('../types.d.ts').Run} Run */
/** @typedef {'duration' | 'failures'} Measure */

/** @param {Run[]} runs @returns {Map<string, Run[]>} by `day hour`, day 0 is Monday, in the browser's zone */
export function cells(runs) {
  /** @type {Map<string, Run[]>} */
  const found = new Map();
  for (const run of runs) {
    const { day, hour } = clockOf(run.timestamp);
    const key = `${day} ${hour}`;
    found.set(key, [...(found.get(key) ?? []), run]);
  }
  return found;
}

/** @param {Run[]} runs @param {Measure} measure @returns {number | null} */
export function valueOf(runs, measure) {
  if (measure === 'failures') return runs.length ? runs.filter((run) => run.status === 'failed').length / runs.length : null;
  const took = runs.flatMap((run) => (run.status === 'success' && run.execution_time !== null ? [run.execution_time] : []));
  return took.length ? median(took) : null;
}

/** @param {Run[]} runs @param {Measure} measure */
export function heatmap(runs, measure) {
  const found = cells(runs);
  const values = [...found.values()].map((one) => valueOf(one, measure) ?? 0);
  const most = Math.max(...values, measure === 'failures' ? 0.01 : 0.001);
  return h('table', { class: `heat ${measure}` }, [
    h('caption', { class: 'sr' }, t(`heat.${measure}`)),
    h('thead', null, h('tr', null, [h('td'), Array.from({ length: 24 }, (_, hour) => h('th', { scope: 'col' }, hour % 3 === 0 ? number(hour) : h('span', { class: 'sr' }, number(hour))))])),
    h('tbody', null, Array.from({ length: 7 }, (_, day) =>
      h('tr', null, [h('th', { scope: 'row' }, weekday(day)), Array.from({ length: 24 }, (_, hour) => cell(found.get(`${day} ${hour}`) ?? [], measure, most))]),
    )),
  ]);
}

/** The same as a table of the hours that had runs. @param {() => Run[]} read @param {Measure} measure */
export function heatTable(read, measure) {
  const rows = () => [...cells(read())].sort(([a], [b]) => place(a) - place(b)).map(([key, own]) => {
    const value = valueOf(own, measure);
    return [`${weekday(Math.floor(place(key) / 24))} ${number(place(key) % 24, { minimumIntegerDigits: 2 })}:00`, value === null ? '–' : measure === 'failures' ? number(value, { style: 'percent' }) : duration(value), number(own.length)];
  });
  return asTable(t(`heat.${measure}`), [t('heat.hour'), measure === 'failures' ? t('heat.failures.short') : t('heat.median'), t('figures.runs')], rows);
}

/** The hours since Monday. @param {string} key */
function place(key) {
  const [day, hour] = key.split(' ').map(Number);
  return day * 24 + hour;
}

/** @param {Run[]} runs @param {Measure} measure @param {number} most */
function cell(runs, measure, most) {
  const value = valueOf(runs, measure);
  if (value === null) return h('td', { class: runs.length ? 'some' : 'none' }, h('span', { class: 'sr' }, runs.length ? '0' : '–'));
  const text = measure === 'failures' ? number(value, { style: 'percent' }) : duration(value);
  const description = t('heat.cell', { v: text, n: runs.length });
  // On a square-root scale small values differ visibly, and one long run does not hide the others.
  return h('td', { title: description, vars: { heat: Math.round(Math.sqrt(value / most) * 100) / 100 } }, h('span', { class: 'sr' }, description));
}
