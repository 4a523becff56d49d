// The runs behind a bucket of the timeline: a run counts in the bucket in which it ended, while lists go by its start.
import { get } from './api.js';

const MOST = 50;

/** @typedef {import('../types.d.ts').Run} Run */
/** @typedef {import('../charts/lanes.js').Bucket} Bucket */

/**
 * Where the runs of a bucket are: the run, if there is only one, else the query of a list that has all of them.
 * @param {Bucket} bucket @returns {Promise<{ run: string } | { query: Record<string, string> }>}
 */
export async function runsOfBucket({ job, from, to, status }) {
  const until = new Date(to).toISOString();
  const page = await get('/scheduler/logs', { job_id: job, status, until, limit: MOST });
  /** @type {Run[]} */
  const runs = page.items.filter((/** @type {Run} */ run) => Date.parse(run.updated_at) >= from && Date.parse(run.updated_at) < to);
  if (runs.length === 1) return { run: runs[0]._id };
  const first = Math.min(from, ...runs.map((run) => Date.parse(run.timestamp)));
  return { query: { job_id: job, status, since: new Date(first).toISOString(), until } };
}
