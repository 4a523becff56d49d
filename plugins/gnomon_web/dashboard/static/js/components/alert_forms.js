// The dialogs of the acts on alerts: acknowledge, snooze, resolve. Loaded with the first of them.
import { h } from '../core/dom.js';
import { signal } from '../core/signals.js';
import { readAlertsAgain } from '../model/alert_lists.js';
import { post } from '../model/api.js';
import { now } from '../model/clock.js';
import { t } from '../i18n/index.js';
import { saidInWords } from '../i18n/said.js';
import { alertName } from './alert_row.js';
import { ask } from './dialog.js';
import { toast } from './toasts.js';

/** @typedef {import('../types.d.ts').Alert} Alert */
/** @typedef {'ack' | 'snooze' | 'resolve'} Verb */
/** @typedef {{ id: string, changed: boolean, error: string | null }} Outcome */

const MOST_IDS = 1000; // of one act
const MOST_LISTED = 500;
const HOUR_MS = 3_600_000;
const SPANS = [1, 4, 8, 24, 168]; // hours
const [UNTIL_RESOLVED, UNTIL_NEXT, UNTIL_TIME] = ['', 'next', 'time'];

/** @param {Verb} verb @param {string[]} ids @param {Record<string, any>} body @returns {Promise<Outcome[]>} */
async function actOn(verb, ids, body) {
  const outcomes = [];
  try {
    for (let at = 0; at < ids.length; at += MOST_IDS) {
      outcomes.push(...await post(`/scheduler/alerts/${verb}`, { ...body, alerts: { ids: ids.slice(at, at + MOST_IDS) } }));
    }
  } finally {
    readAlertsAgain();
  }
  return outcomes;
}

/** Act, offer to take it back, and raise what was refused. @param {Verb} verb @param {string[]} ids @param {Record<string, any>} body */
async function actAndReport(verb, ids, body) {
  const outcomes = await actOn(verb, ids, body);
  const changed = outcomes.filter((one) => one.changed).map((one) => one.id);
  if (changed.length > 0) toast([t(`alert.done.${verb}`, { n: changed.length }), ' ', verb !== 'resolve' && undoLink(verb, changed)], { lasts: true });
  const failed = outcomes.filter((one) => one.error);
  if (failed.length > 0) throw new Error(failed.map((one) => one.error).join('\n'));
}

/** @param {Verb} verb @param {string[]} ids */
const undoLink = (verb, ids) => h('button', { type: 'button', class: 'undo', onclick: (/** @type {any} */ event) => {
  event.target.closest('p').remove();
  return takeBack(verb, ids);
} }, t('undo'));

/** @param {Verb} verb @param {string[]} ids */
async function takeBack(verb, ids) {
  const outcomes = await actOn(verb, ids, { undo: true }).catch((error) => [{ error: error.message }]);
  const problem = outcomes.find((one) => one.error)?.error;
  toast(problem ?? t('done.undo'), { bad: Boolean(problem) });
}

/** Take back what makes alerts quiet. @param {Alert[]} alerts all of one state */
export const withdraw = (alerts) => takeBack(alerts[0].state === 'snoozed' ? 'snooze' : 'ack', alerts.map(({ id }) => id));

/** Which alerts an act is about, if there are several. @param {Alert[]} alerts */
const names = (alerts) => (alerts.length === 1
  ? h('p', null, h('strong', null, alertName(alerts[0])), ' ', saidInWords(alerts[0].said, alerts[0].message))
  : h('ul', { class: 'names', tabindex: 0 }, alerts.slice(0, MOST_LISTED).map((one) => h('li', null, alertName(one))), alerts.length > MOST_LISTED && h('li', null, t('and.more', { n: alerts.length - MOST_LISTED }))));

const noteField = () => h('label', { class: 'field' }, h('span', null, t('alert.note')), h('input', { name: 'reason', maxlength: 200, autocomplete: 'off' }));

/** How long: a span, a time, or what else there is. @param {[string, string][]} more */
function untilFields(more) {
  const chosen = signal(more[0]?.[0] ?? String(SPANS[0]));
  const choices = [...more, ...SPANS.map((hours) => [String(hours), t('until.hours', { t: hours < 48 ? t('hours', { n: hours }) : t('days', { n: hours / 24 }) })]), [UNTIL_TIME, t('until.time')]];
  return [
    h('label', { class: 'field' }, h('span', null, t('until')), h('select', { name: 'until', onchange: (/** @type {any} */ event) => (chosen.value = event.target.value) }, choices.map(([value, text]) => h('option', { value }, text)))),
    () => chosen.value === UNTIL_TIME && h('label', { class: 'field' }, h('span', null, t('until.at')), h('input', { name: 'at', type: 'datetime-local', required: true })),
  ];
}

/** @param {FormData} form @returns {{ until?: string, until_next?: boolean, reason: string | null }} */
function readForm(form) {
  const reason = String(form.get('reason')).trim() || null;
  const until = form.get('until');
  if (until === UNTIL_RESOLVED || until === null) return { reason };
  if (until === UNTIL_NEXT) return { until_next: true, reason };
  const end = until === UNTIL_TIME ? new Date(String(form.get('at'))) : new Date(now.peek() + Number(until) * HOUR_MS);
  return { until: end.toISOString(), reason };
}

/** @param {Verb} verb @param {Alert[]} alerts @param {any} fields @param {{ text: string, confirm: string, dismiss: string }} texts */
function askAct(verb, alerts, fields, { text, confirm, dismiss }) {
  const ids = alerts.map(({ id }) => id);
  ask({
    title: t(`alert.ask.${verb}`, { n: ids.length }),
    body: [names(alerts), h('p', { class: 'hint' }, text), fields, noteField()],
    confirm,
    dismiss,
    act: (form) => actAndReport(verb, ids, readForm(form)),
  });
}

/** @param {Alert[]} alerts */
export const askAcknowledge = (alerts) =>
  askAct('ack', alerts, untilFields([[UNTIL_RESOLVED, t('until.resolved')], [UNTIL_NEXT, t('until.next')]]), { text: t('ack.text'), confirm: t('ack'), dismiss: t('ack.dismiss') });

/** @param {Alert[]} alerts */
export const askSnooze = (alerts) => askAct('snooze', alerts, untilFields([]), { text: t('snooze.text'), confirm: t('snooze'), dismiss: t('ack.dismiss') });

/** @param {Alert[]} alerts */
export const askResolve = (alerts) => askAct('resolve', alerts, null, { text: t('resolve.text'), confirm: t('resolve'), dismiss: t('resolve.dismiss') });
