// The state of the page: a signal per job and run, and one per list of ids. The live connection fills it.
import { batch, computed, signal } from '../core/signals.js';
import { apply, complete, isOver } from './fold.js';

/** @typedef {import('../types.d.ts').Run} Run */
/** @typedef {import('../types.d.ts').Job} Job */
/** @typedef {import('../types.d.ts').LogEvent} LogEvent */
/** @template T @typedef {ReturnType<typeof signal<T>>} Signal */

const MAX_FINISHED = 400; // finished runs kept while the page is open

/** @type {Map<string, Signal<Job>>} */
export const jobs = new Map();
/** @type {Map<string, Signal<Run>>} */
export const runs = new Map();
/** @type {Signal<string[]>} by id */
export const jobIds = signal([]);
/** @type {Signal<string[]>} scheduled and running, newest first */
export const activeIds = signal([]);
/** @type {Signal<string[]>} finished, newest first */
export const finishedIds = signal([]);
/** The number of jobs and of paused ones; the page holds only some of many. */
export const jobTotals = signal({ jobs: 0, paused: 0 });
/** Unfinished runs that the page does not hold, since there are too many. */
const unlisted = signal({ running: 0, scheduled: 0 });
/** @type {Signal<import('../types.d.ts').Health>} */
export const health = signal({});
/** The tags of the calls that plugins add to the server, such as `alerts`. */
export const contributed = signal(/** @type {string[]} */ ([]));
/** Whether a snapshot was received. */
export const isReady = signal(false);
/** The number of snapshots: lists fetched over REST are fetched again when it changes. */
export const generation = signal(0);
/** @type {Signal<{ version: string, log: string, position: number }>} */
export const about = signal({ version: '', log: '', position: 0 });
/** How many deltas and events were applied. */
export const applied = { deltas: 0, events: 0, progress: 0 };

/** @type {Set<(events: LogEvent[]) => void>} */
const listeners = new Set();

/** Listen to all events. @param {(events: LogEvent[]) => void} listener @returns {() => void} */
export function onEvents(listener) {
  listeners.add(listener);
  return () => void listeners.delete(listener);
}

export const runningIds = computed(() => activeIds.value.filter((id) => runs.get(id)?.value.status === 'running'));

/** How many runs are running, and how many wait: also those that the page does not hold. */
export const runningCount = computed(() => runningIds.value.length + unlisted.value.running);
export const waitingCount = computed(() => activeIds.value.length - runningIds.value.length + unlisted.value.scheduled);

/** Whether the page holds all jobs. */
export const hasAllJobs = computed(() => jobIds.value.length >= jobTotals.value.jobs);

/** `want` is set by the module that requests jobs which the page does not hold; those wanted until then are kept. @type {{ early: Set<string>, want: (id: string) => void }} */
export const missingJobs = { early: new Set(), want: (id) => void missingJobs.early.add(id) };

/** A job; one that the page does not hold yet is requested, and null until it is there. @param {string} id @returns {Job | null} */
export function jobOf(id) {
  const known = jobs.get(id);
  if (known) return known.value;
  if (!hasAllJobs.value) missingJobs.want(id);
  jobIds.value; // follows jobs that are added later
  return null;
}

/** @param {string} id @returns {Run | null} */
export const runOf = (id) => (runs.get(id) ?? (activeIds.value, finishedIds.value, null))?.value ?? null;

/** Whether the code of an ended run is still running. @param {Run} run */
export const isLingering = (run) => isOver(run) && (jobOf(run.job_id)?.lingering ?? []).includes(run._id);

/** @param {string} id */
export const jobName = (id) => {
  const job = jobOf(id);
  return job ? job.display_name || job.name || id : id;
};

/** Replace the state by a snapshot. @param {import('../types.d.ts').Snapshot} frame */
export function loadSnapshot(frame) {
  batch(() => {
    replace(jobs, frame.jobs, (job) => job.id);
    replace(runs, [...frame.running, ...frame.recent].map(complete), (run) => run._id);
    jobIds.value = frame.jobs.map((job) => job.id).sort();
    const ended = new Set(frame.recent.map((run) => run._id)); // a run that ended while the server read is in both lists
    activeIds.value = newestFirst(frame.running.filter((run) => !ended.has(run._id))).map((run) => run._id);
    finishedIds.value = newestFirst(frame.recent).map((run) => run._id);
    health.value = frame.health ?? {};
    contributed.value = frame.contributed ?? [];
    jobTotals.value = frame.totals ?? { jobs: frame.jobs.length, paused: frame.jobs.filter((job) => job.paused).length };
    const running = frame.running.filter((run) => run.status === 'running').length;
    unlisted.value = { running: Math.max((frame.totals?.running ?? 0) - running, 0), scheduled: Math.max((frame.totals?.scheduled ?? 0) - (frame.running.length - running), 0) };
    about.value = { version: frame.version, log: frame.log, position: frame.seq };
    isReady.value = true;
    generation.value = generation.peek() + 1;
  });
}

