// One job: its schedule, its runs, the scheduling decisions, and who changed it.
import { each, h } from '../core/dom.js';
import { computed, untracked } from '../core/signals.js';
import { address, refine, route } from '../core/router.js';
import { fetched } from '../model/fetched.js';
import { clean } from '../model/sanitize.js';
import { finishedRuns, MAX_CHART_RUNS } from '../model/finished_runs.js';
import { nearest } from '../model/nearest.js';
import * as store from '../model/store.js';
import { typical, invalidate } from '../model/typical_durations.js';
import { changeList, durationsChart, durationsTable } from '../charts/durations.js';
import { heatTable, heatmap } from '../charts/heatmap.js';
import { alertsPanel } from '../components/alert_row.js';
import { editButton, pauseButton, triggerButton } from '../components/actions.js';
import { definitionButtons } from '../components/job_actions.js';
import { cutNote } from '../components/table.js';
import { icon } from '../components/icons.js';
import { backfillProgress, scheduleButtons, skippedFire } from '../components/operator_actions.js';
import { subject, ofJob, ofRun } from '../components/menu.js';
import { expectedEnd } from '../charts/forecast.js';
import { didWhat, whyActed } from '../components/acts.js';
import { badge, choice, sized, empty, facts, failure, jobLink, json, moment, nothingHere, panel, runAddress, runBadge, skeleton } from '../components/common.js';
import { duration, number, percent, relative } from '../i18n/format.js';
import { t, word } from '../i18n/index.js';
import { scheduleInWords } from '../i18n/schedule.js';

/** @typedef {import('../types.d.ts').Job} Job */

/** @param {string} id */
export function jobView(id) {
  const detail = fetched(() => `/scheduler/jobs/${encodeURIComponent(id)}`, () => store.jobOf(id));
  const job = () => store.jobOf(id);
  const note = computed(() => job()?.description);
  const runs = finishedRuns({ job_id: id }, MAX_CHART_RUNS);
  invalidate(id);
  const isKnown = computed(() => job() !== null || runs.value.total > 0);
  const isUnknown = computed(() => !isKnown.value && /** @type {any} */ (detail.value.error)?.status === 404 && !runs.value.loading && !runs.value.error);
  return h('div', null, () => (isUnknown.value ? unknownJob(id) : isKnown.value ? untracked(() => jobPage(id, { detail, job, note, runs })) : [h('h1', { class: 'sr' }, t('col.job')), skeleton(5)]));
}

/** @param {string} id */
function unknownJob(id) {
  const near = nearest(id, store.jobIds.value);
  return nothingHere(t('job.gone', { id }), t('job.gone.text'), near.length > 0 && h('p', null, t('job.near'), ' ', near.map((one, index) => [index > 0 ? ', ' : '', jobLink(one, store.jobName(one))])));
}

/** @param {string} id @param {{ detail: ReturnType<typeof fetched>, job: () => Job | null, note: { value: string | undefined }, runs: ReturnType<typeof finishedRuns> }} known */
function jobPage(id, { detail, job, note, runs }) {
  return h('div', { class: 'page job', ref: subject(() => ofJob(job())) }, [
    h('nav', { class: 'crumbs', 'aria-label': t('crumbs') }, h('a', { href: address('/jobs') }, icon('back'), t('nav.jobs'))),
    jobHead(id, job),
    () => detail.value.error && failure(detail.value.error, detail.value.again),
    () => note.value && h('p', { class: 'note long' }, clean(note.value)),
    alertsPanel(id),
    h('div', { class: 'columns' }, [
      h('div', { class: 'wide' }, [durations(id, runs), runsOf(id, runs), decisions(id, runs)]),
      h('div', { class: 'narrow' }, [figures(id), nextTimes(id, detail, job), heat(runs), definition(detail), audit(id)]),
    ]),
  ]);
}

