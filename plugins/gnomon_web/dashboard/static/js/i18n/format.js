// Format numbers, durations and times in the language of the page.
import { now } from '../model/clock.js';
import { distance, isRolling } from '../model/ranges.js';
import { language, t } from './index.js';
import { LOCAL, shownZone } from './zone.js';

/** @type {Map<string, any>} creating a formatter is slow */
const formatters = new Map();

/** @template T @param {string} name @param {() => T} make @returns {T} */
function formatter(name, make) {
  const key = `${language.peek()} ${name}`;
  if (!formatters.has(key)) formatters.set(key, make());
  return formatters.get(key);
}

/** @param {number} value @param {Intl.NumberFormatOptions} [options] */
export const number = (value, options = {}) =>
  formatter(JSON.stringify(options), () => new Intl.NumberFormat(language.peek(), options)).format(value);

/** @param {number} share from 0 to 1 */
export const percent = (share) => number(share, { style: 'percent', maximumFractionDigits: share > 0.995 && share < 1 ? 1 : 0 });

/** @param {number} value @param {string} unit @param {number} [digits] */
const inUnit = (value, unit, digits = 0) =>
  number(value, { style: 'unit', unit, unitDisplay: 'narrow', maximumFractionDigits: digits, minimumFractionDigits: digits });

/** Format a duration in its two largest units. @param {number | null | undefined} seconds */
export function duration(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return '–';
  if (seconds < 0.9995) return inUnit(Math.round(Math.max(seconds, 0) * 1000), 'millisecond');
  if (seconds < 9.95) return inUnit(seconds, 'second', 1);
  return wholeDuration(seconds);
}

const PARTS = /** @type {[string, number][]} */ ([['day', 86400], ['hour', 3600], ['minute', 60], ['second', 1]]);

/** Format in whole seconds, for values that tick; `coarse` drops the seconds from ten minutes on. @param {number} seconds @param {boolean} [coarse] */
export function wholeDuration(seconds, coarse = false) {
  const whole = Math.max(Math.round(seconds), 0);
  const largest = Math.max(PARTS.findIndex(([, size]) => whole >= size), 0);
  if (whole < 60) return inUnit(whole, 'second');
  const [[unit, size], next] = [PARTS[largest], PARTS[largest + 1]];
  const rest = largest === 2 && whole >= 600 && coarse ? 0 : Math.floor((whole % size) / next[1]);
  const text = inUnit(Math.floor(whole / size), unit);
  return rest === 0 ? text : text + (language.peek() === 'en' ? ' ' : '') + inUnit(rest, next[0]);
}

/** Format the distance of a moment from the server's clock; it updates as time passes. @param {string | number} moment */
export function relative(moment) {
  const ahead = (milliseconds(moment) - now.value) / 1000;
  if (Math.abs(ahead) < 1) return t('time.now');
  return ahead > 0 ? t('time.in', { t: wholeDuration(ahead, true) }) : t('time.ago', { t: wholeDuration(-ahead, true) });
}

/** @param {string | number} moment */
export const milliseconds = (moment) => (typeof moment === 'number' ? moment : Date.parse(moment));

/** @param {number} at @param {Intl.DateTimeFormatOptions} options */
const format = (at, options) => inZone(options).format(at);

/** A formatter of times in the zone that the page shows, or in that of the options. @param {Intl.DateTimeFormatOptions} options @returns {Intl.DateTimeFormat} */
function inZone(options) {
  const whole = { timeZone: shownZone.peek(), ...options };
  return formatter(JSON.stringify(whole), () => new Intl.DateTimeFormat(language.peek(), whole));
}

/** The name of the zone of a moment, such as "UTC" or "GMT+8". @param {number} at */
export const zoneName = (at) => inZone({ timeZoneName: 'short' }).formatToParts(at).find(({ type }) => type === 'timeZoneName')?.value ?? shownZone.peek();

/** A time with its zone, where that is not the one of this browser. @param {string} text @param {number} at */
const labelled = (text, at) => (shownZone.peek() === LOCAL ? text : `${text} ${zoneName(at)}`);

