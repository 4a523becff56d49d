// Swim lanes: jobs on one time axis; the runs that ended in buckets of time left of the "now" line, the next fires right of it.
import { s } from '../core/dom.js';
import { asTable } from '../components/table.js';
import { clockOf, dayMonth, duration, hourMinute, number, shortMoment } from '../i18n/format.js';
import { t } from '../i18n/index.js';
import { countsOf, runsOfLane } from '../model/lane_counts.js';
import { withKeys } from './mark_keys.js';
import { tickLabel, ticks } from './time_axis.js';

/** @typedef {import('../types.d.ts').Run} Run */
/** @typedef {import('../types.d.ts').Lane} Lane */
/** @typedef {{ lane: Lane, name: string, running: Run[], next: number | null }} ShownLane */
/** @typedef {{ job: string, from: number, to: number, status: import('../model/lane_counts.js').Outcome }} Bucket */

const TOP = 26;
const ROW = 30;
const BAR = 14;
const MIN_WIDTH = 3; // pixels, so that a mark can be seen and clicked

/**
 * @param {{ lanes: ShownLane[], all: Lane, edges: number[], knownFrom: number, from: number, now: number, to: number, width: number,
 *   runAddress: (id: string) => string, address: (bucket: Bucket) => string, open: (event: MouseEvent, bucket: Bucket) => void }} picture
 *   `edges` of the buckets; before `knownFrom` nothing is known
 */
export function lanesChart({ lanes, all, edges, knownFrom, from, now, to, width, ...links }) {
  const height = TOP + lanes.length * ROW;
  const place = (/** @type {number} */ at) => ((Math.max(at, from) - from) / (to - from)) * width;
  const label = t('lanes.label', { n: number(runsOfLane(all)), j: lanes.length, f: number(all.total.failed) });
  return withKeys(s('svg', { class: 'lanes', width, height, viewBox: `0 0 ${width} ${height}`, role: 'group', 'aria-label': label }, [
    ticks(from, to, width / 84).map((at) => tick(at, place(at), { width, height, span: to - from })),
    knownFrom > from && s('rect', { class: 'unknown', x: 0, y: TOP, width: place(knownFrom), height: height - TOP }),
    s('line', { class: 'now', x1: place(now), x2: place(now), y1: TOP - 6, y2: height }),
    lanes.map((shown, index) => laneOf(shown, TOP + index * ROW, { place, edges, from, now, to, width, ...links })),
  ]));
}

/** The same as a table, job by job. @param {() => ShownLane[]} read */
export function lanesTable(read) {
  const rows = () => read().map(({ lane, name, next }) => [
    name, number(runsOfLane(lane)), number(lane.total.failed), number(lane.total.missed), number(lane.total.cancelled), duration(lane.p50), duration(lane.p95), next === null ? '–' : shortMoment(next),
  ]);
  return asTable(t('timeline'), [t('col.job'), t('figures.runs'), t('status.failed'), t('status.missed'), t('status.cancelled'), t('figures.p50'), t('figures.p95'), t('col.next')], rows);
}

/** @param {number} at @param {number} x @param {{ width: number, height: number, span: number }} axis */
export function tick(at, x, { width, height, span }) {
  const { hour, minute } = clockOf(at);
  const isMidnight = hour === 0 && minute === 0;
  return s('g', { class: 'tick' }, [
    s('line', { x1: x, x2: x, y1: TOP - 4, y2: height }),
    tickLabel(x, width, isMidnight && span > 7_200_000 ? dayMonth(at) : hourMinute(at)),
  ]);
}

/** @param {ShownLane} shown @param {number} y @param {any} frame */
function laneOf({ lane, name, running, next }, y, { place, edges, from, now, to, width, runAddress, address, open }) {
  const top = y + (ROW - BAR) / 2;
  const mark = (/** @type {string} */ status, /** @type {number} */ begin, /** @type {number} */ end, /** @type {string} */ text, /** @type {any} */ link) => {
    const x = place(begin);
    const long = Math.max(place(end) - x - 1, MIN_WIDTH);
    return s('a', { ...link, 'aria-label': `${name}: ${text}`, tabindex: -1 }, [
      s('rect', { class: `mark ${status}`, x, y: top, width: long, height: BAR, rx: Math.min(3, long / 2) }),
      status === 'failed' && long < 12 && s('rect', { class: 'mark failed notch', x, y: top - 4, width: long, height: 3, rx: 1 }),
      s('title', null, `${name}\n${text}`),
    ]);
  };
  return s('g', null, [
    s('line', { class: 'rule', x1: 0, x2: width, y1: y + ROW, y2: y + ROW }),
    running.map((run) => mark('running', Date.parse(run.timestamp), now, `${t('status.running')} · ${shortMoment(run.timestamp)}`, { href: runAddress(run._id) })),
    [...lane.worst].map((letter, index) => {
      if (letter === '.' || edges[index + 1] <= from) return null;
      const counts = countsOf(lane, index);
      const bucket = { job: lane.job_id, from: edges[index], to: edges[index + 1], status: counts[0][0] };
      return mark(bucket.status, bucket.from, Math.min(bucket.to, now), inWords(bucket, counts), { href: address(bucket), onclick: (/** @type {MouseEvent} */ event) => open(event, bucket) });
    }),
    next !== null && next > now && next < to &&
      s('circle', { class: 'coming', cx: place(next), cy: y + ROW / 2, r: 3.5 }, s('title', null, `${name}\n${t('lanes.next', { at: shortMoment(next) })}`)),
  ]);
}

/** @param {{ from: number, to: number }} bucket @param {[import('../model/lane_counts.js').Outcome, number][]} counts */
const inWords = ({ from, to }, counts) =>
  `${shortMoment(from)} – ${shortMoment(to)} · ${counts.map(([status, count]) => `${t(`status.${status}`)} ${number(count)}`).join(' · ')}`;