/** @param {string} id @param {() => Job | null} read */
function jobHead(id, read) {
  const paused = computed(() => read()?.paused ?? false);
  const tags = computed(() => (read()?.tags ?? []).join('\n'));
  return h('header', { class: 'head' }, [
    h('h1', { tabindex: -1 }, () => (read() ? store.jobName(id) : t('job.gone', { id }))),
    () => read() && badge(paused.value ? 'paused' : 'active'),
    h('span', { class: 'mono faint' }, id),
    () => tags.value.split('\n').filter(Boolean).map((tag) => h('a', { class: 'tag', href: address('/jobs', { tag }) }, tag)),
    h('span', { class: 'spacer' }),
    h('div', { class: 'buttons' }, editButton(read), pauseButton(read), triggerButton(read, 'primary')),
  ]);
}

/** @param {string} id */
function figures(id) {
  return panel(t('figures'), () => {
    const known = typical(id);
    if (!known) return skeleton(2);
    return facts([
      [t('figures.runs'), h('span', { class: 'num' }, number(known.total))],
      [t('figures.rate'), h('span', { class: 'num' }, known.success_rate === null || known.success_rate === undefined ? '–' : percent(known.success_rate))],
      [t('figures.p50'), h('span', { class: 'num' }, duration(known.p50))],
      [t('figures.p95'), h('span', { class: 'num' }, duration(known.p95))],
      [t('status.failed'), h('a', { class: 'num', href: address('/runs', { job_id: id, status: 'failed' }) }, number(known.failed))],
      [t('status.missed'), h('a', { class: 'num', href: address('/runs', { job_id: id, status: 'missed' }) }, number(known.missed))],
    ]);
  }, { tools: h('a', { class: 'why', href: address('/compare', { job: id }) }, t('compare')) });
}

/** @param {string} id @param {ReturnType<typeof fetched>} detail @param {() => Job | null} job */
function nextTimes(id, detail, job) {
  const expected = store.contributed.peek().includes('statistics') ? fetched(() => `/scheduler/jobs/${encodeURIComponent(id)}/forecast`, job, () => ({ to: '+7d' })) : null;
  const byTime = computed(() => new Map((/** @type {import('../types.d.ts').ForecastRun[]} */ (expected?.value.value?.jobs[0]?.runs ?? [])).map((run) => [Date.parse(run.at), run])));
  return panel(t('next.times'), [() => {
    const current = job();
    if (!current) return null;
    const fires = firesOf(detail, current);
    return [
      h('p', { class: 'schedule-words' }, scheduleInWords({ ...current, ...detail.value.value })),
      current.paused
        ? [
          h('p', { class: 'quiet-line' }, badge('paused'), ' ', current.paused_by ? t('paused.by', { who: clean(current.paused_by) }) : '', ' ', current.paused_at ? moment(current.paused_at, relative) : ''),
          current.paused_reason && h('p', { class: 'quiet-line' }, t('paused.why', { reason: clean(current.paused_reason) })),
        ]
        : h('ol', { class: 'times' }, fires.map(({ at, skipped }) => (skipped ? skippedFire(id, skipped) : h('li', null, h('span', null, moment(at), whatIsExpected(byTime.value.get(Date.parse(at)))), at === current.next_run_time && h('span', { class: 'faint' }, moment(at, relative)))))),
    ];
  }, backfillProgress(job)], { tools: scheduleButtons(job, () => timesOf(detail, job())) });
}

/** When the run of a fire is expected to end, or why there will be none. @param {import('../types.d.ts').ForecastRun | undefined} run */
const whatIsExpected = (run) =>
  run && (run.outcome === 'run' ? run.ends && h('small', null, `${t('forecast.end')} ${expectedEnd(run)}`) : h('small', null, [t(`forecast.${run.outcome}`), clean(run.detail ?? '')].filter(Boolean).join(': ')));

/** The next fires, as the details of the job list them. @param {ReturnType<typeof fetched>} detail @param {Job | null} current @returns {string[]} */
const timesOf = (detail, current) => detail.value.value?.next_run_times ?? (current?.next_run_time ? [current.next_run_time] : []);

/** The next fires and those that are skipped, in order. @param {ReturnType<typeof fetched>} detail @param {Job} current @returns {{ at: string, skipped?: import('../types.d.ts').Skipped }[]} */
function firesOf(detail, current) {
  const skips = (detail.value.value?.skips ?? []).map((/** @type {import('../types.d.ts').Skipped} */ skipped) => ({ at: skipped.scheduled_time, skipped }));
  return [...timesOf(detail, current).map((at) => ({ at })), ...skips].sort((one, other) => Date.parse(one.at) - Date.parse(other.at));
}

