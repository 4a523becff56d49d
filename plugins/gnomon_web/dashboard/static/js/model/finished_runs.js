// Finished runs of a period, read page by page from the server and kept up to date by live events.
import { effect, signal } from '../core/signals.js';
import { get } from './api.js';
import { complete, isOver } from './fold.js';
import { instant } from './ranges.js';
import * as store from './store.js';

/** @typedef {import('../types.d.ts').Run} Run */
/** @typedef {{ runs: Run[], complete: boolean, total: number, error: Error | null, loading: boolean }} FinishedRuns */

/** The most runs that a chart reads. */
export const MAX_CHART_RUNS = 1000;
const PAGE_SIZE = 200;

/**
 * Read the newest matching runs, up to `most`; `complete` says whether these are all. Call it in a scope: it stops with
 * it. Runs that end during a request are merged into its response, which may predate them.
 * @param {Record<string, any>} query @param {number} most @returns {ReturnType<typeof signal<FinishedRuns>>}
 */
export function finishedRuns(query, most) {
  const found = signal(/** @type {FinishedRuns} */ ({ runs: [], complete: false, total: 0, error: null, loading: true }));
  /** @type {Run[] | null} runs that ended since the request was sent, newest first; null between requests */
  let ended = null;
  effect(() => {
    store.generation.value; // a snapshot may have skipped events
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

/** Merge runs that ended, or were hidden later, into the known ones. @param {FinishedRuns} known @param {Run[]} ended newest first @param {number} most @returns {FinishedRuns} */
function withEnded(known, ended, most) {
  const fresh = new Map([...ended].reverse().map((run) => [run._id, run])); // of two versions the newer one counts
  const runs = [...[...fresh.values()].reverse().filter((run) => !run.hidden), ...known.runs.filter((run) => !fresh.has(run._id))];
  return { ...known, total: known.total + runs.length - known.runs.length, runs: runs.slice(0, most), complete: known.complete && runs.length <= most };
}

/** @param {Record<string, any>} query @param {number} most @param {AbortSignal} signal */
async function readPages(query, most, signal) {
  const runs = [];
  let [cursor, total] = [/** @type {string | null} */ (null), 0];
  do {
    const page = await get('/scheduler/logs', { ...query, limit: Math.min(PAGE_SIZE, most - runs.length), cursor }, signal);
    runs.push(...page.items.map(complete));
    cursor = page.next;
    total = page.total;
  } while (cursor !== null && runs.length < most);
  return { runs, total, complete: cursor === null };
}

/** Whether a run matches a query. @param {Run} run @param {Record<string, any>} query */
export function matches(run, { job_id, status, is_manual, label, since, until, q }) {
  if (job_id && run.job_id !== job_id) return false;
  if (status && !String(status).split(',').includes(run.status)) return false;
  if (is_manual && String(run.is_manual) !== is_manual) return false;
  if (label && !Object.entries(run.labels ?? {}).some(([name, value]) => `${name}:${value}` === label)) return false;
  const at = Date.parse(run.timestamp);
  if ((since && at < instant(since)) || (until && at >= instant(until))) return false;
  return !q || (run.error_message ?? '').toLowerCase().includes(q.toLowerCase());
}
