// Outcomes of the last 24 hours: exact counts from the server, updated by live events and re-read from time to time.
import { effect, onDispose, signal } from '../core/signals.js';
import { get } from './api.js';
import * as store from './store.js';

/** @typedef {'success' | 'failed' | 'missed' | 'cancelled'} Outcome */

/** The begin of what is counted, as a link to the runs has it. */
export const LAST_DAY = '-24h';
const OUTCOMES = /** @type {const} */ (['success', 'failed', 'missed', 'cancelled']);
const ENDS = /** @type {Record<string, Outcome>} */ ({ succeeded: 'success', failed: 'failed', missed: 'missed', cancelled: 'cancelled' });
const RECOUNT_MS = 300_000; // until then runs that leave the sliding window are still counted
const SETTLE_MS = 900; // an end reported during a request, or this soon after, may or may not be in its response

/** Count the outcomes of a day; call it in a scope. */
export function dayCounts() {
  const counts = signal(/** @type {Record<Outcome, number | null>} */ ({ success: null, failed: null, missed: null, cancelled: null }));
  let [timer, turn, isSettled, isDoubtful, pause] = [0, 0, false, false, SETTLE_MS];
  const read = async () => {
    clearTimeout(timer);
    const own = (turn += 1);
    isSettled = isDoubtful = false;
    const totals = await Promise.all(OUTCOMES.map((status) => get('/scheduler/logs', { status, since: LAST_DAY, limit: 1 }).then((page) => page.total))).catch(() => null);
    if (own !== turn) return;
    if (totals) counts.value = /** @type {any} */ (Object.fromEntries(OUTCOMES.map((status, index) => [status, totals[index]])));
    timer = setTimeout(settle, SETTLE_MS); // without a response the counts stay unknown and are shown as such
  };
  const settle = () => {
    isSettled = true;
    pause = isDoubtful ? Math.min(2 * pause, RECOUNT_MS) : SETTLE_MS;
    timer = setTimeout(read, isDoubtful ? pause : RECOUNT_MS);
  };
  effect(() => {
    store.generation.value;
    read();
  });
  onDispose(() => (clearTimeout(timer), (turn += 1)));
  effect(() =>
    store.onEvents((events) => {
      const ended = events.map((event) => ENDS[event.type]).filter((status) => status && counts.peek()[status] !== null);
      const next = { ...counts.peek() };
      for (const status of ended) next[status] = /** @type {number} */ (next[status]) + 1;
      if (ended.length > 0) counts.value = next;
      isDoubtful ||= !isSettled && events.some((event) => event.type in ENDS);
    }),
  );
  return counts;
}
