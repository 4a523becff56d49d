// How long the runs of a job usually take: asked for when somebody looks at one, and again after a while.
import { signal } from '../core/signals.js';
import { get } from './api.js';
import { quantile } from './story.js';

/** @typedef {import('../types.d.ts').Statistics} Statistics */

const FRESH = 120_000; // milliseconds for which figures of the past are good enough

/** @type {Map<string, { at: number, figures: ReturnType<typeof signal<Statistics | null>> }>} */
const known = new Map();

/** What is known of a job's runs, null before it is; the answer comes later, by the signal. @param {string} job @returns {Statistics | null} */
export function typical(job) {
  const entry = known.get(job) ?? { at: -Infinity, figures: signal(/** @type {Statistics | null} */ (null)) };
  known.set(job, entry);
  if (performance.now() - entry.at > FRESH) {
    entry.at = performance.now();
    readFigures(job).then(
      (figures) => (entry.figures.value = figures),
      () => {}, // without figures of the past there is no estimate, and nothing else is lost
    );
  }
  return entry.figures.value;
}

/** Where the server keeps no quantiles, the newest successes give them. @param {string} job @returns {Promise<Statistics>} */
async function readFigures(job) {
  const path = `/scheduler/jobs/${encodeURIComponent(job)}`;
  const figures = await get(`${path}/execution-stats`);
  if (figures.p50 !== null || figures.success === 0) return figures;
  const page = await get(`${path}/executions`, { status: 'success', limit: 100 });
  const took = page.items.map((/** @type {import('../types.d.ts').Run} */ run) => run.execution_time ?? 0);
  return { ...figures, p50: quantile(took, 0.5), p95: quantile(took, 0.95) };
}

/** Ask again at the next look. @param {string} job */
export const outdate = (job) => known.has(job) && (/** @type {any} */ (known.get(job)).at = -Infinity);
