// Wires the page together: the session, the view for the address, and the global shortcuts.
import { h } from './core/dom.js';
import { past } from './core/past.js';
import { computed, effect, untracked } from './core/signals.js';
import { bindShortcuts, selectRow, startKeys, stepRow } from './core/shortcuts.js';
import { go, refine, route, startRoutes } from './core/router.js';
import { readPreference } from './core/preferences.js';
import { firingCount, followAlerts } from './model/alert_lists.js';
import { startClock } from './model/clock.js';
import { link } from './model/connection_state.js';
import { connect, takeLink } from './model/session.js';
import { followRecentRuns } from './model/recent_runs.js';
import * as store from './model/store.js';
import { startFavicon } from './components/favicon.js';
import { actByKey, openMenu } from './components/menu.js';
import { nextTheme, shell, startTheme } from './components/shell.js';
import { nothingHere, skeleton } from './components/common.js';
import { clean } from './model/sanitize.js';
import { focusHeading, lazily } from './views/lazily.js';
import { overview } from './views/overview.js';
import { language, startLanguage, t, withWords } from './i18n/index.js';
import { jobZone, shownZone } from './i18n/zone.js';

const alertsView = lazily(() => import('./views/alerts.js').then((found) => found.alertsView));
const jobsView = lazily(() => import('./views/jobs.js').then((found) => found.jobsView));
const runsView = lazily(() => import('./views/runs.js').then((found) => found.runsView));
const jobView = lazily(() => import('./views/job.js').then((found) => found.jobView));
const runView = lazily(() => import('./views/run.js').then((found) => found.runView));
const whyView = lazily(() => import('./views/why.js').then((found) => found.whyView));
const whyOfJobView = lazily(() => import('./views/why.js').then((found) => found.whyOfJobView));
const compareView = lazily(() => import('./views/compare.js').then((found) => found.compareView));
const loginView = lazily(() => import('./views/login.js').then((found) => found.loginView));
const forecastView = lazily(() => import('./views/forecast.js').then((found) => found.forecastView));
const activityView = lazily(() => import('./views/activity.js').then((found) => found.activityView));
const pastBar = lazily(() => import('./views/past_bar.js').then((found) => found.pastBar), () => null);
const wallView = lazily(() => import('./views/wall.js').then((found) => found.wallView));
const systemDrawer = lazily(() => import('./views/system.js').then((found) => found.systemDrawer), () => null);
const helpDrawer = lazily(() => import('./views/shortcuts_help.js').then((found) => found.helpDrawer), () => null);

/** @type {[RegExp, (id: string) => any][]} */
const VIEWS = [
  [/^\/$/, overview],
  [/^\/jobs$/, jobsView],
  [/^\/jobs\/([^/]+)$/, jobView],
  [/^\/jobs\/([^/]+)\/why$/, whyOfJobView],
  [/^\/runs$/, runsView],
  [/^\/runs\/([^/]+)$/, runView],
  [/^\/runs\/([^/]+)\/why$/, whyView],
  [/^\/alerts$/, alertsView],
  [/^\/forecast$/, forecastView],
  [/^\/activity$/, activityView],
  [/^\/compare$/, compareView],
];

/** @param {string} path */
function view(path) {
  for (const [pattern, make] of VIEWS) {
    const found = pattern.exec(path);
    if (found) return make(decodeURIComponent(found[1] ?? ''));
  }
  return nothingHere(t('nothing.here'), t('nothing.text', { path: clean(path) }));
}

/** Whether the page is on a wall: without navigation and controls. */
const isWall = computed(() => 'wall' in route.value.query);

/** The view is rebuilt only for another path; it follows its filters in the query by itself. */
function main() {
  const path = computed(() => route.value.path);
  const state = computed(() => (link.value === 'refused' ? 'login' : store.isReady.value ? 'ready' : 'loading'));
  return () => {
    if (state.value === 'login') return loginView();
    if (state.value === 'loading') return [h('h1', { class: 'sr' }, 'Gnomon'), skeleton(6)];
    if (isWall.value) return wallView();
    const wanted = path.value;
    past.value; // links keep the moment, and acts belong to the present
    return untracked(() => view(wanted));
  };
}

