// All jobs: schedules, recent runs, and bulk actions.
import { h } from '../core/dom.js';
import { computed, effect, onDispose, signal, untracked } from '../core/signals.js';
import { address, refine, route } from '../core/router.js';
import { get } from '../model/api.js';
import { may } from '../model/connection_state.js';
import { allJobs, nameInRoster, readRoster, rosterState } from '../model/jobs_by_need.js';
import { JOB_FIELDS, textOf } from '../model/query_text.js';
import { recentRuns } from '../model/recent_runs.js';
import { clean } from '../model/sanitize.js';
import * as store from '../model/store.js';
import { spark } from '../charts/sparkline.js';
import { askAllPaused, pauseButton, triggerButton } from '../components/actions.js';
import { cancelRunsOfButton } from '../components/operator_actions.js';
import { newJobButton } from '../components/job_actions.js';
import { icon } from '../components/icons.js';
import { subject, ofJob } from '../components/menu.js';
import { badge, choice, empty, failure, moment, skeleton, timeLeft } from '../components/common.js';
import { longTable } from '../components/long_table.js';
import { chosenColumns, density, listTools, sortableHead } from '../components/list_tools.js';
import { problemOf, queryBar } from '../components/query_bar.js';
import { duration, number, relative } from '../i18n/format.js';
import { t } from '../i18n/index.js';
import { scheduleInWords } from '../i18n/schedule.js';

/** @typedef {import('../types.d.ts').Job} Job */
/** @typedef {import('../types.d.ts').JobLine} JobLine */
/** @typedef {{ value: ReadonlySet<string>, peek(): ReadonlySet<string> }} Picked ids of the selected jobs */

/** @type {Record<string, (job: JobLine) => boolean>} */
const JOB_STATES = {
  active: (job) => !job.paused,
  paused: (job) => job.paused ?? false,
  failing: (job) => job.last === 'failed',
  running: (job) => (job.running ?? 0) > 0,
};
const COLUMNS = ['job', 'schedule', 'next', 'last', 'recent', 'actions'];
const SORTS = { job: 'job', schedule: 'schedule', next: 'next', last: 'last' };
const BY_ID = 'job';
const REREAD_MS = 2000; // between two reads of an order that the runs of the jobs change
const FILTERS = [...Object.values(JOB_FIELDS), 'q', 'query'];

/** Whether a job matches the filters. @param {JobLine} job @param {Record<string, string>} query */
export function matchesFilters(job, { q = '', status = '', tag = '' }, /** @type {ReadonlySet<string>} */ described = new Set()) {
  return (textOfJob(job).includes(q.toLowerCase()) || described.has(job.id)) && (JOB_STATES[status]?.(job) ?? true) && (tag === '' || (job.tags ?? []).includes(tag));
}

/** @type {WeakMap<JobLine, string>} */
const texts = new WeakMap();

/** What the search looks at, but for the description. @param {JobLine} job */
function textOfJob(job) {
  let text = texts.get(job);
  if (text === undefined) texts.set(job, (text = `${job.id} ${job.name ?? ''} ${(job.tags ?? []).join(' ')}`.toLowerCase()));
  return text;
}

/** The ids of the jobs whose descriptions contain the text of the search: the server looks, a moment after the typing. */
function describedJobs() {
  const found = signal(/** @type {{ q: string, ids: ReadonlySet<string> }} */ ({ q: '', ids: new Set() }));
  const q = computed(() => route.value.query.q ?? '');
  effect(() => {
    const text = q.value;
    if (text.length < 2) return undefined;
    const abort = new AbortController();
    const timer = setTimeout(() => {
      get('/scheduler/jobs', { q: text, fields: 'name' }, abort.signal).then((jobs) => (found.value = { q: text, ids: new Set(jobs.map((/** @type {any} */ job) => job.id)) }), () => {});
    }, 250);
    return () => (clearTimeout(timer), abort.abort());
  });
  return computed(() => (found.value.q === q.value ? found.value.ids : new Set()));
}

