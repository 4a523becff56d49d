// The steps of a run, or of two runs one below the other, each as long as it took, from the start of the body on.
import { h } from '../core/dom.js';
import { clean } from '../model/sanitize.js';
import { asTable } from '../components/table.js';
import { duration } from '../i18n/format.js';
import { t, word } from '../i18n/index.js';

/** @typedef {import('../types.d.ts').Run} Run */
/** @typedef {{ name: string, status: string | null, seconds: number | null, start_s: number | null, other_status?: string | null, other_seconds?: number | null, other_start_s?: number | null }} StepPair */

/** The steps of one run; `now` is the end of a step that is not over. @param {Run} run @param {number} now milliseconds @returns {StepPair[]} */
export const stepsOf = (run, now) =>
  run.steps.map(({ name, status, started_at, ended_at }) => {
    const begin = started_at ? Date.parse(started_at) : null;
    const end = ended_at ? Date.parse(ended_at) : status === 'current' ? now : null;
    return { name, status, seconds: begin === null || end === null ? null : Math.max(end - begin, 0) / 1000, start_s: begin === null ? null : Math.max(begin - Date.parse(run.timestamp), 0) / 1000 };
  });

/** @param {StepPair[]} steps @param {boolean} [isPair] whether there is another run */
export function waterfall(steps, isPair = false) {
  const whole = Math.max(...steps.flatMap((step) => [endOf(step.start_s, step.seconds), endOf(step.other_start_s, step.other_seconds)]), 0.001);
  const track = (/** @type {string | null | undefined} */ status, /** @type {number | null | undefined} */ start, /** @type {number | null | undefined} */ seconds, /** @type {string} */ kind) =>
    h('span', { class: `track ${kind}` }, start != null && h('i', { class: status ?? '', vars: { from: start / whole, part: (seconds ?? 0) / whole } }));
  const row = (/** @type {StepPair} */ step) =>
    h('li', null, [
      h('span', { class: 'name' }, clean(step.name), h('span', { class: 'sr' }, ` ${spoken(step.status, step.seconds)}${isPair ? `; ${t('difference.other')}: ${spoken(step.other_status, step.other_seconds)}` : ''}`)),
      h('span', { class: 'tracks', 'aria-hidden': 'true' }, track(step.status, step.start_s, step.seconds, 'own'), isPair && track(step.other_status, step.other_start_s, step.other_seconds, 'other')),
      h('span', { class: 'num', 'aria-hidden': 'true' }, duration(step.seconds), isPair && h('small', null, duration(step.other_seconds))),
    ]);
  return h('ol', { class: 'waterfall', 'aria-label': t('run.steps') }, steps.map(row));
}

/** The same as a table. @param {() => StepPair[]} read @param {boolean} [isPair] */
export function waterfallTable(read, isPair = false) {
  const columns = [t('step'), t('col.status'), t('step.start'), t('col.duration')];
  const other = [t('difference.other'), t('step.start'), t('col.duration')];
  const rows = () => read().map((step) => [
    clean(step.name), stateOf(step.status), duration(step.start_s), duration(step.seconds),
    ...(isPair ? [stateOf(step.other_status), duration(step.other_start_s), duration(step.other_seconds)] : []),
  ]);
  return asTable(t('run.steps'), isPair ? [...columns, ...other] : columns, rows);
}

/** @param {number | null | undefined} start @param {number | null | undefined} seconds */
const endOf = (start, seconds) => (start ?? 0) + (seconds ?? 0);

/** @param {string | null | undefined} status */
const stateOf = (status) => (status ? word('step', status) : '–');

/** @param {string | null | undefined} status @param {number | null | undefined} seconds */
const spoken = (status, seconds) => `${stateOf(status)}, ${duration(seconds)}`;
