// Swim lanes: all jobs on one time axis, past runs left of the "now" line, the next fires right of it.
import { s } from '../core/dom.js';
import { asTable } from '../components/table.js';
import { clockOf, dayMonth, duration, hourMinute, number, shortMoment } from '../i18n/format.js';
import { t } from '../i18n/index.js';
import { withKeys } from './mark_keys.js';
import { endOf, marks, ticks } from './marks.js';

/** @typedef {import('../types.d.ts').Run} Run */
/** @typedef {{ id: string, name: string, runs: Run[], next: number | null, paused: boolean }} Lane */

const TOP = 26;
const ROW = 30;
const BAR = 14;

/**
 * @param {{ lanes: Lane[], from: number, now: number, to: number, width: number, knownFrom: number,
 *   address: (run: Run) => string }} picture before `knownFrom` nothing is loaded
 */
export function lanesChart({ lanes, from, now, to, width, knownFrom, address }) {
  const height = TOP + lanes.length * ROW;
  const place = (/** @type {number} */ at) => (Math.max(at, from) - from) / (to - from) * width;
  const runs = lanes.flatMap((lane) => lane.runs);
  const failed = runs.filter((run) => run.status === 'failed').length;
  const label = t('lanes.label', { n: runs.length, j: lanes.length, f: failed });
  return withKeys(s('svg', { class: 'lanes', width, height, viewBox: `0 0 ${width} ${height}`, role: 'group', 'aria-label': label }, [
    ticks(from, to, width / 84).map((at) => tick(at, place(at), height, to - from)),
    knownFrom > from && s('rect', { class: 'unknown', x: 0, y: TOP, width: place(knownFrom), height: height - TOP }, s('title', null, t('lanes.unknown'))),
    s('line', { class: 'now', x1: place(now), x2: place(now), y1: TOP - 6, y2: height }),
    lanes.map((lane, index) => laneOf(lane, TOP + index * ROW, { place, now, to, width, address })),
  ]));
}

/** The same as a table, job by job. @param {() => { lanes: Lane[], now: number }} read */
export function lanesTable(read) {
  const count = (/** @type {Lane} */ { runs }, /** @type {import('../types.d.ts').Status} */ status) => number(runs.filter((run) => run.status === status).length);
  const newest = (/** @type {Lane} */ { runs }) => runs.reduce((/** @type {Run | null} */ last, run) => (last && last.timestamp > run.timestamp ? last : run), null);
  const rows = () => read().lanes.map((lane) => {
    const last = newest(lane);
    return [lane.name, number(lane.runs.length), count(lane, 'failed'), count(lane, 'missed'), last ? inWords(last, 1, read().now) : t('never'), lane.next === null ? '–' : shortMoment(lane.next)];
  });
  return asTable(t('timeline'), [t('col.job'), t('figures.runs'), t('status.failed'), t('status.missed'), t('col.last'), t('col.next')], rows);
}

/** @param {number} at @param {number} x @param {number} height @param {number} span */
export function tick(at, x, height, span) {
  const { hour, minute } = clockOf(at);
  const isMidnight = hour === 0 && minute === 0;
  return s('g', { class: 'tick' }, [
    s('line', { x1: x, x2: x, y1: TOP - 4, y2: height }),
    s('text', { x, y: 12, 'text-anchor': 'middle' }, isMidnight && span > 7_200_000 ? dayMonth(at) : hourMinute(at)),
  ]);
}

/** @param {Lane} lane @param {number} y @param {any} frame */
function laneOf(lane, y, { place, now, to, width, address }) {
  const top = y + (ROW - BAR) / 2;
  return s('g', null, [
    s('line', { class: 'rule', x1: 0, x2: width, y1: y + ROW, y2: y + ROW }),
    marks(lane.runs, place, now).map(({ x, width: long, status, count, run }) =>
      s('a', { href: address(run), 'aria-label': `${lane.name}: ${inWords(run, count, now)}`, tabindex: -1 }, [
        s('rect', { class: `mark ${status}`, x, y: top, width: long, height: BAR, rx: Math.min(3, long / 2) }),
        status === 'failed' && long < 12 && s('rect', { class: 'mark failed notch', x, y: top - 4, width: long, height: 3, rx: 1 }),
        s('title', null, `${lane.name}\n${inWords(run, count, now)}`),
      ]),
    ),
    lane.next !== null && lane.next > now && lane.next < to &&
      s('circle', { class: 'coming', cx: place(lane.next), cy: y + ROW / 2, r: 3.5 }, s('title', null, `${lane.name}\n${t('lanes.next', { at: shortMoment(lane.next) })}`)),
  ]);
}

/** @param {Run} run @param {number} count @param {number} now */
function inWords(run, count, now) {
  const took = duration((endOf(run, now) - Date.parse(run.timestamp)) / 1000);
  const one = `${t(`status.${run.status}`)} · ${shortMoment(run.timestamp)} · ${took}`;
  return count > 1 ? `${t('lanes.many', { n: count })} ${one}` : one;
}
