// The alerts: filtered by the address, acted on one by one or all that match, and the history of one of them.
import { h } from '../core/dom.js';
import { computed, signal, untracked } from '../core/signals.js';
import { address, refine, route } from '../core/router.js';
import { alertCounts, alertDetail, alertsOf, hasAlerts, readAlerts, readAlertsAgain, unalerted } from '../model/alert_lists.js';
import { link, may } from '../model/connection_state.js';
import { clean } from '../model/sanitize.js';
import * as store from '../model/store.js';
import { alertRows, componentRows, loadAlertForms } from '../components/alert_row.js';
import { icon } from '../components/icons.js';
import { choice, copyButton, empty, failure, moment, panel, runAddress, skeleton } from '../components/common.js';
import { dateAndTime, fullMoment, number } from '../i18n/format.js';
import { t, word } from '../i18n/index.js';
import { saidInWords } from '../i18n/said.js';
import { lazily } from './lazily.js';

/** @typedef {import('../types.d.ts').Alert} Alert */
/** @typedef {import('../types.d.ts').AlertChange} AlertChange */

const PAGE_ROWS = 50;
const STATES = /** @type {const} */ (['open', 'firing', 'acknowledged', 'snoozed', 'resolved']);
const KINDS = ['failed', 'lost', 'missed', 'late_start', 'too_long', 'no_success', 'silent', 'lingering', 'unscheduled', 'store', 'plugin', 'queue', 'kernel', 'leader'];
const MANUAL = 'docs/how-to/alerts.md';
const CONFIG = '[plugins.alerts]';

const notificationsButton = lazily(() => import('../components/notifications.js').then((found) => found.notificationsButton), () => null);

export function alertsView() {
  return h('div', null, () => (hasAlerts.value ? untracked(alertsPage) : untracked(withoutAlerts)));
}

/** The filters in the address. */
const filters = () => {
  const { state = 'open', kind = null, job_id = null } = route.value.query;
  return { state, kind, job_id };
};

function alertsPage() {
  const most = signal(PAGE_ROWS);
  const found = alertsOf(() => ({ ...filters(), limit: most.value }));
  const alerts = computed(() => found.value.value?.alerts ?? []);
  const total = computed(() => found.value.value?.total ?? 0);
  const opened = computed(() => route.value.query.alert ?? '');
  const isPlain = computed(() => filters().state === 'open' && !filters().kind && !filters().job_id);
  return h('div', { class: 'page' }, [
    h('header', { class: 'head' }, [
      h('h1', { tabindex: -1 }, t('nav.alerts')),
      h('span', { class: 'count num', role: 'status' }, () => found.value.value && (alerts.value.length < total.value ? t('alerts.cut', { n: number(alerts.value.length), m: number(total.value) }) : t('alerts.count', { n: number(total.value) }))),
      h('span', { class: 'spacer' }),
      notificationsButton(),
    ]),
    () => opened.value && untracked(() => alertPanel(opened.value)),
    filterBar(),
    h('div', { class: 'panel', 'aria-busy': () => found.value.loading && 'true' }, [
      () => isPlain.value && unalerted.value.length > 0 && untracked(componentRows),
      () => found.value.error && failure(found.value.error, readAlertsAgain),
      alertRows(() => alerts.value),
      () => found.value.loading && !found.value.value && skeleton(3),
      () => found.value.value && total.value === 0 && (isPlain.value ? unalerted.value.length === 0 && empty(t('alerts.none'), h('p', { class: 'hint' }, t('alerts.watched'))) : empty(t('alerts.none.match'), h('a', { href: address('/alerts') }, t('filters.clear')))),
      () => alerts.value.length < total.value && h('p', { class: 'foot' }, h('button', { type: 'button', onclick: () => (most.value += PAGE_ROWS) }, t('alerts.more'))),
    ]),
  ]);
}

