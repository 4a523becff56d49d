// The state at a past moment, which takes the place of the live one: every view shows it as it shows the present.
import { batch, signal } from '../core/signals.js';
import { past } from '../core/past.js';
import { get, VERSION } from './api.js';
import { now } from './clock.js';
import { link } from './connection_state.js';
import * as store from './store.js';

/** @typedef {{ at: string, type: string, job_id: string }} Mark */
/** @typedef {{ at: string, begins_at: string, lost: number, now: string, failures: number[], before: Mark | null, after: Mark | null, jobs: number, paused: number, running: number, scheduled: number, snapshot: any }} PastReport */

/** What the log knows about the moment. @type {ReturnType<typeof signal<PastReport | null>>} */
export const pastReport = signal(/** @type {PastReport | null} */ (null));
/** Why the moment cannot be shown. */
export const pastProblem = signal(/** @type {Error | null} */ (null));

const LOG_PARTS = 100; // of the log, whose failures are counted
/** The failures over the whole log, counted when the first moment is shown. @type {ReturnType<typeof signal<PastReport | null>>} */
export const wholeLog = signal(/** @type {PastReport | null} */ (null));

/** Show a moment: nothing arrives live, and the clock stands still. @param {string} at @param {{ pause(): void }} connection */
export function showPast(at, connection) {
  connection.pause();
  get('/scheduler/past', { snapshot: true, at, failures: wholeLog.peek() ? 0 : LOG_PARTS }).then(
    (report) => past.peek() === at && batch(() => {
      pastReport.value = report;
      wholeLog.value = wholeLog.peek() ?? report;
      pastProblem.value = null;
      now.value = Date.parse(report.at);
      link.value = 'past';
      store.loadSnapshot({ ...report.snapshot, version: VERSION, log: '', seq: report.position });
    }),
    (error) => past.peek() === at && batch(() => {
      pastProblem.value = error;
      link.value = error.status === 401 ? 'refused' : 'past';
    }),
  );
}
