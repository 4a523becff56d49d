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
/** @type {Signal<import('../types.d.ts').Health>} */
export const health = signal({});
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

/** @param {string} id @returns {Job | null} */
export const jobOf = (id) => (jobs.get(id) ?? (jobIds.value, null))?.value ?? null; // follows jobs that are added later

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
    activeIds.value = newestFirst(frame.running).map((run) => run._id);
    finishedIds.value = newestFirst(frame.recent).map((run) => run._id);
    health.value = frame.health ?? {};
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
    if (after === null || after === before) continue;
    setIn(runs, after._id, after);
    const wasOver = before !== null && isOver(before);
    if (after.hidden) moved.set(after._id, 'hidden');
    else if (isOver(after) && !wasOver) moved.set(after._id, 'finished');
    else if (before === null) moved.set(after._id, 'active');
  }
  if (moved.size > 0) order(moved);
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
