// Alerts as rows: what has happened, since when, who takes care of it, and the acts on it.
import { each, h } from '../core/dom.js';
import { computed, untracked } from '../core/signals.js';
import { address } from '../core/router.js';
import { alertsOf, componentOf, unalerted } from '../model/alert_lists.js';
import { link, may } from '../model/connection_state.js';
import { clean } from '../model/sanitize.js';
import * as store from '../model/store.js';
import { relative, shortMoment } from '../i18n/format.js';
import { saidInWords } from '../i18n/said.js';
import { t, withWords, word } from '../i18n/index.js';
import { componentName, moment, panel, runAddress } from './common.js';
import { icon } from './icons.js';
import { ofJob, ofRun, subject } from './menu.js';

/** @typedef {import('../types.d.ts').Alert} Alert */

const GLYPHS = /** @type {Record<string, string>} */ ({ failed: 'failed', lost: 'failed', missed: 'missed', late_start: 'scheduled', too_long: 'scheduled', no_success: 'scheduled', silent: 'alerts', lingering: 'alerts', unscheduled: 'paused' });
const LEVELS = /** @type {Record<string, string>} */ ({ critical: 'bad', error: 'bad', warning: 'warn', info: 'running' });
const MOST_OF_JOB = 20;

/** The dialogs of the acts, loaded with the first of them. */
export const loadAlertForms = () => withWords(import('./alert_forms.js'));

/** What an alert is about: a job, or a part of the deployment. @param {Alert} alert */
export const alertName = (alert) => (alert.job_id ? store.jobName(alert.job_id) : componentName({ name: componentOf(alert) }));

/** A row for each alert, kept as long as the alert is listed. @param {() => Alert[]} read @param {{ brief?: boolean }} [how] `brief` leaves out all acts but one */
export function alertRows(read, { brief = false } = {}) {
  const byId = computed(() => new Map(read().map((alert) => [alert.id, alert])));
  return each(h('ul', { class: 'alerts' }), () => [...byId.value.keys()], (id) => {
    let last = /** @type {Alert} */ (byId.peek().get(id));
    return alertRow(() => (last = byId.value.get(id) ?? last), last, brief);
  });
}

/** @param {() => Alert} read @param {Alert} first @param {boolean} brief */
function alertRow(read, first, brief) {
  const run = () => read().last_execution ?? '';
  const jobAddress = address(`/jobs/${encodeURIComponent(first.job_id)}`);
  const target = () => (run() ? runAddress(run()) : first.job_id ? jobAddress : address('/', { panel: 'system' }));
  const care = computed(() => JSON.stringify([read().state, read().acknowledgement, read().snooze, read().resolution, read().resolved_by]));
  return h('li', { class: () => `alert ${LEVELS[read().severity]} ${read().state}`, 'data-row': '', ref: subject(() => (store.runOf(run()) ? ofRun(store.runOf(run())) : ofJob(store.jobOf(first.job_id)))) }, [
    icon(GLYPHS[first.kind] ?? 'system'),
    h('div', null, [
      h('p', null, [
        h('a', { href: target, 'data-open': '' }, () => alertName(first)), ' ',
        h('span', { class: 'what' }, word('kind', first.kind), brief ? '' : [' · ', () => word('severity', read().severity)]),
      ]),
      h('p', { class: 'detail', title: () => saidInWords(read().said, read().message) }, () => saidInWords(read().said, read().message)),
      () => (care.value, untracked(() => careOf(read()))),
      !brief && h('p', { class: 'links' }, [
        () => run() && h('a', { href: address(`/runs/${encodeURIComponent(run())}/why`) }, t('why')),
        first.job_id && h('a', { href: jobAddress }, t('alert.job')),
        h('a', { href: address('/alerts', { alert: first.id }) }, t('alert.history')),
      ]),
    ]),
    h('div', { class: 'aside' }, [
      () => (read().state === 'resolved' ? moment(read().resolved_at, relative) : moment(read().since, relative)),
      () => (care.value, untracked(() => acts(read(), brief))),
    ]),
  ]);
}

