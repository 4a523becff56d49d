// The alerts: a pure function of the known state, so no alert outlives its cause.
import { DAY } from './clock.js';

/** @typedef {import('../types.d.ts').Job} Job */
/** @typedef {import('../types.d.ts').Run} Run */

/**
 * @typedef {object} Alert
 * @property {string} key
 * @property {'failing' | 'zombie' | 'late' | 'slow' | 'stuck' | 'missed' | 'system' | 'warned'} kind
 * @property {'bad' | 'warn'} level
 * @property {string} [job]
 * @property {string} [run]
 * @property {string} [at] since when
 * @property {number} [count]
 * @property {string} [detail] from the log
 * @property {number} [usual] seconds
 * @property {boolean} [isLingering]
 * @property {import('../types.d.ts').Component} [component]
 */

export const LATE_S = 60; // a shorter delay is normal on a busy machine
const STUCK_S = 60; // after a cancel request
const ENDED_BY_OTHERS = new Set(['zombie', 'lost', 'killed']);
const ORDER = ['system', 'failing', 'zombie', 'late', 'stuck', 'warned', 'slow', 'missed'];

/**
 * @param {{ jobs: Job[], active: Run[], finished: Run[], health: any, now: number,
 *   typical: (job: string) => { p50: number | null, p95: number | null } | null }} known
 * @returns {Alert[]} most urgent first
 */
export function alerts({ jobs, active, finished, health, now, typical }) {
  const found = [
    ...unhealthy(health),
    ...failing(jobs, finished),
    ...lingering(jobs),
    ...zombies(finished),
    ...late(jobs, active, now),
    ...active.flatMap((run) => overdue(run, now, typical(run.job_id))),
    ...missed(finished, now),
  ];
  return found.sort((a, b) => ORDER.indexOf(a.kind) - ORDER.indexOf(b.kind) || (b.at ?? '').localeCompare(a.at ?? ''));
}

/** @param {import('../types.d.ts').Health} health @returns {Alert[]} */
const unhealthy = ({ components = [] }) =>
  components
    .filter(({ state }) => state === 'degraded' || state === 'failed')
    .map((one) => ({ key: `system ${one.name}`, kind: 'system', level: one.state === 'failed' ? 'bad' : 'warn', component: one, run: one.execution_id ?? undefined, detail: one.problem ?? '' }));

/** @param {Job[]} jobs @param {Run[]} finished @returns {Alert[]} */
function failing(jobs, finished) {
  return jobs
    .filter((job) => job.last_execution?.status === 'failed')
    .flatMap((job) => {
      const own = finished.filter((run) => run.job_id === job.id && run.status !== 'missed');
      const recovered = own.findIndex((run) => run.status !== 'failed');
      const streak = recovered < 0 ? own : own.slice(0, recovered);
      const [last] = streak;
      if (last && isDead(last)) return []; // reported as aborted
      return {
        key: `failing ${job.id}`,
        kind: /** @type {const} */ ('failing'),
        level: /** @type {const} */ ('bad'),
        job: job.id,
        run: last?._id ?? job.last_execution?._id,
        at: last?.updated_at ?? job.last_execution?.timestamp,
        count: Math.max(streak.length, 1),
        detail: last ? [last.error_type, last.error_message].filter(Boolean).join(': ') || last.reason || '' : (job.last_execution?.error_message ?? ''),
      };
    });
}

/** Runs that have ended, but whose code is still running and keeps its slot. @param {Job[]} jobs @returns {Alert[]} */
const lingering = (jobs) => jobs.flatMap((job) => (job.lingering ?? []).map((run) => ({ key: `lingering ${run}`, kind: 'stuck', level: 'warn', job: job.id, run, isLingering: true })));

/** @param {Run[]} finished @returns {Alert[]} */
const zombies = (finished) =>
  perJob(finished.filter(isDead)).map((runs) => ({ key: `zombie ${runs[0].job_id}`, kind: 'zombie', level: 'bad', job: runs[0].job_id, run: runs[0]._id, at: runs[0].updated_at, count: runs.length, detail: runs[0].reason ?? '' }));

/** Whether the run was ended by others. @param {Run} run */
const isDead = (run) => run.status === 'failed' && ENDED_BY_OTHERS.has(run.reason ?? '');

/** @param {Run[]} runs @returns {Run[][]} */
function perJob(runs) {
  /** @type {Map<string, Run[]>} */
  const byJob = new Map();
  for (const run of runs) byJob.set(run.job_id, [...(byJob.get(run.job_id) ?? []), run]);
  return [...byJob.values()];
}

/** @param {Job[]} jobs @param {Run[]} active @param {number} now @returns {Alert[]} */
function late(jobs, active, now) {
  const busy = new Set(active.map((run) => run.job_id));
  return jobs
    .filter((job) => !job.paused && job.next_run_time && !busy.has(job.id) && (now - Date.parse(job.next_run_time)) / 1000 > LATE_S)
    .map((job) => ({ key: `late ${job.id}`, kind: 'late', level: 'warn', job: job.id, at: job.next_run_time ?? undefined }));
}

/** @param {Run} run @param {number} now @param {{ p50: number | null, p95: number | null } | null} usual @returns {Alert[]} */
function overdue(run, now, usual) {
  if (run.status !== 'running') return [];
  const base = { level: /** @type {const} */ ('warn'), job: run.job_id, run: run._id, at: run.timestamp };
  const asked = run.cancel_requested && (now - Date.parse(run.updated_at)) / 1000 > STUCK_S;
  if (asked) return [{ ...base, key: `stuck ${run._id}`, kind: 'stuck', at: run.updated_at }];
  if (run.warning) return [{ ...base, key: `warned ${run._id}`, kind: 'warned', detail: run.warning }];
  if (usual?.p95 == null || usual.p50 == null) return [];
  const elapsed = (now - Date.parse(run.timestamp)) / 1000;
  const limit = Math.max(usual.p95 * 1.2, usual.p50 * 2, 1);
  return elapsed > limit ? [{ ...base, key: `slow ${run._id}`, kind: 'slow', usual: usual.p50 }] : [];
}

/** One alert per job that missed fires in the last day. @param {Run[]} finished @param {number} now @returns {Alert[]} */
const missed = (finished, now) =>
  perJob(finished.filter((run) => run.status === 'missed' && now - Date.parse(run.timestamp) <= DAY)).map((runs) => ({
    key: `missed ${runs[0].job_id}`,
    kind: 'missed',
    level: 'warn',
    job: runs[0].job_id,
    run: runs[0]._id,
    at: runs[0].timestamp,
    count: runs.reduce((sum, run) => sum + (run.count ?? 1), 0),
    detail: runs[0].reason ?? '',
  }));
