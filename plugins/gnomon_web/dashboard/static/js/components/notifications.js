// Notifications of the browser about new alerts: off until someone asks for them with the button. One for each alert.
import { h } from '../core/dom.js';
import { effect, scope, signal } from '../core/signals.js';
import { readPreference, savePreference } from '../core/preferences.js';
import { go } from '../core/router.js';
import { alertsOf } from '../model/alert_lists.js';
import { now } from '../model/clock.js';
import { t, word } from '../i18n/index.js';
import { saidInWords } from '../i18n/said.js';
import { alertName } from './alert_row.js';
import { icon } from './icons.js';
import { toast } from './toasts.js';

const SECOND_MS = 1000;
const MOST_READ = 200;
const MOST_AT_ONCE = 5; // of more, one tells their number

/** Only pages with a secure address have them. */
const areThere = 'Notification' in window;
const permission = signal(areThere ? Notification.permission : 'denied');
const isOn = signal(readPreference('notifications', 'off') === 'on');

let isStarted = false;

/** Notify of alerts that open from now on, for as long as the page is open and this is on. */
export function startNotifications() {
  if (isStarted) return;
  isStarted = true;
  scope(() => effect(() => {
    if (!isOn.value || permission.value !== 'granted') return undefined;
    const [, stop] = scope(() => follow(now.peek()));
    return stop;
  }));
}

/** @param {number} begin */
function follow(begin) {
  const told = new Set();
  const since = new Date(begin - SECOND_MS).toISOString(); // the times of failures are whole seconds
  const firing = alertsOf(() => ({ state: 'firing', since, limit: MOST_READ }));
  effect(() => {
    const fresh = (firing.value.value?.alerts ?? []).filter(({ id, opened_at, backdated }) => !told.has(id) && !backdated && Date.parse(opened_at) > begin);
    for (const alert of fresh) told.add(alert.id);
    if (fresh.length > MOST_AT_ONCE) show('alerts', t('notify.many', { n: fresh.length }), '', {});
    else for (const alert of fresh) show(alert.id, `${alertName(alert)}: ${word('kind', alert.kind)}`, saidInWords(alert.said, alert.message), { alert: alert.id });
  });
}

/** One tag is shown once, in however many tabs. @param {string} tag @param {string} title @param {string} body @param {Record<string, string>} query */
function show(tag, title, body, query) {
  const shown = new Notification(title, { body, tag: `gnomon ${tag}` });
  shown.onclick = () => {
    focus();
    go('/alerts', query);
    shown.close();
  };
}

/** @param {boolean} on */
function switchTo(on) {
  savePreference('notifications', on ? 'on' : 'off');
  isOn.value = on;
}

async function toggle() {
  if (isOn.peek() && permission.peek() === 'granted') return switchTo(false);
  permission.value = await Notification.requestPermission();
  if (permission.peek() !== 'granted') return toast(t('notify.denied'), { bad: true });
  switchTo(true);
  return startNotifications();
}

/** The switch, with the reason where notifications cannot be had. */
export const notificationsButton = () => () => (areThere
  ? h('button', { type: 'button', class: 'quiet', 'aria-pressed': () => String(isOn.value && permission.value === 'granted'), onclick: toggle }, icon('alerts'), t('notify'))
  : h('span', { class: 'hint' }, t('notify.insecure')));
