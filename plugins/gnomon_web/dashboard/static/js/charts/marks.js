// Convert runs to marks: runs that start on the same pixels become one mark with the worst of their states.
import { DAY } from '../model/clock.js';

/** @typedef {import('../types.d.ts').Run} Run */
/** @typedef {import('../types.d.ts').Status} Status */
/** @typedef {{ x: number, width: number, status: Status, count: number, run: Run }} Mark */

const MIN_WIDTH = 3; // pixels, so that a mark can be seen and clicked
/** @type {Status[]} */
const WORST_FIRST = ['failed', 'missed', 'cancelled', 'running', 'scheduled', 'success'];

/** @param {Run} run @param {number} now @returns {number} */
export const endOf = (run, now) => {
  if (run.status === 'running') return now;
  return run.execution_time != null ? Date.parse(run.timestamp) + run.execution_time * 1000 : Date.parse(run.timestamp);
};

/**
 * @param {Run[]} runs of one job @param {(at: number) => number} place milliseconds to pixels @param {number} now
 * @returns {Mark[]}
 */
export function marks(runs, place, now) {
  const left = place(-Infinity);
  const placed = runs
    .map((run) => ({ run, x: Math.max(place(Date.parse(run.timestamp)), left), end: place(endOf(run, now)) }))
    .filter(({ end }) => end >= left)
    .sort((a, b) => a.x - b.x);
  /** @type {Mark[]} */
  const made = [];
  for (const { run, x, end } of placed) {
    const width = Math.max(end - x, MIN_WIDTH);
    const last = made.at(-1);
    if (last && x < last.x + MIN_WIDTH && width === MIN_WIDTH && last.width === MIN_WIDTH) merge(last, run);
    else made.push({ x, width, status: run.status, count: 1, run });
  }
  return made.sort((a, b) => b.width - a.width); // short ones are drawn over long ones
}

/** @param {Mark} mark @param {Run} run */
function merge(mark, run) {
  mark.count += 1;
  if (WORST_FIRST.indexOf(run.status) < WORST_FIRST.indexOf(mark.status)) Object.assign(mark, { status: run.status, run });
}

const STEPS = [1, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880].map((minutes) => minutes * 60_000);

/** The tick positions of a time axis, on round local times. @param {number} from @param {number} to @param {number} most */
export function ticks(from, to, most) {
  const step = STEPS.find((one) => (to - from) / one <= most) ?? 7 * DAY;
  const shift = new Date(from).getTimezoneOffset() * 60_000;
  const found = [];
  for (let at = Math.ceil((from - shift) / step) * step + shift; at < to; at += step) found.push(at);
  return found;
}
