// One run: its progress, its outcome, and a timeline of its events that can be rewound to any of them.
import { h } from '../core/dom.js';
import { computed, effect, onDispose, signal, untracked } from '../core/signals.js';
import { address, go, refine, route } from '../core/router.js';
import { bindShortcuts } from '../core/shortcuts.js';
import { get } from '../model/api.js';
import { clean } from '../model/sanitize.js';
import { fold, hasStarted, isOver } from '../model/fold.js';
import { connection } from '../model/session.js';
import * as store from '../model/store.js';
import { typical } from '../model/typical_durations.js';
import { alertsPanel } from '../components/alert_row.js';
import { cancelButton, hideButton, markFailedButton, triggerButton } from '../components/actions.js';
import { icon } from '../components/icons.js';
import { whyAddress } from '../components/run_difference.js';
import { stepsOf, waterfall, waterfallTable } from '../charts/waterfall.js';
import { now } from '../model/clock.js';
import { ofRun, rerunOf, subject } from '../components/menu.js';
import { basisOfTimeLeft, elapsed, empty, facts, failure, items, jobLink, json, moment, nothingHere, panel, progressBar, runAddress, runBadge, skeleton, startedBy, timeLeft, tries, waitingFor } from '../components/common.js';
import { dateAndTime, duration, fullMoment, number, wholeDuration } from '../i18n/format.js';
import { t, word } from '../i18n/index.js';
import { errorPanel } from './error.js';
import { insidePanel } from './inside.js';
import { logPanel } from './log.js';
import { timeline } from './timeline.js';

/** @typedef {import('../types.d.ts').Run} Run */
/** @typedef {import('../types.d.ts').LogEvent} LogEvent */

const REREAD_MS = 3000; // between two requests for conflated events

/** @param {string} id */
export function runView(id) {
  const { events, error, readAgain } = eventsOf(id);
  const rewound = computed(() => Number(route.value.query.event) || null);
  const run = computed(() => {
    const shown = events.value.filter((event) => rewound.value === null || event.position <= rewound.value);
    const folded = asOf(fold(shown), rewound.value === null ? undefined : shown.at(-1)?.at);
    const known = rewound.value === null ? store.runOf(id) : null;
    if (known && (folded === null || known.version > folded.version)) return whole(known, folded);
    return known && folded ? { ...folded, eta: known.eta } : folded;
  });
  const isKnown = computed(() => run.value !== null);
  onDispose(connection().subscribe(`run:${id}`));
  bindRunShortcuts(run);
  return h('div', { class: 'page run', ref: subject(() => ofRun(rewound.peek() === null ? run.peek() : store.runOf(id))) }, [
    crumbs(id, run),
    () => rewound.value !== null && rewoundBanner(events, rewound.value),
    () => {
      if (isKnown.value) return untracked(() => content(id, /** @type {any} */ (run), events, () => error.value && failure(error.value, readAgain)));
      if (events.value.length > 0) return [h('h1', { class: 'sr', tabindex: -1 }, t('run')), empty(t('run.before'))];
      if (/** @type {any} */ (error.value)?.status === 404) return nothingHere(t('run.unknown'), t('run.unknown.text'));
      return error.value ? h('div', null, h('h1', { tabindex: -1 }, t('run.gone')), failure(error.value, readAgain)) : [h('h1', { class: 'sr', tabindex: -1 }, t('run')), skeleton(5)];
    },
  ]);
}

/** The run with the values from its events where a list has cut them. @param {Run} known @param {Run | null} folded @returns {Run} */
const whole = (known, folded) => (known.truncated && folded ? { ...known, args: folded.args, kwargs: folded.kwargs, return_value: folded.return_value ?? known.return_value, truncated: false } : known);

/** @param {Run | null} run @param {string} [moment] @returns {Run | null} */
const asOf = (run, moment) => (run && moment ? { ...run, as_of: Date.parse(moment) } : run);

