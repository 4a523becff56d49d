// The activity: acts of operators, deployments, logins and refusals, newest first, with their reasons.
import { each, h } from '../core/dom.js';
import { batch, computed, effect, onDispose, signal, untracked } from '../core/signals.js';
import { refine, route } from '../core/router.js';
import { get } from '../model/api.js';
import { clean } from '../model/sanitize.js';
import * as store from '../model/store.js';
import { actedOn, actKey, didWhat, whyActed } from '../components/acts.js';
import { empty, failure, moment, skeleton } from '../components/common.js';
import { copyLink } from '../components/copy_link.js';
import { filterField } from '../components/filter_field.js';
import { icon } from '../components/icons.js';
import { number, periodInWords } from '../i18n/format.js';
import { t, word } from '../i18n/index.js';

/** @typedef {import('../types.d.ts').Act} Act */

const PAGE_ACTS = 50;
const MOST_ACTS = 250; // rows; beyond that the filters lead further
const REFRESH_MS = 400; // after an act, so that many of them are read together
const ACT_FILTERS = ['actor', 'action', 'job_id', 'status', 'since'];
const PERIODS = ['1h', '24h', '7d', '30d']; // each ends now and moves on with it
const KINDS = {
  runs: ['trigger', 'cancel', 'mark_failed', 'hide', 'backfill', 'stop_backfill'],
  jobs: ['pause', 'resume', 'skip', 'unskip', 'describe', 'add', 'change', 'remove'],
  alerts: ['acknowledge', 'unacknowledge', 'snooze', 'unsnooze', 'resolve'],
  kernel: ['hold', 'release', 'deploy', 'step_down', 'accept_rollback'],
  access: ['log_in', 'log_out', 'access'],
};

/** @param {Record<string, string>} query */
const askedFor = (query) => Object.fromEntries(ACT_FILTERS.filter((key) => query[key]).map((key) => [key, query[key]]));

/** The newest acts that match, read again when there is another one; further pages on demand. */
function actList() {
  const acts = signal(/** @type {Act[]} */ ([]));
  const state = signal({ total: 0, loading: true, error: /** @type {Error | null} */ (null) });
  const filters = computed(() => JSON.stringify(askedFor(route.value.query)));
  let abort = new AbortController();

  const read = async (further = false) => {
    abort.abort();
    abort = new AbortController();
    const { signal: stop } = abort;
    state.value = { ...state.peek(), loading: true, error: null };
    try {
      const page = await get('/scheduler/history', { ...JSON.parse(filters.peek()), limit: PAGE_ACTS, offset: further ? acts.peek().length : 0 }, stop);
      batch(() => {
        acts.value = merged(acts.peek(), page.history, further);
        state.value = { total: page.total, loading: false, error: null };
      });
    } catch (error) {
      if (!stop.aborted) state.value = { ...state.peek(), loading: false, error: /** @type {Error} */ (error) };
    }
  };
  effect(() => {
    filters.value;
    store.generation.value;
    untracked(() => {
      acts.value = [];
      read();
    });
  });
  let timer = 0;
  const refresh = () => {
    timer = state.peek().loading ? setTimeout(refresh, REFRESH_MS) : 0;
    if (timer === 0) read();
  };
  const stopListening = store.onEvents((events) => {
    if (timer === 0 && events.some((event) => event.actor)) timer = setTimeout(refresh, REFRESH_MS);
  });
  onDispose(() => {
    stopListening();
    clearTimeout(timer);
    abort.abort();
  });
  return { acts, state, read };
}

/** @param {Act[]} before @param {Act[]} page @param {boolean} further whether the page follows those before */
function merged(before, page, further) {
  const known = new Set((further ? before : page).map(actKey));
  const others = (further ? page : before).filter((act) => !known.has(actKey(act)));
  if (further) return [...before, ...others].slice(0, MOST_ACTS);
  // A page without any of those before leaves a gap: then the older ones are read again on demand.
  return others.length < before.length ? [...page, ...others].slice(0, MOST_ACTS) : page;
}