/** Apply the events after the last position. @param {import('../types.d.ts').Delta} frame */
export function applyDelta(frame) {
  batch(() => {
    applyEvents(frame.events);
    for (const moved of frame.progress ?? []) applyProgress(moved);
    for (const job of frame.jobs ?? []) setIn(jobs, job.id, job);
    for (const id of frame.removed ?? []) jobs.delete(id);
    if (frame.totals) jobTotals.value = frame.totals;
    if (frame.jobs?.length || frame.removed?.length) updateJobIds();
    about.value = { ...about.peek(), position: frame.seq };
  });
  applied.deltas += 1;
  applied.events += frame.events.length;
  applied.progress += frame.progress?.length ?? 0;
  if (frame.events.length > 0) for (const listener of listeners) listener(frame.events);
}

/** Fold events into their runs, then reorder the lists once. @param {LogEvent[]} events */
function applyEvents(events) {
  /** @type {Map<string, 'active' | 'finished' | 'hidden'>} */
  const moved = new Map();
  for (const event of events) {
    if (event.stream.startsWith('job:')) continue; // jobs are sent whole
    const before = runs.get(event.stream)?.peek() ?? null;
    const after = apply(before, event);
    if (after === null) countUnlisted(event);
    if (after === null || after === before) continue;
    setIn(runs, after._id, after);
    const wasOver = before !== null && isOver(before);
    if (after.hidden) moved.set(after._id, 'hidden');
    else if (isOver(after) && !wasOver) moved.set(after._id, 'finished');
    else if (before === null) moved.set(after._id, 'active');
  }
  if (moved.size > 0) order(moved);
}

const ENDS_OF_RUNS = new Set(['succeeded', 'failed', 'cancelled', 'missed']);

/** Count a run that the page does not hold. @param {LogEvent} event */
function countUnlisted({ type, execution_time }) {
  const { running, scheduled } = unlisted.peek();
  if (running + scheduled === 0) return;
  const wasRunning = type !== 'started' && (execution_time ?? null) !== null;
  const [more, fewer] = type === 'started' ? [1, 1] : ENDS_OF_RUNS.has(type) ? [wasRunning ? -1 : 0, wasRunning ? 0 : 1] : [0, 0];
  unlisted.value = { running: Math.max(running + more, 0), scheduled: Math.max(scheduled - fewer, 0) };
}

/** Add jobs that were requested. @param {Job[]} found */
export function addJobs(found) {
  batch(() => {
    for (const job of found) if (!jobs.has(job.id)) setIn(jobs, job.id, job); // an event may have brought a newer one
    updateJobIds();
  });
}

/** Replace the estimates that changed. @param {{ etas: Record<string, import('../types.d.ts').Eta | null> }} frame */
export function applyEtas({ etas }) {
  batch(() => {
    for (const [id, eta] of Object.entries(etas)) {
      const known = runs.get(id);
      if (known) known.value = { ...known.peek(), eta };
    }
  });
}

/** @param {Map<string, 'active' | 'finished' | 'hidden'>} moved */
function order(moved) {
  const newest = [...moved.keys()].reverse();
  const rest = (/** @type {string[]} */ ids) => ids.filter((id) => !moved.has(id));
  const begun = newest.filter((id) => moved.get(id) === 'active');
  const ended = newest.filter((id) => moved.get(id) === 'finished');
  activeIds.value = [...begun, ...rest(activeIds.peek())];
  const kept = [...ended, ...rest(finishedIds.peek())];
  for (const old of kept.splice(MAX_FINISHED)) runs.delete(old);
  finishedIds.value = kept;
}

/** @param {Partial<Run> & { _id: string, version: number }} moved */
function applyProgress(moved) {
  const known = runs.get(moved._id);
  if (known && moved.version > known.peek().version) known.value = { ...known.peek(), ...moved };
}

function updateJobIds() {
  const ids = [...jobs.keys()].sort();
  if (ids.join() !== jobIds.peek().join()) jobIds.value = ids;
}

/** @template T @param {Map<string, Signal<T>>} map @param {string} id @param {T} value */
function setIn(map, id, value) {
  const known = map.get(id);
  if (known) known.value = value;
  else map.set(id, signal(value));
}

/** @template T @param {Map<string, Signal<T>>} map @param {T[]} all @param {(one: T) => string} key */
function replace(map, all, key) {
  const kept = new Set(all.map(key));
  for (const id of map.keys()) if (!kept.has(id)) map.delete(id);
  for (const one of all) setIn(map, key(one), one);
}

/** @param {Run[]} all */
const newestFirst = (all) => [...all].sort((a, b) => Date.parse(b.timestamp) - Date.parse(a.timestamp));