function panels() {
  const wanted = computed(() => route.value.query.panel ?? '');
  return () => {
    return wanted.value === 'system' ? systemDrawer() : wanted.value === 'keys' ? helpDrawer() : null;
  };
}

/** The bar of the time machine; it stays while the moment moves. */
function showsPast() {
  const isPast = computed(() => past.value !== '' && link.value !== 'refused');
  return () => isPast.value && untracked(pastBar);
}

const TITLES = /** @type {Record<string, any>} */ ({ '': 'nav.overview', jobs: 'nav.jobs', runs: 'nav.runs', alerts: 'nav.alerts', forecast: 'nav.forecast', activity: 'nav.activity', compare: 'nav.compare' });

/** The title of the tab: the job or run, then the section. @param {string} path */
function titleOf(path) {
  const [, section, id] = path.split('/');
  const place = VIEWS.some(([pattern]) => pattern.test(path)) ? t(TITLES[section]) : t('nothing.here');
  if (!id || place === t('nothing.here')) return `${place} · Gnomon`;
  const name = section === 'jobs' ? store.jobName(decodeURIComponent(id)) : store.jobName(store.runOf(id)?.job_id ?? '') || id;
  return `${name} · ${place} · Gnomon`;
}

function startPage() {
  effect(() => {
    const lang = language.value;
    shownZone.value;
    document.documentElement.lang = lang;
    const frame = isWall.value ? (/** @type {any} */ view) => [h('main', { id: 'main', tabindex: -1 }, view)] : (/** @type {any} */ view) => shell(view, panels(), showsPast());
    document.body.replaceChildren(...untracked(() => frame(main())).map((part) => (typeof part === 'function' ? h('div', { class: 'place' }, part) : part)));
  });
  effect(() => void (document.title = (language.value, `${firingCount.value > 0 ? `(${firingCount.value}) ` : ''}${titleOf(route.value.path)}`)));
  effect(() => void (jobZone.value = zoneOfPage()));
  let before = route.peek().path;
  effect(() => {
    const { path } = route.value;
    if (path === before) return;
    before = path;
    // A new view starts at its top, and its heading announces it.
    scrollTo({ top: 0 });
    focusHeading();
  });
}

/** The zone of the job that the page is about, or of the job of its run. */
function zoneOfPage() {
  const [, section, id] = route.value.path.split('/');
  const job = section === 'jobs' ? decodeURIComponent(id ?? '') : section === 'runs' ? store.runOf(id ?? '')?.job_id : '';
  return String((job && store.jobOf(job)?.trigger_config?.timezone) || '');
}

function startShortcuts() {
  startKeys();
  bindShortcuts({
    'g o': () => go('/'),
    'g j': () => go('/jobs'),
    'g r': () => go('/runs'),
    'g a': () => go('/alerts'),
    'g f': () => go('/forecast'),
    'g h': () => go('/activity'),
    'g s': () => refine({ panel: 'system' }),
    '?': () => refine({ panel: 'keys' }),
    j: () => stepRow(1),
    k: () => stepRow(-1),
    x: selectRow,
    t: () => actByKey('t'),
    p: () => actByKey('p'),
    c: () => actByKey('c'),
    '.': openMenu,
    d: () => nextTheme(),
    '/': search,
  });
}

function search() {
  const field = () => /** @type {HTMLElement | null} */ (document.querySelector('[data-search]'));
  if (!field()) go('/runs');
  requestAnimationFrame(() => field()?.focus());
}

startTheme();
await startLanguage();
startRoutes();
await takeLink();
startClock();
startShortcuts();
startPage();
followRecentRuns();
followAlerts();
startFavicon();
if (readPreference('notifications', 'off') === 'on') withWords(import('./components/notifications.js')).then((found) => found.startNotifications());
connect();
