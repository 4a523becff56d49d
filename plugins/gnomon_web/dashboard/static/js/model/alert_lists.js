// Alerts as the server judges them: every list is read again when they change, and one count serves the whole page.
import { computed, effect, signal, untracked } from '../core/signals.js';
import { get } from './api.js';
import { now } from './clock.js';
import * as store from './store.js';

/** @typedef {import('../types.d.ts').Alert} Alert */
/** @typedef {import('../types.d.ts').AlertCounts} AlertCounts */
/** @typedef {{ alerts: Alert[], total: number }} AlertList */
/** @template T @typedef {{ value: T | null, error: Error | null, loading: boolean }} Answer */

const ALERTS_PATH = '/scheduler/alerts';
const MOST_IN_ANSWER = 200;
const MOST_URGENT = 20;
const BETWEEN_MS = 400; // while alerts change all the time
const BEHIND_MS = 150; // the plugin has not read yet what the page has seen
const REREAD_MS = 60_000; // no event says that no kernel leads, or that an acknowledgement further down the list is over

/** Whether the server has alerts: without the plugin there is no call to ask. */
export const hasAlerts = computed(() => store.contributed.value.includes('alerts'));

/** The open alerts by state; null until the server has answered. */
export const alertCounts = signal(/** @type {AlertCounts | null} */ (null));

/** How many alerts want attention. */
export const firingCount = computed(() => (hasAlerts.value ? alertCounts.value?.firing ?? 0 : 0));

/** Whether one of them is more than a warning. */
export const isBad = computed(() => Boolean(alertCounts.value?.severities.error || alertCounts.value?.severities.critical));

const turn = signal(0);
let seen = 0; // position of the newest event of an alert
let counted = 0; // position of the counts
let dueAt = Infinity;
let readAt = -Infinity;
let turnTimer = 0;

/** Read all lists again after a time. @param {number} ms */
function readIn(ms) {
  const at = Math.max(performance.now() + ms, readAt + BETWEEN_MS);
  if (at >= dueAt) return;
  clearTimeout(turnTimer);
  dueAt = at;
  if (at <= performance.now()) startTurn(); // timers of hidden pages are slow
  else turnTimer = setTimeout(startTurn, at - performance.now());
}

function startTurn() {
  dueAt = Infinity;
  readAt = performance.now();
  turn.value = turn.peek() + 1;
}

/** Read all alerts again now, after an act. */
export const readAlertsAgain = () => readIn(0);

/** Follow the events of alerts for as long as the page is open. */
export function followAlerts() {
  effect(() => {
    store.generation.value; // a snapshot may have skipped events, and may be of another log
    [seen, counted] = [0, 0];
    untracked(readAlertsAgain);
  });
  effect(() => void (troubles.value, untracked(readAlertsAgain)));
  store.onEvents((events) => {
    const newest = events.findLast((event) => event.type.startsWith('alert_'));
    if (!newest) return;
    seen = newest.position;
    readAlertsAgain();
  });
}

/**
 * What the server answers, read again whenever alerts change. Call it in a scope: it stops with it.
 * @template T @param {() => (stop: AbortSignal) => Promise<T>} request @returns {ReturnType<typeof signal<Answer<T>>>}
 */
function followed(request) {
  const found = signal(/** @type {Answer<T>} */ ({ value: null, error: null, loading: true }));
  effect(() => {
    const read = request();
    if (!hasAlerts.value) return void (found.value = { value: null, error: null, loading: false });
    const abort = new AbortController();
    let [isReading, isOld] = [false, false];
    const readNow = async () => {
      isOld = isReading; // an answer that is under way may be older than what has changed
      if (isReading) return;
      isReading = true;
      do {
        isOld = false;
        await read(abort.signal).then(
          (value) => abort.signal.aborted || (found.value = { value, error: null, loading: false }),
          (error) => abort.signal.aborted || (found.value = { ...found.peek(), error, loading: false }),
        );
      } while (isOld && !abort.signal.aborted);
      isReading = false;
    };
    effect(() => void (turn.value, untracked(readNow)));
    return () => abort.abort();
  });
  return found;
}

/** The alerts that match, the most urgent first, as many as `limit` says. @param {() => Record<string, any> & { limit: number }} query */
export function alertsOf(query) {
  const wanted = computed(() => JSON.stringify(query()));
  return followed(() => {
    const asked = JSON.parse(wanted.value);
    return (stop) => readAlerts(asked, stop);
  });
}

/** An alert and its changes. @param {string} id @returns {ReturnType<typeof followed<{ alert: Alert, changes: import('../types.d.ts').AlertChange[] }>>} */
export const alertDetail = (id) => followed(() => (stop) => get(`${ALERTS_PATH}/${encodeURIComponent(id)}`, {}, stop));

/** @param {Record<string, any> & { limit: number }} query @param {AbortSignal} [stop] @returns {Promise<AlertList>} */
export async function readAlerts({ limit, ...query }, stop) {
  const first = await get(ALERTS_PATH, { ...query, limit: Math.min(limit, MOST_IN_ANSWER) }, stop);
  const alerts = [...first.alerts];
  for (let more = alerts; more.length > 0 && alerts.length < Math.min(limit, first.total); alerts.push(...more)) {
    more = (await get(ALERTS_PATH, { ...query, limit: Math.min(limit - alerts.length, MOST_IN_ANSWER), offset: alerts.length }, stop)).alerts;
  }
  noteCounts(first);
  return { alerts, total: first.total };
}

/** Take the counts from an answer, and plan when to ask again. @param {{ alerts: Alert[], counts: AlertCounts, position: number }} page */
function noteCounts({ alerts, counts, position }) {
  if (position >= counted) [counted, alertCounts.value] = [position, counts];
  const ends = alerts.flatMap(({ acknowledgement, snooze }) => [acknowledgement?.until, snooze?.until]).filter((at) => at != null);
  const next = Math.min(REREAD_MS, ...ends.map((at) => Date.parse(/** @type {string} */ (at)) - now.peek()));
  readIn(position < seen ? BEHIND_MS : Math.max(next, 0));
}

/** The most urgent open alerts, for the overview and all that is on every page. */
export const urgent = alertsOf(() => ({ state: 'open', limit: MOST_URGENT }));

/** The components of the kernel that need attention, of which alerts open after a while. */
const troubles = computed(() => JSON.stringify((store.health.value.components ?? []).filter(({ state }) => state === 'degraded' || state === 'failed')));

/** The component that an alert about a part of the deployment is about. @param {Alert} alert */
export const componentOf = ({ kind, subject }) => ({ plugin: `plugin:${subject}`, store: 'store', queue: 'workers' })[kind] ?? subject;

/** Those of which no open alert is yet. */
export const unalerted = computed(() => {
  const covered = new Set((urgent.value.value?.alerts ?? []).filter((one) => !one.job_id).map(componentOf));
  return /** @type {import('../types.d.ts').Component[]} */ (JSON.parse(troubles.value)).filter(({ name }) => !covered.has(name));
});
