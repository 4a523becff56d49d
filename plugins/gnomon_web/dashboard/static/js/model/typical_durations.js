// Typical durations of a job's runs: requested when first shown, and again after two minutes.
import { signal } from '../core/signals.js';
import { get } from './api.js';

/** @typedef {import('../types.d.ts').Statistics} Statistics */

const FRESH_MS = 120_000;

/** @type {Map<string, { at: number, figures: ReturnType<typeof signal<Statistics | null>> }>} */
const known = new Map();

/** Statistics of a job's runs, or null until the response arrives; reading them subscribes. @param {string} job @returns {Statistics | null} */
export function typical(job) {
  const entry = known.get(job) ?? { at: -Infinity, figures: signal(/** @type {Statistics | null} */ (null)) };
  known.set(job, entry);
  if (performance.now() - entry.at > FRESH_MS) {
    entry.at = performance.now();
    get(`/scheduler/jobs/${encodeURIComponent(job)}/execution-stats`).then(
      (figures) => (entry.figures.value = figures),
      () => {}, // without statistics there are no figures
    );
  }
  return entry.figures.value;
}

/** Request the statistics again on the next read. @param {string} job */
export const invalidate = (job) => known.has(job) && (/** @type {any} */ (known.get(job)).at = -Infinity);