/** The events of a run: read once, then extended by live ones. @param {string} id */
function eventsOf(id) {
  const events = signal(/** @type {LogEvent[]} */ ([]));
  const error = signal(/** @type {Error | null} */ (null));
  let timer = 0;
  const read = async () => {
    timer = 0;
    try {
      const all = await get(`/scheduler/executions/${encodeURIComponent(id)}/events`);
      const last = all.at(-1)?.version ?? 0;
      events.value = [...all, ...events.peek().filter((event) => event.version > last)];
      error.value = null;
    } catch (problem) {
      error.value = /** @type {Error} */ (problem);
    }
  };
  const soon = () => (timer ||= setTimeout(read, REREAD_MS));
  onDispose(() => clearTimeout(timer));
  effect(() => {
    store.generation.value;
    read();
  });
  effect(() =>
    store.onEvents((fresh) => {
      const known = events.peek();
      const own = fresh.filter((event) => event.stream === id && event.version > (known.at(-1)?.version ?? 0));
      if (own.length === 0) return;
      events.value = [...known, ...own];
      if (events.peek().some((event, index) => event.version !== index + 1)) soon();
    }),
  );
  return { events, error, readAgain: read };
}

/** @param {{ peek(): Run | null }} run */
function bindRunShortcuts(run) {
  const neighbour = (/** @type {boolean} */ earlier) => async () => {
    const current = run.peek();
    if (!current) return;
    const found = await neighbourOf(current, earlier);
    if (found) go(`/runs/${found}`);
  };
  onDispose(bindShortcuts({ '[': neighbour(true), ']': neighbour(false) }));
}

/** The run of the same job before or after. @param {Run} run @param {boolean} earlier @returns {Promise<string | null>} */
async function neighbourOf(run, earlier) {
  const path = `/scheduler/jobs/${encodeURIComponent(run.job_id)}/executions`;
  if (earlier) {
    const page = await get(path, { until: run.timestamp, limit: 1 });
    return page.items[0]?._id ?? null;
  }
  // Lists are newest first: the next run is the last of those since, so count them and skip to it.
  const { total } = await get(path, { since: run.timestamp, limit: 1 });
  const page = await get(path, { since: run.timestamp, limit: 2, offset: Math.max(total - 2, 0) });
  return page.items.filter((/** @type {Run} */ one) => one._id !== run._id).at(-1)?._id ?? null;
}

/** @param {string} id @param {{ value: Run | null, peek(): Run | null }} run */
function crumbs(id, run) {
  const step = (/** @type {boolean} */ earlier) => async () => {
    const found = run.peek() && (await neighbourOf(/** @type {Run} */ (run.peek()), earlier));
    if (found) go(`/runs/${found}`);
  };
  return h('nav', { class: 'crumbs', 'aria-label': t('crumbs') }, [
    h('a', { href: address('/runs') }, icon('back'), t('nav.runs')),
    () => run.value && [h('span', { 'aria-hidden': 'true' }, '/'), jobLink(run.value.job_id, store.jobName(run.value.job_id))],
    h('span', { class: 'spacer' }),
    h('button', { class: 'quiet', onclick: step(true) }, icon('back'), t('run.earlier')),
    h('button', { class: 'quiet', onclick: step(false) }, t('run.later'), icon('forth')),
  ]);
}

/** @param {{ value: LogEvent[] }} events @param {number} at */
const rewoundBanner = (events, at) =>
  h('div', { class: 'rewound', role: 'status' }, [
    icon('rewind'),
    h('span', null, t('run.rewound', { at: number(at), time: fullMoment(events.value.findLast((event) => event.position <= at)?.at ?? 0) })),
    h('button', { onclick: () => refine({ event: null }) }, t('run.present')),
  ]);

