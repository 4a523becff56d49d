// The times that an axis names.
import { s } from '../core/dom.js';
import { DAY } from '../model/clock.js';
import { offsetAt } from '../i18n/format.js';

const STEPS = [1, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880].map((minutes) => minutes * 60_000);

const HALF_A_LABEL = 24; // pixels

/** The tick positions of a time axis, on round times of the zone that the page shows. @param {number} from @param {number} to @param {number} most */
export function ticks(from, to, most) {
  const step = STEPS.find((one) => (to - from) / one <= most) ?? 7 * DAY;
  const found = [];
  for (let wall = Math.ceil((from + offsetAt(from)) / step) * step, at; (at = wall - offsetAt(wall - offsetAt(from))) < to; wall += step) {
    if (at >= from) found.push(at);
  }
  return found;
}

/** The label of a tick, which is not cut off at an end of the axis. @param {number} x @param {number} width of the chart @param {string} text */
export const tickLabel = (x, width, text) =>
  s('text', { x, y: 12, 'text-anchor': x < HALF_A_LABEL ? 'start' : x > width - HALF_A_LABEL ? 'end' : 'middle' }, text);