/** @param {string} id @param {ReturnType<typeof finishedRuns>} runs */
function durations(id, runs) {
  const changed = fetched(() => `/scheduler/jobs/${encodeURIComponent(id)}/changes`, () => store.jobOf(id)?.version);
  const changes = () => changed.value.value ?? [];
  const finished = () => runs.value.runs.filter((run) => run.execution_time !== null);
  return panel(t('durations'), [sized((width) => {
    const { runs: all, error, loading } = runs.value;
    if (error) return failure(error, () => (store.generation.value += 1));
    if (loading) return skeleton(3);
    if (!all.some((run) => run.execution_time !== null)) return empty(t('durations.none'));
    const known = typical(id);
    return durationsChart({ runs: all, changes: changes(), p50: known?.p50 ?? null, p95: known?.p95 ?? null, width, address: (run) => runAddress(run._id) });
  }), changeList(finished, changes), durationsTable(finished, (run) => runAddress(run._id)), () => cutNote(runs.value)], { tools: h('span', { class: 'legend' }, h('i', { class: 'band' }), t('durations.band')) });
}

/** @param {ReturnType<typeof finishedRuns>} runs */
function heat(runs) {
  const measure = () => (route.value.query.heat === 'failures' ? 'failures' : 'duration');
  return panel(t('heat'), [h('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': () => t(`heat.${measure()}`) }, () => heatmap(runs.value.runs, measure())), () => heatTable(() => runs.value.runs, measure())], {
    tools: choice(t('heat.measure'), [['duration', t('col.duration')], ['failures', t('heat.failures.short')]], measure, (value) => refine({ heat: value === 'failures' ? value : null }, { replace: true })),
  });
}

/** @param {string} id @param {ReturnType<typeof finishedRuns>} runs */
function runsOf(id, runs) {
  const ids = computed(() => {
    const active = store.activeIds.value.filter((run) => store.runs.get(run)?.peek().job_id === id);
    return [...active, ...runs.value.runs.filter((run) => run.status !== 'missed').slice(0, 12).map((run) => run._id)];
  });
  const byId = computed(() => new Map(runs.value.runs.map((run) => [run._id, run])));
  return panel(t('nav.runs'), [
    each(h('ul', { class: 'run-list' }), () => ids.value, (run) => {
      let last = /** @type {store.Run} */ (store.runOf(run) ?? byId.peek().get(run));
      const read = () => (last = store.runOf(run) ?? byId.value.get(run) ?? last);
      return h('li', { 'data-row': '', ref: subject(() => ofRun(read())) }, [
        () => runBadge(read()),
        h('a', { href: runAddress(run), 'data-open': '', class: 'num' }, () => moment(read().timestamp)),
        h('span', { class: 'message' }, () => clean(read().error_message ?? read().progress_message ?? '')),
        h('span', { class: 'num' }, () => duration(read().execution_time)),
      ]);
    }),
    () => ids.value.length === 0 && !runs.value.loading && empty(t('runs.never')),
    h('p', { class: 'foot' }, h('a', { href: address('/runs', { job_id: id }) }, t('runs.all'))),
  ]);
}

/** The decision about each fire; equal consecutive ones are shown once. @param {string} id @param {ReturnType<typeof finishedRuns>} runs */
function decisions(id, runs) {
  return panel(t('decisions'), () => {
    const groups = foldDecisions(runs.value.runs.filter((run) => !run.is_manual && run.attempt === 1)).slice(0, 8);
    if (groups.length === 0) return runs.value.loading ? skeleton(3) : empty(t('decisions.none'));
    return h('ul', { class: 'decisions' }, groups.map((same) =>
      h('li', null, [
        h('span', { class: 'num' }, same.length > 1 ? [moment(/** @type {store.Run} */ (same.at(-1)).scheduled_time), ' – '] : '', moment(same[0].scheduled_time)),
        h('span', null, decided(same)),
        h('a', { href: same.length > 1 ? address('/runs', { job_id: same[0].job_id, status: same[0].status }) : runAddress(same[0]._id) }, same.length > 1 ? t('decision.see.all', { n: same.length }) : t('decision.see')),
      ])));
  }, { tools: h('a', { class: 'why', href: address(`/jobs/${encodeURIComponent(id)}/why`) }, t('why')) });
}

