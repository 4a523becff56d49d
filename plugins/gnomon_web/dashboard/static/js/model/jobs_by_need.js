// Jobs that the page does not hold: requested when a view shows them, many at once; and the roster of all jobs.
import { computed, signal } from '../core/signals.js';
import { get } from './api.js';
import * as store from './store.js';

/** @typedef {import('../types.d.ts').Job} Job */
/** @typedef {import('../types.d.ts').JobLine} JobLine */

const AT_ONCE = 50;
const GATHER_MS = 15; // a view that is built asks for many jobs one by one

/** @type {Set<string>} */
const wanted = new Set();
/** @type {Set<string>} asked for since the last snapshot: one that is not there is not asked for again */
let asked = new Set();
let askedFor = 0;
let timer = 0;

/** Request a job with the next ones. @param {string} id */
function want(id) {
  if (askedFor !== store.generation.peek()) [asked, askedFor] = [new Set(), store.generation.peek()];
  if (id === '' || asked.has(id)) return;
  asked.add(id);
  wanted.add(id);
  timer ||= setTimeout(requestJobs, GATHER_MS);
}

function requestJobs() {
  timer = 0;
  const ids = [...wanted].slice(0, AT_ONCE);
  for (const id of ids) wanted.delete(id);
  if (wanted.size > 0) timer = setTimeout(requestJobs, GATHER_MS);
  get('/scheduler/jobs', { id: ids.join() }).then(store.addJobs, () => ids.forEach((id) => asked.delete(id)));
}

store.missingJobs.want = want;
for (const id of store.missingJobs.early) want(id);

/** Hold jobs of a list; others are requested when they are shown. */
export const holdJobs = store.addJobs;

/** @type {ReturnType<typeof signal<{ lines: JobLine[], error: Error | null, loading: boolean }>>} */
const roster = signal({ lines: [], error: null, loading: false });
let readFor = 0;

/** Read the roster, once for each snapshot, where the page does not hold all jobs. */
export function readRoster() {
  const current = store.generation.value;
  if (store.hasAllJobs.value || readFor === current) return;
  readFor = current;
  roster.value = { ...roster.peek(), error: null, loading: true };
  get('/scheduler/job-states').then(
    ({ jobs }) => (roster.value = { lines: jobs, error: null, loading: false }),
    (error) => {
      readFor = 0;
      roster.value = { ...roster.peek(), error, loading: false };
    },
  );
}

/** Whether the roster is being read, or why it could not be. */
export const rosterState = computed(() => (store.hasAllJobs.value ? { error: null, loading: false } : roster.value));

/** A job in a few bytes. @param {Job} job @returns {JobLine} */
const lineOf = (job) => ({ id: job.id, name: job.display_name || job.name, tags: job.tags ?? [], paused: job.paused, running: job.running.length, last: job.last_execution?.status });

/** All jobs by id: those of the roster, or newer where the page holds them. @returns {JobLine[]} */
export const allJobs = computed(() => {
  const held = store.jobIds.value.map((id) => /** @type {Job} */ (store.jobs.get(id)?.value)).filter(Boolean).map(lineOf);
  if (store.hasAllJobs.value) return held;
  const newer = new Map(held.map((line) => [line.id, line]));
  const lines = roster.value.lines.map((line) => {
    const found = newer.get(line.id);
    newer.delete(line.id);
    return found ?? line;
  });
  // To sort thousands whenever one of them changes would take longer than to draw them.
  return newer.size === 0 ? lines : [...lines, ...newer.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
});

/** The name of a job in lists, also of one that the page does not hold. @param {string} id */
export const nameInRoster = (id) => names.value.get(id) || id;
const names = computed(() => new Map(allJobs.value.map((line) => [line.id, line.name || line.id])));
