// The overview: active runs, alerts, the next fires, and the last day.
import { each, h } from '../core/dom.js';
import { computed, effect, signal, untracked } from '../core/signals.js';
import { address, refine, route } from '../core/router.js';
import { now } from '../model/clock.js';
import { dayCounts, LAST_DAY } from '../model/day_counts.js';
import { finishedRuns, MAX_CHART_RUNS } from '../model/finished_runs.js';
import * as store from '../model/store.js';
import { lanesChart, lanesTable } from '../charts/lanes.js';
import { cancelButton } from '../components/actions.js';
import { icon } from '../components/icons.js';
import { subject, ofJob, ofRun } from '../components/menu.js';
import { choice, elapsed, empty, failure, items, jobLink, moment, panel, progressBar, runAddress, runBadge, sized, steps, timeLeft, waitingFor } from '../components/common.js';
import { cutNote } from '../components/table.js';
import { clean } from '../model/sanitize.js';
import { number, relative, wholeDuration } from '../i18n/format.js';
import { t } from '../i18n/index.js';
import { alertList, current } from './alerts.js';
import { lazily } from './lazily.js';

const MOST_ROWS = 12; // unfinished runs
const MOST_LANES = 40;
const HOUR = 3_600_000;
const WINDOWS = /** @type {Record<string, number>} */ ({ '1h': HOUR, '6h': 6 * HOUR, '24h': 24 * HOUR, '7d': 168 * HOUR });
const AHEAD = 0.08; // share of the window after now

const firstVisit = lazily(() => import('./first_visit.js').then((found) => found.firstVisit));

export function overview() {
  const isBare = computed(() => store.jobIds.value.length === 0 && store.activeIds.value.length === 0);
  return h('div', null, () => (isBare.value ? firstVisit() : untracked(board)));
}

function board() {
  return h('div', { class: 'overview' }, [
    h('h1', { class: 'sr', tabindex: -1 }, t('nav.overview')),
    counters(),
    h('div', { class: 'columns' }, [
      h('div', { class: 'wide' }, [runningNow(), dayTimeline()]),
      h('div', { class: 'narrow' }, [attention(), comingUp()]),
    ]),
  ]);
}

function counters() {
  const counts = dayCounts();
  const counter = (/** @type {string} */ state, /** @type {() => number | null} */ read, /** @type {any} */ query) =>
    h('a', { class: `counter ${state}`, href: () => address('/runs', query()) }, [
      h('span', { class: 'figure num' }, () => (read() === null ? '–' : number(/** @type {number} */ (read())))),
      h('span', { class: 'word' }, icon(state), t(/** @type {any} */ (`status.${state}`))),
    ]);
  return h('section', { class: 'counters', 'aria-label': t('counters') }, [
    counter('running', () => store.runningCount.value, () => ({ status: 'running' })),
    h('span', { class: 'span-label' }, t('day.last')),
    /** @type {const} */ (['success', 'failed', 'missed', 'cancelled']).map((state) =>
      counter(state, () => counts.value[state], () => ({ status: state, since: LAST_DAY }))),
  ]);
}

function runningNow() {
  const next = computed(() => upcoming()[0]);
  const unfinished = computed(() => store.runningCount.value + store.waitingCount.value);
  return panel(t('running.now'), [
    each(h('div', { class: 'running-list' }), () => store.activeIds.value.slice(0, MOST_ROWS), runningRow),
    () => unfinished.value === 0 && h('p', { class: 'quiet-line' }, () => (next.value ? [t('running.none.next'), ' ', h('strong', null, store.jobName(next.value.id)), ' ', moment(next.value.next_run_time, relative), '.'] : t('running.none'))),
    () => unfinished.value > MOST_ROWS && h('p', { class: 'quiet-line' }, h('a', { href: address('/runs', { status: 'running,scheduled' }) }, t('and.more', { n: number(unfinished.value - MOST_ROWS) }))),
  ]);
}

