// The frame around every view: navigation, connection state, language and theme.
import { h } from '../core/dom.js';
import { past } from '../core/past.js';
import { computed, effect, signal } from '../core/signals.js';
import { readPreference, savePreference } from '../core/preferences.js';
import { address, refine, route } from '../core/router.js';
import { VERSION } from '../model/api.js';
import { now } from '../model/clock.js';
import { actor, link, serverVersion } from '../model/connection_state.js';
import { firingCount, isBad } from '../model/alert_lists.js';
import { connection } from '../model/session.js';
import { clean } from '../model/sanitize.js';
import * as store from '../model/store.js';
import { LANGUAGES, language, setLanguage, t, withWords, word } from '../i18n/index.js';
import { chooseZone, jobZone, LOCAL, zoneChoice } from '../i18n/zone.js';
import { componentName } from './common.js';
import { icon, logo } from './icons.js';
import { holdBanner } from './operator_actions.js';
import { toast, toasts } from './toasts.js';

const PAGES = /** @type {const} */ (['overview', 'jobs', 'runs', 'alerts', 'forecast', 'activity']);
const THEMES = ['auto', 'light', 'dark'];
const ZONES = /** @type {const} */ (['local', 'UTC', 'job']);

/** The state in the header: that of the connection, or of the kernel if it is not healthy. */
const headerState = computed(() => {
  const { status } = store.health.value;
  return link.value === 'live' && status && status !== 'ok' ? status : link.value;
});
const mainProblem = computed(() => store.health.value.components?.find((one) => one.state === store.health.value.status) ?? null);

const theme = signal(readPreference('theme', 'auto'));

/** Apply the chosen theme; `auto` follows the system. */
export function startTheme() {
  effect(() => {
    savePreference('theme', theme.value);
    document.documentElement.dataset.theme = theme.value;
  });
}

export const nextTheme = () => (theme.value = THEMES[(THEMES.indexOf(theme.peek()) + 1) % THEMES.length]);

/** @param {any} main the view @param {any} panels the drawers @param {any} pastBar the bar of the time machine */
export const shell = (main, panels, pastBar) => [
  h('a', { class: 'skip', href: '#main', onclick: skip }, t('skip')),
  h('header', { class: 'top' }, [
    h('a', { class: 'home', href: () => (past.value, address('/')) }, logo(), h('span', null, 'Gnomon')),
    h('nav', { 'aria-label': t('nav'), hidden: () => link.value === 'refused' }, PAGES.map(pageLink)),
    h('span', { class: 'spacer' }),
    h('div', { class: 'tools' }, [
      () => serverVersion.value !== '' && serverVersion.value !== VERSION && h('button', { class: 'stale', onclick: () => location.reload() }, t('stale', { v: serverVersion.value })),
      h('button', { class: () => `quiet link ${headerState.value}`, type: 'button', 'aria-label': () => `${t('system')}: ${t(`link.${headerState.value}`)}`, title: stateTitle, onclick: () => refine({ panel: 'system' }) }, h('span', { class: 'pulse' }), h('span', { class: 'word' }, () => t(`link.${headerState.value}`))),
      () => past.value === '' && h('button', { class: 'quiet', type: 'button', 'aria-label': t('past.open'), title: t('past.open'), onclick: () => refine({ at: new Date(now.peek()).toISOString() }) }, icon('rewind')),
      h('select', { class: 'quiet', 'aria-label': t('language'), onchange: choose }, Object.entries(LANGUAGES).map(([key, name]) => h('option', { value: key, selected: language.peek() === key }, name))),
      h('select', { class: 'quiet zone', 'aria-label': t('zone'), onchange: (/** @type {any} */ { target }) => chooseZone(target.value) }, () => ZONES.map((one) => h('option', { value: one, selected: zoneChoice.value === one }, zoneText(one)))),
      h('button', { class: 'quiet', type: 'button', 'aria-label': () => `${t('theme')}: ${t(/** @type {any} */ (`theme.${theme.value}`))}`, title: () => t(/** @type {any} */ (`theme.${theme.value}`)), onclick: nextTheme }, icon('sun')),
      () => actor.value !== '' && link.value !== 'refused' && h('button', { class: 'quiet account', type: 'button', 'aria-label': `${t('account')}: ${actor.value}`, title: clean(actor.value), onclick: () => void withWords(import('../views/account.js')).then((found) => found.openAccount()) }, icon('activity'), h('span', { class: 'word' }, clean(actor.value))),
      h('button', { class: 'quiet keys-button', type: 'button', 'aria-label': t('keys'), onclick: () => refine({ panel: 'keys' }) }, icon('keys')),
    ]),
  ]),
  banner(),
  pastBar,
  holdBanner(),
  h('main', { id: 'main', tabindex: -1, class: () => (link.value === 'lost' ? 'frozen' : '') }, main),
  panels,
  toasts(),
];

/** The choice of a zone, with the name of that zone. @param {typeof ZONES[number]} one */
const zoneText = (one) => (one === 'UTC' ? 'UTC' : one === 'local' ? t('zone.local', { zone: LOCAL }) : jobZone.value ? t('zone.job', { zone: jobZone.value }) : t('zone.job.none'));

/** The first problem, if the kernel is not healthy. */
const stateTitle = () => (headerState.value !== link.value && mainProblem.value ? clean(`${componentName(mainProblem.value)}: ${mainProblem.value.problem ?? word('health', mainProblem.value.state)}`) : null);

/** @param {any} event */
function choose({ target }) {
  setLanguage(target.value).catch((error) => {
    target.value = language.peek();
    toast(t('load.failed', { reason: error.message }), { bad: true });
  });
}

/** @param {typeof PAGES[number]} page */
function pageLink(page) {
  const path = page === 'overview' ? '/' : `/${page}`;
  const isHere = computed(() => (page === 'overview' ? route.value.path === '/' : route.value.path.startsWith(path)));
  return h('a', { href: () => (past.value, address(path)), 'aria-current': () => (isHere.value ? 'page' : null) }, [icon(page), h('span', null, t(`nav.${page}`)), page === 'alerts' && alertCount()]);
}

/** The number of alerts that want attention, in the colour of the worst of them. */
export const alertCount = () => () => firingCount.value > 0 && h('span', { class: () => `bubble num ${isBad.value ? 'bad' : 'warn'}` }, () => firingCount.value, h('span', { class: 'sr' }, t('alerts.firing')));

/** Warns while the connection is lost. */
const banner = () => () => link.value === 'lost' && h('div', { class: 'lost-banner', role: 'alert' }, [
  icon('missed'),
  h('p', null, h('strong', null, t('lost')), ' ', t('lost.text')),
  h('button', { onclick: () => connection().open() }, t('lost.retry')),
]);

/** @param {Event} event */
function skip(event) {
  event.preventDefault();
  document.getElementById('main')?.focus();
}
