// The moment that the page shows: the present, or one of the past, which is in the address.
import { signal } from './signals.js';

/** The past moment as the address has it, empty for the present. Set by the router. */
export const past = signal('');

/** The calls that answer as of a moment. */
const ASKED = /^\/scheduler\/((past|job-states|logs|history|alerts(\/[^/?]+)?)(\?|$)|executions\b|jobs(\/[^/?]+(\/(executions|history|execution-stats|parameters|changes))?)?(\?|$))/;
/** Timelines and comparisons, which end at the moment. */
const TIMELINES = /^\/scheduler\/(lanes|compare|jobs\/[^/?]+\/lane)(\?|$)/;
/** The calls that know the present alone. */
const PRESENT = /^\/scheduler\/(.*\/)?(forecast|today|workers|queues|sample)\b/;

/** A path with the moment, where the call takes one; null for a call that would answer about the present. @param {string} path */
export function asOf(path) {
  if (past.peek() === '') return path;
  if (PRESENT.test(path)) return null;
  const key = TIMELINES.test(path) ? 'to' : ASKED.test(path) ? 'at' : '';
  if (key === '' || new RegExp(`[?&]${key}=`).test(path)) return path;
  return `${path}${path.includes('?') ? '&' : '?'}${key}=${encodeURIComponent(past.peek())}`;
}
