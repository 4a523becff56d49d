// What failed, is late, takes longer than usual, was left behind: derived from what is known, the most pressing first.
import { each, h } from '../core/dom.js';
import { computed } from '../core/signals.js';
import { address, refine, route } from '../core/routes.js';
import { alerts } from '../model/attention.js';
import { clean } from '../model/clean.js';
import { DAY, now } from '../model/clock.js';
import { past } from '../model/past.js';
import * as store from '../model/store.js';
import { typical } from '../model/typical.js';
import { icon } from '../parts/icons.js';
import { concerns, ofJob, ofRun } from '../parts/menu.js';
import { choice, empty, failure, moment, runAddress, skeleton } from '../parts/pieces.js';
import { wholeDuration, relative } from '../words/format.js';
import { t, word } from '../words/index.js';

/** @typedef {import('../model/attention.js').Alert} Alert */

const GLYPHS = { failing: 'failed', zombie: 'failed', system: 'system', late: 'scheduled', slow: 'scheduled', stuck: 'stop', missed: 'missed', warned: 'alerts' };

/** All alerts as things stand. They follow the time and the lists, not every report of a run, which changes none of them. @param {store.Run[]} [more] finished runs that the page has read besides */
export function current(more = []) {
  const known = store.finishedIds.value.map((id) => /** @type {store.Run} */ (store.runs.get(id)?.peek()));
  const ids = new Set(store.finishedIds.value);
  return alerts({
    jobs: store.jobIds.value.map((id) => store.jobOf(id)).filter((job) => job !== null),
    active: store.runningIds.value.map((id) => /** @type {store.Run} */ (store.runs.get(id)?.peek())),
    finished: [...known, ...more.filter((run) => !ids.has(run._id))].sort((a, b) => b.timestamp.localeCompare(a.timestamp)),
    health: store.health.value,
    now: now.value,
    typical,
  });
}

/** A row for each alert, which stays as long as the alert does. @param {() => Alert[]} read */
export function alertList(read) {
  const byKey = computed(() => new Map(read().map((alert) => [alert.key, alert])));
  return each(h('ul', { class: 'alerts' }), () => [...byKey.value.keys()], (key) => {
    let last = /** @type {Alert} */ (byKey.peek().get(key));
    return alertRow(() => (last = byKey.value.get(key) ?? last), last);
  });
}

/** @param {() => Alert} read @param {Alert} first */
function alertRow(read, first) {
  const name = () => (first.job ? store.jobName(first.job) : t('alert.system'));
  const detail = () => clean(first.kind === 'missed' || first.kind === 'zombie' ? word('reason', read().detail ?? '') : read().detail);
  const at = computed(() => read().at);
  const target = () => (read().run ? runAddress(/** @type {string} */ (read().run)) : address(first.job ? `/jobs/${encodeURIComponent(first.job)}` : '/', first.job ? {} : { panel: 'system' }));
  const run = () => store.runOf(read().run ?? '');
  return h('li', { class: `alert ${first.level}`, 'data-row': '', ref: concerns(() => (run() ? ofRun(run()) : ofJob(store.jobOf(first.job ?? '')))) }, [
    icon(GLYPHS[first.kind]),
    h('div', null, [
      h('p', null, h('a', { href: target, 'data-open': '' }, name), ' ', h('span', { class: 'what' }, () => told(read()))),
      h('p', { class: `detail${first.kind === 'failing' ? ' mono' : ''}`, title: detail }, detail),
    ]),
    () => at.value && moment(at.value, relative),
  ]);
}

/** @param {Alert} alert */
function told(alert) {
  if (alert.kind === 'slow') return t('alert.slow', { t: wholeDuration(alert.usual ?? 0) });
  return t(/** @type {any} */ (`alert.${alert.kind}`), { n: alert.count ?? 1 });
}

const KINDS = ['failing', 'zombie', 'late', 'slow', 'stuck', 'warned', 'missed', 'system'];

export function alertsView() {
  const recent = past({ status: 'failed,missed', since: new Date(now.peek() - DAY).toISOString() }, 400);
  const chosen = () => route.value.query.kind ?? '';
  const shown = computed(() => current(recent.value.runs).filter((alert) => !chosen() || alert.kind === chosen()));
  const count = computed(() => shown.value.length);
  return h('div', { class: 'page' }, [
    h('header', { class: 'head' }, h('h1', { tabindex: -1 }, t('nav.alerts'))),
    choice(t('alert.kind'), [['', t('all')], ...KINDS.map((kind) => /** @type {[string, string]} */ ([kind, t(/** @type {any} */ (`kind.${kind}`))]))], chosen, (kind) => refine({ kind: kind || null })),
    h('div', { class: 'panel' }, [
      () => recent.value.error && failure(recent.value.error, () => (store.generation.value += 1)),
      alertList(() => shown.value),
      () => count.value === 0 && (recent.value.loading ? skeleton(3) : !recent.value.error && empty(t(chosen() ? 'alerts.none.kind' : 'alerts.none'), h('p', { class: 'hint' }, t('alerts.watched')))),
    ]),
  ]);
}