function filterBar() {
  const counted = (/** @type {typeof STATES[number]} */ state) => {
    const counts = alertCounts.value;
    if (!counts || state === 'resolved') return '';
    return number(state === 'open' ? counts.firing + counts.acknowledged + counts.snoozed : counts[state]);
  };
  const choose = (/** @type {string} */ name) => (/** @type {any} */ event) => refine({ [name]: event.target.value.trim() || null });
  return h('div', { class: 'filters' }, [
    choice(t('state'), STATES.map((state) => [state, [t(`alert.state.${state}`), ' ', h('span', { class: 'num' }, () => counted(state))]]), () => filters().state, (state) => refine({ state: state === 'open' ? null : state })),
    h('select', { 'aria-label': t('alert.kinds'), onchange: choose('kind') }, [
      h('option', { value: '' }, t('alert.kinds')),
      KINDS.map((kind) => h('option', { value: kind, selected: () => filters().kind === kind }, word('kind', kind))),
    ]),
    h('label', { class: 'search' }, icon('search'), h('input', { type: 'search', 'data-search': '', 'aria-label': t('alert.of.job'), placeholder: t('alert.of.job'), list: 'jobs-of-alerts', value: () => filters().job_id ?? '', onchange: choose('job_id') })),
    h('datalist', { id: 'jobs-of-alerts' }, () => store.jobIds.value.map((id) => h('option', { value: id }, store.jobName(id)))),
    h('span', { class: 'spacer' }),
    allButtons(),
  ]);
}

/** Act on all alerts that match and can be acted on in this way: those that are listed at the moment of the click. */
function allButtons() {
  const firing = alertsOf(() => ({ ...filters(), state: 'firing', limit: 1 }));
  const count = computed(() => (may('operator') && ['open', 'firing'].includes(filters().state) ? firing.value.value?.total ?? 0 : 0));
  const act = (/** @type {string} */ text, /** @type {string} */ glyph, /** @type {(forms: Awaited<ReturnType<typeof loadAlertForms>>, alerts: Alert[]) => void} */ begin) =>
    h('button', { type: 'button', class: 'quiet', disabled: () => link.value !== 'live', onclick: async () => {
      const [forms, { alerts }] = await Promise.all([loadAlertForms(), readAlerts({ ...filters(), state: 'firing', limit: count.peek() })]);
      begin(forms, alerts);
    } }, icon(glyph), h('span', { class: 'text' }, text));
  return () => count.value > 1 && h('span', { class: 'buttons' }, [
    act(t('ack.all', { n: number(count.value) }), 'success', (forms, alerts) => forms.askAcknowledge(alerts)),
    act(t('snooze.all'), 'scheduled', (forms, alerts) => forms.askSnooze(alerts)),
  ]);
}

/** One alert and what has happened to it. @param {string} id */
function alertPanel(id) {
  const found = alertDetail(id);
  const close = h('button', { type: 'button', class: 'quiet', 'aria-label': t('close'), onclick: () => refine({ alert: null }) }, icon('close'));
  return panel(t('alert.one'), [
    () => found.value.error && failure(found.value.error, readAlertsAgain),
    () => found.value.loading && !found.value.value && skeleton(3),
    alertRows(() => (found.value.value ? [found.value.value.alert] : [])),
    () => found.value.value && h('ol', { class: 'audit changes' }, found.value.value.changes.map((change) => changeItem(change))),
  ], { class: 'opened', tools: close });
}

/** @param {AlertChange} change */
function changeItem({ what, at, actor, facts }) {
  const run = facts.execution_id;
  const more = [
    facts.count > 1 && `×${number(facts.count)}`,
    facts.why && word('resolution', facts.why),
    facts.until && !facts.withdrawn && t('alert.until', { at: fullMoment(facts.until) }),
    facts.until_next && t('alert.until.next'),
    facts.reason,
    facts.message && saidInWords(facts.said, facts.message),
  ].filter(Boolean);
  return h('li', null, [
    h('span', null, h('strong', null, facts.withdrawn ? t(what === 'snoozed' ? 'change.unsnoozed' : 'change.unacknowledged') : word('change', what)), actor && ` · ${clean(actor)}`),
    (more.length > 0 || run) && h('small', null, clean(more.join(' · ')), ' ', run && h('a', { href: runAddress(run) }, t('done.see'))),
    moment(at, dateAndTime),
  ]);
}

/** Without the plugin nothing is judged: how it is switched on, and what is known anyway. */
const withoutAlerts = () =>
  h('div', { class: 'page' }, [
    h('header', { class: 'head' }, h('h1', { tabindex: -1 }, t('nav.alerts'))),
    panel(t('alerts.off'), [
      h('p', null, t('alerts.off.text')),
      h('pre', { tabindex: 0 }, CONFIG),
      copyButton(() => CONFIG, `${t('copy')}: ${CONFIG}`),
      h('p', { class: 'hint' }, t('alerts.off.more'), ' ', h('code', null, MANUAL)),
    ]),
    () => unalerted.value.length > 0 && untracked(() => panel(t('attention'), componentRows())),
  ]);
