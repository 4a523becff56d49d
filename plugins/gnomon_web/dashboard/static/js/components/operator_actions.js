// The acts on single fires, past fires, many runs and the whole kernel. Their dialogs are loaded with the first of them.
import { h } from '../core/dom.js';
import { computed, signal } from '../core/signals.js';
import * as commands from '../model/commands.js';
import { get, post } from '../model/api.js';
import { link, may } from '../model/connection_state.js';
import { clean } from '../model/sanitize.js';
import { RUN_FIELDS, textOf } from '../model/query_text.js';
import * as store from '../model/store.js';
import { fullMoment, number, relative } from '../i18n/format.js';
import { t, withWords } from '../i18n/index.js';
import { moment } from './common.js';
import { ask } from './dialog.js';
import { icon } from './icons.js';
import { toast } from './toasts.js';

/** @typedef {import('../types.d.ts').Job} Job */
/** @typedef {import('../types.d.ts').Run} Run */
/** @typedef {import('../types.d.ts').Skipped} Skipped */

const loadForms = () => withWords(import('./operator_forms.js'));

/** What the module of the dialogs gets. */
const desk = { number, runText: (/** @type {any} */ query) => textOf(query, RUN_FIELDS), h, t, signal, moment, fullMoment, clean, ask, toast, get, post, send: commands.operate, jobName: store.jobName };

/** @param {string} text @param {string} glyph @param {() => unknown} act @param {{ name?: string, look?: string }} [more] */
const actButton = (text, glyph, act, { name, look = 'quiet' } = {}) =>
  h('button', { type: 'button', class: look, 'aria-label': name ? `${text}: ${name}` : null, disabled: () => link.value !== 'live', onclick: act }, icon(glyph), h('span', { class: 'text' }, text));

const WITH_FIRES = ['cron', 'every', 'at', 'trigger', 'schedules'];

/** Skip a fire, or run past ones, of a job that has a schedule. @param {() => Job | null} read @param {() => string[]} times */
export function scheduleButtons(read, times) {
  const id = computed(() => (may('operator') && WITH_FIRES.some((key) => key in (read()?.trigger_config ?? {})) ? read()?.id : undefined));
  return () => id.value !== undefined && h('span', { class: 'buttons' }, [
    actButton(t('fire.skip'), 'forth', async () => (await loadForms()).askSkip(desk, /** @type {Job} */ (read()), times())),
    actButton(t('backfill'), 'rewind', async () => (await loadForms()).askBackfill(desk, /** @type {Job} */ (read()))),
  ]);
}

/** A fire that does not run, with the way back. @param {string} id @param {Skipped} skipped */
export const skippedFire = (id, skipped) =>
  h('li', { class: 'skipped' }, [
    h('span', null, h('s', null, moment(skipped.scheduled_time)), ' ', t('fire.skipped', { who: clean(skipped.actor ?? '–') }), skipped.reason && h('small', null, clean(skipped.reason))),
    may('operator') && actButton(t('fire.undo'), 'back', async () => (await loadForms()).undoSkip(desk, id, skipped), { name: fullMoment(skipped.scheduled_time) }),
  ]);

/** How far the backfill of a job is, while it has one. @param {() => Job | null} read */
export function backfillProgress(read) {
  const span = computed(() => (read()?.backfill ? `${read()?.backfill?.from} ${read()?.backfill?.to}` : ''));
  const all = () => read()?.backfill?.fires ?? null;
  const done = () => (read()?.backfill ? /** @type {any} */ (read()).backfill.runs + /** @type {any} */ (read()).backfill.left_out : 0);
  return () => {
    if (span.value === '') return null;
    const [from, to] = span.value.split(' ');
    return h('div', { class: 'backfill' }, [
      h('p', null, h('strong', null, t('backfill')), ' ', moment(from), ' – ', moment(to)),
      h('progress', { 'aria-label': t('backfill'), max: () => all(), value: () => (all() === null ? 0 : done()) }),
      h('p', { class: 'num' }, () => t('backfill.done', { n: number(done()), m: all() === null ? '?' : number(/** @type {number} */ (all())) })),
      may('operator') && actButton(t('backfill.stop'), 'stop', async () => (await loadForms()).askStopBackfill(desk, /** @type {Job} */ (read())), { look: 'quiet danger' }),
    ]);
  };
}

const heldNow = computed(() => JSON.stringify(store.health.value.hold ?? null));

/** Shown on all pages and to everyone while no job fires. */
export const holdBanner = () => () => {
  const hold = JSON.parse(heldNow.value);
  return hold && h('div', { class: 'lost-banner held', role: 'status' }, [
    icon('paused'),
    h('p', null, h('strong', null, t('held')), ' ', t('held.by', { who: clean(hold.actor ?? '–') }), ' ', moment(hold.since, relative), hold.reason && `: ${clean(hold.reason)}`),
    () => may('operator') && actButton(t('release'), 'play', async () => (await loadForms()).askHold(desk, false), { look: '' }),
  ]);
};

export const holdButton = () => () => may('operator') && heldNow.value === 'null' && actButton(t('hold'), 'paused', async () => (await loadForms()).askHold(desk, true), { look: 'danger' });

/** Cancel the runs that these jobs have now. @param {() => string[]} ids */
export function cancelRunsOfButton(ids) {
  const runs = () => ids().flatMap((id) => {
    const job = store.jobOf(id);
    return [...(job?.running ?? []), ...(job?.waiting ?? [])].map((run) => ({ _id: run, job_id: id }));
  });
  const count = computed(() => (may('operator') ? runs().length : 0));
  return () => count.value > 0 && actButton(t('cancel.all.n', { n: count.value }), 'stop', async () => (await loadForms()).askCancelAll(desk, runs()), { look: 'quiet danger' });
}

/** @typedef {Record<string, string>} Query of the address */

/** Cancel all unfinished runs that match the filters of a list. @param {() => number} count known to the page @param {() => Query} query */
export function cancelMatchingButton(count, query) {
  const shown = computed(() => (may('operator') ? count() : 0));
  return () => shown.value > 0 && actButton(t('cancel.all'), 'stop', async () => (await loadForms()).askCancelMatching(desk, query()), { look: 'quiet danger' });
}

/** Run all finished runs again that match the filters of a list: shown where there are filters. @param {() => number} count @param {() => Query} query */
export function retryMatchingButton(count, query) {
  const shown = computed(() => may('operator') && count() > 0 && textOf(query(), RUN_FIELDS) !== '');
  return () => shown.value && actButton(t('retry.all'), 'rewind', async () => (await loadForms()).askRetryMatching(desk, query()));
}
