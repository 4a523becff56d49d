// The durations of a job's runs as bars, with a band from the median to the 95th percentile.
import { h, s } from '../core/dom.js';
import { asTable } from '../components/table.js';
import { duration, shortMoment } from '../i18n/format.js';
import { t } from '../i18n/index.js';
import { withKeys } from './mark_keys.js';

/** @typedef {import('../types.d.ts').Run} Run */

const CHART_HEIGHT = 180;
const AXIS = 20;

/** @param {{ runs: Run[], p50: number | null, p95: number | null, width: number, address: (run: Run) => string }} picture runs: newest first */
export function durationsChart({ runs, p50, p95, width, address }) {
  const left = 52;
  const shown = runs.filter((run) => run.execution_time !== null).slice(0, Math.floor((width - left) / 7)).reverse();
  const top = niceTop(Math.max(...shown.map((run) => run.execution_time ?? 0), p95 ?? 0, 0.001));
  const y = (/** @type {number} */ seconds) => AXIS / 2 + (1 - seconds / top) * (CHART_HEIGHT - AXIS);
  const step = Math.min((width - left) / Math.max(shown.length, 1), 26);
  const x = (/** @type {number} */ index) => width - (shown.length - index) * step;
  const label = t('durations.label', { n: shown.length, p50: duration(p50), p95: duration(p95) });
  return withKeys(s('svg', { class: 'durations', width, height: CHART_HEIGHT, viewBox: `0 0 ${width} ${CHART_HEIGHT}`, role: 'group', 'aria-label': label }, [
    [0, top / 2, top].map((value) => [
      s('line', { class: 'rule', x1: left, x2: width, y1: y(value), y2: y(value) }),
      s('text', { class: 'axis', x: left - 8, y: y(value) + 4, 'text-anchor': 'end' }, value === 0 ? '0' : duration(value)),
    ]),
    p50 !== null && p95 !== null && s('rect', { class: 'band', x: left, width: width - left, y: y(Math.min(p95, top)), height: Math.max(y(p50) - y(Math.min(p95, top)), 1) }),
    shown.map((run, index) => {
      const height = Math.max(y(0) - y(run.execution_time ?? 0), 2);
      const description = `${t(`status.${run.status}`)} · ${shortMoment(run.timestamp)} · ${duration(run.execution_time)}`;
      return s('a', { href: address(run), 'aria-label': description, tabindex: -1 }, s('rect', { class: `mark ${run.status}`, x: x(index), y: y(0) - height, width: Math.max(step - 2, 2), height, rx: 1.5 }, s('title', null, description)));
    }),
  ]));
}

/** The same as a table, run by run. @param {() => Run[]} read newest first @param {(run: Run) => string} address */
export function durationsTable(read, address) {
  const rows = () => read().map((run) => [h('a', { href: address(run) }, shortMoment(run.timestamp)), t(`status.${run.status}`), duration(run.execution_time)]);
  return asTable(t('durations'), [t('col.started'), t('col.status'), t('col.duration')], rows);
}

/** The next round number of seconds, minutes or hours. @param {number} seconds */
export function niceTop(seconds) {
  const unit = seconds > 3600 ? 3600 : seconds > 60 ? 60 : 1;
  const size = 10 ** Math.floor(Math.log10(seconds / unit));
  const steps = [1, 1.5, 2, 3, 4, 5, 6, 8, 10];
  return (steps.find((one) => one * size * unit >= seconds * 0.999) ?? 10) * size * unit;
}