/** @param {string} id */
function runningRow(id) {
  const sig = /** @type {store.Signal<store.Run>} */ (store.runs.get(id));
  const read = () => sig.value;
  const isRunning = computed(() => read().status === 'running');
  const isSpecial = computed(() => (read().status === 'scheduled' || read().cancel_requested) && `${read().status} ${read().cancel_requested}`);
  return h('article', { class: 'run', 'data-row': '', ref: subject(() => ofRun(read())) }, [
    h('header', null, [
      h('a', { href: runAddress(id), 'data-open': '', class: 'name' }, () => store.jobName(read().job_id)),
      () => isSpecial.value && untracked(() => runBadge(read())),
      h('span', { class: 'spacer' }),
      h('span', { class: 'num elapsed' }, () => (read().status === 'running' ? wholeDuration(elapsed(read())) : '')),
      cancelButton(read, 'quiet danger small'),
    ]),
    () => isRunning.value && untracked(() => progressBar(read, `${t('progress')}: ${sig.peek().job_name || sig.peek().job_id}`)),
    steps(read),
    h('footer', null, [
      h('span', { class: 'num' }, () => items(read())),
      h('span', { class: 'message' }, () => clean([read().progress_message, read().current_item].filter(Boolean).join(' · '))),
      h('span', { class: 'num left' }, () => (isRunning.value ? timeLeft(read()) : read().status === 'scheduled' ? waitingFor(read()) : '')),
    ]),
  ]);
}

const upcoming = () =>
  store.jobIds.value
    .map((id) => store.jobOf(id))
    .filter((job) => job !== null && !job.paused && job.next_run_time !== null)
    .sort((a, b) => Date.parse(/** @type {any} */ (a).next_run_time) - Date.parse(/** @type {any} */ (b).next_run_time))
    .map((job) => /** @type {store.Job} */ (job));

function comingUp() {
  const paused = computed(() => store.jobTotals.value.paused);
  return panel(t('coming'), [
    each(h('ol', { class: 'coming-up' }), () => upcoming().slice(0, 7).map((job) => job.id), (id) =>
      h('li', { 'data-row': '', ref: subject(() => ofJob(store.jobOf(id))) }, [
        h('a', { href: address(`/jobs/${encodeURIComponent(id)}`), 'data-open': '' }, () => store.jobName(id)),
        h('span', { class: 'num' }, () => (store.jobOf(id)?.next_run_time ? moment(store.jobOf(id)?.next_run_time, relative) : '–')),
      ])),
    () => upcoming().length === 0 && empty(t('coming.none')),
    () => paused.value > 0 && h('p', { class: 'foot' }, icon('paused'), h('a', { href: address('/jobs', { status: 'paused' }) }, t('coming.paused', { n: paused.value }))),
  ]);
}

function attention() {
  const all = computed(() => current());
  const count = computed(() => all.value.length);
  return h('section', { class: () => `panel${count.value > 0 ? ' attention' : ''}`, 'aria-label': t('attention') }, [
    h('header', null, h('h2', null, t('attention'))),
    alertList(() => all.value.slice(0, 4)),
    () => count.value === 0 && h('p', { class: 'quiet-line good' }, icon('success'), t('attention.none')),
    () => count.value > 4 && h('p', { class: 'foot' }, h('a', { href: address('/alerts') }, t('and.more', { n: count.value - 4 }))),
  ]);
}

