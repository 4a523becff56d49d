// The newest runs of jobs, as the store has them: requested for the jobs that are shown, then kept up to date by events.
import { effect, signal } from '../core/signals.js';
import { get } from './api.js';
import { isOver } from './fold.js';
import * as store from './store.js';

/** @typedef {import('../types.d.ts').Run} Run */
/** @typedef {Pick<Run, '_id' | 'status' | 'timestamp' | 'execution_time'>} RecentRun */
/** @typedef {{ runs: RecentRun[], error: Error | null }} Recent */

const KEPT = 24;
const JOBS_AT_ONCE = 40;
const GATHER_RUNS_MS = 15;

/** @type {Map<string, ReturnType<typeof signal<Recent | null>>>} null until the response is there */
const recent = new Map();
/** @type {Set<string>} */
const missing = new Set();
let runsTimer = 0;

/** The finished runs of a job, newest first; null until the server has answered. @param {string} job @returns {Recent | null} */
export function recentRuns(job) {
  let known = recent.get(job);
  if (!known) {
    recent.set(job, (known = signal(/** @type {Recent | null} */ (null))));
    missing.add(job);
    runsTimer ||= setTimeout(readMissing, GATHER_RUNS_MS);
  }
  return known.value;
}

function readMissing() {
  runsTimer = 0;
  const jobs = [...missing].slice(0, JOBS_AT_ONCE);
  for (const job of jobs) missing.delete(job);
  if (missing.size > 0) runsTimer = setTimeout(readMissing, GATHER_RUNS_MS);
  get('/scheduler/jobs', { fields: 'recent', recent: KEPT, id: jobs.join() }).then(
    (answers) => {
      const byJob = new Map(answers.map((/** @type {any} */ one) => [one.id, one.recent]));
      for (const job of jobs) fillRecent(job, { runs: (byJob.get(job) ?? []).filter(isOver), error: null });
    },
    (error) => jobs.forEach((job) => fillRecent(job, { runs: [], error })),
  );
}

/** Runs that ended during the request may be missing in its response. @param {string} job @param {Recent} found */
function fillRecent(job, found) {
  const known = recent.get(job);
  if (!known) return; // a snapshot came in between
  const ids = new Set(found.runs.map((run) => run._id));
  const ended = known.peek()?.runs.filter((run) => !ids.has(run._id)) ?? endedSince.get(job)?.filter((run) => !ids.has(run._id)) ?? [];
  endedSince.delete(job);
  known.value = { ...found, runs: [...ended, ...found.runs].slice(0, KEPT) };
}

/** @type {Map<string, RecentRun[]>} runs that ended while the first request of their job was under way */
const endedSince = new Map();

/** Follow the events for as long as the page is open. */
export function followRecentRuns() {
  effect(() => {
    store.generation.value; // a snapshot may have skipped events: what is shown is requested again
    const shown = [...recent.keys()].filter((job) => /** @type {any} */ (recent.get(job)).readers.size > 0);
    recent.forEach((_, job) => shown.includes(job) || recent.delete(job));
    endedSince.clear();
    for (const job of shown) missing.add(job);
    if (missing.size > 0) runsTimer ||= setTimeout(readMissing, GATHER_RUNS_MS);
  });
  store.onEvents((events) => {
    for (const id of new Set(events.map((event) => event.stream))) {
      const run = store.runs.get(id)?.peek();
      const known = run && isOver(run) ? recent.get(run.job_id) : undefined;
      if (!run || !known) continue;
      const before = known.peek();
      const rest = (before?.runs ?? endedSince.get(run.job_id) ?? []).filter((one) => one._id !== run._id);
      const runs = run.hidden ? rest : [run, ...rest].slice(0, KEPT);
      if (before) known.value = { ...before, runs };
      else endedSince.set(run.job_id, runs);
    }
  });
}
