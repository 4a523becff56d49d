// Small components that all views share.
import { h } from '../core/dom.js';
import { signal } from '../core/signals.js';
import { address } from '../core/router.js';
import { now } from '../model/clock.js';
import { clean } from '../model/sanitize.js';
import { isOver } from '../model/fold.js';
import { fullMoment, milliseconds, number, relative, shortMoment, wholeDuration } from '../i18n/format.js';
import { t, word } from '../i18n/index.js';
import { icon } from './icons.js';

/** @typedef {import('../types.d.ts').Run} Run */

/** A state as icon, text and colour together, so that none of them carries the meaning alone. @param {string} state */
export const badge = (state) => h('span', { class: `badge ${state}` }, icon(state), word('status', state));

/** The attempts of a run that count for its retries: all but those that were snoozed. @param {Run} run */
export const tries = (run) => run.attempt - (run.snoozes ?? 0);

/** What has started a run. @param {Run} run */
export const startedBy = (run) => {
  if (tries(run) > 1) return t('by.retry', { n: tries(run) });
  if (run.snoozes) return t('by.snooze', { n: number(run.snoozes) });
  return run.is_manual ? (run.actor ?? t('by.manual')) : t('by.schedule');
};

/** The status of a run, or that it is being cancelled or was snoozed. @param {Run} run */
export const runBadge = (run) =>
  run.snoozed_until ? h('span', { class: 'badge scheduled' }, icon('scheduled'), t('status.snoozed')) :
  run.cancel_requested && run.status === 'running' ? h('span', { class: 'badge cancelled' }, icon('stop'), t('run.cancelling')) : badge(run.status);

/** The name of a component of the kernel. @param {Pick<import('../types.d.ts').Component, 'name'>} component */
export const componentName = ({ name }) => word('component', name.replace(/^plugin:/, ''));

/** @param {string | number | null | undefined} at @param {(at: string | number) => string} [write] */
export const moment = (at, write = shortMoment) =>
  at ? h('time', { datetime: new Date(milliseconds(at)).toISOString(), title: fullMoment(at), class: 'num' }, write === relative ? () => relative(at) : write(at)) : '–';

/** What a scheduled run waits for: its time, workers elsewhere, or a slot of the kernel. @param {Run} run */
export function waitingFor(run) {
  const isEarly = run.not_before && milliseconds(run.not_before) > (run.as_of ?? now.value);
  if (isEarly) return t(run.snoozes ? 'run.snoozed' : tries(run) > 1 ? 'run.retry' : 'run.delayed', { n: run.snoozes || tries(run), t: relative(/** @type {string} */ (run.not_before)) });
  if (!run.handed_over_at) return t('run.waiting');
  return t(run.queue ? 'run.queued' : 'run.handed', { q: clean(run.queue), r: clean(run.handed_to), t: shortMoment(run.handed_over_at) });
}

/** What a run that was asked to stop waits for: code in a thread cannot be killed, a process is. @param {Run} run */
export const stopping = (run) => t(run.runner === 'thread' ? 'run.stopping.thread' : run.runner === 'process' ? 'run.stopping.process' : 'run.stopping');

/** Seconds since the run started, by the server's clock or as of the moment shown. @param {Run} run */
export const elapsed = (run) => Math.max((run.as_of ?? now.value) - Date.parse(run.timestamp), 0) / 1000;

/** The progress bar of a run; striped if the run reports no progress. @param {() => Run} read @param {string} name */
export function progressBar(read, name) {
  const known = () => (read().progress === null || isSilent(read()) ? null : /** @type {number} */ (read().progress));
  return h('div', {
    class: () => `bar${known() === null ? ' unknown' : ''}${read().cancel_requested ? ' cancelled' : ''}${read().as_of || isOver(read()) ? ' still' : ''}`,
    role: 'progressbar',
    'aria-label': name,
    'aria-valuemin': 0,
    'aria-valuemax': 100,
    'aria-valuenow': () => (known() === null ? null : Math.round(known() ?? 0)),
    'aria-valuetext': () => (known() === null ? t('progress.unknown') : null),
  }, h('div', { vars: () => ({ done: (known() ?? 100) / 100 }) }));
}

/** Whether a run has reported no progress. @param {Run} run */
const isSilent = (run) => run.progress === 0 && run.total_items === null && run.steps.length === 0;

/** The steps of a run with their states. @param {() => Run} read @param {(step: import('../types.d.ts').Step) => any} [more] */
export const steps = (read, more) => () => {
  const all = read().steps;
  if (all.length === 0) return null;
  return h('ol', { class: 'steps', 'aria-label': t('run.steps') }, all.map((step) =>
    h('li', { class: step.status, 'aria-current': step.status === 'current' ? 'step' : null },
      h('span', { class: 'dot' }), h('span', null, clean(step.name)), h('span', { class: 'sr' }, word('step', step.status)), more?.(step)),
  ));
};

/** The item counts, such as "25 / 40". @param {Run} run */
export function items(run) {
  if (run.processed_items === null && run.total_items === null) return '';
  const [done, all] = [number(run.processed_items ?? 0), run.total_items === null ? '?' : number(run.total_items)];
  return `${done} / ${all}`;
}

