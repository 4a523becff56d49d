// The moments in an address: times, or ones relative to now, such as "-7d", which move on with it. The server resolves
// what is sent to it; the page resolves them for what arrives live.
import { now } from './clock.js';

const SIZES = /** @type {Record<string, number>} */ ({ ms: 1, s: 1e3, m: 6e4, h: 36e5, d: 864e5, w: 6048e5 });
const ROLLING = /^(now|[-+ ](\s*\d+(\.\d+)?\s*(ms|[smhdw]))+)$/;
/** The parameters with moments, in pairs of begin and end. */
const RANGES = [['since', 'until'], ['from', 'to']];

/** Whether a moment moves on with the time. @param {string} [text] */
export const isRolling = (text = '') => ROLLING.test(text);

/** The distance of a rolling moment from now, in milliseconds; negative for the past. @param {string} text */
export function distance(text) {
  const length = [...text.matchAll(/(\d+(?:\.\d+)?)\s*(ms|[smhdw])/g)].reduce((sum, [, count, unit]) => sum + Number(count) * SIZES[unit], 0);
  return text.startsWith('-') ? -length : length;
}

/** The milliseconds since 1970 that a moment stands for at this time; NaN for what is not one. @param {string} text */
export const instant = (text) => (isRolling(text) ? now.peek() + distance(text) : Date.parse(text));

/** Whether a query has rolling moments. @param {Record<string, string>} query */
export const isRollingQuery = (query) => RANGES.flat().some((key) => isRolling(query[key]));

/** A query with the moments that its rolling ones stand for now, and an end for each range. @param {Record<string, string>} query @returns {Record<string, string>} */
export function fixed(query) {
  const found = { ...query };
  for (const [begin, end] of RANGES) {
    if (isRolling(query[begin]) && !query[end]) found[end] = new Date(now.peek()).toISOString();
    for (const key of [begin, end]) if (isRolling(query[key])) found[key] = new Date(instant(query[key])).toISOString();
  }
  return found;
}
