// What people do to jobs and runs. Nothing is shown as done before the log says so: until then it is «requested».
import { effect, signal } from '../core/signals.js';
import { del, post, put } from './api.js';
import { jobOf, runOf } from './store.js';

const PATIENCE = 30_000;

/** @type {ReturnType<typeof signal<ReadonlySet<string>>>} commands that are on their way, such as `pause backup` */
export const requested = signal(new Set());

/** @param {string} command */
export const isRequested = (command) => requested.value.has(command);

/** @param {string} command @param {boolean} on */
function mark(command, on) {
  const next = new Set(requested.peek());
  if (on) next.add(command);
  else next.delete(command);
  requested.value = next;
}

/**
 * Send a command and follow it to its fact. `unconfirmed` is called where the log does not confirm it in time.
 * @template T @param {string} command @param {() => Promise<T>} send @param {(answer: T) => boolean} isDone reads signals
 * @param {() => void} [unconfirmed] @returns {Promise<T>}
 */
async function request(command, send, isDone, unconfirmed = () => {}) {
  mark(command, true);
  let answer;
  try {
    answer = await send();
  } catch (error) {
    mark(command, false);
    throw error;
  }
  /** @type {() => void} */
  let stop = () => {};
  const timer = setTimeout(() => (settle(), unconfirmed()), PATIENCE);
  const settle = () => {
    clearTimeout(timer);
    mark(command, false);
    queueMicrotask(() => stop());
  };
  stop = effect(() => void (isDone(answer) && settle()));
  return answer;
}

/** @param {string} id */
const jobPath = (id) => `/scheduler/jobs/${encodeURIComponent(id)}`;
/** @param {string} id */
const runPath = (id) => `/scheduler/executions/${encodeURIComponent(id)}`;

/** @param {string} id @param {boolean} paused @param {() => void} [unconfirmed] */
export const setPaused = (id, paused, unconfirmed) =>
  request(`${paused ? 'pause' : 'resume'} ${id}`, () => post(`${jobPath(id)}/${paused ? 'pause' : 'resume'}`), () => jobOf(id)?.paused === paused, unconfirmed);

/** @param {string} id @param {{ kwargs?: object, force?: boolean, resume?: boolean }} how @returns {Promise<import('../types.d.ts').Run>} */
export const trigger = (id, how) =>
  request(`trigger ${id}`, () => post('/scheduler/trigger', { job_id: id, ...how }, { 'Idempotency-Key': newKey() }), (answer) => runOf(recordOf(answer)._id) !== null);

/** The record in the answer to a trigger, which may stand beside other keys. @param {any} answer */
export const recordOf = (answer) => answer.execution ?? answer;

/** @param {string} id @param {() => void} [unconfirmed] */
export const cancel = (id, unconfirmed) =>
  request(`cancel ${id}`, () => post(`${runPath(id)}/cancel`), () => (runOf(id)?.cancel_requested ?? true) || runOf(id)?.status === 'cancelled', unconfirmed);

/** @param {string} id @param {string} reason */
export const markFailed = (id, reason) =>
  request(`mark ${id}`, () => post(`${runPath(id)}/mark-failed?reason=${encodeURIComponent(reason)}`), () => (runOf(id)?.status ?? 'failed') === 'failed');

/** @param {string} id */
export const hide = (id) => request(`hide ${id}`, () => del(runPath(id)), () => runOf(id)?.hidden ?? true);

/** @param {string} id @param {{ display_name: string, description: string }} words */
export const describe = (id, words) =>
  request(`describe ${id}`, () => put(`${jobPath(id)}/metadata`, words), () => jobOf(id)?.description === words.description);

/** Pause or resume many jobs, a few at a time; returns what went wrong. @param {string[]} ids @param {boolean} paused */
export async function setAllPaused(ids, paused) {
  /** @type {{ id: string, error: Error }[]} */
  const failed = [];
  const left = [...ids];
  const work = async () => {
    for (let id = left.shift(); id !== undefined; id = left.shift()) {
      const job = id;
      await setPaused(job, paused).catch((error) => failed.push({ id: job, error }));
    }
  };
  await Promise.all([work(), work(), work(), work()]);
  return failed;
}

/** A request that is sent twice makes one run. `crypto.randomUUID` is for secure pages only. */
function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}
