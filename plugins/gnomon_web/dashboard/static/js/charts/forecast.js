// Fires to come on a time axis: a bar up to the median end of each run, a pale one up to its late end.
import { s } from '../core/dom.js';
import { duration, shortMoment } from '../i18n/format.js';
import { t } from '../i18n/index.js';
import { tick } from './lanes.js';
import { withKeys } from './mark_keys.js';
import { ticks } from './time_axis.js';

/** @typedef {import('../types.d.ts').ForecastJob} ForecastJob */
/** @typedef {import('../types.d.ts').ForecastRun} ForecastRun */

const TOP = 26;
const ROW = 30;
const BAR = 14;
const MIN_WIDTH = 3; // pixels, so that a mark can be seen and clicked

/** What is expected of a fire: `waits` where its run waits for a slot. @param {ForecastRun} run */
export const prospect = (run) => (run.outcome === 'run' && (run.waits_for || run.starts !== run.at) ? 'waits' : run.outcome);

/** The range in which a run is expected to end. @param {ForecastRun} run */
export function expectedEnd({ ends, ends_high }) {
  const [from, to] = [ends, ends_high].map((at) => (at ? shortMoment(at) : ''));
  return from === to ? from : t('forecast.ends', { from, to });
}

/**
 * @param {{ jobs: ForecastJob[], from: number, to: number, listedUntil: number, width: number, address: (job: string) => string }} picture
 * fires after `listedUntil` are only counted
 */
export function forecastChart({ jobs, from, to, listedUntil, width, address }) {
  const height = TOP + jobs.length * ROW;
  const place = (/** @type {number} */ at) => ((Math.min(Math.max(at, from), to) - from) / (to - from)) * width;
  return withKeys(s('svg', { class: 'lanes forecast', width, height, viewBox: `0 0 ${width} ${height}`, role: 'group', 'aria-label': t('forecast.label', { n: jobs.length }) }, [
    ticks(from, to, width / 84).map((at) => tick(at, place(at), { width, height, span: to - from })),
    listedUntil < to && s('rect', { class: 'unknown', x: place(listedUntil), y: TOP, width: width - place(listedUntil), height: height - TOP }, s('title', null, t('forecast.unlisted'))),
    jobs.map((job, index) => lane(job, TOP + index * ROW, { place, width, to, address })),
  ]));
}

/** @param {ForecastJob} job @param {number} y @param {{ place: (at: number) => number, width: number, to: number, address: (job: string) => string }} frame */
function lane(job, y, { place, width, to, address }) {
  const top = y + (ROW - BAR) / 2;
  const rate = job.interval_s;
  return s('g', null, [
    s('line', { class: 'rule', x1: 0, x2: width, y1: y + ROW, y2: y + ROW }),
    rate != null && s('rect', { class: 'rate', x: 0, y: top + 3, width, height: BAR - 6, rx: 3 }, s('title', null, `${job.name}\n${t('schedule.every', { t: duration(rate) })}`)),
    separate(job.runs, place).map((run) => {
      const said = `${job.name}: ${t(`forecast.${prospect(run)}`)} · ${shortMoment(run.at)}${run.ends ? ` · ${t('forecast.end')} ${expectedEnd(run)}` : ''}${run.detail ? ` · ${run.detail}` : ''}`;
      const [x, end, late] = [run.starts ?? run.at, run.ends ?? run.starts ?? run.at, run.ends_high ?? run.at].map((at) => place(Date.parse(at)));
      return Date.parse(run.starts ?? run.at) < to && s('a', { href: address(job.job_id), 'aria-label': said, tabindex: -1 }, [
        s('rect', { class: `mark ${prospect(run)}`, x, y: top, width: Math.max(end - x, MIN_WIDTH), height: BAR, rx: 2 }),
        late > end && s('rect', { class: 'late', x: end, y: top + 3, width: late - end, height: BAR - 6 }),
        s('title', null, said),
      ]);
    }),
  ]);
}

/** Leave out runs on the pixel of an earlier one with the same prospect. @param {ForecastRun[]} runs @param {(at: number) => number} place */
function separate(runs, place) {
  const taken = new Set();
  return runs.filter((run) => {
    const pixel = `${Math.round(place(Date.parse(run.at)))} ${prospect(run)}`;
    return !taken.has(pixel) && taken.add(pixel);
  });
}
