// The kernels on the log: which one leads, which follow, how far they are behind, and since when one is silent.
import { h } from '../core/dom.js';
import { computed, effect, onDispose, signal } from '../core/signals.js';
import { get } from '../model/api.js';
import { link } from '../model/connection_state.js';
import { clean } from '../model/sanitize.js';
import * as store from '../model/store.js';
import { number, relative } from '../i18n/format.js';
import { t, word } from '../i18n/index.js';
import { moment } from './common.js';
import { icon } from './icons.js';

/** @typedef {import('../types.d.ts').Kernel} Kernel */

const READ_KERNELS_MS = 5000;
const SILENT_AFTER_MS = 20_000; // a process that follows reports every 15 s
const SHOWN_LAG_S = 1; // between two looks at the log there are always some
const LATE_AFTER_S = 5;

/** What a change of role shows first: the events of kernels, and the component that a follower has. */
const roleNow = computed(() => JSON.stringify([store.health.value.role, (store.health.value.components ?? []).find(({ name }) => name === 'leader')?.state]));

/** A section that follows every change of role; nothing for tokens that are limited to some jobs. */
export function kernelsSection() {
  const kernels = signal(/** @type {Kernel[] | null} */ (null));
  const read = () => void get('/scheduler/kernels').then((answer) => (kernels.value = answer), () => {});
  effect(() => void (roleNow.value, link.value === 'live' && read()));
  const timer = setInterval(() => link.peek() === 'live' && read(), READ_KERNELS_MS);
  onDispose(() => clearInterval(timer));
  onDispose(store.onEvents((events) => events.some(({ type }) => type.startsWith('kernel_')) && read()));
  return () => kernels.value && kernelList(kernels.value);
}

/** @param {Kernel[]} kernels */
function kernelList(kernels) {
  const leader = kernels.find(({ role }) => role === 'leader');
  return h('section', null, [
    h('h3', null, t('system.kernels')),
    !leader && h('p', { class: 'no-leader', role: 'alert' }, icon('failed'), h('strong', null, t('kernels.none'))),
    h('ul', { class: 'components kernels' }, kernels.map((one) => kernelItem(one, leader ? Date.parse(leader.seen) : null))),
  ]);
}

/** @param {Kernel} kernel @param {number | null} now the time of the kernel that leads */
function kernelItem(kernel, now) {
  const { node, pid, role, since, seen, lag, lag_s, problem } = kernel;
  const silent = now !== null && now - Date.parse(seen) > SILENT_AFTER_MS;
  const state = silent || problem || lag_s > LATE_AFTER_S ? 'degraded' : 'ok';
  return h('li', { class: state }, [
    icon(state === 'ok' ? 'success' : 'missed'),
    h('span', null, [
      h('strong', null, word('kernels', role)), ' ', h('span', { class: 'name' }, t('kernels.process', { pid: String(pid), node: clean(node) })),
      h('small', { class: 'faint' }, t('kernels.since'), ' ', moment(since), ' · ', t(silent ? 'kernels.silent' : 'kernels.seen'), ' ', moment(seen, relative)),
      problem && h('small', null, clean(problem)),
    ]),
    role === 'follower' ? h('span', { class: 'num faint' }, t('system.lag', { n: number(lag_s < SHOWN_LAG_S ? 0 : lag) })) : null,
  ]);
}
