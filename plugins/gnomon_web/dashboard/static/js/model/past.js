// Finished runs of a stretch of time, read page by page from the server and kept up to date by what happens.
import { effect, signal } from '../core/signals.js';
import { get } from './api.js';
import { complete, isOver } from './fold.js';
import * as store from './store.js';

/** @typedef {import('../types.d.ts').Run} Run */
/** @typedef {{ runs: Run[], complete: boolean, total: number, error: Error | null, loading: boolean }} Past */

/** Runs that a chart reads. */
export const MOST = 1000;
const PAGE = 200;

/**
 * Read the newest runs that match, up to `most`; `complete` tells whether there are no more. Call it in an effect: it
 * stops when that is disposed of. What ends while an answer is on its way is put into it, since the answer may be older.
 * @param {Record<string, any>} query @param {number} most @returns {ReturnType<typeof signal<Past>>}
 */
export function past(query, most) {
  const found = signal(/** @type {Past} */ ({ runs: [], complete: false, total: 0, error: null, loading: true }));
  /** @type {Run[] | null} what has ended since the server was asked, newest first; null when no answer is on its way */
  let ended = null;
  effect(() => {
    store.generation.value; // a snapshot may have skipped what happened
    const abort = new AbortController();
    ended = [];
    readPages(query, most, abort.signal).then(
      (result) => {
        found.value = withEnded({ ...result, error: null, loading: false }, ended ?? [], most);
        ended = null;
      },
      (error) => abort.signal.aborted || (found.value = { ...found.peek(), error, loading: false }),
    );
    return () => abort.abort();
  });
  effect(() =>
    store.onEvents((events) => {
      const moved = [...new Set(events.map((event) => event.stream))].reverse().map((id) => store.runs.get(id)?.peek());
      const fresh = /** @type {Run[]} */ (moved.filter((run) => run && isOver(run) && matches(run, query)));
      if (fresh.length === 0) return;
      if (ended) ended = [...fresh, ...ended];
      found.value = withEnded(found.peek(), fresh, most);
    }),
  );
  return found;
}

/** Runs that have ended, or been hidden after that, before those that were known. @param {Past} past @param {Run[]} ended newest first @param {number} most @returns {Past} */
function withEnded(past, ended, most) {
  const fresh = new Map([...ended].reverse().map((run) => [run._id, run])); // told twice, the newer one counts
  const runs = [...[...fresh.values()].reverse().filter((run) => !run.hidden), ...past.runs.filter((run) => !fresh.has(run._id))];
  return { ...past, total: past.total + runs.length - past.runs.length, runs: runs.slice(0, most), complete: past.complete && runs.length <= most };
}

/** @param {Record<string, any>} query @param {number} most @param {AbortSignal} signal */
async function readPages(query, most, signal) {
  const runs = [];
  let [cursor, total] = [/** @type {string | null} */ (null), 0];
  do {
    const page = await get('/scheduler/logs', { ...query, limit: Math.min(PAGE, most - runs.length), cursor }, signal);
    runs.push(...page.items.map(complete));
    cursor = page.next;
    total = page.total;
  } while (cursor !== null && runs.length < most);
  return { runs, total, complete: cursor === null };
}

/** Whether a run belongs to what a query asks for. @param {Run} run @param {Record<string, any>} query */
export function matches(run, { job_id, status, is_manual, since, until, q }) {
  if (job_id && run.job_id !== job_id) return false;
  if (status && !String(status).split(',').includes(run.status)) return false;
  if (is_manual && String(run.is_manual) !== is_manual) return false;
  const at = Date.parse(run.timestamp);
  if ((since && at < Date.parse(since)) || (until && at >= Date.parse(until))) return false;
  return !q || (run.error_message ?? '').toLowerCase().includes(q.toLowerCase());
}
