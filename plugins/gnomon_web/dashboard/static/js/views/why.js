// Why a run ended as it did, or what happened at a time of a job: what the log says, and what is different from the last success.
import { h } from '../core/dom.js';
import { computed, untracked } from '../core/signals.js';
import { past } from '../core/past.js';
import { address, refine, route } from '../core/router.js';
import { fetched } from '../model/fetched.js';
import * as store from '../model/store.js';
import { betweenPanel, differencePanels, whyAddress } from '../components/run_difference.js';
import { icon } from '../components/icons.js';
import { empty, failure, jobLink, moment, nothingHere, panel, runAddress, runBadge, skeleton } from '../components/common.js';
import { duration, momentIn, shortMoment } from '../i18n/format.js';
import { t } from '../i18n/index.js';
import { saidInWords } from '../i18n/said.js';
import { errorPanel } from './error.js';

/** @typedef {import('../types.d.ts').Run} Run */

/** @param {string} id of a run */
export function whyView(id) {
  const path = `/scheduler/executions/${encodeURIComponent(id)}`;
  const version = () => store.runOf(id)?.version;
  const other = computed(() => route.value.query.to ?? '');
  const explained = fetched(() => `${path}/explain`, version);
  const compared = fetched(() => `${path}/difference`, version, () => ({ to: other.value }));
  const run = computed(() => /** @type {Run | null} */ (compared.value.value?.run ?? null));
  const isUnknown = () => /** @type {any} */ (explained.value.error)?.status === 404;
  return h('div', null, () => (isUnknown() ? nothingHere(t('run.unknown'), t('run.unknown.text')) : [
    crumbs(() => [h('a', { href: runAddress(id) }, icon('back'), t('why.run')), run.value && [h('span', { 'aria-hidden': 'true' }, '/'), jobLink(run.value.job_id, store.jobName(run.value.job_id))]]),
    h('div', { class: 'page why' }, [
      h('header', { class: 'head' }, h('h1', { tabindex: -1 }, () => t('why.title', { j: run.value ? store.jobName(run.value.job_id) : '' })), () => run.value && runBadge(run.value)),
      () => run.value?.status === 'failed' && errorPanel(run.value),
      () => run.value && untracked(() => otherRun(/** @type {Run} */ (run.value))),
      h('div', { class: 'columns' }, [
        h('div', { class: 'wide' }, [() => shown(explained, (found) => explanation(found, id)), () => shown(compared, (found) => differencePanels(found, other.value === ''))]),
        h('div', { class: 'narrow' }, () => compared.value.value && betweenPanel(compared.value.value)),
      ]),
    ]),
  ]));
}

/** Which run to compare with: the last success, or one of the newest runs of the job. @param {Run} run */
function otherRun(run) {
  const recent = fetched(() => `/scheduler/jobs/${encodeURIComponent(run.job_id)}/executions`, () => run.job_id, () => ({ limit: 50 }));
  const wanted = computed(() => route.value.query.to ?? '');
  const choices = () => {
    const others = (recent.value.value?.items ?? []).filter((/** @type {Run} */ one) => one._id !== run._id && one.status !== 'scheduled');
    const known = others.some((/** @type {Run} */ one) => one._id === wanted.value);
    return [['', t('difference.success')], ...(wanted.value && !known ? [[wanted.value, wanted.value]] : []), ...others.map((/** @type {Run} */ one) => [one._id, `${shortMoment(one.timestamp)} · ${t(`status.${one.status}`)} · ${duration(one.execution_time)}`])];
  };
  return h('p', { class: 'filters' }, h('label', null, t('difference.to'), ' ', () => h('select', { onchange: (/** @type {any} */ event) => refine({ to: event.target.value || null }) }, choices().map(([value, text]) => h('option', { value, selected: value === wanted.value }, text)))));
}

/** @param {string} id of a job; the time is in the address */
export function whyOfJobView(id) {
  const fire = () => route.value.query.fire ?? '';
  const explained = fetched(() => `/scheduler/jobs/${encodeURIComponent(id)}/explain`, fire, () => ({ at: fire() || past.peek() }));
  const ask = (/** @type {any} */ event) => {
    event.preventDefault();
    refine({ fire: new FormData(event.target).get('fire') || null });
  };
  return h('div', { class: 'page why' }, [
    crumbs(() => h('a', { href: address(`/jobs/${encodeURIComponent(id)}`) }, icon('back'), store.jobName(id))),
    h('header', { class: 'head' }, h('h1', { tabindex: -1 }, t('why.title', { j: store.jobName(id) }))),
    h('form', { class: 'filters', onsubmit: ask }, [
      h('label', null, t('why.time'), ' ', h('input', { name: 'fire', value: fire(), placeholder: '2026-12-01T03:00' })),
      h('button', { type: 'submit' }, t('why.ask')),
      h('small', null, t('why.time.hint')),
    ]),
    () => shown(explained, (found) => [explanation(found, ''), nearest(id, found)]),
  ]);
}

/** @param {() => any} content */
const crumbs = (content) => h('nav', { class: 'crumbs', 'aria-label': t('crumbs') }, content);

/** @param {{ value: { value: any, error: Error | null, again: () => void } }} read @param {(found: any) => any} show */
function shown(read, show) {
  const { value, error, again } = read.value;
  if (error) return failure(error, again);
  return value ? show(value) : skeleton(4);
}

/** What the log says, in the language of the page, with links to the runs that it names. @param {{ sentences: string[], statements?: import('../types.d.ts').Statement[], timezone: string }} found @param {string} own the run of this page */
function explanation(found, own) {
  const said = found.sentences.map((english, index) => saidInWords(found.statements?.[index], english, (at) => momentIn(found.timezone, at)));
  const sentences = said.length > 0 ? h('div', { class: 'sentences' }, said.map((one) => h('p', null, linked(one, own)))) : empty(t('why.nothing'));
  return panel(t('why.log'), [sentences, h('p', { class: 'quiet-line' }, t('why.zone', { zone: found.timezone }))]);
}

const RUN_ID = /([0-9a-f]{24})/;

/** @param {string} text @param {string} own */
const linked = (text, own) => text.split(RUN_ID).map((part, index) => (index % 2 === 1 && part !== own ? h('a', { class: 'mono', href: runAddress(part) }, part) : part));

/** The runs of the time that was asked about, and the nearest fires where there are none. @param {string} id @param {{ fires: any[], before: string | null, after: string | null }} found */
function nearest(id, found) {
  const runs = found.fires.flatMap((fire) => fire.executions);
  const near = [found.before, runs.length === 0 ? found.after : null].filter(Boolean);
  return [
    runs.length > 0 && panel(t('nav.runs'), h('ul', { class: 'run-list' }, runs.map((run) => h('li', null, [runBadge(run), h('a', { href: runAddress(run._id) }, moment(run.timestamp)), h('a', { class: 'why', href: whyAddress(run._id) }, t('why'))])))),
    near.length > 0 && h('p', { class: 'buttons' }, near.map((at) => h('a', { href: address(`/jobs/${encodeURIComponent(id)}/why`, { fire: at }) }, t('why.near', { at: /** @type {string} */ (at) })))),
  ];
}
