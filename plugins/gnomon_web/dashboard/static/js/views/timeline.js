// The timeline of a run. The page can be rewound to any of its events.
import { each, h } from '../core/dom.js';
import { computed, signal } from '../core/signals.js';
import { refine, route } from '../core/router.js';
import { clean } from '../model/sanitize.js';
import { groupEvents } from '../model/event_groups.js';
import { icon } from '../components/icons.js';
import { choice, json, panel, runAddress, skeleton } from '../components/common.js';
import { duration, fullMoment, number, wholeDuration } from '../i18n/format.js';
import { t, word } from '../i18n/index.js';

/** @typedef {import('../types.d.ts').LogEvent} LogEvent */
/** @typedef {import('../model/event_groups.js').Node} Node */
/** @typedef {import('../types.d.ts').Run} Run */

const MAX_TEXT = 400; // characters of one event; the raw event has the rest

/** @param {string} text */
const shortened = (text) => (text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)} …` : text);

const LENSES = ['summary', 'all', 'json'];

/** @param {{ value: LogEvent[] }} events @param {() => any} problem shown if they cannot be loaded */
export function timeline(events, problem) {
  const lens = () => (LENSES.includes(route.value.query.lens ?? '') ? route.value.query.lens : 'summary');
  const nodes = computed(() => groupEvents(events.value, lens() === 'summary'));
  const byKey = computed(() => new Map(nodes.value.map((node) => [`${lens()} ${node.first}`, node])));
  const at = () => Number(route.value.query.event) || null;
  return panel(t('timeline.run'), [
    () => problem() || (events.value.length === 0 && skeleton(4)),
    () => (lens() === 'json' ? h('div', { class: 'scroll tall', tabindex: 0, role: 'region', 'aria-label': t('lens.json') }, json(events.value)) : null),
    each(h('ol', { class: 'timeline-rail', hidden: () => lens() === 'json' }), () => (lens() === 'json' ? [] : [...byKey.value.keys()]), (key) => {
      let last = /** @type {Node} */ (byKey.peek().get(key));
      return nodeRow(() => (last = byKey.value.get(key) ?? last), at);
    }),
  ], {
    class: 'events',
    tools: choice(t('lens'), LENSES.map((one) => [one, t(/** @type {any} */ (`lens.${one}`))]), lens, (one) => refine({ lens: one === 'summary' ? null : one }, { replace: true })),
  });
}

/** @param {() => Node} read @param {() => number | null} at */
function nodeRow(read, at) {
  const open = signal(false);
  const first = read();
  const isLater = () => at() !== null && read().event.position > /** @type {number} */ (at());
  const isHere = () => at() === read().event.position;
  return h('li', { class: () => `node ${read().event.type}${isLater() ? ' later' : ''}${isHere() ? ' here' : ''}` }, [
    first.gap > 0 && h('p', { class: 'gap' }, t('timeline.gap', { t: wholeDuration(first.gap) })),
    h('span', { class: 'offset num', title: () => fullMoment(read().event.at) }, () => offset(read())),
    h('span', { class: 'knot' }),
    h('div', { class: 'what' }, [
      h('strong', null, () => word('event', read().event.snoozed_until ? 'snoozed' : read().event.type)),
      ' ',
      h('span', { class: 'text' }, () => shortened(clean(sentence(read().event)))),
      () => read().count > 1 && h('span', { class: 'times num' }, `×${number(read().count)}`),
      () => read().event.blocked_by && [' ', h('a', { href: runAddress(read().event.blocked_by) }, t('decision.see'))],
      () => read().event.actor && h('span', { class: 'who' }, clean(read().event.actor)),
      () => open.value && json(read().event),
    ]),
    h('span', { class: 'tools' }, [
      h('button', { class: 'quiet tiny', type: 'button', 'aria-expanded': () => String(open.value), onclick: () => (open.value = !open.value), title: t('timeline.raw'), 'aria-label': () => `${t('timeline.raw')} #${read().event.position}` }, icon('more')),
      h('button', { class: 'quiet tiny mono', type: 'button', 'aria-pressed': () => String(isHere()), title: t('timeline.rewind'), 'aria-label': () => `${t('timeline.rewind')} #${read().event.position}`, onclick: () => refine({ event: isHere() ? null : read().event.position }) }, () => `#${read().event.position}`),
    ]),
  ]);
}

/** @param {Node} node */
const offset = (node) => (node.offset < 0 ? `−${duration(-node.offset)}` : `+${node.offset < 0.0005 ? '0' : duration(node.offset)}`);

/** @type {Record<string, (event: LogEvent) => string>} the details of an event, beyond its name */
const SENTENCES = {
  scheduled: (event) => [event.is_manual ? t('by.manual') : t('event.due', { at: fullMoment(event.scheduled_time) }), (event.attempt ?? 1) - (event.snoozes ?? 0) > 1 ? t('by.retry', { n: event.attempt - (event.snoozes ?? 0) }) : '', event.snoozes ? t('by.snooze', { n: number(event.snoozes) }) : ''].filter(Boolean).join(' · '),
  started: (event) => [event.runner, event.worker, (event.delay ?? 0) > 0.5 ? t('decision.late', { t: duration(event.delay) }) : ''].filter(Boolean).join(' · '),
  progress: (event) => [
    event.steps ? t('event.steps', { names: event.steps.map((/** @type {any} */ step) => step.name).join(', ') }) : '',
    event.step ? t('event.step', { name: event.step }) : '',
    event.skipped ? t('event.skipped', { names: event.skipped.join(', ') }) : '',
    event.percent != null ? number(event.percent / 100, { style: 'percent' }) : '',
    event.processed_items != null ? `${number(event.processed_items)}${event.total_items != null ? ` / ${number(event.total_items)}` : ''}` : '',
    event.message ?? '',
    event.current_item ?? '',
  ].filter(Boolean).join(' · '),
  succeeded: (event) => t('event.after', { t: duration(event.execution_time) }),
  failed: (event) => [word('reason', event.reason ?? ''), event.error_type, event.error_message].filter(Boolean).join(' · '),
  missed: (event) => [word('reason', event.reason ?? ''), event.detail].filter(Boolean).join(' · '),
  cancelled: (event) => [event.reason, event.execution_time != null ? t('event.after', { t: duration(event.execution_time) }) : ''].filter(Boolean).join(' · '),
  cancel_requested: (event) => event.reason ?? '',
  warned: (event) => event.message,
  hidden: () => '',
  imported: (event) => event.source,
  late_result: (event) => word('outcome', event.outcome),
};

const HEADER = new Set(['type', 'position', 'stream', 'version', 'at', 'node', 'job_id', 'log_format']);

/** Describe an event; one of an unknown type is shown as JSON. @param {LogEvent} event */
function sentence(event) {
  const describe = SENTENCES[event.type];
  if (describe) return describe(event);
  return JSON.stringify(Object.fromEntries(Object.entries(event).filter(([key]) => !HEADER.has(key))));
}
