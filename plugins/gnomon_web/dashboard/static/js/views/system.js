// The system drawer: components and their lag, the event log, and this page's connection.
import { h } from '../core/dom.js';
import { effect, onDispose, signal } from '../core/signals.js';
import { get, VERSION } from '../model/api.js';
import { actor, link, role, serverVersion } from '../model/connection_state.js';
import * as store from '../model/store.js';
import { drawer } from '../components/dialog.js';
import { icon } from '../components/icons.js';
import { holdButton } from '../components/operator_actions.js';
import { kernelsSection } from '../components/kernels.js';
import { componentName, facts, runAddress } from '../components/common.js';
import { clean } from '../model/sanitize.js';
import { number, relative } from '../i18n/format.js';
import { t, word } from '../i18n/index.js';

const REFRESH_MS = 5000;

export function systemDrawer() {
  const stats = signal(/** @type {any} */ (null));
  const workers = signal(/** @type {import('../types.d.ts').WorkerView | null} */ (null));
  const read = () => {
    get('/scheduler/stats').then((answer) => (stats.value = answer), () => {});
    get('/scheduler/workers').then((answer) => (workers.value = answer), () => {});
    get('/scheduler/health').then((answer) => (store.health.value = answer), () => {});
  };
  effect(() => void (link.value === 'live' && read()));
  const timer = setInterval(() => link.peek() === 'live' && read(), REFRESH_MS);
  onDispose(() => clearInterval(timer));
  return drawer(t('system'), h('div', { class: 'system' }, [
    h('section', null, h('h3', null, t('system.parts')), () => components()),
    kernelsSection(),
    () => groups(),
    () => workers.value && elsewhere(workers.value),
    h('section', null, h('h3', null, t('system.log')), () => facts([
      [t('system.position'), h('span', { class: 'num' }, number(store.about.value.position))],
      [t('system.id'), h('span', { class: 'mono' }, store.about.value.log)],
      [t('system.executing'), stats.value && h('span', { class: 'num' }, number(stats.value.executing))],
      [t('system.waiting'), stats.value && h('span', { class: 'num' }, number(stats.value.waiting))],
      [t('system.clients'), stats.value?.clients != null ? number(stats.value.clients) : null],
    ])),
    h('section', null, h('h3', null, t('system.page')), () => facts([
      [t('system.version'), VERSION === serverVersion.value || !serverVersion.value ? VERSION : `${VERSION} → ${serverVersion.value}`],
      [t('system.link'), t(/** @type {any} */ (`link.${link.value}`))],
      [t('system.who'), `${actor.value} (${word('role', role.value)})`],
      [t('system.batches'), h('span', { class: 'num' }, (store.about.value, number(store.applied.deltas)))],
    ])),
    holdButton(),
  ]), 'system');
}

// The groups of jobs that share limits, and how much of them is taken; nothing where there are none.
function groups() {
  const all = store.health.value.groups ?? [];
  if (all.length === 0) return null;
  return h('section', null, h('h3', null, t('system.groups')), facts(all.map((/** @type {any} */ group) => [
    clean(group.name),
    h('span', { class: 'num' }, t('system.group', { taken: number(group.running.length), limit: group.limit == null ? '∞' : number(group.limit), waiting: number(group.waiting) }), group.rate ? ` · ${group.rate}` : ''),
  ])));
}

/** The workers elsewhere that run bodies, and their queues; nothing where there are none. @param {import('../types.d.ts').WorkerView} view */
function elsewhere({ workers, queues, problems }) {
  if (workers.length + queues.length + problems.length === 0) return null;
  return h('section', null, h('h3', null, t('system.workers')), h('ul', { class: 'components' }, [
    ...workers.map((one) => workerRow({ online: 'ok', stopping: 'degraded', gone: 'failed' }[one.state], one.name, word('worker', one.state), t('system.seen', { t: one.seen ? relative(one.seen) : '–' }), t(one.concurrency === null ? 'system.busy' : 'system.load', { active: number(one.active), places: number(one.concurrency ?? 0) }))),
    ...queues.map((one) => workerRow(one.workers > 0 || one.waiting === 0 ? 'ok' : 'degraded', one.name, t('system.line'), one.workers === 0 && one.waiting > 0 ? t('system.nobody') : '', t('system.queue', { waiting: number(one.waiting), workers: number(one.workers) }))),
    ...problems.map((problem) => workerRow('failed', problem, '', '', '')),
  ]));
}

/** @param {string} state @param {string} name @param {string} kind @param {string} more @param {string} load */
const workerRow = (state, name, kind, more, load) =>
  h('li', { class: state }, [
    icon(state === 'ok' ? 'success' : state === 'degraded' ? 'missed' : 'failed'),
    h('span', null, h('strong', null, clean(name)), ' ', h('span', { class: 'faint' }, kind), more && h('small', null, more)),
    load ? h('span', { class: 'num faint' }, load) : null,
  ]);

function components() {
  const all = store.health.value.components ?? [];
  return h('ul', { class: 'components' }, all.map((one) => {
    const { state, problem, lag, execution_id } = one;
    return h('li', { class: state }, [
      icon({ ok: 'success', starting: 'scheduled', stopping: 'stop', degraded: 'missed', failed: 'failed' }[state]),
      h('span', null, h('strong', null, componentName(one)), ' ', h('span', { class: 'faint' }, word('health', state)), problem && h('small', null, clean(problem)), execution_id && h('small', null, h('a', { href: runAddress(execution_id) }, t('done.see')))),
      lag ? h('span', { class: 'num faint' }, t('system.lag', { n: number(lag) })) : null,
    ]);
  }));
}