/** @param {store.Run[]} fires newest first @returns {store.Run[][]} */
export function foldDecisions(fires) {
  /** @type {store.Run[][]} */
  const groups = [];
  for (const run of fires) {
    const last = groups.at(-1);
    if (last && decisionOf(last[0]) === decisionOf(run)) last.push(run);
    else groups.push([run]);
  }
  return groups;
}

const ON_TIME_S = 1;
const PLAIN_REASONS = new Set(['paused', 'downtime']); // their detail repeats the reason
/** @param {store.Run} run */
const lateBy = (run) => (run.status === 'missed' ? 0 : (Date.parse(run.timestamp) - Date.parse(run.scheduled_time)) / 1000);
/** @param {store.Run} run */
const decisionOf = (run) => (run.status === 'missed' ? `missed ${run.reason} ${run.detail}` : `${run.status} ${lateBy(run) > ON_TIME_S ? run._id : ''}`);

/** @param {store.Run[]} same */
function decided(same) {
  const [run] = same;
  if (run.status !== 'missed') return [badge(run.status), ' ', lateBy(run) > ON_TIME_S ? t('decision.late', { t: duration(lateBy(run)) }) : t('decision.ran')];
  const fires = same.reduce((sum, one) => sum + (one.count ?? 1), 0);
  return [badge('missed'), ' ', word('reason', run.reason ?? ''), fires > 1 ? ` ×${number(fires)}` : '', run.detail && !PLAIN_REASONS.has(run.reason ?? '') ? h('small', null, clean(run.detail)) : ''];
}

/** @param {ReturnType<typeof fetched>} detail */
function definition(detail) {
  return panel(t('definition'), () => {
    const job = detail.value.value;
    if (!job) return skeleton(3);
    return [
      facts([
        [t('definition.func'), h('code', null, job.func ?? '')],
        [t('definition.args'), job.args?.length ? json(job.args) : null],
        [t('definition.kwargs'), Object.keys(job.kwargs ?? {}).length ? json(job.kwargs) : null],
        ...Object.entries(job.policies ?? {}).map(([key, value]) => /** @type {[string, any]} */ ([word('policy', key), policy(value)])),
      ]),
    ];
  }, { tools: () => detail.value.value && definitionButtons(detail.value.value) });
}

/** A policy in one line; null if it has no effect. @param {any} value @returns {string | null} */
export function policy(value) {
  if (value === null || value === '' || value.attempts === 1) return null;
  if (Array.isArray(value)) return value.join(', ') || null;
  if (typeof value !== 'object') return String(value);
  return Object.entries(value).filter(([, one]) => one !== null && one !== 0).map(([key, one]) => `${key} ${typeof one === 'object' ? JSON.stringify(one) : one}`).join(', ') || null;
}

/** @param {string} id */
function audit(id) {
  const history = fetched(() => `/scheduler/jobs/${encodeURIComponent(id)}/history`, () => [store.jobOf(id)?.paused, store.jobOf(id)?.description], () => ({ limit: 20 }));
  return panel(t('audit'), () => {
    const { value, error, again } = history.value;
    if (error) return failure(error, again);
    if (!value) return skeleton(2);
    if (value.history.length === 0) return h('p', { class: 'quiet-line' }, t('audit.none'));
    return h('ul', { class: 'audit' }, value.history.map((/** @type {import('../types.d.ts').Act} */ one) =>
      h('li', null, [
        h('span', null, h('strong', null, clean(one.actor)), ' ', didWhat(one)),
        whyActed(one) && h('small', null, whyActed(one)),
        moment(one.timestamp, relative),
      ])));
  }, { tools: h('a', { href: address('/activity', { job_id: id }) }, t('activity.all')) });
}
