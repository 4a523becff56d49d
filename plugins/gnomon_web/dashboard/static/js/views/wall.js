// The wall: what runs, what needs attention, how today goes and what comes next, large and without controls. It
// reconnects by itself, and loads itself again when the server has another version.
import { each, h } from '../core/dom.js';
import { computed, effect, onDispose, signal } from '../core/signals.js';
import { readPreference, savePreference } from '../core/preferences.js';
import { get, VERSION } from '../model/api.js';
import { now } from '../model/clock.js';
import { link, serverVersion } from '../model/connection_state.js';
import { clean } from '../model/sanitize.js';
import * as store from '../model/store.js';
import { elapsed, progressBar } from '../components/common.js';
import { icon } from '../components/icons.js';
import { hourMinute, number, relative, shortMoment, wholeDuration } from '../i18n/format.js';
import { t } from '../i18n/index.js';
import { saidInWords } from '../i18n/said.js';

const MOST_ON_WALL = 6; // of each kind, so that they can be read from afar
const WALL_READ_MS = 30_000;
const WALL_SETTLE_MS = 1000; // after an event, so that many of them cause one request
const SEVERE = /** @type {Record<string, string>} */ ({ critical: 'failed', error: 'failed', warning: 'missed', info: 'scheduled' });

export function wallView() {
  effect(loadNewVersion);
  const today = polled('/scheduler/stats/today');
  const alerts = polled('/scheduler/alerts', 'alerts', { limit: MOST_ON_WALL });
  const coming = polled('/scheduler/forecast', 'statistics', { to: '+24h', fires: 20 * MOST_ON_WALL, jobs: MOST_ON_WALL, totals: false, status: 'active' });
  return h('div', { class: 'wall' }, [
    h('header', null, [
      h('h1', { tabindex: -1 }, 'Gnomon'),
      h('p', { class: 'counts' }, () => today.value && h('span', { class: 'since' }, t('wall.today')), () => today.value && /** @type {const} */ (['success', 'failed', 'missed', 'cancelled']).map((state) =>
        h('span', { class: state }, icon(state), h('span', { class: 'num' }, number(today.value[state])), ' ', t(`status.${state}`)))),
      h('p', { class: () => `clock num ${link.value}` }, () => (link.value === 'live' ? hourMinute(now.value) : t('wall.lost', { t: shortMoment(now.value) }))),
    ]),
    () => store.health.value.hold && h('p', { class: 'held' }, icon('paused'), t('held'), ' ', clean(store.health.value.hold.reason ?? '')),
    () => unhealthy().map((one) => h('p', { class: 'held bad' }, icon('failed'), h('span', null, clean(one.problem ?? one.name)))),
    h('section', { 'aria-label': t('attention'), hidden: () => !store.contributed.value.includes('alerts') }, [
      h('h2', null, t('attention'), () => alerts.value?.total > 0 && h('span', { class: 'num' }, number(alerts.value.total))),
      () => (!alerts.value ? null : alerts.value.alerts.length === 0 ? h('p', { class: 'good' }, icon('success'), t('attention.none')) : h('ul', null, alerts.value.alerts.map(alertLine))),
    ]),
    h('section', { 'aria-label': t('running.now') }, [
      h('h2', null, t('running.now'), h('span', { class: 'num' }, () => number(store.runningCount.value))),
      each(h('ul', { class: 'runs-now' }), () => store.runningIds.value.slice(0, MOST_ON_WALL), runLine),
    ]),
    h('section', { 'aria-label': t('coming'), hidden: () => !store.contributed.value.includes('statistics') }, [
      h('h2', null, t('coming')),
      () => h('ul', null, firstFires(coming.value).map(({ name, run }) => h('li', { class: run.outcome }, h('span', { class: 'name' }, clean(name)), h('span', { class: 'num' }, run.outcome === 'run' ? () => relative(run.at) : t(/** @type {any} */ (`forecast.${run.outcome}`)))))),
    ]),
  ]);
}

/** Load the page of another version, once for each: a proxy may keep an old one for a while. */
function loadNewVersion() {
  const running = serverVersion.value;
  if (running === '' || running === VERSION || readPreference('wall', '') === running) return;
  savePreference('wall', running);
  location.reload();
}

/** What the server answers, read again as time passes and after events; null until then, and where no plugin adds the call. @param {string} path @param {string} [plugin] the tag of a call that a plugin adds @param {Record<string, any>} [query] */
function polled(path, plugin = '', query = {}) {
  const found = signal(/** @type {any} */ (null));
  let timer = 0;
  const read = async () => {
    timer = 0;
    if (link.peek() !== 'live' || (plugin && !store.contributed.peek().includes(plugin))) return;
    found.value = await get(path, query).catch(() => found.peek()); // what was read last stays, and the clock says when the connection is lost
  };
  const clock = setInterval(read, WALL_READ_MS);
  const stopListening = store.onEvents((events) => {
    if (timer === 0 && events.some(({ type }) => type !== 'progress')) timer = setTimeout(read, WALL_SETTLE_MS);
  });
  effect(() => void (store.generation.value, link.value === 'live' && read()));
  onDispose(() => {
    stopListening();
    clearInterval(clock);
    clearTimeout(timer);
  });
  return found;
}

const unhealthy = () => (store.health.value.components ?? []).filter((one) => one.state === 'failed' || one.state === 'degraded').slice(0, 2);

/** The name of a job that the page holds: a wall asks for no others. @param {string} id */
const heldName = (id) => store.jobs.get(id)?.value.display_name || store.jobs.get(id)?.value.name || id;

/** @param {any} alert */
const alertLine = (alert) =>
  h('li', { class: SEVERE[alert.severity] ?? 'failed' }, icon(SEVERE[alert.severity] ?? 'failed'), h('span', { class: 'name' }, clean(alert.job_id ? heldName(alert.job_id) : alert.subject)), h('span', { class: 'what' }, saidInWords(alert.said, alert.message)));

/** @param {string} id */
function runLine(id) {
  const sig = /** @type {store.Signal<store.Run>} */ (store.runs.get(id));
  const read = () => sig.value;
  const percent = computed(() => (read().progress ? `${Math.floor(read().progress ?? 0)} %` : ''));
  return h('li', null, [
    h('span', { class: 'name' }, () => clean(heldName(read().job_id))),
    progressBar(read, `${t('progress')}: ${sig.peek().job_name || sig.peek().job_id}`),
    h('span', { class: 'num' }, () => percent.value),
    h('span', { class: 'num' }, () => wholeDuration(elapsed(read()))),
  ]);
}

/** The next fire of each job. @param {import('../types.d.ts').Forecast | null} forecast */
const firstFires = (forecast) =>
  (forecast?.jobs ?? []).flatMap(({ name, runs }) => runs.filter((run) => run.outcome !== 'running').slice(0, 1).map((run) => ({ name, run })))
    .sort((one, other) => Date.parse(one.run.at) - Date.parse(other.run.at)).slice(0, MOST_ON_WALL);
