// The bar of the time machine: which moment the page shows, a scrubber over the whole log, and the way back.
import { h } from '../core/dom.js';
import { past } from '../core/past.js';
import { refine } from '../core/router.js';
import { untracked } from '../core/signals.js';
import { now } from '../model/clock.js';
import { pastProblem, pastReport, wholeLog } from '../model/past.js';
import { instant } from '../model/ranges.js';
import { clean } from '../model/sanitize.js';
import { icon } from '../components/icons.js';
import { asTable } from '../components/table.js';
import { fromWallTime, fullMoment, number, shortMoment, wallTime } from '../i18n/format.js';
import { t } from '../i18n/index.js';

const MINUTE = 60_000;
const SETTLE_MS = 200; // while the scrubber is dragged

/** @typedef {import('../model/past.js').PastReport} PastReport */
/** @typedef {{ at: number, failed: number }} Bar */

/** Move to a moment of the log. @param {number} at */
function show(at) {
  const whole = /** @type {PastReport} */ (wholeLog.peek());
  const within = Math.max(Math.min(at, Date.parse(whole.now)), Date.parse(whole.begins_at) + 1);
  refine({ at: new Date(within).toISOString() }, { replace: true });
}
const shownAt = () => (pastReport.value ? Date.parse(pastReport.value.at) : instant(past.value) || now.value);

export function pastBar() {
  return h('section', { class: 'past-bar', 'aria-label': t('past'), onkeydown: stepByKey }, [
    h('p', null, [
      icon('rewind'),
      h('strong', { role: 'status' }, () => t('past.shown', { at: fullMoment(shownAt()) })),
      () => pastReport.value && h('span', { class: 'num faint' }, inWords(pastReport.value)),
      h('button', { type: 'button', class: 'primary', onclick: () => refine({ at: null }) }, t('past.back')),
    ]),
    () => pastProblem.value && h('p', { class: 'problem', role: 'alert' }, icon('failed'), clean(pastProblem.value.message)),
    () => (pastReport.value?.lost ?? 0) > 0 && h('p', { class: 'warning' }, icon('missed'), t('past.lost', { n: number(pastReport.value?.lost ?? 0) })),
    () => wholeLog.value && untracked(() => scrubber(/** @type {PastReport} */ (wholeLog.value))),
  ]);
}

/** @param {PastReport} report */
const inWords = ({ running, scheduled, paused }) =>
  [t('past.running', { n: number(running) }), scheduled > 0 && t('past.waiting', { n: number(scheduled) }), paused > 0 && t('coming.paused', { n: number(paused) })].filter(Boolean).join(' · ');

/** The parts of the log with failures. @param {PastReport} whole @returns {Bar[]} */
function barsOf({ begins_at, now: end, failures }) {
  const [from, to] = [Date.parse(begins_at), Date.parse(end)];
  return failures.map((failed, n) => ({ at: from + ((n + 0.5) * (to - from)) / failures.length, failed })).filter(({ failed }) => failed > 0);
}

/** @param {PastReport} whole */
function scrubber(whole) {
  const [from, to] = [Date.parse(whole.begins_at), Date.parse(whole.now)];
  const bars = barsOf(whole);
  let timer = 0;
  const drag = (/** @type {any} */ { target }) => {
    clearTimeout(timer);
    timer = setTimeout(() => show(Number(target.value)), SETTLE_MS);
  };
  const choose = (/** @type {any} */ { target }) => target.value && show(fromWallTime(target.value));
  return h('div', { class: 'scrubber' }, [
    h('div', { class: 'density', 'aria-hidden': 'true' }, bars.map(({ at, failed }) => h('i', { vars: { at: (at - from) / Math.max(to - from, 1), high: Math.min(Math.sqrt(failed) / 4 + 0.25, 1) } }))),
    h('input', { type: 'range', min: from, max: to, step: MINUTE, value: shownAt, 'aria-label': t('past.scrub'), 'aria-valuetext': () => fullMoment(shownAt()), oninput: drag }),
    h('div', { class: 'buttons' }, [
      stepButton('back', 'past.event.before', beforeEvent),
      h('label', null, h('span', { class: 'sr' }, t('past.at')), h('input', { type: 'datetime-local', step: 1, value: () => wallTime(shownAt()), onchange: choose })),
      stepButton('forth', 'past.event.after', afterEvent),
    ]),
    bars.length > 0 && asTable(t('past.failures'), [t('col.started'), t('status.failed')], () => bars.map(({ at, failed }) => [shortMoment(at), number(failed)])),
  ]);
}

/** The moment just before the last event that is shown, and that of the next one. */
const beforeEvent = () => pastReport.value?.before && Date.parse(pastReport.value.before.at) - 1;
const afterEvent = () => pastReport.value?.after && Math.ceil(Date.parse(pastReport.value.after.at)) + 1;

/** @param {string} picture @param {'past.event.before' | 'past.event.after'} key @param {() => number | null | undefined} find */
const stepButton = (picture, key, find) =>
  h('button', { type: 'button', 'aria-label': t(key), title: t(key), disabled: () => !find(), onclick: () => show(/** @type {number} */ (find())) }, icon(picture));

/** Arrows step by a minute, with Shift by an event. @param {KeyboardEvent} event */
function stepByKey(event) {
  const back = event.key === 'ArrowLeft';
  if (!(event.target instanceof HTMLInputElement) || event.target.type !== 'range' || (!back && event.key !== 'ArrowRight')) return;
  event.preventDefault();
  const next = event.shiftKey ? (back ? beforeEvent() : afterEvent()) : shownAt() + (back ? -MINUTE : MINUTE);
  if (next) show(next);
}