/** @param {string} id @param {{ value: Run }} run @param {{ value: LogEvent[] }} events @param {() => any} problem shown if they cannot be loaded */
function content(id, run, events, problem) {
  const read = () => run.value;
  const status = computed(() => read().status);
  const isActive = computed(() => status.value === 'running' || status.value === 'scheduled');
  const hasProgress = computed(() => status.value === 'running' || (status.value !== 'scheduled' && read().steps.length > 0));
  const errorKey = computed(() => JSON.stringify([read().error_type, read().error_message, read().traceback, status.value === 'failed' && read().reason]));
  const hasError = () => read().error_message || read().traceback || (status.value === 'failed' && read().reason);
  return h('div', null, [
    runHead(read, isActive),
    () => read().as_of === undefined && store.isLingering(read()) && h('p', { class: 'quiet-line' }, t(read().runner === 'thread' ? 'run.lingering.thread' : 'run.lingering.text')),
    () => hasProgress.value && progressPanel(read),
    () => errorKey.value && untracked(() => hasError() && errorPanel(read())), // unfolded frames stay open while the error is the same
    alertsOfRun(id, read),
    h('div', { class: 'columns' }, [
      h('div', { class: 'wide' }, [insidePanel(read), timeline(events, problem), logPanel(id)]),
      h('div', { class: 'narrow' }, [details(read), parameters(read), result(read)]),
    ]),
  ]);
}

/** The open alerts of the job that have begun before the run ended. @param {string} id @param {() => Run} read */
const alertsOfRun = (id, read) => alertsPanel(untracked(read).job_id, (alert) => alert.first_execution === id || Date.parse(alert.since) <= Date.parse(read().updated_at));

/** The heading; a past state has no actions. @param {() => Run} read @param {{ value: boolean }} isActive */
function runHead(read, isActive) {
  const isNow = computed(() => read().as_of === undefined);
  return h('header', { class: 'head' }, [
    h('h1', { tabindex: -1 }, () => store.jobName(read().job_id)),
    () => runBadge(read()),
    () => isNow.value && store.isLingering(read()) && h('span', { class: 'badge warn' }, icon('alerts'), t('run.lingering')),
    h('span', { class: 'num big' }, () => (read().status === 'running' ? wholeDuration(elapsed(read())) : read().execution_time !== null ? duration(read().execution_time) : '')),
    h('span', { class: 'spacer' }),
    () => isNow.value && h('div', { class: 'buttons' }, h('a', { class: 'why', href: whyAddress(read()._id) }, t('why')), markFailedButton(read), cancelButton(read), hideButton(read), () => !isActive.value && triggerButton(() => rerunOf(read()), 'primary')),
  ]);
}

/** @param {() => Run} read */
const progressPanel = (read) =>
  h('section', { class: 'panel progress', 'aria-label': t('progress') }, [
    h('div', { class: 'progress-line' }, [
      h('span', { class: 'num big' }, () => (read().progress === null ? '' : number((read().progress ?? 0) / 100, { style: 'percent' }))),
      progressBar(read, t('progress')),
      h('span', { class: 'num' }, () => items(read())),
    ]),
    () => (read().steps.length > 0 ? [waterfall(stepsOf(read(), read().as_of ?? now.value)), waterfallTable(() => stepsOf(read(), now.peek()))] : null),
    h('p', { class: 'message' }, [
      h('span', null, () => clean([read().progress_message, read().current_item].filter(Boolean).join(' · '))),
      h('span', { class: 'num left', title: () => basisOfTimeLeft(read()) }, () => (read().status === 'running' && read().as_of === undefined ? timeLeft(read()) : '')),
    ]),
    () => read().as_of === undefined && basisOfTimeLeft(read()) && accuracyOfTimeLeft(read()),
  ]);

/** How well the time left of earlier runs was estimated, at their start or after half of their work. @param {Run} run */
function accuracyOfTimeLeft(run) {
  const checks = typical(run.job_id)?.eta_accuracy?.[(run.progress ?? 0) < 50 ? 'start' : 'halfway'];
  return checks && checks.runs > 0 && h('p', { class: 'quiet-line' }, t('eta.checked', { n: number(checks.runs), m: number(checks.inside), t: duration(checks.mean_error) }));
}

