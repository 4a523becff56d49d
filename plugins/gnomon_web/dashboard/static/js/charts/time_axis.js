// The times that an axis names.
import { DAY } from '../model/clock.js';

const STEPS = [1, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880].map((minutes) => minutes * 60_000);

/** The tick positions of a time axis, on round local times. @param {number} from @param {number} to @param {number} most */
export function ticks(from, to, most) {
  const step = STEPS.find((one) => (to - from) / one <= most) ?? 7 * DAY;
  const shift = new Date(from).getTimezoneOffset() * 60_000;
  const found = [];
  for (let at = Math.ceil((from - shift) / step) * step + shift; at < to; at += step) found.push(at);
  return found;
}
