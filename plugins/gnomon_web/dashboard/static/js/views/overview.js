// The overview: active runs, alerts, the next fires, and the last day.
import { each, h } from '../core/dom.js';
import { computed, effect, signal, untracked } from '../core/signals.js';
import { address, go, refine, route } from '../core/router.js';
import { alertCounts, firingCount, hasAlerts, readAlertsAgain, unalerted, urgent } from '../model/alert_lists.js';
import { now } from '../model/clock.js';
import { dayCounts, LAST_DAY } from '../model/day_counts.js';
import { edgesOf } from '../model/lane_counts.js';
import { timelineOf } from '../model/lanes.js';
import * as store from '../model/store.js';
import { lanesChart, lanesTable } from '../charts/lanes.js';
import { cancelButton } from '../components/actions.js';
import { alertRows, componentRows } from '../components/alert_row.js';
import { icon } from '../components/icons.js';
import { subject, ofJob, ofRun } from '../components/menu.js';
import { alertCount } from '../components/shell.js';
import { basisOfTimeLeft, choice, elapsed, empty, failure, items, jobLink, moment, panel, progressBar, runAddress, runBadge, sized, skeleton, steps, timeLeft, waitingFor } from '../components/common.js';
import { clean } from '../model/sanitize.js';
import { number, relative, shortMoment, wholeDuration } from '../i18n/format.js';
import { t } from '../i18n/index.js';
import { lazily } from './lazily.js';

const MOST_ROWS = 12; // unfinished runs
const MOST_ALERTS = 4;
const HOUR = 3_600_000;
const WINDOWS = /** @type {Record<string, number>} */ ({ '1h': HOUR, '6h': 6 * HOUR, '24h': 24 * HOUR, '7d': 168 * HOUR, '30d': 720 * HOUR });
const AHEAD = 0.08; // share of the window after now
const MOST_COMING = 7;

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
      h('div', { class: 'wide' }, [runningNow(), timeline()]),
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
  const next = computed(() => upcoming.value[0]);
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
      h('span', { class: 'num left', title: () => basisOfTimeLeft(read()) }, () => (isRunning.value ? timeLeft(read()) : read().status === 'scheduled' ? waitingFor(read()) : '')),
    ]),
  ]);
}

/** Active jobs that the page holds, those that fire next first. */
const upcoming = computed(() =>
  store.jobIds.value
    .map((id) => /** @type {store.Job} */ (store.jobOf(id)))
    .filter((job) => job && !job.paused && job.next_run_time)
    .sort((a, b) => fireOf(a) - fireOf(b)));
const fireOf = (/** @type {store.Job | undefined} */ job) => (job ? Date.parse(job.next_run_time ?? '') : Infinity);

function comingUp() {
  const paused = computed(() => store.jobTotals.value.paused);
  effect(() => {
    const [until, snapshot] = [fireOf(upcoming.value[MOST_COMING - 1]), store.generation.value];
    if (!store.hasAllJobs.value) import('../model/many_jobs.js').then((found) => found.holdNextFires(until, snapshot));
  });
  return panel(t('coming'), [
    each(h('ol', { class: 'coming-up' }), () => upcoming.value.slice(0, MOST_COMING).map((job) => job.id), (id) =>
      h('li', { 'data-row': '', ref: subject(() => ofJob(store.jobOf(id))) }, [
        h('a', { href: address(`/jobs/${encodeURIComponent(id)}`), 'data-open': '' }, () => store.jobName(id)),
        h('span', { class: 'num' }, () => (store.jobOf(id)?.next_run_time ? moment(store.jobOf(id)?.next_run_time, relative) : '–')),
      ])),
    () => upcoming.value.length === 0 && empty(t('coming.none')),
    () => paused.value > 0 && h('p', { class: 'foot' }, icon('paused'), h('a', { href: address('/jobs', { status: 'paused' }) }, t('coming.paused', { n: paused.value }))),
  ]);
}

/** The most urgent alerts, and the components of which none is open yet. */
function attention() {
  const firing = computed(() => (urgent.value.value?.alerts ?? []).filter((one) => one.state === 'firing'));
  const isCalm = computed(() => firingCount.value === 0 && unalerted.value.length === 0);
  const quiet = computed(() => (alertCounts.value?.acknowledged ?? 0) + (alertCounts.value?.snoozed ?? 0));
  return h('section', { class: () => `panel${isCalm.value ? '' : ' attention'}`, 'aria-label': t('attention') }, [
    h('header', null, h('h2', null, t('attention')), alertCount()),
    componentRows(),
    alertRows(() => firing.value.slice(0, MOST_ALERTS), { brief: true }),
    () => alertState(isCalm.value),
    () => firingCount.value > MOST_ALERTS && h('p', { class: 'foot' }, h('a', { href: address('/alerts', { state: 'firing' }) }, t('and.more', { n: number(firingCount.value - MOST_ALERTS) }))),
    () => quiet.value > 0 && h('p', { class: 'foot' }, h('a', { href: address('/alerts') }, t('attention.quiet', { n: number(quiet.value) }))),
  ]);
}

