// Typical durations of a job's runs: requested when first shown, and again after two minutes.
import { signal } from '../core/signals.js';
import { get } from './api.js';
import { quantile } from './event_groups.js';

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
    readFigures(job).then(
      (figures) => (entry.figures.value = figures),
      () => {}, // without statistics there is only no estimate
    );
  }
  return entry.figures.value;
}

/** Read the statistics; if the server has no quantiles, compute them from the newest successes. @param {string} job @returns {Promise<Statistics>} */
async function readFigures(job) {
  const path = `/scheduler/jobs/${encodeURIComponent(job)}`;
  const figures = await get(`${path}/execution-stats`);
  if (figures.p50 !== null || figures.success === 0) return figures;
  const page = await get(`${path}/executions`, { status: 'success', limit: 100 });
  const took = page.items.map((/** @type {import('../types.d.ts').Run} */ run) => run.execution_time ?? 0);
  return { ...figures, p50: quantile(took, 0.5), p95: quantile(took, 0.95) };
}

/** Request the statistics again on the next read. @param {string} job */
export const invalidate = (job) => known.has(job) && (/** @type {any} */ (known.get(job)).at = -Infinity);
