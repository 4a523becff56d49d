// What is different about two runs of a job, as the server has found it.
import { h } from '../core/dom.js';
import { address } from '../core/router.js';
import { clean } from '../model/sanitize.js';
import { waterfall, waterfallTable } from '../charts/waterfall.js';
import { duration, number, relative } from '../i18n/format.js';
import { t, word } from '../i18n/index.js';
import { empty, moment, panel, runAddress, runBadge } from './common.js';

/** @typedef {import('../types.d.ts').Run} Run */
/** @typedef {{ name: string, value: any, other: any }} Changed */
/** @typedef {{ number: number, level: string, text: string }} Line */
/** @typedef {{ same: number, line: Line | null, other: Line | null, new: Line[], new_total: number, first_kept: number | null, other_first_kept: number | null }} LogDifference */
/** @typedef {{ at: string, what: string, actor: string | null, detail: string | null, keys: string[], execution_id: string | null }} Act */
/** @typedef {{ run: Run, other: Run | null, arguments: Changed[], labels: Changed[], definition: Changed[], place: Changed[], steps: import('../charts/waterfall.js').StepPair[], log: LogDifference | null, between: Act[], between_total: number }} Difference */

/** @param {Difference} found @param {boolean} isLastSuccess whether the other run is the last success, as it is by default */
export function differencePanels(found, isLastSuccess) {
  const { run, other } = found;
  const title = t(isLastSuccess ? 'difference' : 'difference.with');
  if (other === null) return panel(title, empty(t('difference.none')));
  return [
    panel(title, [twoRuns(run, other), changedValues(found)]),
    found.steps.length > 0 && panel(t('run.steps'), [waterfall(found.steps, true), h('p', { class: 'legend' }, h('i', { class: 'own' }), t('difference.this'), h('i', { class: 'other' }), t('difference.other')), waterfallTable(() => found.steps, true)]),
    found.log && panel(t('difference.log'), logDifference(found.log)),
  ];
}

/** @param {Difference} found */
export const betweenPanel = (found) => found.other && panel(t('difference.between'), between(found));

/** @param {Run} run @param {Run} other */
function twoRuns(run, other) {
  const row = (/** @type {string} */ name, /** @type {(one: Run) => any} */ cell) => h('tr', null, h('th', { scope: 'row' }, name), h('td', null, cell(run)), h('td', null, cell(other)));
  const late = (/** @type {Run} */ one) => one.delay ?? null;
  return h('div', { class: 'scroll', tabindex: 0, role: 'group', 'aria-label': t('difference') }, h('table', { class: 'two' }, [
    h('thead', null, h('tr', null, h('td', null), h('th', { scope: 'col' }, t('difference.this')), h('th', { scope: 'col' }, t('difference.other')))),
    h('tbody', null, [
      row(t('fact.id'), (one) => h('a', { class: 'mono', href: runAddress(one._id) }, one._id)),
      row(t('col.status'), (one) => runBadge(one)),
      row(t('col.started'), (one) => moment(one.timestamp)),
      row(t('col.duration'), (one) => h('span', { class: 'num' }, duration(one.execution_time))),
      row(t('fact.late'), (one) => h('span', { class: 'num' }, duration(late(one)))),
    ]),
  ]));
}

/** @param {Difference} found */
function changedValues(found) {
  const groups = /** @type {[string, Changed[]][]} */ ([['parameters', found.arguments], ['fact.labels', found.labels], ['definition', found.definition], ['difference.place', found.place]]);
  const same = groups.filter(([, changed]) => changed.length === 0).map(([key]) => t(/** @type {any} */ (key)));
  const value = (/** @type {any} */ one) => (one === null ? h('span', { class: 'faint' }, '–') : h('code', { class: 'long' }, clean(typeof one === 'string' ? one : JSON.stringify(one))));
  return [
    groups.filter(([, changed]) => changed.length > 0).map(([key, changed]) => [
      h('h3', null, t(/** @type {any} */ (key))),
      h('div', { class: 'scroll', tabindex: 0, role: 'group', 'aria-label': t(/** @type {any} */ (key)) }, h('table', { class: 'two' }, [
        h('thead', { class: 'sr' }, h('tr', null, h('td', null), h('th', { scope: 'col' }, t('difference.this')), h('th', { scope: 'col' }, t('difference.other')))),
        h('tbody', null, changed.map((one) => h('tr', null, h('th', { scope: 'row' }, clean(one.name)), h('td', null, value(one.value)), h('td', null, value(one.other))))),
      ])),
    ]),
    same.length > 0 && h('p', { class: 'quiet-line' }, t('difference.same', { what: same.join(t('list.comma')) })),
  ];
}

/** @param {LogDifference} log */
function logDifference(log) {
  const isCut = (log.first_kept ?? 1) > 1 || (log.other_first_kept ?? 1) > 1;
  const line = (/** @type {string} */ whose, /** @type {Line | null} */ one) => h('div', null, h('dt', null, whose), h('dd', null, one ? h('code', { class: `long ${one.level}` }, `${number(one.number)}  ${clean(one.text)}`) : h('span', { class: 'faint' }, t('difference.log.over'))));
  return [
    log.line === null && log.other === null
      ? h('p', { class: 'quiet-line' }, t('difference.log.same', { n: log.same }))
      : [h('p', null, t('difference.log.first', { n: log.same })), h('dl', { class: 'facts' }, line(t('difference.this'), log.line), line(t('difference.other'), log.other))],
    log.new.length > 0 && [h('h3', null, t('difference.log.new', { n: log.new_total })), h('pre', { class: 'log-lines', tabindex: 0 }, log.new.map((one) => h('span', { class: one.level }, `${number(one.number)}  ${clean(one.text)}\n`)))],
    h('p', { class: 'quiet-line' }, t('difference.log.how'), isCut && ` ${t('difference.log.cut', { n: number(Math.max(log.first_kept ?? 1, log.other_first_kept ?? 1)) })}`),
  ];
}

/** @param {Difference} found */
function between(found) {
  if (found.between.length === 0) return h('p', { class: 'quiet-line' }, t('difference.between.none'));
  const left = found.between_total - found.between.length;
  return [
    left > 0 && h('p', { class: 'quiet-line' }, t('difference.between.more', { n: left })),
    h('ul', { class: 'audit' }, found.between.map((act) => h('li', null, [
      h('span', null, act.actor && [h('strong', null, clean(act.actor)), ' '], act.execution_id ? h('a', { href: runAddress(act.execution_id) }, word('audit', act.what)) : word('audit', act.what), act.keys.length > 0 && `: ${act.keys.map(clean).join(', ')}`),
      act.detail && h('small', null, clean(act.detail)),
      moment(act.at, relative),
    ]))),
  ];
}

/** The address of the comparison of two runs. @param {string} run @param {string} [to] */
export const whyAddress = (run, to) => address(`/runs/${encodeURIComponent(run)}/why`, { to });
