// The timeline where the plugin `stats` is not enabled: from the newest runs alone, which is said beside it.
import { get } from './api.js';
import { runsOfLane, withEnds } from './lane_counts.js';

/** @typedef {import('../types.d.ts').Lane} Lane */
/** @typedef {import('../types.d.ts').Lanes} Lanes */
/** @typedef {import('../types.d.ts').Run} Run */

const MOST_RUNS = 200;
const EVENTS = /** @type {Record<string, string>} */ ({ success: 'succeeded', failed: 'failed', missed: 'missed', cancelled: 'cancelled' });

/** @param {{ from: number, span: number, position: number, buckets: number, most: number }} wanted @param {AbortSignal} signal @returns {Promise<Lanes>} */
export async function lanesOfRuns({ from, span, position, buckets, most }, signal) {
  const page = await get('/scheduler/logs', { since: new Date(from).toISOString(), limit: MOST_RUNS, status: Object.keys(EVENTS).join() }, signal);
  /** @type {Run[]} */
  const runs = page.items;
  const jobs = [...new Set(runs.map((run) => run.job_id))];
  const empty = { from: new Date(from).toISOString(), to: new Date(from + span * (1 + 1 / buckets)).toISOString(), bucket_s: span / buckets / 1000, buckets: buckets + 1, starts: null, position };
  const all = withEnds(
    { ...empty, all: emptyLane(null, '', buckets + 1), lanes: jobs.map((id) => emptyLane(id, jobNameIn(runs, id), buckets + 1)), others: null, cut: { jobs: 0, runs: 0 } },
    runs.map((run) => /** @type {any} */ ({ type: EVENTS[run.status], job_id: run.job_id, at: run.updated_at, count: run.count })),
  );
  const bad = (/** @type {Lane} */ { total }) => total.failed + total.missed;
  const ranked = all.lanes.sort((a, b) => bad(b) - bad(a)); // of equal ones the job that ran last
  const cut = ranked.slice(most);
  return {
    ...all,
    lanes: ranked.slice(0, most),
    cut: { jobs: cut.length, runs: cut.reduce((sum, lane) => sum + runsOfLane(lane), 0) },
    newest: { ids: new Set(runs.map((run) => run._id)), runs: runs.length, total: page.total, since: page.total > runs.length ? /** @type {Run} */ (runs.at(-1)).timestamp : null },
  };
}

/** @param {Run[]} runs @param {string} id */
const jobNameIn = (runs, id) => runs.find((run) => run.job_id === id)?.job_name || id;

/** @param {string | null} id @param {string} name @param {number} buckets @returns {Lane} */
const emptyLane = (id, name, buckets) => ({ job_id: id, name, total: { success: 0, failed: 0, missed: 0, cancelled: 0 }, worst: '.'.repeat(buckets), success: null, failed: null, missed: null, cancelled: null, running: 0, p50: null, p95: null });
