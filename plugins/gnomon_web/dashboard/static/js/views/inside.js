// A look into a running body: where it is in its code, and what its process uses. Earlier looks stay, to see whether it moves.
import { h } from '../core/dom.js';
import { batch, computed, signal } from '../core/signals.js';
import { post } from '../model/api.js';
import { may } from '../model/connection_state.js';
import { isOver } from '../model/fold.js';
import { clean } from '../model/sanitize.js';
import * as store from '../model/store.js';
import { partsOf, withoutRepetitions } from '../model/traceback.js';
import { facts, moment, panel } from '../components/common.js';
import { duration, fullMoment, number, timeOfDay } from '../i18n/format.js';
import { t } from '../i18n/index.js';
import { partOfTraceback } from './error.js';

/** @typedef {import('../types.d.ts').BodySample} BodySample */
/** @typedef {import('../types.d.ts').Run} Run */

const MOST_SAMPLES = 20;
const MEBIBYTE = 1024 * 1024;

/** Shown while the body runs, and afterwards if anyone has looked. @param {() => Run} read */
export function insidePanel(read) {
  const samples = signal(/** @type {BodySample[]} */ ([])); // the newest first
  const chosen = signal(0);
  const problem = signal('');
  const isLooking = signal(false);
  const lives = computed(() => read().as_of === undefined && (read().status === 'running' || store.isLingering(read())));
  const isShown = computed(() => read().as_of === undefined && ((lives.value && may('operator')) || samples.value.length > 0));
  const look = async () => {
    isLooking.value = true;
    try {
      const sample = await post(`/scheduler/executions/${encodeURIComponent(read()._id)}/sample`);
      batch(() => {
        samples.value = [sample, ...samples.peek()].slice(0, MOST_SAMPLES);
        [chosen.value, problem.value] = [0, ''];
      });
    } catch (error) {
      problem.value = /** @type {Error} */ (error).message;
    }
    isLooking.value = false;
  };
  const button = () => lives.value && h('button', { type: 'button', 'aria-busy': () => isLooking.value && 'true', disabled: () => isLooking.value, onclick: look }, () => t(samples.value.length > 0 ? 'inside.again' : 'inside.look'));
  return () => isShown.value && panel(t('inside'), [
    () => problem.value && h('p', { role: 'alert', class: 'bad' }, problem.value),
    () => samples.value.length === 0 && h('p', { class: 'quiet-line' }, t('inside.hint')),
    () => samples.value.length > 0 && isOver(read()) && !lives.value && h('p', { class: 'stale', role: 'status' }, t('inside.stale', { t: fullMoment(read().updated_at) })),
    () => samples.value.length > 1 && looksOf(samples.value, chosen),
    () => samples.value.length > 0 && shown(samples.value[chosen.value]),
  ], { class: 'inside', tools: h('div', { class: 'buttons' }, button) });
}

/** The looks so far, and whether the body was at another place at the look before. @param {BodySample[]} samples @param {{ value: number }} chosen */
const looksOf = (samples, chosen) =>
  h('ol', { class: 'samples', reversed: true }, samples.map((sample, index) => {
    const before = samples[index + 1];
    const has = before && placeOf(before) !== placeOf(sample) ? t('inside.moved') : before ? t('inside.same') : t('inside.first');
    return h('li', null, h('button', { type: 'button', class: 'quiet', 'aria-pressed': () => String(chosen.value === index), onclick: () => (chosen.value = index) }, h('span', { class: 'num' }, timeOfDay(sample.at)), ` ${has}`));
  }));

/** @param {BodySample} sample */
const placeOf = (sample) => JSON.stringify(sample.stacks.map((stack) => stack.frames));

/** @param {BodySample} sample */
function shown(sample) {
  const { process } = sample;
  const bytes = (/** @type {number} */ value) => `${number(value / MEBIBYTE, { maximumFractionDigits: 1 })} MiB`;
  return [
    sample.problem && h('p', { class: 'warn' }, clean(sample.problem)),
    facts([
      [t('inside.at'), moment(sample.at, fullMoment)],
      [t('inside.cpu'), sample.cpu_s === null ? null : duration(sample.cpu_s)],
      [t('inside.growth'), sample.memory_growth === null ? null : bytes(sample.memory_growth)],
      [t('inside.memory'), process?.memory ? t('inside.memory.of', { m: bytes(process.memory), n: bytes(process.peak_memory ?? process.memory) }) : null],
      [t('inside.process'), process ? `${process.pid}${sample.is_shared ? ` · ${t('inside.shared')}` : ''}` : null],
    ]),
    sample.stacks.map((stack) => h('details', { open: stack === sample.stacks[0] }, h('summary', null, clean(stack.name), ' ', h('span', { class: 'quiet-line' }, t('inside.calls', { n: number(stack.frames.length + stack.left_out) }))), h('div', { class: 'traceback', tabindex: 0, ref: showEnd, role: 'region', 'aria-label': t('inside.stack', { n: clean(stack.name) }) }, calls(stack)))),
  ];
}

/** The line at which a body is stands last. @param {HTMLElement} box */
const showEnd = (box) => void requestAnimationFrame(() => (box.scrollTop = box.scrollHeight));

/** The calls as a traceback has them, the most recent one last. @param {BodySample['stacks'][number]} stack */
function calls({ frames, left_out: leftOut }) {
  const lines = frames.map((frame) => `  File "${frame.file}", line ${frame.line}, in ${frame.function}${frame.source ? `\n    ${frame.source}` : ''}`);
  if (leftOut > 0) lines.splice(frames.length / 2, 0, `  ${t('inside.cut', { n: number(leftOut) })}`);
  return withoutRepetitions(partsOf(clean(lines.join('\n')))).map(partOfTraceback);
}