export function activityView() {
  const list = actList();
  const byKey = computed(() => new Map(list.acts.value.map((act) => [actKey(act), act])));
  return h('div', { class: 'page' }, [
    h('header', { class: 'head' }, h('h1', { tabindex: -1 }, t('nav.activity')), h('span', { class: 'count num' }, () => number(list.state.value.total))),
    filters(list.acts),
    h('div', { class: 'panel table', 'aria-busy': () => list.state.value.loading && 'true' }, [
      h('table', { class: 'acts', hidden: () => list.acts.value.length === 0 }, [
        h('thead', null, h('tr', null, /** @type {const} */ (['time', 'who', 'what', 'on', 'why']).map((key) => h('th', { scope: 'col' }, t(`act.${key}`))))),
        each(h('tbody'), () => [...byKey.value.keys()], (key) => actRow(/** @type {Act} */ (byKey.peek().get(key)))),
      ]),
      () => {
        const { loading, error, total } = list.state.value;
        const shown = list.acts.value.length;
        if (error) return failure(error, () => list.read(shown > 0));
        if (shown === 0) return loading ? skeleton(5) : empty(t(isFiltered() ? 'activity.none' : 'activity.nobody'), isFiltered() && clearButton());
        if (shown >= MOST_ACTS) return h('p', { class: 'foot quiet-line' }, t('activity.cut', { n: number(shown), m: number(total) }));
        return shown < total && h('p', { class: 'foot' }, h('button', { disabled: loading, onclick: () => list.read(true) }, t(loading ? 'loading' : 'runs.more')));
      },
    ]),
  ]);
}

/** @param {Act} act */
const actRow = (act) =>
  h('tr', { class: act.status === 'failed' ? 'refused' : '' }, [
    h('td', { class: 'num faint', 'data-label': t('act.time') }, moment(act.timestamp)),
    h('th', { scope: 'row' }, h('button', { class: 'quiet name', type: 'button', title: t('activity.only', { who: clean(act.actor) }), onclick: () => refine({ actor: act.actor }) }, clean(act.actor))),
    h('td', { 'data-label': t('act.what') }, didWhat(act)),
    h('td', { 'data-label': t('act.on') }, actedOn(act)),
    h('td', { class: 'why', 'data-label': whyActed(act) ? t('act.why') : null }, whyActed(act)),
  ]);

const isFiltered = () => ACT_FILTERS.some((key) => route.value.query[key]);
const clearButton = () => h('button', { class: 'quiet', type: 'button', onclick: () => refine(Object.fromEntries(ACT_FILTERS.map((key) => [key, null]))) }, icon('close'), t('filters.clear'));

/** @param {{ value: Act[] }} acts */
function filters(acts) {
  const query = () => route.value.query;
  const seen = (/** @type {'actor' | 'job_id'} */ key) => [...new Set(acts.value.map((act) => act[key]))].filter(Boolean).sort();
  const select = (/** @type {string} */ key, /** @type {string} */ name, /** @type {any} */ options) =>
    h('select', { 'aria-label': name, value: () => query()[key] ?? '', onchange: (/** @type {any} */ event) => refine({ [key]: event.target.value || null }) }, options);
  const option = (/** @type {string} */ key, /** @type {string} */ value, /** @type {string} */ text) => h('option', { value, selected: untracked(query)[key] === value }, text);
  return h('div', { class: 'filters', role: 'search' }, [
    filterField('actor', t('activity.actor'), () => seen('actor')),
    filterField('job_id', t('col.job'), () => seen('job_id')),
    select('action', t('act.what'), [h('option', { value: '' }, t('activity.any')), Object.entries(KINDS).map(([kind, actions]) =>
      h('optgroup', { label: t(/** @type {any} */ (`activity.${kind}`)) }, actions.map((action) => option('action', action, word('audit', action)))))]),
    select('since', t('runs.since'), () => [
      h('option', { value: '' }, t('runs.any.time')),
      query().since && !PERIODS.includes(query().since.slice(1)) && option('since', query().since, periodInWords({ since: query().since })),
      PERIODS.map((key) => option('since', `-${key}`, t('runs.last', { t: t(/** @type {any} */ (`window.${key}`)) }))),
    ]),
    h('button', { type: 'button', 'aria-pressed': () => String(query().status === 'failed'), onclick: () => refine({ status: query().status === 'failed' ? null : 'failed' }) }, t('activity.refused')),
    () => isFiltered() && clearButton(),
    copyLink(),
  ]);
}
