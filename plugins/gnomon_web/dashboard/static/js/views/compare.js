// Two periods side by side, by default this week and the last: how long, how often and how late, the jobs that changed most first.
import { h } from '../core/dom.js';
import { computed } from '../core/signals.js';
import { address, refine, route } from '../core/router.js';
import { fetched } from '../model/fetched.js';
import { clean } from '../model/sanitize.js';
import * as store from '../model/store.js';
import { icon } from '../components/icons.js';
import { choice, empty, failure, jobLink, moment, panel, skeleton } from '../components/common.js';
import { dateAndTime, duration, fullMoment, number, percent } from '../i18n/format.js';
import { t, word } from '../i18n/index.js';

/** @typedef {{ success: number, failed: number, missed: number, cancelled: number, starts: number, success_rate: number | null, p50: number | null, p95: number | null, lateness_p50: number | null, lateness_p95: number | null }} Figures */
/** @typedef {{ p50: number | null, p95: number | null, success_rate: number | null, lateness_p95: number | null }} Shift */
/** @typedef {{ at: string, what: string, actor: string | null, detail: string | null, keys: string[] }} Change */
/** @typedef {{ job_id: string | null, name: string | null, period: Figures, other: Figures, shift: Shift, too_few: string[], findings: string[], changes: Change[], changes_total: number, complete_from: string | null }} Row */
/** @typedef {{ from: string, to: string, other_from: string, other_to: string, all: Row, jobs: Row[], cut: number, least: Record<string, number>, quantile_error: number }} Comparison */

const SPANS = ['24h', '7d', '30d'];
const DEFAULT_SPAN = '7d';

export function compareView() {
  const span = computed(() => route.value.query.span ?? DEFAULT_SPAN);
  const job = computed(() => route.value.query.job ?? '');
  const found = fetched(() => '/scheduler/compare', () => [span.value, job.value], () => ({ span: span.value, job_id: job.value }));
  return h('div', { class: 'page compare' }, [
    h('nav', { class: 'crumbs', 'aria-label': t('crumbs') }, () => (job.value ? h('a', { href: address(`/jobs/${encodeURIComponent(job.value)}`) }, icon('back'), store.jobName(job.value)) : h('a', { href: address('/jobs') }, icon('back'), t('nav.jobs')))),
    h('header', { class: 'head' }, h('h1', { tabindex: -1 }, t('compare')), h('span', { class: 'spacer' }), choice(t('compare.span'), SPANS.map((one) => [one, word('compare.span', one)]), () => span.value, (value) => refine({ span: value === DEFAULT_SPAN ? null : value }))),
    () => {
      const { value, error, again } = found.value;
      if (/** @type {any} */ (error)?.status === 404) return empty(t(job.value ? 'job.gone' : 'compare.absent', { id: job.value }));
      if (error) return failure(error, again);
      return value ? comparison(value) : skeleton(5);
    },
  ]);
}

/** @param {Comparison} found */
function comparison(found) {
  const period = (/** @type {string} */ from, /** @type {string} */ to) => [moment(from, dateAndTime), ' – ', moment(to, dateAndTime)];
  const rows = found.jobs.length > 1 ? [found.all, ...found.jobs] : found.jobs;
  return panel(t('compare.periods'), [
    h('p', { class: 'quiet-line' }, t('compare.this'), ': ', period(found.from, found.to), '. ', t('compare.before'), ': ', period(found.other_from, found.other_to), '.'),
    found.jobs.length === 0 ? empty(t('compare.none')) : h('div', { class: 'scroll', tabindex: 0, role: 'group', 'aria-label': t('compare') }, table(rows)),
    found.cut > 0 && h('p', { class: 'quiet-line' }, t('compare.cut', { n: found.cut })),
    h('p', { class: 'quiet-line' }, t('compare.how', { p50: found.least.p50, p95: found.least.p95, error: percent(found.quantile_error) })),
  ]);
}

const COLUMNS = /** @type {const} */ (['runs', 'success_rate', 'p50', 'p95', 'lateness_p95']);

/** @param {Row[]} rows */
const table = (rows) =>
  h('table', null, [
    h('caption', { class: 'sr' }, t('compare')),
    h('thead', null, h('tr', null, [h('th', { scope: 'col' }, t('col.job')), COLUMNS.map((column) => h('th', { scope: 'col' }, t(`compare.${column}`))), h('th', { scope: 'col' }, t('compare.found'))])),
    h('tbody', null, rows.map(line)),
  ]);

/** @param {Row} row */
function line(row) {
  const ended = (/** @type {Figures} */ one) => one.success + one.failed + one.missed + one.cancelled;
  const isBoth = ended(row.period) > 0 && ended(row.other) > 0; // else there is nothing to compare with, which the finding says
  const few = (/** @type {string} */ measure) => row.too_few.includes(measure) && h('small', { class: 'faint' }, t('compare.few'));
  const cell = (/** @type {string} */ measure, /** @type {any} */ now, /** @type {any} */ before, /** @type {any} */ shift) => h('td', { class: 'num' }, [h('span', null, now), (isBoth || measure === 'runs') && h('small', null, t('compare.was', { v: before })), (isBoth && few(measure)) || (shift && h('strong', null, shift))]);
  const { period, other, shift } = row;
  return h('tr', { class: row.job_id === null ? 'all' : null }, [
    h('th', { scope: 'row' }, row.job_id === null ? t('compare.all') : jobLink(row.job_id, clean(row.name ?? row.job_id)), row.changes.map(mark), row.changes_total > row.changes.length && h('small', null, t('compare.changes.more', { n: row.changes_total - row.changes.length })), row.complete_from && h('small', null, t('compare.incomplete', { at: fullMoment(row.complete_from) }))),
    cell('runs', number(ended(period)), number(ended(other)), ''),
    cell('success_rate', rate(period.success_rate), rate(other.success_rate), !shift.success_rate ? '' : t('compare.points', { n: signed(shift.success_rate * 100) })),
    cell('p50', duration(period.p50), duration(other.p50), factor(shift.p50)),
    cell('p95', duration(period.p95), duration(other.p95), factor(shift.p95)),
    cell('lateness_p95', duration(period.lateness_p95), duration(other.lateness_p95), !shift.lateness_p95 ? '' : `${shift.lateness_p95 < 0 ? '−' : '+'}${duration(Math.abs(shift.lateness_p95))}`),
    h('td', null, row.findings.map((one) => h('span', { class: `badge ${GRAVE.has(one) ? 'warn' : 'success'}` }, word('compare.finding', one)))),
  ]);
}

const GRAVE = new Set(['slower', 'fails_more', 'later', 'gone']);

/** A change of the definition, within the periods. @param {Change} change */
const mark = (change) => h('small', { class: 'change' }, icon('edit'), t('compare.change', { at: dateAndTime(change.at), what: change.keys.length > 0 ? change.keys.map(clean).join(', ') : word('audit', change.what), who: clean(change.actor ?? '–') }));

/** @param {number | null} share */
const rate = (share) => (share === null ? '–' : percent(share));

/** @param {number} value */
const signed = (value) => number(value, { signDisplay: 'exceptZero', maximumFractionDigits: 1 });

/** @param {number | null} value */
const factor = (value) => (value === null || Math.abs(value - 1) < 0.005 ? '' : `×${number(value, { maximumFractionDigits: 2 })}`);
