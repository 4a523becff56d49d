// The account: who is logged in and until when, the way out, and links for walls.
import { h } from '../core/dom.js';
import { signal } from '../core/signals.js';
import { address, go } from '../core/router.js';
import { del, get, post } from '../model/api.js';
import { actor, may, role } from '../model/connection_state.js';
import { clean } from '../model/sanitize.js';
import { logOut } from '../model/session.js';
import { copyText, moment } from '../components/common.js';
import { ask, menu } from '../components/dialog.js';
import { toast } from '../components/toasts.js';
import { t, word } from '../i18n/index.js';

/** @typedef {{ id: string, name: string, creator: string, expires: string }} WallLink */

const failed = (/** @type {Error} */ error) => toast(error.message, { bad: true });

export async function openAccount() {
  const session = await get('/session').catch(() => ({ is_open: true, expires: null }));
  const isGuarded = !session.is_open;
  const who = `${clean(actor.peek())} (${word('role', role.peek())})`;
  menu(session.expires ? h('span', null, who, h('small', null, ' ', t('account.until'), ' ', moment(session.expires))) : who, [
    { key: 'w', text: t('wall.open'), act: () => go('/', { wall: 1 }) },
    ...(isGuarded && may('operator') ? [{ key: 'l', text: t('wall.link'), act: () => void askWallLink().catch(failed) }] : []),
    ...(isGuarded ? [{ key: 'o', text: t('logout'), act: () => void logOut().catch(failed) }] : []),
  ], '');
}

/** Make a link for a screen, and revoke earlier ones. */
async function askWallLink() {
  const links = signal(/** @type {WallLink[]} */ (await get('/wall-links')));
  const revoke = (/** @type {string} */ id) => del(`/wall-links/${id}`).then(() => (links.value = links.peek().filter((one) => one.id !== id)), failed);
  const act = async (/** @type {FormData} */ form) => {
    const made = await post('/wall-links', { name: String(form.get('name')).trim(), days: Number(form.get('days')) });
    setTimeout(() => showLink(made.link.name, `${location.origin}${address('/', { wall: 1 })}#k=${made.secret}`)); // once this dialog is closed
  };
  ask({
    title: t('wall.link'),
    body: [
      h('p', null, t('wall.text')),
      h('label', { class: 'field' }, h('span', null, t('wall.name')), h('input', { name: 'name', required: true, maxlength: 60, autocomplete: 'off' })),
      h('label', { class: 'field' }, h('span', null, t('wall.days')), h('input', { name: 'days', type: 'number', min: 1, max: 366, value: '90', required: true })),
      () => links.value.length > 0 && h('ul', { class: 'wall-links' }, links.value.map((one) =>
        h('li', null, h('span', null, clean(one.name), h('small', null, ` ${clean(one.creator)} · ${t('account.until')} `, moment(one.expires))), h('button', { type: 'button', class: 'quiet danger', 'aria-label': `${t('wall.revoke')}: ${one.name}`, onclick: () => revoke(one.id) }, t('wall.revoke'))))),
    ],
    confirm: t('wall.make'),
    dismiss: t('close'),
    act,
  });
}

/** @param {string} name @param {string} link shown this once */
const showLink = (name, link) =>
  ask({
    title: clean(name),
    body: [h('p', null, t('wall.once')), h('input', { readonly: true, value: link, 'aria-label': t('wall.link'), class: 'mono' })],
    confirm: t('copy'),
    dismiss: t('close'),
    act: () => copyText(link),
  });
