// The moment that the page shows: the present, or one of the past, which is in the address.
import { signal } from './signals.js';

/** The past moment as the address has it, empty for the present. Set by the router. */
export const past = signal('');

/** The calls that answer as of a moment. */
const ASKED = /^\/scheduler\/(past|job-states|logs|executions|history|alerts)\b|^\/scheduler\/jobs(\/[^/?]+(\/(executions|history|execution-stats|parameters))?)?(\?|$)/;
/** The calls that know the present alone. */
const PRESENT = /^\/scheduler\/(.*\/)?(forecast|today|workers|queues|sample)\b/;

/** A path with the moment, where the call takes one; null for a call that would answer about the present. @param {string} path */
export function asOf(path) {
  if (past.peek() === '' || /[?&]at=/.test(path)) return path;
  if (PRESENT.test(path)) return null;
  return ASKED.test(path) && !/\/(explain|difference)\b/.test(path) ? `${path}${path.includes('?') ? '&' : '?'}at=${encodeURIComponent(past.peek())}` : path;
}
