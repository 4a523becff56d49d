// Commands on jobs and runs. A command counts as done when the log confirms it; until then it is "requested".
import { effect, signal } from '../core/signals.js';
import { del, get, post, put, queryText } from './api.js';
import { health, jobOf, runOf } from './store.js';

const CONFIRM_MS = 30_000;

/** @type {ReturnType<typeof signal<ReadonlySet<string>>>} commands that are not confirmed yet, such as `pause backup` */
export const requested = signal(new Set());

/** @param {string} command */
export const isRequested = (command) => requested.value.has(command);

/** @param {string} command @param {boolean} on */
function setRequested(command, on) {
  const next = new Set(requested.peek());
  if (on) next.add(command);
  else next.delete(command);
  requested.value = next;
}

/**
 * Send a command and wait until the log confirms it. `unconfirmed` is called if that takes too long.
 * @template T @param {string} command @param {() => Promise<T>} send @param {(answer: T) => boolean} isDone reads signals
 * @param {() => void} [unconfirmed] @returns {Promise<T>}
 */
async function request(command, send, isDone, unconfirmed = () => {}) {
  setRequested(command, true);
  let answer;
  try {
    answer = await send();
  } catch (error) {
    setRequested(command, false);
    throw error;
  }
  /** @type {() => void} */
  let stop = () => {};
  const timer = setTimeout(() => (settle(), unconfirmed()), CONFIRM_MS);
  const settle = () => {
    clearTimeout(timer);
    setRequested(command, false);
    queueMicrotask(() => stop());
  };
  stop = effect(() => void (isDone(answer) && settle()));
  return answer;
}

/** @param {string} id */
const jobPath = (id) => `/scheduler/jobs/${encodeURIComponent(id)}`;
/** @param {string} id */
const runPath = (id) => `/scheduler/executions/${encodeURIComponent(id)}`;

/** @param {string} id @param {() => void} [unconfirmed] */
export const resume = (id, unconfirmed) => request(`resume ${id}`, () => post(`${jobPath(id)}/resume`), () => jobOf(id)?.paused === false, unconfirmed);

/** @param {string} id @param {{ kwargs?: object, force?: boolean, resume?: boolean }} how @returns {Promise<import('../types.d.ts').Run>} */
export const trigger = (id, how) =>
  request(`trigger ${id}`, () => post('/scheduler/trigger', { job_id: id, ...how }, { 'Idempotency-Key': newKey() }), (answer) => runOf(recordOf(answer)._id) !== null);

/** Return the execution from the response to a trigger, which may contain other keys. @param {any} answer */
export const recordOf = (answer) => answer.execution ?? answer;

/** @param {string} id @param {string | null} reason @param {() => void} [unconfirmed] */
export const cancel = (id, reason, unconfirmed) =>
  request(`cancel ${id}`, () => post(`${runPath(id)}/cancel${queryText({ reason })}`), () => (runOf(id)?.cancel_requested ?? true) || runOf(id)?.status === 'cancelled', unconfirmed);

/** @param {string} id @param {string | null} reason */
export const markFailed = (id, reason) =>
  request(`mark ${id}`, () => post(`${runPath(id)}/mark-failed${queryText({ reason })}`), () => (runOf(id)?.status ?? 'failed') === 'failed');

/** @param {string} id */
export const hide = (id) => request(`hide ${id}`, () => del(runPath(id)), () => runOf(id)?.hidden ?? true);

/** @param {string} id @param {{ display_name: string, description: string }} words */
export const describe = (id, words) =>
  request(`describe ${id}`, () => put(`${jobPath(id)}/metadata`, words), () => jobOf(id)?.description === words.description);

/** Add a job, or replace one that has this version. @param {Record<string, any>} keys @param {number} [version] */
export const define = (keys, version) =>
  request(`define ${keys.id}`, () => (version === undefined ? post('/scheduler/jobs', keys) : put(jobPath(keys.id), keys, { 'If-Match': `"${version}"` })), () => jobOf(keys.id) !== null);

/** @param {string} id @param {number | undefined} version @param {string | null} reason */
export const remove = (id, version, reason) =>
  request(`remove ${id}`, () => del(jobPath(id) + queryText({ reason }), version === undefined ? {} : { 'If-Match': `"${version}"` }), () => jobOf(id) === null);

const MOST_JOBS = 1000; // of one act

/** Send an act of an operator, with its reason; an act on the kernel's health is shown at once. @param {string} act @param {string} path @param {object} [body] @param {string | null} [reason] @returns {Promise<any>} */
export async function operate(act, path, body, reason) {
  const answer = await post(path + queryText({ reason }), body);
  if (act === 'hold') health.value = await get('/scheduler/health');
  return answer;
}

/** Pause or resume many jobs. @param {string[]} ids @param {boolean} paused @param {string | null} [reason] @returns {Promise<{ id: string, changed: boolean, error: string | null }[]>} */
export async function setAllPaused(ids, paused, reason) {
  const outcomes = [];
  for (let at = 0; at < ids.length; at += MOST_JOBS) {
    outcomes.push(...await post(`/scheduler/jobs/${paused ? 'pause' : 'resume'}${queryText({ reason })}`, { ids: ids.slice(at, at + MOST_JOBS) }));
  }
  return outcomes;
}

/** Return an idempotency key: a request sent twice starts one run. `crypto.randomUUID` needs a secure context. */
function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
