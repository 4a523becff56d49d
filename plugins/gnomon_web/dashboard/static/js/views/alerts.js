// The alerts: failures, late and missed fires, slow and stuck runs, unhealthy components; most urgent first.
import { each, h } from '../core/dom.js';
import { computed } from '../core/signals.js';
import { address, refine, route } from '../core/router.js';
import { alerts } from '../model/alerts.js';
import { clean } from '../model/sanitize.js';
import { DAY, now } from '../model/clock.js';
import { finishedRuns } from '../model/finished_runs.js';
import * as store from '../model/store.js';
import { typical } from '../model/typical_durations.js';
import { icon } from '../components/icons.js';
import { subject, ofJob, ofRun } from '../components/menu.js';
import { choice, componentName, empty, failure, moment, runAddress, skeleton } from '../components/common.js';
import { wholeDuration, relative } from '../i18n/format.js';
import { t, word } from '../i18n/index.js';

/** @typedef {import('../model/alerts.js').Alert} Alert */

const GLYPHS = { failing: 'failed', zombie: 'failed', system: 'system', late: 'scheduled', slow: 'scheduled', stuck: 'stop', missed: 'missed', warned: 'alerts' };

/** The current alerts. They depend on the time and the lists, not on progress reports. @param {store.Run[]} [more] finished runs that the page read over REST */
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

/** A row per alert, kept as long as the alert. @param {() => Alert[]} read */
export function alertList(read) {
  const byKey = computed(() => new Map(read().map((alert) => [alert.key, alert])));
  return each(h('ul', { class: 'alerts' }), () => [...byKey.value.keys()], (key) => {
    let last = /** @type {Alert} */ (byKey.peek().get(key));
    return alertRow(() => (last = byKey.value.get(key) ?? last), last);
  });
}

/** @param {() => Alert} read @param {Alert} first */
function alertRow(read, first) {
  const name = () => (first.component ? componentName(first.component) : store.jobName(first.job ?? ''));
  const detail = () => clean(first.kind === 'missed' || first.kind === 'zombie' ? word('reason', read().detail ?? '') : read().detail);
  const at = computed(() => read().at);
  const target = () => (read().run ? runAddress(/** @type {string} */ (read().run)) : address(first.job ? `/jobs/${encodeURIComponent(first.job)}` : '/', first.job ? {} : { panel: 'system' }));
  const run = () => store.runOf(read().run ?? '');
  return h('li', { class: `alert ${first.level}`, 'data-row': '', ref: subject(() => (run() ? ofRun(run()) : ofJob(store.jobOf(first.job ?? '')))) }, [
    icon(GLYPHS[first.kind]),
    h('div', null, [
      h('p', null, h('a', { href: target, 'data-open': '' }, name), ' ', h('span', { class: 'what' }, () => describeAlert(read()))),
      h('p', { class: `detail${first.kind === 'failing' ? ' mono' : ''}`, title: detail }, detail),
    ]),
    () => at.value && moment(at.value, relative),
  ]);
}

/** @param {Alert} alert */
function describeAlert(alert) {
  if (alert.component) return word('health', alert.component.state);
  if (alert.isLingering) return t('run.lingering');
  if (alert.kind === 'slow') return t('alert.slow', { t: wholeDuration(alert.usual ?? 0) });
  return t(/** @type {any} */ (`alert.${alert.kind}`), { n: alert.count ?? 1 });
}

const KINDS = ['failing', 'zombie', 'late', 'slow', 'stuck', 'warned', 'missed', 'system'];

export function alertsView() {
  const recent = finishedRuns({ status: 'failed,missed', since: new Date(now.peek() - DAY).toISOString() }, 400);
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