/** Who takes care of an alert, or how it has ended. @param {Alert} alert */
function careOf({ state, acknowledgement, snooze, resolution, resolved_by, note }) {
  if (state === 'firing') return null;
  const [ack, nap] = [state === 'acknowledged' ? acknowledgement : null, state === 'snoozed' ? snooze : null];
  const until = ack?.until ?? nap?.until;
  const parts = [
    ack && t('alert.acknowledged', { who: clean(ack.by ?? '–') }),
    nap && t('alert.snoozed', { who: clean(nap.by ?? '–') }),
    state === 'resolved' && `${t('alert.resolved')}: ${word('resolution', resolution ?? '')}${resolved_by ? ` (${clean(resolved_by)})` : ''}`,
    until && t('alert.until', { at: shortMoment(until) }),
    ack?.until_next && t('alert.until.next'),
    clean((ack ?? nap)?.note ?? note ?? ''),
  ];
  return h('p', { class: 'care' }, icon(state === 'snoozed' ? 'scheduled' : 'success'), h('span', null, parts.filter(Boolean).join(' · ')));
}

/** @param {Alert} alert @param {boolean} brief */
function acts(alert, brief) {
  if (alert.state === 'resolved') return null;
  const name = alertName(alert);
  const act = (/** @type {string} */ text, /** @type {(forms: Awaited<ReturnType<typeof loadAlertForms>>) => unknown} */ begin) =>
    h('button', { type: 'button', class: 'quiet small', 'aria-label': `${text}: ${name}, ${word('kind', alert.kind)}`, disabled: () => link.value !== 'live', onclick: async () => begin(await loadAlertForms()) }, text);
  return () => may('operator') && h('span', { class: 'buttons' }, alert.state === 'firing'
    ? [act(t('ack'), (forms) => forms.askAcknowledge([alert])), !brief && act(t('snooze'), (forms) => forms.askSnooze([alert])), !brief && act(t('resolve'), (forms) => forms.askResolve([alert]))]
    : [act(t(alert.state === 'snoozed' ? 'unsnooze' : 'unack'), (forms) => forms.withdraw([alert]))]);
}

/** The unhealthy components of which no alert is open yet. */
export const componentRows = () =>
  each(h('ul', { class: 'alerts' }), () => unalerted.value.map(({ name, state }) => `${state} ${name}`), (key) => {
    const read = () => unalerted.value.find(({ name, state }) => key === `${state} ${name}`);
    const [state, name] = /** @type {[string, string]} */ (key.split(/ (.*)/s, 2));
    return h('li', { class: `alert ${state === 'failed' ? 'bad' : 'warn'}`, 'data-row': '' }, [
      icon('system'),
      h('div', null, [
        h('p', null, h('a', { href: () => (read()?.execution_id ? runAddress(/** @type {any} */ (read()).execution_id) : address('/', { panel: 'system' })), 'data-open': '' }, componentName({ name })), ' ', h('span', { class: 'what' }, word('health', state))),
        h('p', { class: 'detail' }, () => clean(read()?.problem ?? '')),
      ]),
    ]);
  });

/** The open alerts of a job, on its page and on those of its runs; nothing where there are none. @param {string} job @param {(alert: Alert) => boolean} [isShown] */
export function alertsPanel(job, isShown = () => true) {
  const found = alertsOf(() => ({ job_id: job, limit: MOST_OF_JOB }));
  const shown = computed(() => (found.value.value?.alerts ?? []).filter(isShown));
  const count = computed(() => shown.value.length);
  return () => count.value > 0 && untracked(() => panel(t('nav.alerts'), alertRows(() => shown.value), { class: 'attention', tools: h('a', { href: address('/alerts', { job_id: job, state: 'all' }) }, t('alerts.all')) }));
}