/** What only the server knows of the list: its jobs and their order, where the address asks for more than the roster tells. */
function orderedJobs() {
  const found = signal({ asked: '', ids: /** @type {string[]} */ ([]), error: /** @type {Error | null} */ (null) });
  const asked = computed(() => {
    const { status, sort, ...rest } = route.value.query;
    const isKnown = !status || Object.hasOwn(JOB_STATES, status);
    return rest.query || (sort && sort !== BY_ID) || !isKnown ? JSON.stringify({ query: textOf(route.value.query, JOB_FIELDS), sort, fields: 'name' }) : '';
  });
  const moved = signal(0);
  let timer = 0;
  effect(() => store.onEvents((events) => {
    if (asked.peek() === '' || timer || !events.some((event) => event.type !== 'progress')) return;
    timer = setTimeout(() => ((timer = 0), (moved.value += 1)), REREAD_MS);
  }));
  onDispose(() => clearTimeout(timer));
  effect(() => {
    moved.value;
    store.generation.value;
    const text = asked.value;
    if (text === '') return undefined;
    const abort = new AbortController();
    get('/scheduler/jobs', JSON.parse(text), abort.signal).then(
      (jobs) => (found.value = { asked: text, ids: jobs.map((/** @type {any} */ job) => job.id), error: null }),
      (error) => abort.signal.aborted || (found.value = { asked: text, ids: [], error }),
    );
    return () => abort.abort();
  });
  /** The answer to what is asked for now, null while it is not there, undefined where nothing is asked for. */
  return computed(() => (asked.value === '' ? undefined : found.value.asked === asked.value ? found.value : null));
}

export function jobsView() {
  effect(readRoster);
  const described = describedJobs();
  const ordered = orderedJobs();
  const columns = chosenColumns('jobs', COLUMNS);
  const wanted = computed(() => (ordered.value === undefined ? allJobs.value.filter((job) => matchesFilters(job, route.value.query, described.value)).map((job) => job.id) : ordered.value?.ids ?? []).join(' '));
  const ids = computed(() => (wanted.value === '' ? [] : wanted.value.split(' ')));
  const tags = computed(() => [...new Set(allJobs.value.flatMap((job) => job.tags ?? []))].sort().join(' '));
  const isLoading = computed(() => rosterState.value.loading || ordered.value === null);
  const problem = () => ordered.value?.error ?? null;
  const states = computed(() => new Map(allJobs.value.map((job) => [job.id, job])));
  const chosen = () => route.value.query.status ?? '';
  const picked = signal(/** @type {ReadonlySet<string>} */ (new Set()));
  const asked = () => ({ query: textOf(route.value.query, JOB_FIELDS), sort: route.value.query.sort, at: route.value.query.at });
  return h('div', { class: 'page' }, [
    h('header', { class: 'head' }, h('h1', { tabindex: -1 }, t('nav.jobs')), h('span', { class: 'count num' }, () => (isLoading.value ? '…' : number(ids.value.length))), h('span', { class: 'spacer' }), h('a', { class: 'why', href: address('/compare') }, t('nav.compare')), bulk(() => ids.value, states, picked), newJobButton()),
    h('div', { class: 'filters', role: 'search' }, [
      queryBar({ list: 'jobs', fields: JOB_FIELDS, placeholder: t('jobs.search'), wait: 0, problem }),
      choice(t('state'), [['', t('all')], ...Object.keys(JOB_STATES).map((state) => /** @type {[string, any]} */ ([state, t(/** @type {any} */ (`jobs.${state}`))]))], chosen, (state) => refine({ status: state || null })),
      () => tags.value !== '' && tagSelect(tags.value.split(' ')),
      pickAll(() => ids.value, picked),
      listTools({ columns, fixed: ['job'], sorts: SORTS, usual: BY_ID, path: '/scheduler/jobs', query: asked, total: () => ids.value.length }),
    ]),
    h('div', { class: () => `panel table${density()}` }, [
      () => rosterState.value.error && failure(/** @type {Error} */ (rosterState.value.error), () => (store.generation.value += 1)),
      () => problem() && !problemOf(problem()) && failure(/** @type {Error} */ (problem()), () => (store.generation.value += 1)),
      () => table(() => ids.value, picked, columns.shown.value.split(' ')),
      () => wanted.value === '' && (isLoading.value ? skeleton(6) : !rosterState.value.error && !problem() && empty(t('jobs.none'), h('button', { onclick: () => refine(Object.fromEntries(FILTERS.map((key) => [key, null]))) }, t('filters.clear')))),
    ]),
  ]);
}

/** Built again for other columns. @param {() => string[]} ids @param {Picked} picked @param {string[]} columns */
const table = (ids, picked, columns) => untracked(() => longTable({
  name: 'jobs',
  head: sortableHead(columns, SORTS, BY_ID),
  ids,
  row: (id) => jobRow(id, picked, columns),
  whole: 100,
}));

/** @param {string[]} tags */
const tagSelect = (tags) =>
  h('select', { 'aria-label': t('jobs.tag'), onchange: (/** @type {any} */ event) => refine({ tag: event.target.value || null }) }, [
    h('option', { value: '' }, t('jobs.tag.all')),
    tags.map((tag) => h('option', { value: tag, selected: route.peek().query.tag === tag }, tag)),
  ]);