/** What the panel says besides alerts: that there are none, or why it does not know. @param {boolean} isCalm */
function alertState(isCalm) {
  if (!hasAlerts.value) return h('p', { class: 'quiet-line' }, t('attention.off'), ' ', h('a', { href: address('/alerts') }, t('attention.on')));
  const { error, loading } = urgent.value;
  if (error) return failure(error, readAlertsAgain);
  if (loading) return skeleton(2);
  return isCalm && h('p', { class: 'quiet-line good' }, icon('success'), t('attention.none'));
}

/** The timeline of the window in the address; each window reads its own lanes. */
function timeline() {
  const chosen = () => (WINDOWS[route.value.query.window ?? ''] ? route.value.query.window : '24h');
  const key = computed(chosen);
  return panel(t('timeline'), () => {
    const span = WINDOWS[key.value];
    return untracked(() => h('div', null, lanesOf(span)));
  }, {
    class: 'timeline',
    tools: choice(t('timeline.window'), Object.keys(WINDOWS).map((key) => [key, t(/** @type {any} */ (`window.${key}`))]), chosen, (value) => refine({ window: value === '24h' ? null : value }, { replace: true })),
  });
}

/** @param {number} span */
function lanesOf(span) {
  const found = timelineOf(span);
  const moment = signal(now.peek());
  effect(() => {
    const at = now.value; // as time passes, drawn once per pixel
    if (Math.abs(at - moment.peek()) > span / 800) moment.value = at;
  });
  const shown = computed(() => (found.value.lanes?.lanes ?? []).map(shownLane));
  return [
    () => found.value.error && failure(found.value.error, () => (store.generation.value += 1)),
    h('div', { class: 'lane-grid', 'aria-busy': () => found.value.loading && 'true' }, [
      each(h('ul', { class: 'lane-names' }), () => shown.value.map(({ lane }) => /** @type {string} */ (lane.job_id)), (id) =>
        h('li', { class: () => (store.jobOf(id)?.paused ? 'paused' : '') }, jobLink(id, () => shown.value.find(({ lane }) => lane.job_id === id)?.name ?? id))),
      sized((width) => chart(found.value.lanes, shown.value, { now: moment.value, span, width })),
    ]),
    lanesTable(() => shown.value),
    () => found.value.lanes && lanesNotes(found.value.lanes, now.peek() - span),
  ];
}

/** A lane with what the page knows of its job: its runs of now, and its next fire. @param {import('../types.d.ts').Lane} lane @returns {import('../charts/lanes.js').ShownLane} */
function shownLane(lane) {
  const id = /** @type {string} */ (lane.job_id);
  const job = store.jobOf(id);
  const running = store.runningIds.value.map((run) => /** @type {store.Run} */ (store.runs.get(run)?.peek())).filter((run) => run?.job_id === id);
  return { lane, name: job ? store.jobName(id) : lane.name || id, running, next: job?.next_run_time ? Date.parse(job.next_run_time) : null };
}

/** @param {import('../types.d.ts').Lanes | null} lanes @param {import('../charts/lanes.js').ShownLane[]} shown @param {{ now: number, span: number, width: number }} frame */
function chart(lanes, shown, { now, span, width }) {
  if (!lanes) return null;
  const knownFrom = knownFromOf(lanes);
  return lanesChart({ lanes: shown, all: lanes.all, edges: edgesOf(lanes), knownFrom, from: now - span, now, to: now + span * AHEAD, width, runAddress, address: (bucket) => address('/runs', bucketQuery(bucket)), open: openBucket });
}

/** Before this moment not all is known: 0 where all is. @param {import('../types.d.ts').Lanes} lanes */
const knownFromOf = (lanes) => Date.parse(lanes.newest?.since ?? lanes.all.complete_from ?? '') || 0;

/** @param {import('../charts/lanes.js').Bucket} bucket */
const bucketQuery = ({ job, from, to, status }) => ({ job_id: job, status, since: new Date(from).toISOString(), until: new Date(to).toISOString() });

/** Open the runs of a bucket; a link that is opened elsewhere shows those that also began in it. @param {MouseEvent} event @param {import('../charts/lanes.js').Bucket} bucket */
async function openBucket(event, bucket) {
  if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  const { runsOfBucket } = await import('../model/bucket_runs.js');
  const found = await runsOfBucket(bucket).catch(() => ({ query: bucketQuery(bucket) }));
  if ('run' in found) go(`/runs/${found.run}`);
  else go('/runs', found.query);
}

/** What the timeline leaves out. @param {import('../types.d.ts').Lanes} lanes @param {number} from */
function lanesNotes(lanes, from) {
  const [knownFrom, { cut, newest }] = [knownFromOf(lanes), lanes];
  const count = lanes.lanes.length;
  return [
    cut.jobs > 0 && h('p', { class: 'quiet-line' }, t('lanes.cut', { n: number(count), m: number(count + cut.jobs), r: number(cut.runs) }), ' ', h('a', { href: address('/jobs') }, t('lanes.all'))),
    newest?.since && h('p', { class: 'quiet-line' }, t('lanes.newest', { n: number(newest.runs), m: number(newest.total), at: shortMoment(knownFrom) })),
    !newest && knownFrom > from && h('p', { class: 'quiet-line' }, t('lanes.known', { at: shortMoment(knownFrom) })),
    count === 0 && h('p', { class: 'quiet-line' }, t('lanes.none')),
  ];
}