/** @param {() => Run} read */
const details = (read) =>
  panel(t('facts'), () => {
    const run = read();
    const late = run.delay ?? (Date.parse(run.timestamp) - Date.parse(run.scheduled_time)) / 1000;
    const began = hasStarted(run);
    return facts([
      [t('fact.id'), h('span', { class: 'mono' }, run._id)],
      [t('col.by'), startedBy(run)],
      [t('fact.due'), moment(run.scheduled_time, dateAndTime)],
      [began || run.status === 'scheduled' ? t('col.started') : t('fact.recorded'), run.status === 'scheduled' ? waitingFor(run) : moment(run.timestamp, dateAndTime)],
      [t('fact.late'), began && late >= 0.1 ? h('span', { class: 'num' }, duration(late)) : null],
      [t('fact.ended'), isOver(run) ? moment(run.updated_at, dateAndTime) : null],
      [t('fact.labels'), Object.keys(run.labels ?? {}).length ? labelLinks(run.labels ?? {}) : null],
      [t('fact.reason'), run.reason ? word('reason', run.reason) : null],
      [t('fact.detail'), run.detail ? h('span', { class: 'long' }, clean(run.detail)) : null],
      [t('fact.count'), (run.count ?? 1) > 1 ? `${number(run.count ?? 1)} (${fullMoment(run.first ?? run.scheduled_time)} – ${fullMoment(run.last ?? run.scheduled_time)})` : null],
      [t('fact.cancelled.by'), run.cancelled_by],
      [t('fact.snoozed.until'), run.snoozed_until ? moment(run.snoozed_until, dateAndTime) : null],
      [t('fact.snoozed.to'), run.snoozed_to ? h('a', { class: 'mono', href: runAddress(run.snoozed_to) }, run.snoozed_to) : null],
      [t('fact.attempt'), tries(run) > 1 ? number(tries(run)) : null],
      [t('fact.snoozes'), run.snoozes ? number(run.snoozes) : null],
      [t('fact.triggered.by'), run.triggered_by ? h('a', { class: 'mono', href: runAddress(run.triggered_by) }, run.triggered_by) : null],
      [t('fact.retry.of'), run.retry_of ? h('a', { class: 'mono', href: runAddress(run.retry_of) }, run.retry_of) : null],
      [t('fact.force'), run.force ? t('yes') : null],
      [t('fact.runner'), run.runner ? `${run.runner} ${run.worker ?? ''}` : null],
      [t('fact.node'), run.node],
      [t('fact.warning'), run.warning ? h('span', { class: 'long' }, clean(run.warning)) : null],
      [t('fact.imported'), run.imported_from],
      [t('fact.late.result'), run.late_result ? word('outcome', run.late_result) : null],
    ]);
  });

/** @param {() => Run} read */
const parameters = (read) =>
  panel(t('parameters'), () => {
    const { args = [], kwargs = {} } = read();
    if (args.length === 0 && Object.keys(kwargs).length === 0) return h('p', { class: 'quiet-line' }, t('parameters.none'));
    return facts([
      ...args.map((value, index) => /** @type {[string, any]} */ ([`${index + 1}.`, h('code', { class: 'long' }, clean(JSON.stringify(value)))])),
      ...Object.entries(kwargs).map(([name, value]) => /** @type {[string, any]} */ ([name, h('code', { class: 'long' }, clean(JSON.stringify(value)))])),
    ]);
  });

/** Each label leads to the runs that have it. @param {Record<string, string>} labels */
const labelLinks = (labels) => Object.entries(labels).map(([name, value]) => h('a', { href: address('/runs', { label: `${name}:${value}` }) }, clean(`${name}:${value}`), ' '));

/** @param {() => Run} read */
const result = (read) => () => (read().return_value === null || read().return_value === undefined ? null : panel(t('result'), json(read().return_value)));