/** @type {Intl.DateTimeFormatOptions} */
const WALL = { year: 'numeric', month: '2-digit', day: '2-digit', hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' };

/** A moment as the field of a form takes it, in the zone that the page shows. @param {number} at */
export function wallTime(at) {
  const part = Object.fromEntries(formatter(`wall ${shownZone.peek()}`, () => new Intl.DateTimeFormat('en-US', { ...WALL, timeZone: shownZone.peek() })).formatToParts(at).map((/** @type {Intl.DateTimeFormatPart} */ { type, value }) => [type, value]));
  return `${part.year}-${part.month}-${part.day}T${part.hour}:${part.minute}:${part.second}`;
}

/** How many milliseconds the clocks of the zone that the page shows are ahead of UTC. @param {number} at */
export const offsetAt = (at) => Date.parse(`${wallTime(at)}Z`) - Math.floor(at / 1000) * 1000;

/** The moment that such a text stands for. @param {string} text */
export function fromWallTime(text) {
  const shifted = Date.parse(`${text}Z`);
  return shifted - offsetAt(shifted - offsetAt(shifted));
}

/** The wall clock of a moment, for charts: `day` counts from Monday, 0. @param {string | number} moment */
export function clockOf(moment) {
  const wall = new Date(`${wallTime(milliseconds(moment))}Z`);
  return { day: (wall.getUTCDay() + 6) % 7, hour: wall.getUTCHours(), minute: wall.getUTCMinutes() };
}

/** @type {Intl.DateTimeFormatOptions} */
const TIME = { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' };
/** @type {Intl.DateTimeFormatOptions} */
const DATE = { month: 'short', day: 'numeric' };

/** Hours and minutes. @param {number} at */
export const hourMinute = (at) => format(at, TIME);

/** Hours, minutes and seconds. @param {string | number} at */
export const timeOfDay = (at) => labelled(format(milliseconds(at), { ...TIME, second: '2-digit' }), milliseconds(at));

/** The time of day for today, with the date for other days. @param {string | number} at */
export function shortMoment(at) {
  const then = milliseconds(at);
  const isToday = wallTime(then).slice(0, 10) === wallTime(now.peek()).slice(0, 10);
  return isToday ? timeOfDay(then) : labelled(format(then, { ...DATE, ...TIME }), then);
}

/** A moment of an address in words: a time, or its distance from now. @param {string} text */
function momentInWords(text) {
  if (!isRolling(text)) return Number.isNaN(Date.parse(text)) ? text : shortMoment(text);
  const ahead = distance(text) / 1000;
  return ahead === 0 ? t('time.now') : t(ahead > 0 ? 'time.in' : 'time.ago', { t: wholeDuration(Math.abs(ahead), true) });
}

/** The period of an address in words; one of its ends is given. @param {{ since?: string, until?: string }} period */
export function periodInWords({ since, until }) {
  if (!since) return t('runs.until.at', { at: momentInWords(until ?? '') });
  if (!until) return t('runs.since.at', { at: momentInWords(since) });
  return t('runs.from.to', { from: momentInWords(since), to: momentInWords(until) });
}

/** The full date and time with the zone, for titles and details. @param {string | number} at */
export const fullMoment = (at) =>
  format(milliseconds(at), { ...DATE, year: 'numeric', weekday: 'short', ...TIME, second: '2-digit', timeZoneName: 'short' });

/** The date and time in a zone, which what is around it names. @param {string} timeZone @param {string | number} at */
export const momentIn = (timeZone, at) => format(milliseconds(at), { timeZone, year: 'numeric', ...DATE, ...TIME, second: '2-digit' });

/** The date and time, for details; the title shows the rest. @param {string | number} at */
export const dateAndTime = (at) => labelled(format(milliseconds(at), { ...DATE, ...TIME, second: '2-digit' }), milliseconds(at));

/** @param {number} at */
export const dayMonth = (at) => format(at, DATE);

/** The name of a day of the week, 0 is Monday. @param {number} day */
export const weekday = (day) => format(Date.UTC(2024, 0, 1 + day, 12), { weekday: 'short', timeZone: 'UTC' });