function dayTimeline() {
  const chosen = () => (WINDOWS[route.value.query.window ?? ''] ? route.value.query.window : '24h');
  const span = computed(() => WINDOWS[chosen()]);
  const loaded = computed(() => finishedRuns({ since: new Date(now.peek() - span.value).toISOString() }, MAX_CHART_RUNS));
  const picture = signal({ finished: loaded.peek().peek(), at: now.peek(), span: span.peek() });
  effect(() => {
    // Redrawn when runs change, at most once a second; as time passes, once per pixel.
    const [at, source] = [now.value, loaded.value];
    const state = source.peek().loading ? source.value : source.peek();
    const before = picture.peek();
    if (state !== before.finished || Math.abs(at - before.at) > span.value / 800) picture.value = { finished: state, at, span: span.value };
  });
  const lanes = computed(() => lanesOf(picture.value.finished.runs, picture.value.at - picture.value.span));
  return panel(t('timeline'), [h('div', { class: 'lane-grid', 'aria-busy': () => picture.value.finished.loading && 'true' }, [
    each(h('ul', { class: 'lane-names' }), () => lanes.value.map((lane) => lane.id), (id) =>
      h('li', { class: () => (store.jobOf(id)?.paused ? 'paused' : '') }, jobLink(id, () => store.jobName(id)))),
    sized((width) => chart(lanes.value, picture.value, width)),
  ]), lanesTable(() => ({ lanes: lanes.value, now: picture.value.at })), () => cutNote(picture.value.finished), () => store.jobTotals.value.jobs > lanes.value.length && h('p', { class: 'quiet-line' }, t('lanes.cut', { n: number(lanes.value.length), m: number(store.jobTotals.value.jobs) }), ' ', h('a', { href: address('/jobs') }, t('lanes.all')))], {
    class: 'timeline',
    tools: choice(t('timeline.window'), Object.keys(WINDOWS).map((key) => [key, t(/** @type {any} */ (`window.${key}`))]), chosen, (value) => refine({ window: value === '24h' ? null : value }, { replace: true })),
  });
}

/** @param {import('../charts/lanes.js').Lane[]} lanes @param {{ finished: import('../model/finished_runs.js').FinishedRuns, at: number, span: number }} picture @param {number} width */
function chart(lanes, { finished: { runs, complete, error, loading }, at, span }, width) {
  if (error) return failure(error, () => (store.generation.value += 1));
  const oldest = runs.at(-1);
  const knownFrom = complete ? -Infinity : loading || !oldest ? at : Date.parse(oldest.timestamp);
  return lanesChart({ lanes, from: at - span, now: at, to: at + span * AHEAD, width, knownFrom, address: (run) => runAddress(run._id) });
}

/** @param {store.Run[]} finished @param {number} from */
function lanesOf(finished, from) {
  /** @type {Map<string, store.Run[]>} */
  const byJob = new Map(store.jobIds.value.map((id) => [id, []]));
  const active = store.runningIds.value.map((id) => /** @type {store.Run} */ (store.runs.get(id)?.peek()));
  for (const run of [...finished, ...active]) {
    if (run && Date.parse(run.updated_at) >= from && run.status !== 'scheduled') byJob.set(run.job_id, [...(byJob.get(run.job_id) ?? []), run]);
  }
  return mostUrgent([...byJob]).map(([id, runs]) => {
    const job = store.jobOf(id);
    return { id, name: store.jobName(id), runs, next: job?.next_run_time ? Date.parse(job.next_run_time) : null, paused: job?.paused ?? false };
  });
}

/** Of too many lanes those that matter: with failures, with missed fires, then those that ran last. @param {[string, store.Run[]][]} lanes */
function mostUrgent(lanes) {
  if (lanes.length <= MOST_LANES) return lanes;
  const has = (/** @type {store.Run[]} */ runs, /** @type {string} */ status) => Number(runs.some((run) => run.status === status));
  const newest = (/** @type {store.Run[]} */ runs) => runs.reduce((last, run) => (run.timestamp > last ? run.timestamp : last), '');
  const ranked = lanes.map((lane) => ({ lane, failed: has(lane[1], 'failed'), missed: has(lane[1], 'missed'), at: newest(lane[1]) }));
  ranked.sort((a, b) => b.failed - a.failed || b.missed - a.missed || (a.at < b.at ? 1 : -1));
  return ranked.slice(0, MOST_LANES).map(({ lane }) => lane).sort(([a], [b]) => (a < b ? -1 : 1));
}