/** The acts on the selected jobs that the filter shows. Nothing acts on jobs that nobody selected. @param {() => string[]} ids @param {{ value: Map<string, JobLine> }} states @param {Picked} picked */
const bulk = (ids, states, picked) => () => {
  if (!may('operator')) return null;
  const chosen = ids().filter((id) => picked.value.has(id));
  if (chosen.length === 0) return null;
  const [active, paused] = [true, false].map((state) => chosen.filter((id) => (states.value.get(id)?.paused ?? false) === !state));
  return h('div', { class: 'buttons' }, [
    h('button', { class: 'quiet', onclick: () => (picked.value = new Set()) }, icon('close'), t('selected', { n: chosen.length })),
    active.length > 0 && h('button', { class: 'quiet', onclick: () => askAllPaused(active, true) }, icon('paused'), t('pause.all.n', { n: active.length })),
    cancelRunsOfButton(() => chosen),
    paused.length > 0 && h('button', { class: 'quiet', onclick: () => askAllPaused(paused, false) }, icon('resume'), t('resume.all.n', { n: paused.length })),
  ]);
};

/** Select all jobs that the filter shows, or none of them. @param {() => string[]} ids @param {Picked} picked */
const pickAll = (ids, picked) => () => {
  const count = ids().length;
  if (!may('operator') || count < 2) return null;
  const isAll = () => ids().every((id) => picked.value.has(id));
  const change = () => (picked.value = new Set(untracked(isAll) ? [] : ids()));
  return h('label', { class: 'pick' }, h('input', { type: 'checkbox', checked: isAll, onchange: change }), h('span', null, t('select.all', { n: number(count) })));
};

/** @param {string} id @param {Picked} picked */
function pickBox(id, picked) {
  const change = () => {
    const next = new Set(picked.peek());
    if (!next.delete(id)) next.add(id);
    picked.value = next;
  };
  return h('label', { class: 'pick' }, h('input', { type: 'checkbox', 'data-select': '', 'aria-label': () => t('select', { j: store.jobName(id) }), checked: () => picked.value.has(id), onchange: change }));
}

/** @param {string} id @param {Picked} picked @param {string[]} columns */
function jobRow(id, picked, columns) {
  let last = untracked(() => store.jobOf(id));
  const job = () => /** @type {Job} */ (last = store.jobOf(id) ?? last); // a removed job stays until its row is removed
  const isThere = computed(() => job() !== null);
  const then = (/** @type {() => any} */ show) => () => (isThere.value ? show() : waitingCell());
  const cell = (/** @type {string} */ name, /** @type {any} */ content, look = '') => h('td', { class: look || null, 'data-label': t(/** @type {any} */ (`col.${name}`)) }, content);
  /** @type {Record<string, () => any>} */
  const cells = {
    job: () => h('th', { scope: 'row' }, [
      () => may('operator') && pickBox(id, picked),
      h('a', { href: address(`/jobs/${encodeURIComponent(id)}`), 'data-open': '' }, () => (isThere.value ? store.jobName(id) : nameInRoster(id))),
      h('small', { class: 'mono' }, id),
    ]),
    schedule: () => cell('schedule', then(() => scheduleInWords(job())), 'schedule'),
    next: () => cell('next', then(() => (job().paused ? badge('paused') : job().next_run_time ? moment(job().next_run_time, relative) : '–')), 'num'),
    last: () => cell('last', then(() => lastRun(job())), 'num'),
    recent: () => h('td', { 'data-col': 'recent', 'data-label': t('col.recent') }, () => recentBars(recentRuns(id))),
    actions: () => h('td', { class: 'actions' }, h('div', { class: 'buttons' }, triggerButton(job, 'small'), pauseButton(job, 'small'))),
  };
  return h('tr', { class: () => (job()?.paused ? 'paused' : ''), 'data-row': id, ref: subject(() => ofJob(job())) }, columns.map((name) => cells[name]()));
}

const waitingCell = () => h('span', { class: 'wait', 'aria-busy': 'true', title: t('loading') });

/** @param {import('../model/recent_runs.js').Recent | null} known */
function recentBars(known) {
  if (known === null) return waitingCell();
  return known.error ? h('span', { class: 'faint', title: clean(known.error.message) }, t('spark.failed')) : spark(known.runs);
}

/** @param {string} id of a run */
function leftOf(id) {
  const run = store.runOf(id);
  return run ? timeLeft(run) : '';
}

/** @param {Job} job */
function lastRun(job) {
  if (job.running.length > 0) return h('div', { class: 'last' }, badge('running'), h('small', null, () => leftOf(job.running[0])));
  const last = job.last_execution;
  if (!last) return h('span', { class: 'faint' }, t('never'));
  return h('div', { class: 'last' }, badge(last.status), h('small', null, moment(last.timestamp, relative), last.execution_time === null ? '' : ` · ${duration(last.execution_time)}`));
}
