// Why a run failed: the error, then its traceback with library frames folded.
import { h } from '../core/dom.js';
import { signal } from '../core/signals.js';
import { clean } from '../model/sanitize.js';
import { folded } from '../model/traceback.js';
import { icon } from '../components/icons.js';
import { copyButton } from '../components/common.js';
import { number } from '../i18n/format.js';
import { t, word } from '../i18n/index.js';

/** @typedef {import('../types.d.ts').Run} Run */

const MAX_TITLE = 300; // characters of the first line; the rest is below

/** @param {Run} run */
export function errorPanel(run) {
  const raw = clean(run.traceback ?? '');
  const message = clean([run.error_type, run.error_message].filter(Boolean).join(': ') || word('reason', run.reason ?? ''));
  const title = message.split('\n', 1)[0].slice(0, MAX_TITLE);
  return h('section', { class: 'panel error', 'aria-label': t('error') }, [
    h('header', null, [
      icon('failed'),
      h('h2', null, title === message ? title : `${title} …`),
      h('span', { class: 'spacer' }),
      copyButton(() => run.traceback ?? message, `${t('copy')}: ${t('error')}`),
    ]),
    run.reason && run.reason !== 'exception' && h('p', { class: 'reason' }, word('reason', run.reason)),
    !raw && title !== message && h('pre', { class: 'long', tabindex: 0 }, message),
    raw && h('div', { class: 'traceback', tabindex: 0, role: 'region', 'aria-label': t('traceback') }, folded(raw).map(partOfTraceback)),
  ]);
}

/** @param {ReturnType<typeof folded>[number]} one */
export function partOfTraceback(one) {
  if (one.kind === 'repetition') return h('p', { class: 'quiet-line' }, t(one.period === 1 ? 'traceback.repeated.one' : 'traceback.repeated', { n: number(one.period), m: number(one.times) }));
  if (one.kind !== 'folded') return h('pre', { class: one.kind }, one.text);
  const open = signal(false);
  return [
    h('button', { class: 'quiet fold', type: 'button', 'aria-expanded': () => String(open.value), onclick: () => (open.value = !open.value) }, [
      icon('more'),
      t('traceback.folded', { n: one.frames.length }),
    ]),
    () => open.value && one.frames.map((frame) => h('pre', { class: 'frame library' }, frame.text)),
  ];
}
