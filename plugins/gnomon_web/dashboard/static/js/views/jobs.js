// All jobs: schedules, recent runs, and bulk actions.
import { each, h } from '../core/dom.js';
import { computed, effect, signal } from '../core/signals.js';
import { address, refine, route } from '../core/router.js';
import { may } from '../model/connection_state.js';
import * as store from '../model/store.js';
import { spark } from '../charts/sparkline.js';
import { askAllPaused, pauseButton, triggerButton } from '../components/actions.js';
import { cancelRunsOfButton } from '../components/operator_actions.js';
import { newJobButton } from '../components/job_actions.js';
import { icon } from '../components/icons.js';
import { subject, ofJob } from '../components/menu.js';
import { badge, choice, empty, moment } from '../components/common.js';
import { duration, relative } from '../i18n/format.js';
import { t } from '../i18n/index.js';
import { scheduleInWords } from '../i18n/schedule.js';

/** @typedef {import('../types.d.ts').Job} Job */
/** @typedef {{ value: ReadonlySet<string>, peek(): ReadonlySet<string> }} Picked ids of the selected jobs */

/** @type {Record<string, (job: Job) => boolean>} */
const JOB_STATES = {
  active: (job) => !job.paused,
  paused: (job) => job.paused,
  failing: (job) => job.last_execution?.status === 'failed',
  running: (job) => job.running.length > 0,
};

/** Whether a job matches the filters. @param {Job} job @param {Record<string, string>} query */
export function matchesFilters(job, { q = '', status = '', tag = '' }) {
  const text = `${job.id} ${job.name} ${job.display_name} ${job.description} ${(job.tags ?? []).join(' ')}`.toLowerCase();
  return text.includes(q.toLowerCase()) && (JOB_STATES[status]?.(job) ?? true) && (tag === '' || (job.tags ?? []).includes(tag));
}

export function jobsView() {
  const wanted = computed(() => store.jobIds.value.filter((id) => {
    const job = store.jobOf(id);
    return job !== null && matchesFilters(job, route.value.query);
  }).join(' '));
  const ids = () => (wanted.value === '' ? [] : wanted.value.split(' '));
  const tags = computed(() => [...new Set(store.jobIds.value.flatMap((id) => store.jobOf(id)?.tags ?? []))].sort().join(' '));
  const chosen = () => route.value.query.status ?? '';
  const picked = signal(/** @type {ReadonlySet<string>} */ (new Set()));
  return h('div', { class: 'page' }, [
    h('header', { class: 'head' }, h('h1', { tabindex: -1 }, t('nav.jobs')), h('span', { class: 'count num' }, () => ids().length), h('span', { class: 'spacer' }), bulk(ids, picked), newJobButton()),
    h('div', { class: 'filters', role: 'search' }, [
      searchField(t('jobs.search')),
      choice(t('state'), [['', t('all')], ...Object.keys(JOB_STATES).map((state) => /** @type {[string, any]} */ ([state, t(/** @type {any} */ (`jobs.${state}`))]))], chosen, (state) => refine({ status: state || null })),
      () => tags.value !== '' && tagSelect(tags.value.split(' ')),
    ]),
    h('div', { class: 'panel table' }, [
      h('table', { class: 'jobs' }, [
        h('thead', null, h('tr', null, ['job', 'schedule', 'next', 'last', 'recent', 'actions'].map((key) => h('th', { scope: 'col' }, key === 'actions' ? h('span', { class: 'sr' }, t('col.actions')) : t(/** @type {any} */ (`col.${key}`)))))),
        each(h('tbody'), ids, (id) => jobRow(id, picked)),
      ]),
      () => wanted.value === '' && empty(t('jobs.none'), h('button', { onclick: () => refine({ q: null, status: null, tag: null }) }, t('filters.clear'))),
    ]),
  ]);
}

