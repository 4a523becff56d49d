// How the last 24 hours went: exact counts from the server, moved on by what happens, asked for again now and then.
import { effect, onDispose, signal } from '../core/signals.js';
import { get } from './api.js';
import { DAY, now } from './clock.js';
import { isOver } from './fold.js';
import * as store from './store.js';

/** @typedef {'success' | 'failed' | 'missed' | 'cancelled'} Outcome */

const OUTCOMES = /** @type {const} */ (['success', 'failed', 'missed', 'cancelled']);
const RECOUNT = 300_000; // so long a day that slides on may be off by some old runs

/** Count the outcomes of a day; call it in a view. */
export function dayCounts() {
  const counts = signal(/** @type {Record<Outcome, number | null> & { since: string }} */ ({ success: null, failed: null, missed: null, cancelled: null, since: '' }));
  /** @type {Set<string>} runs that have been counted since the last answer */
  const counted = new Set();
  const read = async () => {
    const since = new Date(now.peek() - DAY).toISOString();
    const totals = await Promise.all(OUTCOMES.map((status) => get('/scheduler/logs', { status, since, limit: 1 }).then((page) => page.total)));
    counted.clear();
    counts.value = /** @type {any} */ ({ since, ...Object.fromEntries(OUTCOMES.map((status, index) => [status, totals[index]])) });
  };
  effect(() => {
    store.generation.value;
    read().catch(() => {}); // the figures stay unknown, and are shown so
  });
  const timer = setInterval(() => read().catch(() => {}), RECOUNT);
  onDispose(() => clearInterval(timer));
  effect(() =>
    store.onEvents((events) => {
      for (const id of new Set(events.map((event) => event.stream))) {
        const run = store.runs.get(id)?.peek();
        const status = /** @type {Outcome} */ (run?.status);
        if (!run || !isOver(run) || counted.has(id) || counts.peek()[status] === null) continue;
        counted.add(id);
        counts.value = { ...counts.peek(), [status]: /** @type {number} */ (counts.peek()[status]) + 1 };
      }
    }),
  );
  return counts;
}
