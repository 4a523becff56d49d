// The timeline of all jobs by buckets of time, as the server counts them; until it is read again, events are added to it.
import { effect, onDispose, signal } from '../core/signals.js';
import { get } from './api.js';
import { now } from './clock.js';
import { END_OF, withEnds } from './lane_counts.js';
import { lanesOfRuns } from './lanes_of_runs.js';
import * as store from './store.js';

/** @typedef {import('../types.d.ts').Lanes} Lanes */
/** @typedef {import('../types.d.ts').LogEvent} LogEvent */
/** @typedef {{ lanes: Lanes | null, error: Error | null, loading: boolean }} Timeline */

const MOST_LANES = 20;
const BUCKETS = 100; // a few more than 96, so that a day has quarters of an hour
const SOON_MS = 10_000; // until it is read again
const KEPT_ENDS = 2_000; // more than the server counts while it answers

/**
 * The timeline of the last `span` milliseconds; call it in a scope. It is read again when time reaches the end of its
 * last bucket, and after a moment when a job has ended that has no lane.
 * @param {number} span @returns {ReturnType<typeof signal<Timeline>>}
 */
export function timelineOf(span) {
  const found = signal(/** @type {Timeline} */ ({ lanes: null, error: null, loading: true }));
  const turn = signal(0);
  let timer = 0;
  /** @type {LogEvent[]} ends since the last request: its answer may have come before them */
  let ends = [];
  effect(() => {
    turn.value;
    store.generation.value; // a snapshot may have skipped events
    clearTimeout(timer);
    timer = 0;
    const abort = new AbortController();
    found.value = { ...found.peek(), loading: true };
    const { position } = store.about.peek();
    const from = new Date(now.peek() - span).toISOString();
    readLanes(from, span, position, abort.signal).then(
      (lanes) => {
        ends = ends.filter((event) => event.position > lanes.position && !lanes.newest?.ids.has(event.stream));
        found.value = { lanes: withEnds(lanes, ends), error: null, loading: false };
        if (lanes.position < position || hasNoLane(lanes, ends)) readSoon(); // it is still counting what the page knows already
      },
      (error) => abort.signal.aborted || (found.value = { ...found.peek(), error, loading: false }),
    );
    return () => abort.abort();
  });
  const readSoon = () => (timer ||= setTimeout(() => (turn.value += 1), SOON_MS));
  effect(() => {
    const { lanes, error, loading } = found.value;
    if (lanes && !error && !loading && now.value >= Date.parse(lanes.to)) readSoon();
  });
  effect(() =>
    store.onEvents((events) => {
      const fresh = events.filter((event) => event.type in END_OF && !event.snoozed_until);
      const { lanes } = found.peek();
      if (fresh.length === 0) return;
      ends = [...ends, ...fresh].slice(-KEPT_ENDS);
      if (!lanes) return;
      found.value = { ...found.peek(), lanes: withEnds(lanes, fresh) };
      if (hasNoLane(lanes, fresh)) readSoon();
    }),
  );
  onDispose(() => clearTimeout(timer));
  return found;
}

/** Whether a job of these events has no lane. @param {Lanes} lanes @param {LogEvent[]} events */
const hasNoLane = ({ lanes }, events) => events.some((event) => !lanes.some((lane) => lane.job_id === event.job_id));

/** Where nothing counts runs, the newest ones are read instead. @param {string} from @param {number} span @param {number} position @param {AbortSignal} signal @returns {Promise<Lanes>} */
function readLanes(from, span, position, signal) {
  const begin = Date.parse(from);
  if (store.contributed.peek().includes('statistics')) return get('/scheduler/lanes', { from, to: new Date(begin + span).toISOString(), buckets: BUCKETS, jobs: MOST_LANES }, signal);
  return lanesOfRuns({ from: begin, span, position, buckets: BUCKETS, most: MOST_LANES }, signal);
}