/** A search field. Its text goes into the address after 150 ms; other changes of the address go into the field. @param {string} placeholder */
export function searchField(placeholder) {
  let timer = 0;
  const type = (/** @type {any} */ event) => {
    clearTimeout(timer);
    timer = setTimeout(() => refine({ q: event.target.value || null }, { replace: true }), 150);
  };
  const input = h('input', { type: 'search', placeholder, 'aria-label': placeholder, oninput: type, 'data-search': '' });
  effect(() => {
    const { q = '' } = route.value.query;
    if (document.activeElement === input) return;
    clearTimeout(timer);
    input.value = q;
  });
  return h('label', { class: 'search' }, icon('search'), input);
}

/** @param {string[]} tags */
const tagSelect = (tags) =>
  h('select', { 'aria-label': t('jobs.tag'), onchange: (/** @type {any} */ event) => refine({ tag: event.target.value || null }) }, [
    h('option', { value: '' }, t('jobs.tag.all')),
    tags.map((tag) => h('option', { value: tag, selected: route.peek().query.tag === tag }, tag)),
  ]);

/** Pause or resume the selected jobs, else all that the filter shows. @param {() => string[]} ids @param {Picked} picked */
const bulk = (ids, picked) => () => {
  if (!may('operator')) return null;
  const chosen = ids().filter((id) => picked.value.has(id));
  const [active, paused] = [true, false].map((state) => (chosen.length ? chosen : ids()).filter((id) => store.jobOf(id)?.paused === !state));
  const least = chosen.length ? 1 : 2;
  return h('div', { class: 'buttons' }, [
    chosen.length > 0 && h('button', { class: 'quiet', onclick: () => (picked.value = new Set()) }, icon('close'), t('selected', { n: chosen.length })),
    active.length >= least && h('button', { class: 'quiet', onclick: () => askAllPaused(active, true) }, icon('paused'), t('pause.all.n', { n: active.length })),
    cancelRunsOfButton(() => (chosen.length ? chosen : ids())),
    paused.length >= least && h('button', { class: 'quiet', onclick: () => askAllPaused(paused, false) }, icon('play'), t('resume.all.n', { n: paused.length })),
  ]);
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

/** @param {string} id @param {Picked} picked */
function jobRow(id, picked) {
  let last = /** @type {Job} */ (store.jobOf(id));
  const job = () => (last = store.jobOf(id) ?? last); // a removed job stays until its row is removed
  return h('tr', { class: () => (job().paused ? 'paused' : ''), 'data-row': id, ref: subject(() => ofJob(job())) }, [
    h('th', { scope: 'row' }, [
      () => may('operator') && pickBox(id, picked),
      h('a', { href: address(`/jobs/${encodeURIComponent(id)}`), 'data-open': '' }, () => store.jobName(id)),
      h('small', { class: 'mono' }, id),
    ]),
    h('td', { class: 'schedule', 'data-label': t('col.schedule') }, () => scheduleInWords(job())),
    h('td', { class: 'num', 'data-label': t('col.next') }, () => (job().paused ? badge('paused') : job().next_run_time ? moment(job().next_run_time, relative) : '–')),
    h('td', { class: 'num', 'data-label': t('col.last') }, () => lastRun(job())),
    h('td', { 'data-label': t('col.recent') }, () => spark(recentOf(id))),
    h('td', { class: 'actions' }, h('div', { class: 'buttons' }, triggerButton(job, 'small'), pauseButton(job, 'small'))),
  ]);
}

/** @param {Job} job */
function lastRun(job) {
  if (job.running.length > 0) return badge('running');
  const last = job.last_execution;
  if (!last) return h('span', { class: 'faint' }, t('never'));
  return h('div', { class: 'last' }, badge(last.status), h('small', null, moment(last.timestamp, relative), last.execution_time === null ? '' : ` · ${duration(last.execution_time)}`));
}

/** @param {string} id */
const recentOf = (id) =>
  store.finishedIds.value
    .map((run) => store.runs.get(run)?.peek())
    .filter((run) => run !== undefined && run.job_id === id && run.status !== 'missed')
    .map((run) => /** @type {store.Run} */ (run));