/** The time left as the server estimates it, a range that is counted down; for a run that is asked to stop, what it waits for. @param {Run} run */
export function timeLeft(run) {
  if (run.cancel_requested) return stopping(run);
  if (!run.eta) return '';
  const { low, high, at } = run.eta;
  const passed = ((run.as_of ?? now.value) - Date.parse(at)) / 1000;
  const [least, most] = [low, high].map((seconds) => Math.max(Math.round(seconds - passed), 0));
  const [from, to] = [least, most].map((seconds) => wholeDuration(seconds, true));
  return most === 0 ? t('run.left.none') : least === 0 ? t('run.left.most', { t: to }) : from === to ? t('run.left', { t: to }) : t('run.left.range', { a: from, b: to });
}

/** What the time left is estimated from, for titles. @param {Run} run */
export const basisOfTimeLeft = (run) => (run.eta && !run.cancel_requested ? t('eta', { from: word('eta', run.eta.basis.replaceAll(' ', '.')) }) : null);

/** @param {string} id @param {any} [text] */
export const jobLink = (id, text) => h('a', { href: address(`/jobs/${encodeURIComponent(id)}`) }, text ?? id);

/** The page of an address where nothing is, with ways on. @param {string} title @param {string} text @param {any} [more] */
export const nothingHere = (title, text, more = null) =>
  h('div', { class: 'page nothing' }, [
    h('h1', { tabindex: -1 }, title),
    h('p', { class: 'hint' }, text),
    more,
    h('p', { class: 'buttons' }, [['/', 'nav.overview'], ['/jobs', 'nav.jobs'], ['/runs', 'nav.runs']].map(([path, key]) => h('a', { href: address(path) }, t(/** @type {any} */ (key))))),
  ]);

/** @param {string} id */
export const runAddress = (id) => address(`/runs/${encodeURIComponent(id)}`);

/** @param {() => string} read @param {string} name accessible name */
export function copyButton(read, name) {
  const copied = signal(false);
  const copy = async () => {
    await copyText(read());
    copied.value = true;
    setTimeout(() => (copied.value = false), 1600);
  };
  return h('button', { class: 'quiet', type: 'button', 'aria-label': name, onclick: copy }, () => [icon(copied.value ? 'success' : 'copy'), h('span', { 'aria-live': 'polite' }, copied.value ? t('copied') : t('copy'))]);
}

/** The clipboard API needs a secure context; fall back to execCommand elsewhere. @param {string} text */
export async function copyText(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const field = h('textarea', { class: 'sr', value: text });
  document.body.append(field);
  field.select();
  document.execCommand('copy');
  field.remove();
  return undefined;
}

/** A section with a heading. @param {string} title @param {any} content @param {{ class?: string, tools?: any, level?: number }} [more] */
export const panel = (title, content, { class: name = '', tools = null, level = 2 } = {}) =>
  h('section', { class: `panel ${name}`, 'aria-label': title }, h('header', null, h(`h${level}`, null, title), tools), content);

/** An empty state: why there is nothing to show, and what to do. @param {any} text @param {...any} more */
export const empty = (text, ...more) => h('div', { class: 'empty' }, h('p', null, text), more);

/** A placeholder until the first response arrives. @param {number} [lines] */
export const skeleton = (lines = 3) => h('div', { class: 'skeleton', 'aria-busy': 'true', 'aria-label': t('loading') }, Array.from({ length: lines }, () => h('i')));

/** @param {Error} error @param {() => void} again */
export const failure = (error, again) =>
  h('div', { class: 'empty bad', role: 'alert' }, h('p', null, icon('failed'), t('load.failed', { reason: clean(error.message) })), h('button', { onclick: again }, t('retry')));

/** A list of terms and values. @param {[string, any][]} pairs */
export const facts = (pairs) =>
  h('dl', { class: 'facts' }, pairs.filter(([, value]) => value !== null && value !== undefined && value !== '').map(([term, value]) => h('div', null, h('dt', null, term), h('dd', null, value))));

/** @param {unknown} value */
export const json = (value) => h('pre', { class: 'json', tabindex: 0 }, clean(JSON.stringify(value, null, 2)));

/** A group of buttons of which one is pressed. @param {string} name @param {[string, any][]} choices @param {() => string} chosen @param {(value: string) => void} choose */
export const choice = (name, choices, chosen, choose) =>
  h('div', { class: 'choice', role: 'group', 'aria-label': name }, choices.map(([value, text]) =>
    h('button', { type: 'button', 'aria-pressed': () => String(chosen() === value), onclick: () => choose(value) }, text)));

/** Draw again whenever the width of the element changes. @param {(width: number) => any} draw @param {string} [name] */
export function sized(draw, name = '') {
  const width = signal(0);
  const watcher = new ResizeObserver(([entry]) => (width.value = Math.floor(entry.contentRect.width)));
  return h('div', { class: `sized ${name}`, ref: (/** @type {Element} */ element) => watcher.observe(element) }, () => (width.value > 0 ? draw(width.value) : null));
}
